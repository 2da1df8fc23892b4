"""One handler per verb of the `Media` port; a leg's commands begin in their order."""

from __future__ import annotations

from tandem.core.ports.media import (
    Answer,
    Bridge,
    Collect,
    Command,
    Confer,
    HandOut,
    HangUp,
    LetGo,
    Originate,
    Play,
    RecordPause,
    RecordResume,
    RecordStart,
    RecordStop,
    Stop,
    Supervise,
    TakeOver,
)
from tandem.media.freeswitch.arrivals import Arrivals
from tandem.media.freeswitch.board import Board
from tandem.media.freeswitch.conferring import Conferring
from tandem.media.freeswitch.devices import Devices
from tandem.media.freeswitch.hearing import Hearing
from tandem.media.freeswitch.leg import Leg, Stage
from tandem.media.freeswitch.moving import Moving
from tandem.media.freeswitch.numbers import Numbers
from tandem.media.freeswitch.recorder import Recorder
from tandem.media.freeswitch.supervising import Supervising

_HARMLESS_LATE = (HangUp, RecordStop, LetGo)
"""Verbs that have done their work when the leg is gone."""


class Verbs:
    """Begins commands. What a handler does not settle settles with what FreeSWITCH tells."""

    def __init__(
        self,
        board: Board,
        hearing: Hearing,
        arrivals: Arrivals,
        devices: Devices,
        numbers: Numbers,
        recorder: Recorder,
        supervising: Supervising,
        conferring: Conferring,
        moving: Moving,
    ) -> None:
        self._board = board
        self._recorder = recorder
        self._hearing = hearing
        self._arrivals = arrivals
        self._devices = devices
        self._numbers = numbers
        self._supervising = supervising
        self._conferring = conferring
        self._moving = moving

    def perform(self, command: Command, now: float) -> None:
        """Begin a command, or let it wait behind those of its leg."""
        board, verb = self._board, command.verb
        board.take(command)
        if isinstance(verb, Originate):
            (self._numbers if verb.gateway else self._devices).originate(command, verb, now)
            return
        if isinstance(verb, TakeOver):
            self._moving.take_over(command, now)
            return
        leg = board.legs.get(command.leg)
        if self._moving.follows(command):
            return
        if leg is None or leg.tenant != command.tenant:
            self.late(command, now)
        elif isinstance(verb, HangUp) and not _will_answer(leg):
            # It ends what waits before it too, and settles with the leg.
            board.kill(leg, verb.cause)
        elif isinstance(verb, LetGo):
            self._moving.let_go(leg, command, now)
        else:
            leg.queue.append(command)
            board.stir(leg)

    def late(self, command: Command, now: float) -> None:
        """The leg is gone, or was never there."""
        reason = "" if isinstance(command.verb, _HARMLESS_LATE) else "LEG_GONE"
        self._board.settle(command.tenant, command.leg, command.key, now, reason)

    def run(self, leg: Leg, now: float) -> None:
        """Begin what waits on the leg, as far as it can begin."""
        if (
            leg.begun is not None
            and isinstance(leg.begun.verb, Bridge)
            and leg.begun.verb.other not in self._board.legs
        ):
            self._hearing.not_joined(leg, leg.begun, leg.begun.verb, now, "OTHER_GONE")
        while leg.queue and self._free(leg):
            command = leg.queue.popleft()
            if self._board.is_open(leg.tenant, leg.id, command.key) and not self._begin(leg, command, now):
                leg.queue.appendleft(command)
                return

    def _free(self, leg: Leg) -> bool:
        board = self._board
        busy = leg.begun is not None or leg.asking or leg.hanging_up is not None
        return board.live and leg.id in board.legs and not busy

    def _begin(self, leg: Leg, command: Command, now: float) -> bool:
        verb = command.verb
        if isinstance(verb, HangUp):
            self._board.kill(leg, verb.cause)
        elif leg.stage is Stage.FALLBACK and not isinstance(verb, Stop | RecordStop):
            self._board.settle(leg.tenant, leg.id, command.key, now, "FALLBACK")
        elif leg.stage is not Stage.UP and not isinstance(verb, Answer | RecordStop | Stop):
            reason = "NOT_WAITING" if isinstance(verb, HandOut) else "NOT_ANSWERED"
            self._board.settle(leg.tenant, leg.id, command.key, now, reason)
        elif leg.stage is Stage.ARRIVED and not leg.taken:
            self._arrivals.take(leg)
            return False
        else:
            return self._do(leg, command, now)
        return True

    def _do(self, leg: Leg, command: Command, now: float) -> bool:
        match command.verb:
            case Answer():
                return self._arrivals.answer(leg, command, now)
            case Play() as verb:
                return self._hearing.play(leg, command, verb, now)
            case Collect() as verb:
                return self._hearing.collect(leg, command, verb, now)
            case Stop():
                return self._hearing.stop(leg, command, now)
            case Bridge() as verb:
                return self._hearing.bridge(leg, command, verb, now)
            case RecordStart() as verb:
                return self._recorder.start(leg, command, verb, now)
            case RecordStop() as verb:
                return self._recorder.stop(leg, command, verb, now)
            case Supervise() as verb:
                return self._supervising.supervise(leg, command, verb, now)
            case Confer() as verb:
                return self._conferring.confer(leg, command, verb, now)
            case HandOut():
                return self._moving.hand_out(leg, command, now)
            case RecordPause() | RecordResume() as verb:
                return self._recorder.pause(leg, command, verb, now)
            case _:
                raise TypeError(f"{type(command.verb).__name__} does not wait in a leg's queue")

    def overdue(self, leg: Leg, now: float) -> None:
        """The event of what had begun did not come."""
        command = leg.begun
        if command is None:
            return
        self._board.notice("SWITCH_SILENT", f"channel {leg.channel} did not tell the end of a command")
        if isinstance(command.verb, Bridge):
            self._hearing.not_joined(leg, command, command.verb, now, "SWITCH_SILENT")
            return
        self._board.settle_begun(leg, now, "SWITCH_SILENT")
        self._board.stir(leg)


def _will_answer(leg: Leg) -> bool:
    """Whether an `Answer` is under way: a caller who is to be answered and hung up on has not been refused."""
    return any(command is not None and isinstance(command.verb, Answer) for command in (leg.begun, *leg.queue))
