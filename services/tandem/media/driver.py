"""The media process: agent, journal, link server and a backend on one asyncio loop.

Everything that happens on the node ends in `_turn`, once per turn of the loop however much came
up in it: so what belongs together is written together.
"""

from __future__ import annotations

import asyncio
import gc
import logging
from collections.abc import Callable, Iterator, Mapping
from contextlib import AbstractAsyncContextManager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem.core.points import Points
from tandem.core.ports.clock import Clock
from tandem.core.ports.entropy import Entropy
from tandem.core.ports.media import MediaEvent, ToNode
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import KEPT_MAX, KEYS_MAX, AgentSettings
from tandem.media.backend import Backend, RowKind, Sink
from tandem.media.draining import Drained
from tandem.media.journal.disk import DiskStore, NoJournal, node_key
from tandem.media.journal.drain_note import DrainNote
from tandem.media.journal.file import Journal, open_journal
from tandem.media.journal.state import JournalState
from tandem.media.link.address import LinkAddress
from tandem.media.link.gateways import Reread
from tandem.media.link.serve import LinkServer
from tandem.media.turn import Outgoing, Turns
from tandem.runtime.media_codec import Close
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.media import MediaWatch
from tandem.runtime.telemetry.meters import Reading
from tandem.runtime.telemetry.shards import Instruments

_log = logging.getLogger(__name__)

JOURNAL_RETRY_S = 1.0
"""Pause before a journal that could not be written (a full disk) is tried again. Calls go on meanwhile."""

BEAT_MIN_S = 0.05
"""While the journal cannot be written its time stands still: then so often is often enough."""


@dataclass(frozen=True, slots=True)
class MediaSettings:
    """Settings of the media process that do not belong to its backend."""

    node: str
    """Name of this node, stable across restarts; owners number its events under it."""

    listen: LinkAddress
    """Where owners dial."""

    journal_file: Path
    """The journal; its directory is made if it is not there. One agent per file."""

    node_key_file: Path
    """See `media.journal.disk.node_key`."""

    allow_node_key_on_disk: bool = False
    """Take a node key that does not lie in memory."""

    keys_max: int = KEYS_MAX
    """See `AgentSettings`."""

    kept_max: int = KEPT_MAX
    """See `AgentSettings`."""

    sample_ratio: float = 0.0
    """See `AgentSettings`."""

    takes_over: bool = False
    """See `AgentSettings`."""


BuildBackend = Callable[[Sink], AbstractAsyncContextManager[Backend]]
"""Makes the backend and ends it. It is restored before the loop runs again after entering, so no
packet comes in between if entering awaits nothing after its sockets are bound."""


class MediaProcess:
    """Owns everything of one media node. Use `run`."""

    def __init__(
        self,
        settings: MediaSettings,
        clock: Clock,
        entropy: Entropy,
        points: Points,
        build: BuildBackend,
        instruments: Instruments | None = None,
        reread: Reread | None = None,
    ) -> None:
        """`reread` is what an operator may have done with the carriers; None where there are none."""
        self._settings = settings
        self._clock = clock
        self._entropy = entropy
        self._points = points
        self._build = build
        self._watch = MediaWatch(instruments or Instruments(clock), settings.node, settings.sample_ratio)
        self._server = LinkServer(settings.listen, self, clock.boottime_ms, self, reread)
        self._drain_note = DrainNote(settings.journal_file.with_name("drained"))
        self._scheduled: asyncio.Handle | None = None
        self._beat: asyncio.TimerHandle | None = None
        self._retry: asyncio.TimerHandle | None = None
        self._agent: MediaAgent
        self._backend: Backend
        self._turns: Turns

    async def run(self, ready: Callable[[], None] = lambda: None) -> None:
        """Until cancelled; `ready` is called when phones and owners can come.

        Raises `BadNodeKey`, `JournalInUse`, `NoJournal`, `UnsafeLink`, and what the backend raises.
        """
        settings = self._settings
        key = node_key(settings.node_key_file, self._entropy.secret, allow_on_disk=settings.allow_node_key_on_disk)
        with self._store() as store, self._beating():
            journal, state, anew = self._opened(store, key)
            if anew:
                _log.warning(
                    "journal of node %s begins anew, incarnation %s: %s", settings.node, state.incarnation, anew
                )
            who = AgentSettings(
                settings.node, self._clock.boot_id(), settings.keys_max, settings.kept_max, settings.sample_ratio,
                takes_over=settings.takes_over,
            )  # fmt: skip
            self._agent = MediaAgent(who, state)
            try:
                async with self._build(self) as backend:
                    self._backend = backend
                    self._turns = Turns(self._agent, state, journal, backend, self._points)
                    self._agent.start(self._clock.boottime_ms())
                    self._drain_again(anew)
                    self._turn()
                    self._note_drain()
                    await self._serve(ready)
            finally:
                if self._scheduled is not None:
                    self._turn()  # what the backend told as it ended

    async def _serve(self, ready: Callable[[], None]) -> None:
        try:
            await self._server.start()
            # What was loaded lives on: a collection need not walk over it while calls are up.
            gc.freeze()
            ready()
            await asyncio.get_running_loop().create_future()
        finally:
            await self._server.stop()

    def _store(self) -> DiskStore:
        path = self._settings.journal_file
        try:
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            return DiskStore(path)
        except OSError as error:
            raise NoJournal(path, error) from error

    def _opened(self, store: DiskStore, key: bytes) -> tuple[Journal, JournalState, str]:
        try:
            return open_journal(store, key, self._entropy.secret, self._entropy.token())
        except OSError as error:
            raise NoJournal(self._settings.journal_file, error) from error

    def readings(self) -> Iterator[Reading]:
        """What the agent holds, for `/metrics`; once it is `ready`."""
        owners, kept, keys = self._agent.load()
        yield Reading(names.OWNERS_LINKED, owners)
        yield Reading(names.EVENTS_KEPT, kept)
        yield Reading(names.KEYS_KEPT, keys)
        yield Reading(names.DRAINING, int(self._agent.draining))
        yield Reading(names.JOURNAL_AWAY, int(self._turns.journal_away))

    @property
    def link_port(self) -> int:
        """The TCP port that owners dial, once `ready` was called."""
        return self._server.port

    # ------------------------------------------------------------------------------ the sink

    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        """See `media.backend.Sink`."""
        self._watch.emitted(tenant, leg, body)
        self._agent.emit(tenant, leg, body, media_time_ms)
        self._soon()

    def remember(self, kind: RowKind, id: str, value: Mapping[str, Any] | None) -> None:
        """See `media.backend.Sink`."""
        self._agent.remember(kind, id, value)
        self._soon()

    # ------------------------------------------------------------------------------ the links

    def heard(self, frames: list[tuple[str, ToNode | Close]]) -> None:
        """See `media.link.serve.Listener`."""
        now_ms = self._clock.boottime_ms()
        for link, frame in frames:
            if isinstance(frame, Close):
                self._agent.link_closed(link)
            else:
                self._watch.heard(frame)
                self._agent.receive(link, frame, now_ms)
        self._turn()

    def lost(self, links: tuple[str, ...], reason: str) -> None:
        """See `media.link.serve.Listener`."""
        _log.info("link %s lost: %s", ", ".join(links), reason)
        for link in links:
            self._agent.link_closed(link)
        self._soon()

    # ------------------------------------------------------------------------------ the operator

    @property
    def node(self) -> str:
        """See `media.link.drains.Drains`."""
        return self._settings.node

    @property
    def draining(self) -> bool:
        """See `media.link.drains.Drains`."""
        return self._agent.draining

    def drain(self, on: bool, within_ms: int | None) -> bool:
        """See `media.link.drains.Drains`."""
        self._agent.drain(on, within_ms, self._clock.boottime_ms())
        self._turn()
        self._note_drain()
        return not self._turns.journal_away

    def _drain_again(self, anew: str) -> None:
        """What the journal knew of it is gone; the host knows it."""
        if anew and self._drain_note.stands:
            self._agent.drain(True, None, self._clock.boottime_ms())

    def _note_drain(self) -> None:
        try:
            self._drain_note.write(self._agent.draining)
        except OSError as error:
            _log.error("whether the node is drained cannot be written (%s): after a boot of the host it is not", error)

    def drained(self) -> tuple[Drained, int]:
        """See `media.link.drains.Drains`."""
        return self._agent.drained(self._backend.legs(), self._backend.strangers()), self._clock.boottime_ms()

    # ------------------------------------------------------------------------------ the turn

    def _soon(self) -> None:
        if self._scheduled is None:
            self._scheduled = asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        if self._scheduled is not None:
            self._scheduled.cancel()
            self._scheduled = None
        now_ms = self._clock.boottime_ms()
        self._agent.beat(now_ms)
        self._agent.look(now_ms)
        out = self._turns.run(now_ms)
        for link, frame in out.sends:
            self._server.send(link, frame)
        for link, reason in out.closes:
            self._server.close(link, reason)
        self._server.flush()
        self._watch.turned()
        for notice in out.notices:
            _log.warning("%s: %s", notice.reason, notice.detail)
        for fault in out.faults:
            _log.error("the backend failed in a call", exc_info=fault)
        self._watch_journal(out)
        self._beat_later(now_ms)

    def _watch_journal(self, out: Outgoing) -> None:
        """Tell the operator once, and try again after a while; what comes up meanwhile tries too."""
        error, was_away = out.journal_error, self._retry is not None
        if error is not None and not was_away:
            _log.error(
                "journal %s cannot be written, so new calls are refused and events wait: %s; free space on its disk",
                self._settings.journal_file,
                error,
            )
            self._retry = asyncio.get_running_loop().call_later(JOURNAL_RETRY_S, self._write_again)
        elif error is None and self._retry is not None:
            _log.warning("journal %s can be written again", self._settings.journal_file)
            self._retry.cancel()
            self._retry = None

    def _write_again(self) -> None:
        self._retry = asyncio.get_running_loop().call_later(JOURNAL_RETRY_S, self._write_again)
        self._turn()

    @contextmanager
    def _beating(self) -> Iterator[None]:
        """Time is written while the block runs."""
        try:
            yield
        finally:
            for alarm in (self._beat, self._retry):
                if alarm is not None:
                    alarm.cancel()

    def _beat_later(self, now_ms: int) -> None:
        """Many turns write the time by themselves; one alarm looks after the others."""
        at_ms = self._agent.beat_ms
        if at_ms is not None and self._beat is None:
            delay_s = max(BEAT_MIN_S, (at_ms - now_ms) / 1000)
            self._beat = asyncio.get_running_loop().call_later(delay_s, self._on_beat)

    def _on_beat(self) -> None:
        self._beat = None
        self._turn()
