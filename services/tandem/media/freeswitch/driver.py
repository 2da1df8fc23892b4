"""The FreeSWITCH node on asyncio: the event socket, the look-ups of accounts, the clock. It decides nothing."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tandem.core.ports.clock import Clock
from tandem.core.ports.media import Command, RecordingStored
from tandem.media.backend import GatewaysRead, LiveLeg, MergedDirectory, Row, Sink
from tandem.media.builtin.spool import FileSpool
from tandem.media.freeswitch.accounts import accounts
from tandem.media.freeswitch.config import FreeswitchConfig
from tandem.media.freeswitch.files import Files, Records, Tapes
from tandem.media.freeswitch.gateway_files import GatewayFiles
from tandem.media.freeswitch.gateways import Gateway
from tandem.media.freeswitch.node import Node
from tandem.media.freeswitch.recovery import Recovery
from tandem.media.freeswitch.socket_driver import EslSocket, connected
from tandem.runtime.retry_driver import Retry
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.meters import Reading
from tandem.wire import esl

_log = logging.getLogger(__name__)

RETRY_FIRST_S, RETRY_MAX_S = 0.1, 2.0
"""Pauses between attempts to connect. The switch is on this host: to ask it costs nothing."""
FRAMES_AT_ONCE = 200
"""Worked off before the loop's other work has its turn: some 10 ms."""
ALARM_MIN_S = 0.001
"""The clock counts milliseconds; an alarm that came a little early waits for the next one."""


class LookupPortTaken(Exception):
    """Another program has the port of the accounts' look-ups; the text names the setting."""


@dataclass(frozen=True, slots=True)
class Switch:
    """Where FreeSWITCH is."""

    host: str
    port: int
    """Of its event socket."""
    lookup_host: str
    lookup_port: int
    """Where it asks for accounts: its `directory_url`."""


class FreeswitchNode:
    """A `Backend`. Made inside a running loop; `run` is a task of whoever made it.

    Commands leave in a turn of the loop after the call that caused them, and after anything that
    the sink scheduled in that call: so an agent has journalled what the switch is told.
    """

    def __init__(
        self,
        config: FreeswitchConfig,
        switch: Switch,
        password: str,
        prompts: Mapping[str, str],
        files: Files,
        clock: Clock,
        sink: Sink,
        gateways: Sequence[Gateway] = (),
    ) -> None:
        """Raises OSError if a directory cannot be made, and `ForeignFile`."""
        self._switch = switch
        self._clock = clock
        self._loop = asyncio.get_running_loop()
        self._gateways = {gateway.name: gateway for gateway in gateways}
        self._node = Node(config, sink, prompts, password, self._gateways, _first_put(files, gateways))
        self._files = files
        self._spool = FileSpool(files.spool_dir, files.blobs, self, files.upload_retry_max_s)
        self._tapes = Tapes(files, Path(config.recordings_dir), self._spool)
        self._records = Records(files.cdr_dir)
        self._recovery = Recovery(files.insert)
        self._directory: MergedDirectory | None = None
        self._accounts = accounts(switch.lookup_host, switch.lookup_port, lambda: self._directory)
        self._restored = asyncio.Event()
        self._socket: EslSocket | None = None
        self._reader = esl.EslReader()
        self._ended = asyncio.Event()
        self._working: asyncio.Handle | None = None
        self._flushing: asyncio.Handle | None = None
        self._alarm: asyncio.TimerHandle | None = None
        self._alarm_at: float | None = None
        self._wake_after: int | None = None
        """An alarm waits until so many pieces were taken: what came before it is worked off before it."""
        self._frames = 0

    async def open(self) -> None:
        """Answer look-ups, so that phones can register as soon as the directory is known. Raises `LookupPortTaken`."""
        try:
            await self._accounts.open()
        except OSError as error:
            place = f"{self._switch.lookup_host}:{self._switch.lookup_port}"
            raise LookupPortTaken(
                f"TCP {place} cannot be bound ({error.strerror}): stop the program that has it, or change "
                "media.freeswitch.lookup_port and FreeSWITCH's directory_url"
            ) from error

    # ------------------------------------------------------------------ Backend

    def directory(self, directory: MergedDirectory) -> None:
        """See `Backend`."""
        self._directory = directory
        self._node.directory(directory, self._now())
        self._flush_soon()

    def restore(self, rows: Iterable[Row], died_ms: int) -> None:
        """See `Backend`. The switch is connected to in a later turn, when the agent has given all that is open."""
        self._node.restore(rows, died_ms, self._now())
        self._tapes.sweep(self._node.recordings())
        self._restored.set()
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
        self._flush_soon()

    def change_gateways(self, gateways: Sequence[Gateway]) -> GatewaysRead:
        """Call through these from now on; who talks through others goes on. Raises `ForeignFile`, OSError, both
        before anything is changed."""
        tokens = _put(self._files, gateways)
        before, self._gateways = self._gateways, {gateway.name: gateway for gateway in gateways}
        self._node.change_gateways(self._gateways, tokens, self._now())
        self._flush_soon()
        return GatewaysRead.between(before, self._gateways)

    def strangers(self) -> int:
        """See `Backend`."""
        return self._node.strangers()

    def let_go(self, legs: Iterable[LiveLeg]) -> None:
        """See `Backend`."""
        self._node.let_go(legs, self._now())
        self._flush_soon()

    def legs(self) -> tuple[LiveLeg, ...]:
        """See `Backend`."""
        return self._node.legs()

    def readings(self) -> Iterator[Reading]:
        """What the node holds and has counted, for `/metrics`."""
        callers, legs, devices = self._node.load()
        yield Reading(names.MEDIA_LEGS, callers, ("in",))
        yield Reading(names.MEDIA_LEGS, legs - callers, ("out",))
        yield Reading(names.REGISTRATIONS, devices)
        yield Reading(names.RECORDINGS_OPEN, len(self._node.recordings()))
        yield Reading(names.SPOOL_BEHIND, self._spool.behind)
        yield Reading(names.SWITCH_READY, int(self._node.ready))
        yield Reading(names.SWITCH_FRAMES, self._frames)
        yield Reading(names.SWITCH_BEHIND, self._socket.frames if self._socket is not None else 0)
        for gateway, up in self._node.gateways():
            yield Reading(names.GATEWAY_UP, int(up), (gateway,))

    # ------------------------------------------------------------------ life

    async def run(self) -> None:
        """Keep connected, and store recordings, until cancelled; then `close`."""
        async with asyncio.TaskGroup() as group:
            group.create_task(self._spool.run())
            group.create_task(self._keep_connected())

    async def _keep_connected(self) -> None:
        await self._restored.wait()
        retry = Retry(RETRY_FIRST_S, RETRY_MAX_S)
        reachable = True
        while True:
            try:
                link = await connected(self._switch.host, self._switch.port)
            except OSError as error:
                if reachable:
                    place = f"{self._switch.host}:{self._switch.port}"
                    _log.warning("FreeSWITCH cannot be reached at %s (%s): it is tried again until it is", place, error)
                reachable = False
                self._node.refused(self._now())
                self._flush_soon()
            else:
                reachable = True
                self._records.sweep()
                if await self._talk(EslSocket(link, self._work)):
                    retry.reset()
            await retry.pause()

    async def _talk(self, link: EslSocket) -> bool:
        """Until the connection ends; whether the switch had let us in."""
        self._socket, self._reader = link, esl.EslReader()
        self._ended.clear()
        welcome = False
        try:
            await self._ended.wait()
            welcome = self._node.ready
            _log.warning("the connection to FreeSWITCH has ended")
        finally:
            self._socket = None
            link.close()
            self._node.lost(self._now())
            self._wake_after = None
            self._alarm_at = None
            self._flush_soon()
        return welcome

    async def close(self) -> None:
        """After `run` was cancelled: give everything back. The calls live on in the switch. Idempotent."""
        for handle in (self._working, self._flushing, self._alarm):
            if handle is not None:
                handle.cancel()
        await self._accounts.close()
        self._records.close()
        self._recovery.close()
        self._spool.close()

    # ------------------------------------------------------------------ the spool's news

    def recording_begun(self, name: str) -> None:
        """See `spool.Told`: FreeSWITCH began it."""

    def recording_cut(self, name: str) -> None:
        """See `spool.Told`: what is sealed is whole already."""

    def recording_stored(self, name: str, stored: RecordingStored) -> None:
        """See `spool.Told`."""
        self._tapes.drop(name)
        self._node.recording_stored(name, stored, self._now())
        self._flush_soon()

    def recording_failed(self, name: str, reason: str) -> None:
        """See `spool.Told`."""
        self._tapes.drop(name)
        self._node.recording_failed(name, reason, self._now())
        self._flush_soon()

    def _found_record(self, channel: str, record: esl.Event | None) -> None:
        self._node.record(channel, record, self._now())
        self._flush_soon()

    def _written(self, channel: str, error: str) -> None:
        self._node.written(channel, error, self._now())
        self._flush_soon()

    # ------------------------------------------------------------------ in

    def _now(self) -> float:
        return self._clock.boottime_ms() / 1000

    def _work(self) -> None:
        """Work off what came, a little at a time."""
        self._working = None
        link = self._socket
        if link is None:
            return
        self._node.backlog(link.frames, self._now())
        done = 0
        while done < FRAMES_AT_ONCE and (data := link.take()) is not None:
            done += self._take_in(data)
        self._node.backlog(link.frames, self._now())
        if self._wake_after is not None and link.taken >= self._wake_after:
            self._wake_after = None
            self._wake()
        if link.over:
            self._ended.set()
        elif link.received > link.taken:
            self._working = self._loop.call_soon(self._work)
        self._flush_soon()

    def _take_in(self, data: bytes) -> int:
        frames = self._reader.receive_data(data)
        now = self._now()
        for frame in frames:
            try:
                self._node.frame(frame, now)
            except Exception:  # noqa: BLE001 - as in `media.turn`
                # One call's fault must not end the others' calls, nor the answers that are still to come.
                _log.exception("a frame of FreeSWITCH could not be worked off")
        self._frames += len(frames)
        return len(frames)

    def _on_alarm(self) -> None:
        self._alarm = self._alarm_at = None
        link = self._socket
        if link is not None and link.more:
            # An answer that has come counts, though nobody looked at it before the limit.
            self._wake_after = max(link.received, link.taken + 1)
        else:
            self._wake()

    def _wake(self) -> None:
        try:
            self._node.wake(self._now())
        finally:
            self._flush_soon()  # a fault in one timer must not stop the others

    # ------------------------------------------------------------------ out

    def _flush_soon(self) -> None:
        if self._flushing is not None:
            self._flushing.cancel()  # to come after what was scheduled meanwhile
        self._flushing = self._loop.call_soon(self._flush)

    def _flush(self) -> None:
        self._flushing = None
        out = self._node.take()
        for notice in out.notices:
            _log.warning("%s: %s", notice.reason, notice.detail)
        for seal in out.seals:
            self._tapes.seal(seal)
        for channel in out.records:
            self._records.find(channel, self._found_record)
        self._records.spent(out.spent)
        for row in out.rows:
            self._recovery.write(row, self._written)
        link = self._socket
        if link is not None:
            if out.data:
                link.send(b"".join(out.data))
            if out.close:
                link.give_up()
        self._set_alarm()

    def _set_alarm(self) -> None:
        at = self._node.next_wakeup()
        if at == self._alarm_at or self._wake_after is not None:
            return
        if self._alarm is not None:
            self._alarm.cancel()
        self._alarm_at = at
        self._alarm = None if at is None else self._loop.call_later(max(ALARM_MIN_S, at - self._now()), self._on_alarm)


def _put(files: Files, gateways: Sequence[Gateway]) -> Mapping[str, str] | None:
    """The versions of the gateways' files; None where nobody writes them. Raises `ForeignFile`, OSError."""
    return None if files.gateways_dir is None else GatewayFiles(files.gateways_dir, files.entropy).put(gateways)


def _first_put(files: Files, gateways: Sequence[Gateway]) -> Mapping[str, str] | None:
    """The same; None, too, if they cannot be written, which is no reason to take no calls. Raises `ForeignFile`."""
    try:
        return _put(files, gateways)
    except OSError as error:
        _log.error("gateways in %s cannot be written (%s): FreeSWITCH keeps those it has", files.gateways_dir, error)
        return None
