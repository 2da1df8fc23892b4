"""Supervisors: a leg that listens to an agent's, and speaks to whom the mode says (FreeSWITCH's `eavesdrop`)."""

from __future__ import annotations

from tandem.core.ports.media import Command, Supervise, Supervision
from tandem.media.freeswitch.board import Board
from tandem.media.freeswitch.hearing import Hearing
from tandem.media.freeswitch.leg import Leg, Stage
from tandem.wire import esl

APPLICATION = "eavesdrop"
_SPEAKS_TO_AGENT = (Supervision.WHISPER, Supervision.BARGE)


class Supervising:
    """What a supervisor's leg does in place of playing: it ends as a prompt does, or with the leg that it listens to.

    Being sent anew to `eavesdrop` changes the mode. FreeSWITCH answers that before the mode is in force; what it
    attaches to the agent's leg says when it is.
    """

    def __init__(self, board: Board, hearing: Hearing) -> None:
        self._board = board
        self._hearing = hearing

    def supervise(self, leg: Leg, command: Command, verb: Supervise, now: float) -> bool:
        """Begin, or change the mode. `False`: what is heard on the leg must end first."""
        board, other = self._board, self._board.legs.get(verb.other)
        if other is None or other is leg or other.tenant != leg.tenant or other.hanging_up is not None:
            board.settle(leg.tenant, leg.id, command.key, now, "OTHER_GONE")
        elif other.stage is not Stage.UP:
            board.settle(leg.tenant, leg.id, command.key, now, "NOT_ANSWERED")
        elif not leg.supervises and not self._hearing.quiet(leg, now):
            return False
        else:
            self._begin(leg, other, command, verb.mode, now)
        return True

    def _begin(self, leg: Leg, other: Leg, command: Command, mode: Supervision, now: float) -> None:
        board = self._board
        leg.begun, leg.supervises, leg.parked = command, other.id, False
        board.note(leg)

        def sent(reply: esl.Reply | esl.ApiReply, now: float) -> None:
            if not reply.ok and leg.begun is command:
                self._settle(leg, now, "LEG_GONE")

        # Whose keys change the mode is the owner.
        words = {
            "eavesdrop_enable_dtmf": False,
            "eavesdrop_whisper_bleg": mode in _SPEAKS_TO_AGENT,
            "eavesdrop_whisper_aleg": mode is Supervision.BARGE,
        }
        board.api(f"uuid_setvar_multi {leg.channel} {';'.join(f'{name}={_word(on)}' for name, on in words.items())}")
        board.api(f"uuid_transfer {leg.channel} {APPLICATION}:{other.channel},park inline", sent)
        board.timers.set("begun", leg.id, now + board.config.settle_after_s)

    def attached(self, other: Leg, event: esl.Event, now: float) -> None:
        """Something listens to a leg from now on. Of two supervisors who begin at once, the first is the first."""
        if event.get("Media-Bug-Function") != APPLICATION:
            return
        for leg in self._board.legs.values():
            if leg.supervises == other.id and leg.begun is not None and isinstance(leg.begun.verb, Supervise):
                self._settle(leg, now)
                return

    def parked(self, leg: Leg, now: float) -> None:
        """The supervisor's leg is parked: it listens no more."""
        if not leg.supervises:
            return
        other, leg.supervises = leg.supervises, ""
        self._board.note(leg)
        if leg.begun is not None and isinstance(leg.begun.verb, Supervise):
            self._settle(leg, now, "OTHER_GONE")
        else:
            self._board.left(leg, other, now)

    def seen(self, leg: Leg, channel: esl.Event, now: float) -> None:
        """What a parked leg was found doing."""
        if channel.get("variable_current_application") == APPLICATION:
            target = channel.get("variable_current_application_data") or ""
            other = self._board.leg_on(target)
            leg.supervises, leg.parked = target if other is None else other.id, False
            self._board.note(leg)
        else:
            self.parked(leg, now)

    def _settle(self, leg: Leg, now: float, reason: str = "") -> None:
        self._board.settle_begun(leg, now, reason)
        self._board.stir(leg)


def _word(on: bool) -> str:
    return "true" if on else "false"
