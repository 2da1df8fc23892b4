"""One handler per verb of the `Media` port."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tandem.core.ports.media import (
    Answer,
    Bridge,
    By,
    Cause,
    Collect,
    Command,
    CommandSettled,
    Confer,
    HandOut,
    HangUp,
    LetGo,
    Originate,
    Outcome,
    Play,
    RecordPause,
    RecordResume,
    RecordStart,
    RecordStop,
    Stop,
    Supervise,
    TakeOver,
)
from tandem.media.builtin.arrivals import Arrivals
from tandem.media.builtin.board import Board, media_ms
from tandem.media.builtin.causes import reason_of
from tandem.media.builtin.devices import Devices
from tandem.media.builtin.hearing import Hearing
from tandem.media.builtin.leg import Leg, Stage
from tandem.media.builtin.recorder import Recorder

_HARMLESS_LATE = (HangUp, RecordStop)
"""Verbs that have done their work when the leg is gone."""
_MOVES = (HandOut, TakeOver, LetGo)
"""A dialog of this process cannot go on in another one, which has other addresses."""
NOT_HERE = "NOT_ON_THIS_BACKEND"
"""Why a verb failed that only FreeSWITCH carries out."""


class Verbs:
    """Begins commands. What a handler does not settle at once settles when it ends."""

    def __init__(
        self, board: Board, hearing: Hearing, arrivals: Arrivals, devices: Devices, recorder: Recorder
    ) -> None:
        self._board = board
        self._hearing = hearing
        self._arrivals = arrivals
        self._devices = devices
        self._recorder = recorder
        self._handlers: dict[type, Callable[[Leg, str, Any, float], None]] = {
            Answer: self._answer,
            Play: hearing.play,
            Collect: hearing.collect,
            Bridge: hearing.bridge,
            RecordStart: recorder.start,
            RecordStop: recorder.stop,
            RecordPause: recorder.pause,
            RecordResume: recorder.pause,
            Supervise: self._cannot,
            Confer: self._cannot,
        }

    def perform(self, command: Command, now: float) -> None:
        """Begin a command."""
        verb = command.verb
        if isinstance(verb, Originate) and verb.gateway:
            self._devices.stillborn(
                command.tenant, command.leg, command.key, Cause.REFUSED, "no gateways here", now, NOT_HERE
            )
            return
        if isinstance(verb, Originate):
            self._devices.originate(command.tenant, command.leg, command.key, verb, now)
            return
        leg = self._board.legs.get(command.leg)
        if leg is None or leg.tenant != command.tenant or isinstance(verb, _MOVES):
            self._late(command, now)
        elif isinstance(verb, HangUp):
            self._hang_up(leg, command.key, verb, now)
        elif isinstance(verb, Stop):
            self._hearing.stop(leg, command.key, now)
        elif leg.stage is Stage.FALLBACK:
            self._board.settle(leg.tenant, leg.id, command.key, now, "FALLBACK")
        elif leg.stage is not Stage.UP and not isinstance(verb, Answer | RecordStop):
            self._board.settle(leg.tenant, leg.id, command.key, now, "NOT_ANSWERED")
        else:
            self._handlers[type(verb)](leg, command.key, verb, now)

    def settle(self, command: Command, now: float) -> None:
        """Settle what was under way when an earlier life of this process died: its legs died too."""
        if isinstance(command.verb, Originate):
            # The phone may have rung; nobody can tell any more.
            settled = CommandSettled(command.key, Outcome.UNKNOWN, "NODE_RESTARTED")
            self._board.sink.emit(command.tenant, command.leg, settled, media_ms(now))
        else:
            self._late(command, now)

    def _late(self, command: Command, now: float) -> None:
        if isinstance(command.verb, _MOVES):
            self._board.settle(command.tenant, command.leg, command.key, now, NOT_HERE)
            return
        reason = "" if isinstance(command.verb, _HARMLESS_LATE) else "LEG_GONE"
        self._board.settle(command.tenant, command.leg, command.key, now, reason)

    def _answer(self, leg: Leg, key: str, verb: Answer, now: float) -> None:
        answered = leg.stage is Stage.UP or self._arrivals.answer(leg, now)
        self._board.settle(leg.tenant, leg.id, key, now, "" if answered else "LEG_GONE")

    def _cannot(self, leg: Leg, key: str, verb: Supervise | Confer, now: float) -> None:
        """Three in a call would have to be mixed."""
        self._board.settle(leg.tenant, leg.id, key, now, NOT_HERE)

    def _hang_up(self, leg: Leg, key: str, verb: HangUp, now: float) -> None:
        board, cause = self._board, verb.cause
        if leg.stage is Stage.ARRIVED:
            self._arrivals.turn_away(leg, cause, now)
        else:
            board.endpoint.hangup(leg.call, now, reason=reason_of(cause))
        if leg.stage is Stage.CALLING and cause is Cause.NORMAL:
            cause = Cause.CANCELED
        board.end(leg, cause, By.TANDEM, now)
        board.settle(leg.tenant, leg.id, key, now)
