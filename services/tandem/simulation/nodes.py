"""A media node: the production agent with its journal over the scripted backend."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping
from dataclasses import dataclass
from typing import Any

from tandem.core.ports.media import Event, Hello, MediaEvent, RecordingStored, Welcome
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import UNDER_WAY_MAX, AgentSettings
from tandem.media.backend import RowKind
from tandem.media.journal.file import MemoryStore, open_journal
from tandem.media.link.agent_end import AgentStream
from tandem.media.link.stream import StreamFault
from tandem.media.turn import Turns
from tandem.runtime.media_codec import Close
from tandem.simulation.chance import SeededEntropy
from tandem.simulation.hosts import Host
from tandem.simulation.lines import Line
from tandem.simulation.scheduler import Scheduler
from tandem.simulation.scripted_media import Party, ScriptedMedia
from tandem.simulation.traps import Died, Trap

JOURNAL_RETRY_MS = 1_000
NODE_KEY = bytes(range(32))
NEVER_BEHIND_MS = 3_600_000
"""Whom the agent refuses because their tenant is behind has no contact, and so no outcome to look at."""
TRACED = 0.25
"""The part of the contacts that are traced: a trace goes over takeovers, snapshots and groups."""


class NodeStore(MemoryStore):
    """The journal's bytes. `tear_at` kills in the middle of the next write, so many bytes into it;
    `full` refuses writes."""

    tear_at: int | None = None
    full: bool = False

    def append(self, data: bytes) -> None:
        """See `JournalStore`."""
        if self.full:
            raise OSError("no space left on the disk of the journal")
        if self.tear_at is not None:
            self.data += data[: self.tear_at % len(data)]
            self.tear_at = None
            raise Died
        super().append(data)


@dataclass(slots=True)
class _Link:
    """A stream of one control process."""

    stream: AgentStream
    line: Line


@dataclass(slots=True)
class NodeKinds:
    """The classes that a node is made of; tests plant others."""

    agent: type[MediaAgent] = MediaAgent
    backend: type[ScriptedMedia] = ScriptedMedia


class MediaNode:
    """One node. `died` is told of its death, which drops agent and backend and keeps the journal, and of
    the events that went with the journal.
    `dies_alone`: the next trap kills the agent and leaves the calls."""

    def __init__(
        self,
        name: str,
        host: Host,
        entropy: SeededEntropy,
        party: Party,
        died: Callable[[Collection[Event]], None],
        kinds: NodeKinds,
    ) -> None:
        self.name, self.host, self.store = name, host, NodeStore()
        self.incarnations = 0
        self.capacity = 50
        self.under_way_max = UNDER_WAY_MAX
        self.up = False
        self.dies_alone = False
        self.media: ScriptedMedia | None = None
        self.points = Trap()
        self._scheduler: Scheduler = host.scheduler
        self._entropy, self._party, self._died, self._kinds = entropy, party, died, kinds
        self.welcomed: Callable[[Hello, str], None] = lambda hello, incarnation: None
        self.stores: Callable[[str], None] = lambda blob: None
        self._links: dict[str, _Link] = {}
        self._hellos: dict[str, Hello] = {}
        self._streams = 0
        self._life = 0
        self._scheduled = False
        self._alarm_ms = -1
        self._unwritten_ms = -1
        self._agent: MediaAgent
        self._turns: Turns

    # ---------------------------------------------------------------- life and death

    def start(self) -> None:
        """The process starts on what the journal holds."""
        self._life += 1
        self.up = True
        token = self._entropy.token()
        journal, self.state, anew = open_journal(self.store, NODE_KEY, self._entropy.secret, token)
        self.incarnations += bool(anew)
        settings = AgentSettings(
            self.name,
            self.host.boot_id,
            sample_ratio=TRACED,
            under_way_max=self.under_way_max,
            behind_ms=NEVER_BEHIND_MS,
        )
        self._agent = self._kinds.agent(settings, self.state)
        if self.media is not None:
            self.media.reattach(self)
        else:
            self.media = self._kinds.backend(self, self.host.boottime_ms, capacity=self.capacity, party=self._party)
        self._turns = Turns(self._agent, self.state, journal, self.media, self.points)
        self._agent.start(self.host.boottime_ms)
        self._soon()

    def crash(self, *, alone: bool = False, forgotten: Collection[Event] = ()) -> None:
        """kill -9. What stands in the journal's bytes is all that is left, but for the events that are
        `forgotten`; with `alone` the calls live on, as FreeSWITCH's do."""
        if not self.up:
            return
        self.up = False
        self._life += 1
        self._scheduled, self.points = False, Trap()
        if alone and self.media is not None:
            self.media.detach()
        else:
            self.media = None
        links, self._links = self._links, {}
        for link in links.values():
            link.line.cut("the media process died", owner_ms=1)
        self._died(forgotten)
        # What goes on without an agent is lost if the next one dies before it has written it.
        self._unwritten_ms = self._scheduler.now_ms if self.media is not None else -1
        self.dies_alone = False

    def lose_journal(self, left: bytes, *, alone: bool = False) -> None:
        """The process dies and its journal is not what it wrote: what no owner has taken is lost.
        With `alone` the calls live on."""
        kept = [event for tenant in self.state.last for event in self.state.kept(tenant)]
        self.crash(alone=alone, forgotten=kept)
        self.store.data = left

    def crash_alone(self) -> None:
        """The agent dies beside FreeSWITCH, which tells the next one what its channels are. The
        scripted backend is not asked, so the agent dies with its last turn written."""
        self._turn(self._life)
        self.crash(alone=True)

    @property
    def unwritten_ms(self) -> int:
        """Since when nothing has come to the journal: of this very moment, since its disk is full, or
        since its agent died beside calls that go on."""
        return self._scheduler.now_ms if self._unwritten_ms < 0 else self._unwritten_ms

    def enter(self, action: Callable[[], None]) -> None:
        """Run something of this process; it may die of it."""
        life = self._life
        try:
            action()
        except Died:
            if life == self._life:
                self.crash(alone=self.dies_alone)

    # ---------------------------------------------------------------- the sink

    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        """See `media.backend.Sink`."""
        if isinstance(body, RecordingStored):
            self.stores(body.blob)
        self._agent.emit(tenant, leg, body, media_time_ms)
        self._soon()

    def remember(self, kind: RowKind, id: str, value: Mapping[str, Any] | None) -> None:
        """See `media.backend.Sink`."""
        self._agent.remember(kind, id, value)
        self._soon()

    # ---------------------------------------------------------------- phones

    def phone(self, act: Callable[[ScriptedMedia], object]) -> bool:
        """Somebody does something at a phone; False if no node is there to hear of it."""
        media = self.media
        if media is None:
            return False
        media.advance(self.host.boottime_ms)
        act(media)
        self._arm()
        return True

    # ---------------------------------------------------------------- links

    def accept(self, make: Callable[[tuple[Callable[[bytes], None], Callable[[str], None]]], Line]) -> Line:
        """A control process dials."""
        self._streams += 1
        name = f"s{self._streams}"
        stream, life = AgentStream(name), self._life
        line = make(
            (
                lambda data: self.enter(lambda: self._receive(name, data, life)),
                lambda reason: self.enter(lambda: self._lost(name, life)),
            )
        )
        self._links[name] = _Link(stream, line)
        return line

    def _receive(self, name: str, data: bytes, life: int) -> None:
        link = self._links.get(name)
        if link is None or life != self._life:
            return
        try:
            frames = link.stream.receive(data, self.host.boottime_ms)
        except StreamFault as fault:
            link.line.cut(str(fault))
            return
        for channel, frame in frames:
            if isinstance(frame, Close):
                self._agent.link_closed(channel)
            else:
                if isinstance(frame, Hello):
                    self._hellos[channel] = frame
                self._agent.receive(channel, frame, self.host.boottime_ms)
        self._turn(self._life)

    def _lost(self, name: str, life: int) -> None:
        link = self._links.pop(name, None)
        if link is None or life != self._life:
            return
        for channel in link.stream.links:
            self._agent.link_closed(channel)
        self._soon()

    # ---------------------------------------------------------------- the turn

    def _soon(self) -> None:
        if not self._scheduled and self.up:
            self._scheduled = True
            life = self._life
            self._scheduler.after(0, lambda: self.enter(lambda: self._turn(life)))

    def _turn(self, life: int) -> None:
        if life != self._life or not self.up:
            return
        self._scheduled = False
        assert self.media is not None, "a node that is up has a backend"
        self.media.advance(self.host.boottime_ms)
        self._agent.beat(self.host.boottime_ms)
        out = self._turns.run(self.host.boottime_ms)
        if out.faults:
            raise out.faults[0]
        for channel, frame in out.sends:
            if isinstance(frame, Welcome):
                self.welcomed(self._hellos[channel], frame.incarnation)
            if (stream := self._stream_of(channel)) is not None:
                stream.send(channel, frame)
        for channel, reason in out.closes:
            if (stream := self._stream_of(channel)) is not None:
                stream.close(channel, reason)
        for link in self._links.values():
            for data in link.stream.take():
                link.line.to_owner(data)
        if out.journal_error is None:
            self._unwritten_ms = -1
        else:
            self._unwritten_ms = self.unwritten_ms
            self._scheduler.after(JOURNAL_RETRY_MS, self._soon)
        self._arm()

    def _stream_of(self, channel: str) -> AgentStream | None:
        link = self._links.get(channel.partition(".")[0])
        return None if link is None else link.stream

    def _arm(self) -> None:
        """Wake for what the backend does by itself, and for the journal's time."""
        wanted = [None if self.media is None else self.media.due_ms(), self._agent.beat_ms if self.up else None]
        due = [at_ms for at_ms in wanted if at_ms is not None]
        if not due:
            return
        at_ms = max(min(due) - self.host.uptime_ms, self._scheduler.now_ms + 1)
        if self._alarm_ms <= self._scheduler.now_ms or at_ms < self._alarm_ms:
            self._alarm_ms = at_ms
            self._scheduler.at(at_ms, self._due)

    def _due(self) -> None:
        self.phone(lambda media: None)
        if self.up and (self._agent.beat_ms or 0) <= self.host.boottime_ms:
            self._soon()
