"""Phones that may not have heard yet that their call is over: a later life of the node tells them again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from tandem.media.backend import RowKind, Sink
from tandem.media.builtin.timers import Timers
from tandem.wire.sip.events import CancelSent, InviteSettled

GOODBYE_S = 40.0
"""How long a phone's end of a call is remembered: BYE and CANCEL are given up after 32 s (64 * T1)."""


class Goodbyes:
    """A row for each phone, in the journal before the datagram that tells it leaves, for that may be lost.

    The row of an INVITE that was given up follows what became of it. As long as it says that nothing did, a
    later life may send the INVITE again to learn whether the phone has it (`wire.sip.pending`); had it been
    settled, that would be a new call.
    """

    def __init__(self, sink: Sink, timers: Timers) -> None:
        self._sink = sink
        self._timers = timers
        self._rows: dict[str, tuple[str, Mapping[str, Any]]] = {}  # leg -> its call, the row
        self._given_up: dict[str, str] = {}  # call of an INVITE that is not settled -> leg

    def keep(self, leg: str, row: Mapping[str, Any], call: str, now: float) -> None:
        """The leg has ended, or an earlier life's is ended; `call` is the SIP endpoint's handle."""
        self._rows[leg] = call, row
        if row.get("pending") is not None:
            self._given_up[call] = leg
        self._sink.remember(RowKind.GOODBYE, leg, row)
        self._timers.set("goodbye", leg, now + GOODBYE_S)

    def heard(self, event: CancelSent, now: float) -> None:
        """The phone has the INVITE: a later life need not send that again."""
        leg = self._given_up.get(event.call)
        if leg is not None:
            _, row = self._rows[leg]
            self.keep(leg, {**row, "pending": {**row["pending"], "heard": True}}, event.call, now)

    def settled(self, event: InviteSettled, now: float) -> None:
        """The phone knows that it is over, or was picked up all the same and has to hear BYE."""
        leg = self._given_up.pop(event.call, None)
        if leg is None:
            return
        if event.dialog is None:
            self._timers.cancel("goodbye", leg)
            self.forget(leg)
        else:
            self.keep(leg, {**self._rows[leg][1], "pending": None, "dialog": event.dialog.to_dict()}, event.call, now)

    def forget(self, leg: str) -> None:
        """It has heard of it, or never will."""
        call, _ = self._rows.pop(leg)
        self._given_up.pop(call, None)
        self._sink.remember(RowKind.GOODBYE, leg, None)
