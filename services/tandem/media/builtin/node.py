"""The built-in node, sans I/O: SIP, RTP and commands in; datagrams, events and rows out."""

from __future__ import annotations

import logging
from collections.abc import Callable, Iterable, Mapping
from typing import Any

from tandem.core.ports.entropy import Entropy
from tandem.core.ports.media import (
    By,
    Cause,
    Command,
    RecordingStored,
    contact_of,
)
from tandem.media.backend import LiveLeg, MergedDirectory, Row, RowKind, Sink
from tandem.media.builtin import plane
from tandem.media.builtin.arrivals import Arrivals
from tandem.media.builtin.board import Board, Ports, Spool
from tandem.media.builtin.causes import ended, reason_of
from tandem.media.builtin.config import BuiltinConfig
from tandem.media.builtin.devices import Devices
from tandem.media.builtin.hearing import Hearing
from tandem.media.builtin.leg import Leg, Stage
from tandem.media.builtin.recorder import Recorder
from tandem.media.builtin.registrations import Registrations
from tandem.media.builtin.restart import Restart
from tandem.media.builtin.stream import Address
from tandem.media.builtin.talks import Talks
from tandem.media.builtin.verbs import Verbs
from tandem.wire.sip.endpoint import Endpoint
from tandem.wire.sip.events import (
    CallAnswered,
    CallArrived,
    CallConfirmed,
    CallEnded,
    CallProgress,
    CancelSent,
    DatagramRefused,
    DigitReceived,
    InviteSettled,
    OfferReceived,
    RegisterArrived,
)
from tandem.wire.sip.guard import Admission, Guard, GuardCounters
from tandem.wire.wav import Audio as Clip

_log = logging.getLogger(__name__)


class Node:
    """Everything that the built-in node decides. `now` is CLOCK_BOOTTIME in seconds.

    After each call the driver sends `take_sip()`, and asks `next_wakeup()` again.
    """

    def __init__(
        self,
        config: BuiltinConfig,
        entropy: Entropy,
        sink: Sink,
        endpoint: Endpoint,
        ports: Ports,
        spool: Spool,
        prompts: Mapping[str, Clip],
    ) -> None:
        guard = Guard(config.guard, endpoint.is_ours)
        self._board = Board(config, entropy, sink, endpoint, ports, spool, prompts, guard)
        self._registrations = Registrations(self._board)
        self._restart = Restart(self._board)
        self._hearing = Hearing(self._board)
        self._talks = Talks(self._board, self._hearing)
        self._recorder = Recorder(self._board)
        self._arrivals = Arrivals(self._board)
        self._devices = Devices(self._board, self._registrations)
        self._verbs = Verbs(self._board, self._hearing, self._arrivals, self._devices, self._recorder)
        self._handlers: dict[type, Callable[[Any, float], None]] = {
            CallArrived: self._arrivals.arrived,
            CallProgress: self._of_leg(self._devices.progress),
            CallAnswered: self._of_leg(self._devices.answered),
            CallConfirmed: self._of_leg(self._talks.confirmed),
            CallEnded: self._of_leg(self._call_ended),
            CancelSent: self._board.goodbyes.heard,
            InviteSettled: self._board.goodbyes.settled,
            OfferReceived: self._of_leg(self._talks.offered),
            DigitReceived: self._of_leg(self._talks.digit_by_info),
            RegisterArrived: self._registrations.arrived,
            DatagramRefused: self._malformed,
        }
        self._tick = plane.Tick()
        endpoint.set_screen(self._arrivals.screen)
        self._due: dict[str, Callable[[Leg, float], None]] = {
            "ring": self._devices.ring_limit,
            "fallback": self._arrivals.fall_back,
            "collect": self._hearing.time_up,
            "media": self._talks.silent,
        }
        self._show_readiness()

    # ------------------------------------------------------------------ from the agent

    def directory(self, directory: MergedDirectory, now: float) -> None:
        """Replace what is known; devices that are gone are unregistered."""
        self._board.directory = directory
        self._registrations.directory(directory, now)
        self._show_readiness()

    def restore(self, rows: Iterable[Row], died_ms: int, now: float) -> None:
        """What an earlier life left, which ended at `died_ms`: its legs are lost, its registrations
        and recordings are kept."""
        kept = list(rows)
        for row in kept:
            if row.kind is RowKind.LEG:
                self._restart.lost(row.id, row.value, died_ms, now)
            elif row.kind is RowKind.GOODBYE:
                self._restart.say_goodbye(row.id, row.value, now)
            elif row.kind is RowKind.RECORDING:
                self._recorder.restore(row.id, row.value)
        self._registrations.restore([row for row in kept if row.kind is RowKind.REGISTRATION], now)

    def perform(self, command: Command, now: float) -> None:
        """Begin a command."""
        self._verbs.perform(command, now)
        self._take_events(now)

    def settle(self, command: Command, now: float) -> None:
        """Settle a command of an earlier life."""
        self._verbs.settle(command, now)

    def owner_present(self, shard: int, present: bool, now: float) -> None:
        """An owner came, or the last one went."""
        if present:
            self._board.owners.add(shard)
        else:
            self._board.owners.discard(shard)
        self._arrivals.owner_present(shard, present, now)

    def journal_away(self, away: bool, now: float) -> None:
        """Nothing can be told, or it can again."""
        board = self._board
        board.journal_away = away
        if away:
            for leg in [leg for leg in board.legs.values() if leg.stage is Stage.ARRIVED]:
                self._arrivals.let_go(leg, now)
            for leg in [leg for leg in board.legs.values() if leg.stage is Stage.CALLING]:
                board.give_up(leg, Cause.REFUSED, now, "the journal cannot be written")
        self._show_readiness()

    def drain(self, on: bool) -> None:
        """Take no new callers, or take them again."""
        self._board.draining = on
        self._show_readiness()

    def let_go(self, legs: Iterable[LiveLeg], now: float) -> None:
        """End the legs of callers who have waited long enough."""
        for live in legs:
            leg = self._board.legs.get(live.leg)
            if leg is not None and leg.tenant == live.tenant:
                self._lose(leg, now, "the node is drained")

    def recordings(self) -> tuple[str, ...]:
        """The blobs' names of recordings that are not stored yet."""
        return tuple(self._board.recordings)

    def legs(self) -> tuple[LiveLeg, ...]:
        """All legs that an owner may command, in the order in which they began."""
        return tuple(
            LiveLeg(
                leg.tenant, leg.shard, leg.id, leg.inbound and leg.peer is None, leg.inbound and leg.peer is not None
            )
            for leg in self._board.legs.values()
        )

    def load(self) -> tuple[int, int, int]:
        """(inbound legs, all legs, registered devices)."""
        return self._board.callers(), len(self._board.legs), self._registrations.count

    # ------------------------------------------------------------------ from the driver

    def take_sip(self) -> list[tuple[bytes, Address]]:
        """SIP datagrams to send."""
        return self._restart.take_datagrams() + self._board.endpoint.take_datagrams()

    def next_wakeup(self) -> float | None:
        """When `wake` is wanted."""
        wanted = [at for at in (self._board.endpoint.next_wakeup(), self._board.timers.next()) if at is not None]
        return min(wanted, default=None)

    def wake(self, now: float) -> None:
        """Fire what is due."""
        self._board.endpoint.tick(now)
        self._take_events(now)
        while (name := self._board.timers.pop(now)) is not None:
            if name.what == "goodbye":
                self._board.goodbyes.forget(name.of)
            elif name.what == "expire":
                self._registrations.expire(name.of, now)
            elif name.what == "repeat":
                self._restart.repeat(name.of, now)
            elif (leg := self._board.legs.get(name.of)) is not None:
                self._due[name.what](leg, now)
        self._take_events(now)

    def sip(self, data: bytes, source: Address, now: float) -> bool:
        """A datagram on the SIP port. False if it was dropped unread: nothing has changed."""
        match self._board.guard.admit(data, source, now):
            case Admission.DROP:
                return False
            case Admission.REFUSE:
                self._board.endpoint.refuse(data, source)
            case Admission.CALL | Admission.NEW:
                self._board.endpoint.receive(data, source, now)
                self._take_events(now)
        return True

    @property
    def counters(self) -> GuardCounters:
        """What scanners and floods have sent and what became of it."""
        return self._board.guard.counters

    def rtp(self, port: int, data: bytes, source: Address, now: float) -> bool:
        """A datagram on a leg's RTP port. True if it was more than audio, and something may
        have been told."""
        leg = self._board.legs.get(self._board.leg_of_port.get(port, ""))
        digit = leg.stream.receive(data, source, now) if leg is not None and leg.stream is not None else None
        if leg is None or digit is None:
            return False
        self._hearing.digit(leg, digit, now)
        return True

    @property
    def audible(self) -> bool:
        """Whether ticks are needed."""
        return any(leg.stream is not None for leg in self._board.legs.values())

    def tick(self, now: float, missed: int = 0) -> list[plane.Sent]:
        """Make 20 ms of audio; `missed` frames before it are skipped. What is to be sent; then call `ticked`."""
        tick = self._tick = plane.Tick()
        if missed:
            plane.skip(self._board.legs, missed, tick)
        plane.play(self._board.legs, tick)
        return tick.sent

    def ticked(self, now: float) -> None:
        """What could wait until the frame was on its way: recordings, and what has ended with it."""
        tick, self._tick = self._tick, plane.Tick()
        plane.record(tick)
        for name, chunk in tick.taped:
            self._board.spool.append(name, chunk)
        for over in tick.over:
            leg = self._board.legs.get(over)
            if leg is not None and leg.stage is Stage.FALLBACK:
                self._arrivals.apologised(leg, now)
            elif leg is not None:
                self._hearing.playlist_over(leg, now)
        for broken, error in dict(tick.broken).items():
            leg = self._board.legs.get(broken)
            if leg is not None:
                extra = {"contact": contact_of(broken)}
                _log.error("the audio of leg %s failed, it is hung up", broken, exc_info=error, extra=extra)
                self._board.give_up(leg, Cause.FAILED, now, "audio fault")

    def recording_begun(self, name: str, now: float) -> None:
        """The spool has made the file."""
        self._recorder.begun(name, now)

    def recording_stored(self, name: str, stored: RecordingStored, now: float) -> None:
        """The spool has stored it."""
        self._recorder.stored(name, stored, now)

    def recording_cut(self, name: str) -> None:
        """The spool could not go on with it."""
        self._recorder.cut(name)

    def recording_failed(self, name: str, reason: str, now: float) -> None:
        """The spool could not."""
        self._recorder.failed(name, reason, now)

    def shut_down(self, now: float) -> None:
        """The process is about to end: say so to every phone, as a death would not."""
        for leg in list(self._board.legs.values()):
            self._lose(leg, now, "the node was stopped")

    def _lose(self, leg: Leg, now: float, detail: str) -> None:
        board = self._board
        if leg.stage is Stage.ARRIVED:
            board.endpoint.reject(leg.call, 503, now, reason=reason_of(Cause.MEDIA_LOST))
            board.end(leg, Cause.MEDIA_LOST, By.NODE, now, detail)
        else:
            board.give_up(leg, Cause.MEDIA_LOST, now, detail)

    # ------------------------------------------------------------------ from SIP

    def _take_events(self, now: float) -> None:
        while events := self._board.endpoint.take_events():
            for event in events:
                handler = self._handlers.get(type(event))
                if handler is not None:
                    handler(event, now)
        self._show_readiness()

    def _malformed(self, event: DatagramRefused, now: float) -> None:
        self._board.guard.counters.failures_malformed += 1
        self._board.guard.failed(event.source, now)

    def _of_leg(self, handler: Callable[[Leg, Any, float], None]) -> Callable[[Any, float], None]:
        """Calls that are no leg (any more) are none of our business."""

        def found(event: Any, now: float) -> None:
            leg = self._board.legs.get(self._board.leg_of_call.get(event.call, ""))
            if leg is not None:
                handler(leg, event, now)

        return found

    def _show_readiness(self) -> None:
        """OPTIONS steers new calls: 503 while none can be taken."""
        board = self._board
        open_ = board.directory is not None and not board.journal_away and not board.draining
        ready = open_ and board.callers() < board.config.capacity
        board.endpoint.set_options_status(200 if ready else 503)

    def _call_ended(self, leg: Leg, event: CallEnded, now: float) -> None:
        cause, by, detail = ended(event, rang=leg.rang_since is not None)
        if leg.stage is Stage.FALLBACK:
            cause = Cause.FALLBACK
        self._board.end(leg, cause, by, now, detail)
