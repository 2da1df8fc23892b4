"""Aggregates that are not gone on with (rule 12): why, and what is still known of them."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tandem.core.values import dataclass
from tandem.runtime.past import Row
from tandem.runtime.service import Quarantined, QuarantinedLegEnded, QuarantineLifted

Legs = tuple[tuple[str, str], ...]
"""(node, leg) pairs."""


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why an aggregate is not gone on with, and the legs that it still holds.

    `noted`: it stands in the log; if not, this fold alone found it so. `unread`: this fold could
    not take the stream's events after version `sound`, so its state is not what the log says.
    `guessed`: the legs are those of an earlier state; there may be others, and they may talk.
    `torn`: a mutable state was left half changed; until it is folded anew nobody may look at it.
    """

    why: str
    event: str
    legs: Legs = ()
    noted: bool = True
    unread: bool = False
    torn: bool = False
    sound: int = 0
    guessed: bool = False

    @property
    def row(self) -> Row | None:
        """What every fold of the log knows of it; None if nothing of it stands there."""
        return (self.why, self.event, self.legs, self.guessed) if self.noted else None


def quarantine_after(before: Quarantine | None, event: Any, version: int) -> Quarantine | None:
    """What an event of the runtime, the stream's number `version`, makes of it; None: in service."""
    match event:
        case Quarantined():
            legs = tuple((row.node, row.leg) for row in event.legs)
            unread, torn = (False, False) if before is None else (before.unread, before.torn)
            sound = version if before is None else before.sound
            return Quarantine(event.why, event.event, legs, True, unread, torn, sound, event.unread)
        case QuarantinedLegEnded(leg=leg) if before is not None:
            return replace(before, legs=tuple(row for row in before.legs if row[1] != leg))
        case QuarantineLifted():
            # Who could not read the history has not the state that goes on.
            still = before is not None and before.unread
            return replace(before, noted=False) if before and still else None
    return before
