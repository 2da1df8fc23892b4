"""Conferences: legs that are mixed, each of which hears all others (FreeSWITCH's `conference`)."""

from __future__ import annotations

from tandem.core.ports.media import Command, Confer
from tandem.media.freeswitch.board import Board
from tandem.media.freeswitch.hearing import Hearing
from tandem.media.freeswitch.ids import room_of
from tandem.media.freeswitch.leg import Leg
from tandem.wire import esl

APPLICATION = "conference"
EVENT = "conference::maintenance"
"""Tells who has come in. What else it would tell is suppressed by conference.conf.xml."""
_PROFILE = "default"


class Conferring:
    """What a leg does in place of playing: it ends as a bridge does. The room is made by who comes in first, and
    closed by who leaves last."""

    def __init__(self, board: Board, hearing: Hearing) -> None:
        self._board = board
        self._hearing = hearing

    def confer(self, leg: Leg, command: Command, verb: Confer, now: float) -> bool:
        """Go in. Doing it again changes nothing. `False`: what is heard on the leg must end first."""
        room = room_of(leg.tenant, verb.conference)
        if leg.conference == room:
            self._board.settle(leg.tenant, leg.id, command.key, now)
        elif not self._hearing.quiet(leg, now):
            return False
        else:
            self._go_in(leg, command, room, now)
        return True

    def _go_in(self, leg: Leg, command: Command, room: str, now: float) -> None:
        board = self._board
        leg.begun, leg.conference, leg.parked = command, room, False
        board.note(leg)

        def sent(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            if not reply.ok and leg.begun is command:
                self._settle(leg, now, "LEG_GONE")

        board.api(f"uuid_transfer {leg.channel} '{APPLICATION}:{room}@{_PROFILE},park' inline", sent)
        board.timers.set("begun", leg.id, now + board.config.settle_after_s)

    def came_in(self, leg: Leg, event: esl.Event, now: float) -> None:
        """The leg takes part in a room; in ours, if it was sent there."""
        if event.get("Action") == "add-member" and event.get("Conference-Name") == leg.conference and _goes_in(leg):
            self._settle(leg, now)

    def parked(self, leg: Leg, now: float) -> None:
        """The leg is parked: it takes part no more."""
        if not leg.conference:
            return
        moved = leg.moving or _goes_in(leg)
        if _goes_in(leg):
            self._settle(leg, now, "CONFERENCE_FAILED")
        self._board.leave(leg, now)
        if not moved:
            self._board.left(leg, "", now)

    def seen(self, leg: Leg, channel: esl.Event, now: float) -> None:
        """What a parked leg was found doing."""
        if channel.get("variable_current_application") == APPLICATION:
            room = (channel.get("variable_current_application_data") or "").partition("@")[0]
            leg.conference, leg.parked = room, False
            self._board.note(leg)
        else:
            self.parked(leg, now)

    def _settle(self, leg: Leg, now: float, reason: str = "") -> None:
        self._board.settle_begun(leg, now, reason)
        self._board.stir(leg)


def _goes_in(leg: Leg) -> bool:
    return leg.begun is not None and isinstance(leg.begun.verb, Confer)
