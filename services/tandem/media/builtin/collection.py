"""The digits of one menu step."""

from __future__ import annotations

from tandem.core.ports.media import Collect, Collected


class Collection:
    """Gathers digits until there are enough, a terminator comes, or time is up.

    Time counts from the end of the prompts to the first digit, then between digits.
    """

    def __init__(self, key: str, verb: Collect) -> None:
        self.key = key
        self.verb = verb
        self.digits = ""
        self.deadline: float | None = None
        """When time is up; None while the prompts play."""

    def prompts_ended(self, now: float) -> None:
        """The caller has heard everything and says nothing yet."""
        if not self.digits:
            self.deadline = now + self.verb.timeout_ms / 1000

    def digit(self, digit: str, now: float) -> Collected | None:
        """Take a digit; COMPLETE if it was the last one needed. A terminator is not kept."""
        if digit in self.verb.terminators:
            return Collected.COMPLETE
        self.digits += digit
        if len(self.digits) >= self.verb.max_digits:
            return Collected.COMPLETE
        self.deadline = now + self.verb.interdigit_ms / 1000
        return None
