"""The built-in node on asyncio: sockets, the ticker, the clock."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterable, Iterator, Mapping

from tandem.core.ports.blobs import Blobs
from tandem.core.ports.clock import Clock
from tandem.core.ports.entropy import Entropy
from tandem.core.ports.media import Command, RecordingStored
from tandem.media.backend import LiveLeg, MergedDirectory, Row, Sink
from tandem.media.builtin.config import BuiltinConfig
from tandem.media.builtin.node import Node
from tandem.media.builtin.ports import RtpPorts
from tandem.media.builtin.spool import FileSpool
from tandem.media.builtin.stream import Address
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.media import NodeCounts
from tandem.runtime.telemetry.meters import Reading
from tandem.runtime.udp_driver import Socket, bind
from tandem.wire.sip.endpoint import Endpoint
from tandem.wire.sip.events import EndpointConfig
from tandem.wire.sip.guard import GuardCounters
from tandem.wire.wav import Audio

FRAME_S = 0.02
CATCH_UP_S = FRAME_S / 2
"""Between two frames of a ticker that was late,"""
PACED_S = 2 * FRAME_S
"""but by no more than this."""
SIP_BUFFER_BYTES = 1024 * 1024
"""Asked for the SIP socket: a burst waits here while the loop makes audio."""
ALARM_MIN_S = 0.001
"""The clock counts milliseconds; an alarm that came a little early waits for the next one."""


class PortTaken(Exception):
    """Another program has the SIP port; the text names the setting."""


class BuiltinNode:
    """A `Backend`. Made inside a running loop; `run` is a task of whoever made it.

    Datagrams leave in a turn of the loop after the call that caused them, and after anything
    that the sink scheduled in that call: so an agent has journalled what a phone is answered.
    """

    def __init__(
        self,
        config: BuiltinConfig,
        blobs: Blobs,
        entropy: Entropy,
        clock: Clock,
        prompts: Mapping[str, Audio],
        sink: Sink,
    ) -> None:
        """Takes the SIP port; phones are answered once `restore` was called. Raises `PortTaken`, OSError."""
        self._config = config
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._sip = _sip_socket(config, self._on_sip)
        self._rtp = RtpPorts(config.host, config.rtp_port_min, config.rtp_port_max, self._on_rtp)
        self._spool = FileSpool(config.spool_dir, blobs, self, config.upload_retry_max_s)
        endpoint = Endpoint(
            EndpointConfig(
                config.host,
                self._sip.port,
                calls_max=4 * config.capacity + 100,
                retry_after_s=config.retry_after_s,
            ),
            entropy.token,
        )
        self._node = Node(config, entropy, sink, endpoint, self._rtp, self._spool, prompts)
        self.counts = NodeCounts()
        self._open = False
        self._closed = False
        self._flushing: asyncio.Handle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at: float | None = None
        self._audible = asyncio.Event()

    @property
    def counters(self) -> GuardCounters:
        """What scanners and floods have sent and what became of it, since the node began."""
        return self._node.counters

    @property
    def sip_port(self) -> int:
        """The bound port."""
        return self._sip.port

    # ------------------------------------------------------------------ Backend

    def directory(self, directory: MergedDirectory) -> None:
        """See `Backend`."""
        self._node.directory(directory, self._now())
        self._flush_soon()

    def restore(self, rows: Iterable[Row], died_ms: int) -> None:
        """See `Backend`. From here on phones are answered."""
        self._node.restore(rows, died_ms, self._now())
        self._spool.sweep(self._node.recordings())
        self._open = True
        self._flush_soon()

    def perform(self, command: Command) -> None:
        """See `Backend`."""
        self._node.perform(command, self._now())
        self._flush_soon()

    def settle(self, command: Command) -> None:
        """See `Backend`."""
        self._node.settle(command, self._now())
        self._flush_soon()

    def owner_present(self, shard: int, present: bool) -> None:
        """See `Backend`."""
        self._node.owner_present(shard, present, self._now())
        self._flush_soon()

    def journal_away(self, away: bool) -> None:
        """See `Backend`."""
        self._node.journal_away(away, self._now())
        self._flush_soon()

    def drain(self, on: bool) -> None:
        """See `Backend`."""
        self._node.drain(on)

    def strangers(self) -> int:
        """See `Backend`. Emergency calls do not go out here."""
        return 0

    def let_go(self, legs: Iterable[LiveLeg]) -> None:
        """See `Backend`."""
        self._node.let_go(legs, self._now())
        self._flush_soon()

    def legs(self) -> tuple[LiveLeg, ...]:
        """See `Backend`."""
        return self._node.legs()

    def readings(self) -> Iterator[Reading]:
        """What the node holds and has counted, for `/metrics`."""
        yield from self.counts.readings()
        callers, legs, devices = self._node.load()
        yield Reading(names.MEDIA_LEGS, callers, ("in",))
        yield Reading(names.MEDIA_LEGS, legs - callers, ("out",))
        yield Reading(names.REGISTRATIONS, devices)
        yield Reading(names.RECORDINGS_OPEN, len(self._node.recordings()))
        yield Reading(names.SPOOL_BEHIND, self._spool.behind)

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        """Make audio and store recordings until cancelled; then `close`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._ticks())
            group.create_task(self._spool.run())

    def close(self) -> None:
        """After `run` was cancelled: say goodbye to every phone and give everything back.
        Recordings that are not stored yet will be by the next life. Idempotent."""
        if self._closed:
            return
        self._closed = True
        self._node.shut_down(self._now())
        self._flush()
        if self._alarm is not None:
            self._alarm.cancel()
        if self._flushing is not None:
            self._flushing.cancel()
        self._sip.close()
        self._rtp.close_all()
        self._spool.close()

    # ------------------------------------------------------------------ the spool's news

    def recording_begun(self, name: str) -> None:
        """See `spool.Told`."""
        self._node.recording_begun(name, self._now())
        self._flush_soon()

    def recording_stored(self, name: str, stored: RecordingStored) -> None:
        """See `spool.Told`."""
        self._node.recording_stored(name, stored, self._now())
        self._flush_soon()

    def recording_cut(self, name: str) -> None:
        """See `spool.Told`."""
        self._node.recording_cut(name)

    def recording_failed(self, name: str, reason: str) -> None:
        """See `spool.Told`."""
        self._node.recording_failed(name, reason, self._now())
        self._flush_soon()

    # ------------------------------------------------------------------ in and out

    def _now(self) -> float:
        return self._clock.boottime_ms() / 1000

    def _on_sip(self, port: int, data: bytes, source: Address) -> None:
        self.counts.received_sip(data)
        if self._open and self._node.sip(data, source, self._now()):
            self._flush_soon()

    def _on_rtp(self, port: int, data: bytes, source: Address) -> None:
        self.counts.rtp_received += 1
        if self._node.rtp(port, data, source, self._now()):
            self._flush_soon()

    def _on_alarm(self) -> None:
        self._alarm = self._alarm_at = None
        try:
            self._node.wake(self._now())
        finally:
            self._flush_soon()  # a fault in one timer must not stop the others

    def _flush_soon(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()  # to come after what was scheduled meanwhile
        self._flushing = None if self._closed else self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = None
        for data, target in self._node.take_sip():
            self._sip.send(data, target)
            self.counts.sent_sip(data)
        if self._node.audible:
            self._audible.set()
        if not self._closed:
            self._set_alarm()

    def _set_alarm(self) -> None:
        at = self._node.next_wakeup()
        if at == self._alarm_at:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = None if at is None else self._loop.call_later(max(ALARM_MIN_S, at - self._now()), self._on_alarm)

    # ------------------------------------------------------------------ audio

    async def _ticks(self) -> None:
        """A frame every 20 ms for all legs, on absolute deadlines. A ticker that is a little late catches up
        at twice the pace. One that is later (the process was not scheduled) sends at once what it missed,
        up to `catch_up_frames`, or it would fall behind for good; and skips what is older."""
        while True:
            await self._audible.wait()
            due = sent = self._clock.monotonic_s()
            while self._node.audible:
                await self._sleep_until(max(due, sent + CATCH_UP_S) if sent - due < PACED_S else due)
                sent = self._clock.monotonic_s()
                late_s = sent - due
                missed = max(0, int(late_s / FRAME_S) - self._config.catch_up_frames)
                self.counts.ticked(late_s, missed, self._send_frame(missed))
                due += FRAME_S * (1 + missed)
            self._audible.clear()

    async def _sleep_until(self, due: float) -> None:
        # Sleeping 0 lets sockets have a turn while it catches up.
        await asyncio.sleep(max(0.0, due - self._clock.monotonic_s()))

    def _send_frame(self, missed: int) -> int:
        now = self._now()
        sent = self._node.tick(now, missed)
        for port, data, target in sent:
            self._rtp.send(port, data, target)
        self._node.ticked(now)
        self._flush_soon()
        return len(sent)


def _sip_socket(config: BuiltinConfig, received: Callable[[int, bytes, Address], None]) -> Socket:
    try:
        bound = bind(config.host, config.sip_port)
        bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, SIP_BUFFER_BYTES)
        return Socket(bound, received)
    except OSError as error:
        raise PortTaken(
            f"UDP {config.host}:{config.sip_port} cannot be bound ({error.strerror}): "
            "stop the program that has it, or change sip.port"
        ) from error
