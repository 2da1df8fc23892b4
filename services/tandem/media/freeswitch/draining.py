"""Emptying a FreeSWITCH by an operator's order: what it says to new callers while we do."""

from __future__ import annotations

from tandem.media.freeswitch.board import Board
from tandem.wire import esl

VARIABLE = "tandem_draining"
"""The global variable that the dialplan looks at: it refuses with no agent alive. A new life of the switch knows
nothing of it, and is told when it lets us in."""


class Draining:
    """Tells the switch. What was never ordered is never said, so that what somebody told it by hand stands."""

    def __init__(self, board: Board) -> None:
        self._board = board

    def order(self, on: bool) -> None:
        """Take no new callers, or take them again."""
        self._board.draining = on
        self.say()

    def say(self) -> None:
        """To a switch that has let us in: it may be another one than was told before."""
        on = self._board.draining
        if on is None:
            return
        self._tell(f"global_setvar {VARIABLE}={str(on).lower()}")
        if self._board.config.behind_door:
            # Everything that is new gets 503, OPTIONS too: the door sends it to another node.
            self._tell(f"fsctl {'pause' if on else 'resume'} inbound")

    def _tell(self, line: str) -> None:
        def told(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            if not reply.ok:
                self._board.notice("DRAIN_NOT_TAKEN", f"FreeSWITCH does not take {line!r}")

        self._board.api(line, told)
