"""Phones that hand a call over by themselves (REFER), or take one (INVITE with Replaces).

FreeSWITCH answers a REFER 202 and sends the other party to the dialplan's context `referred`: parked, with the
fallback for when no Tandem is there.
"""

from __future__ import annotations

import re

from tandem.core.ports.media import LegReferred
from tandem.core.seal import secret
from tandem.media.freeswitch.board import Board
from tandem.media.freeswitch.hearing import Hearing
from tandem.media.freeswitch.leg import Leg
from tandem.wire import esl

CONTEXT = "referred"
"""The dialplan's context, and the value of a leg's `force_transfer_context`."""
MAX_TARGET = 64
"""Characters kept of whom a phone named."""
_TOLD = "told"
"""What a leg has been referred by when the phone's end came before the other party was parked."""
_BLIND = "blind:"
_UNFIT = re.compile(r"[^\x20-\x7e]")


class Referrals:
    """Tells each one once, and takes the other party before the fallback does: it would come to them in the middle
    of whatever they do then."""

    def __init__(self, board: Board, hearing: Hearing) -> None:
        self._board = board
        self._hearing = hearing

    def parked(self, leg: Leg, other: str, event: esl.Event, now: float) -> None:
        """The leg is parked, or was found so; `other` was at the other end. Because of a REFER?"""
        referral = _referral(event)
        if not referral or referral == leg.referral:
            return
        told, leg.referral = leg.referral == _TOLD, referral
        self._board.note(leg)
        self._board.api(f"sched_del {leg.channel}")
        if not told:
            self._tell(leg, other, event.get("Caller-Destination-Number"), now)

    def seen_bridged(self, leg: Leg, channel: esl.Event) -> None:
        """The leg has a talk again: whatever it was referred by is over."""
        leg.referral = _referral(channel)

    def ended(self, leg: Leg, event: esl.Event, now: float) -> None:
        """A leg has ended. If its phone had handed its call over, the other party is told of that first."""
        other = self._board.leg_on((event.get("variable_transfer_to") or "").removeprefix(_BLIND))
        if other is None or other.peer != leg.id:
            return
        self._hearing.parted(other, now)
        other.referral = _TOLD
        self._tell(other, leg.id, (event.get("variable_transfer_destination") or "").removeprefix(_BLIND), now)

    def taken_over(self, event: esl.Event) -> None:
        """A leg was joined to something else. If that took its place in a talk by itself, it is refused: the other
        party is parked then, and its owner's again."""
        channel = event.get("Unique-ID") or ""
        if self._board.leg_on(channel) is None and event.get("variable_sip_replaces_call_id"):
            self._board.notice("TALK_TAKEN_OVER", f"channel {channel} took a talk by INVITE with Replaces: it is ended")
            self._board.api(f"uuid_kill {channel} CALL_REJECTED")

    def _tell(self, leg: Leg, other: str, target: str | None, now: float) -> None:
        self._board.emit(leg, LegReferred(other, secret(_UNFIT.sub("", target or "")[:MAX_TARGET])), now)


def _referral(event: esl.Event) -> str:
    """What tells one REFER of a channel from the next; empty if the channel did not come to park by one.

    What the agent itself sends to park comes to the same context, but by the dialplan `inline`.
    """
    if event.get("Caller-Context") != CONTEXT or event.get("Caller-Dialplan") != "XML":
        return ""
    return event.get("Caller-Profile-Created-Time") or ""
