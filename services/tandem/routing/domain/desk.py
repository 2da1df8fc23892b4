"""The desk of a tenant: queues, agents, the waiting lines and open offers.

One mutable fold per tenant: `evolve` alone changes it, `decide` only reads (the tests seal
it to see to that). Its two indexes cost O(log n) an event however many wait or idle:

- `_lines`: per need (queue and skills) a heap of contacts by (-priority, enqueued, id);
- `_idle`: per profile (an agent's queues and skills) a heap of agents by (idle since, id).

An entry deep in a heap may be stale; heads never are, because each event prunes the heads
that it may have made stale. So a choice looks at heads only, and reading changes nothing.
When stale entries outnumber the others, the heaps are built anew: who waits for hours at the
head keeps no memory of all who gave up behind.
"""

from __future__ import annotations

import heapq
from collections.abc import Callable, Iterable
from dataclasses import field
from enum import StrEnum
from operator import attrgetter
from typing import Any, TypeVar

from tandem.core.flow import SkillNeed
from tandem.core.values import dataclass
from tandem.routing.domain import words as w
from tandem.routing.domain.words import RoutingStatus

K = TypeVar("K")
V = TypeVar("V", bound=tuple[Any, ...])
STALE_SLACK = 64
"""Stale heap entries beyond as many as there are contacts or agents: then the heaps are built anew."""
Need = tuple[str, tuple[SkillNeed, ...]]
"""A queue and the skills that an agent must have (sorted by name)."""
Profile = tuple[tuple[str, ...], tuple[SkillNeed, ...]]
"""The queues that an agent serves and the skills they have."""


@dataclass(frozen=True, slots=True)
class Queue:
    """A queue as published. A deleted one takes nobody new, but those in line keep their place."""

    queue: str
    version: int
    ring_timeout_ms: int
    wrap_up_ms: int
    deleted: bool = False


@dataclass(frozen=True, slots=True)
class Reachable:
    """A registered device."""

    device: str
    node: str


@dataclass(slots=True)
class Agent:
    """An agent as routing sees them."""

    agent: str
    version: int = 0
    queues: tuple[str, ...] = ()
    skills: tuple[SkillNeed, ...] = ()
    devices: tuple[str, ...] = ()
    presence: str = w.OFFLINE
    presence_ms: int = 0
    reachable: tuple[Reachable, ...] = ()
    status: RoutingStatus = RoutingStatus.OFF_QUEUE
    since_ms: int = 0  # of the status
    idle_since_ms: int = 0
    offer: str = ""  # open offer, or the one that is being wrapped up
    contact: str = ""
    until_ms: int = 0  # end of wrap-up or back-off

    @property
    def profile(self) -> Profile:
        """What decides which contacts suit."""
        return self.queues, self.skills

    @property
    def ready(self) -> bool:
        """Whether the agent wants contacts and can be rung."""
        return self.presence == w.AVAILABLE and bool(self.reachable) and self.version > 0


@dataclass(slots=True)
class Entry:
    """A contact in line; with an offer it keeps its place but is nobody else's."""

    contact: str
    queue: str
    skills: tuple[SkillNeed, ...]
    priority: int
    enqueued_ms: int
    offer: str = ""

    @property
    def need(self) -> Need:
        """What decides which agents suit."""
        return self.queue, self.skills

    @property
    def order(self) -> tuple[int, int, str]:
        """The place in line: priority, then time, then id."""
        return -self.priority, self.enqueued_ms, self.contact


class Stage(StrEnum):
    """How far an offer has come."""

    PENDING = "PENDING"
    RESCINDING = "RESCINDING"
    ACCEPTED = "ACCEPTED"


@dataclass(frozen=True, slots=True)
class Reservation:
    """An open offer."""

    offer: str
    agent: str
    contact: str
    queue: str
    device: str
    stage: Stage
    ring_timeout_ms: int

    def rings(self, device: str) -> bool:
        """Whether this device is asked to ring, and nothing has taken that back."""
        return self.device == device and self.stage is Stage.PENDING


def suits(profile: Profile, need: Need) -> bool:
    """Whether agents of a profile may be offered contacts of a need."""
    queues, skills = profile
    queue, wanted = need
    if queue not in queues:
        return False
    have = {skill.skill: skill.level for skill in skills}
    return all(have.get(skill.skill, 0) >= skill.level for skill in wanted)


@dataclass(slots=True)
class Desk:
    """See the module's text."""

    queues: dict[str, Queue] = field(default_factory=dict)
    agents: dict[str, Agent] = field(default_factory=dict)
    entries: dict[str, Entry] = field(default_factory=dict)
    reservations: dict[str, Reservation] = field(default_factory=dict)
    _lines: dict[Need, list[tuple[int, int, str]]] = field(default_factory=dict)
    _idle: dict[Profile, list[tuple[int, str]]] = field(default_factory=dict)
    _line_orders: int = 0  # in all heaps, stale ones among them
    _idle_orders: int = 0

    # ---------------------------------------------------------------- reading

    def best_agent(self, need: Need) -> Agent | None:
        """The agent idle for longest whose profile suits; the id breaks ties."""
        heads = [heap[0] for profile, heap in self._idle.items() if suits(profile, need)]
        return self.agents[min(heads)[1]] if heads else None

    def best_contact(self, profile: Profile) -> Entry | None:
        """The contact at the very front of the lines that the profile suits."""
        heads = [heap[0] for need, heap in self._lines.items() if suits(profile, need)]
        return self.entries[min(heads)[2]] if heads else None

    def unmatched(self) -> tuple[Entry, Agent] | None:
        """Somebody who waits and somebody idle who suits: none after any event that the desk has taken."""
        for profile in sorted(self._idle):
            entry = self.best_contact(profile)
            if entry is not None and (agent := self.best_agent(entry.need)) is not None:
                return entry, agent
        return None

    def line(self, queue: str) -> list[Entry]:
        """All who wait in a queue, those with an offer among them, in order."""
        return sorted((e for e in self.entries.values() if e.queue == queue), key=lambda entry: entry.order)

    # ---------------------------------------------------------------- changing (evolve only)

    def enter(self, entry: Entry) -> None:
        """A contact takes its place."""
        self.entries[entry.contact] = entry
        self._push_line(entry)

    def leave(self, contact: str) -> None:
        """A contact gives up its place."""
        entry = self.entries.pop(contact)
        self._prune_line(entry.need)
        self._tidy_lines()

    def take(self, contact: str, offer: str) -> None:
        """A contact is offered; its place stays."""
        entry = self.entries[contact]
        entry.offer = offer
        self._prune_line(entry.need)

    def give_back(self, contact: str) -> None:
        """A contact's offer is over; it is at its place again."""
        entry = self.entries[contact]
        entry.offer = ""
        self._push_line(entry)

    def set_status(self, agent: Agent, status: RoutingStatus, at_ms: int) -> None:
        """Move an agent to a status; for IDLE set `idle_since_ms` first."""
        was = agent.status
        agent.status, agent.since_ms = status, at_ms
        if status is RoutingStatus.IDLE:
            self._push_idle(agent)
        elif was is RoutingStatus.IDLE:
            self._prune_idle(agent.profile)

    def reprofile(self, agent: Agent, queues: tuple[str, ...], skills: tuple[SkillNeed, ...]) -> None:
        """Give an agent other queues and skills."""
        before = agent.profile
        agent.queues, agent.skills = queues, skills
        if agent.status is RoutingStatus.IDLE and agent.profile != before:
            self._push_idle(agent)
        if before in self._idle:
            self._prune_idle(before)

    def forget(self, agent: str) -> None:
        """Remove an agent who is not at work."""
        row = self.agents.pop(agent)
        if row.profile in self._idle:
            self._prune_idle(row.profile)
        self._tidy_idle()

    def _push_line(self, entry: Entry) -> None:
        heapq.heappush(self._lines.setdefault(entry.need, []), entry.order)
        self._line_orders += 1
        self._tidy_lines()

    def _tidy_lines(self) -> None:
        if self._line_orders > 2 * len(self.entries) + STALE_SLACK:
            waiting = [entry for entry in self.entries.values() if not entry.offer]
            self._lines = _heaps((entry.need, entry.order) for entry in waiting)
            self._line_orders = len(waiting)

    def _push_idle(self, agent: Agent) -> None:
        heapq.heappush(self._idle.setdefault(agent.profile, []), (agent.idle_since_ms, agent.agent))
        self._idle_orders += 1
        self._tidy_idle()

    def _tidy_idle(self) -> None:
        if self._idle_orders > 2 * len(self.agents) + STALE_SLACK:
            idle = [row for row in self.agents.values() if row.status is RoutingStatus.IDLE]
            self._idle = _heaps((row.profile, (row.idle_since_ms, row.agent)) for row in idle)
            self._idle_orders = len(idle)

    def _prune_line(self, need: Need) -> None:
        heap = self._lines.get(need)
        while heap and not self._waits(heap[0], need):
            heapq.heappop(heap)
            self._line_orders -= 1
        if heap is not None and not heap:
            del self._lines[need]

    def _waits(self, order: tuple[int, int, str], need: Need) -> bool:
        entry = self.entries.get(order[2])
        return entry is not None and not entry.offer and entry.order == order and entry.need == need

    def _prune_idle(self, profile: Profile) -> None:
        heap = self._idle.get(profile)
        while heap and not self._idles(heap[0], profile):
            heapq.heappop(heap)
            self._idle_orders -= 1
        if heap is not None and not heap:
            del self._idle[profile]

    def _idles(self, order: tuple[int, str], profile: Profile) -> bool:
        agent = self.agents.get(order[1])
        return (
            agent is not None
            and agent.status is RoutingStatus.IDLE
            and agent.idle_since_ms == order[0]
            and agent.profile == profile
        )


def _heaps(rows: Iterable[tuple[K, V]]) -> dict[K, list[V]]:
    heaps: dict[K, list[V]] = {}
    for key, order in rows:
        heaps.setdefault(key, []).append(order)
    for heap in heaps.values():
        heapq.heapify(heap)
    return heaps


# ------------------------------------------------------------------- snapshots


@dataclass(frozen=True, slots=True)
class AgentDump:
    """An agent in a snapshot: the fields of `Agent`."""

    agent: str
    version: int
    queues: tuple[str, ...]
    skills: tuple[SkillNeed, ...]
    devices: tuple[str, ...]
    presence: str
    presence_ms: int
    reachable: tuple[Reachable, ...]
    status: RoutingStatus
    since_ms: int
    idle_since_ms: int
    offer: str
    contact: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class EntryDump:
    """A contact in line in a snapshot: the fields of `Entry`."""

    contact: str
    queue: str
    skills: tuple[SkillNeed, ...]
    priority: int
    enqueued_ms: int
    offer: str


_AGENT: Callable[[Any], tuple[Any, ...]] = attrgetter(*AgentDump.__match_args__)
_ENTRY: Callable[[Any], tuple[Any, ...]] = attrgetter(*EntryDump.__match_args__)


def frozen(row: Any) -> Any:
    """A row as snapshots have it."""
    match row:
        case Agent():
            return AgentDump(*_AGENT(row))
        case Entry():
            return EntryDump(*_ENTRY(row))
        case _:
            return row


def build(
    base: tuple[()],
    queues: Iterable[Queue],
    agents: Iterable[AgentDump],
    entries: Iterable[EntryDump],
    reservations: Iterable[Reservation],
) -> Desk:
    """The desk of these rows; the indexes are built anew."""
    desk = Desk({queue.queue: queue for queue in queues})
    for row in agents:
        agent = Agent(*_AGENT(row))
        desk.agents[agent.agent] = agent
        if agent.status is RoutingStatus.IDLE:
            desk.set_status(agent, RoutingStatus.IDLE, agent.since_ms)
    for place in entries:
        entry = Entry(*_ENTRY(place))
        desk.enter(entry)
        if entry.offer:
            desk.take(entry.contact, entry.offer)
    desk.reservations = {row.offer: row for row in reservations}
    return desk


STATES: tuple[type, ...] = (
    AgentDump,
    EntryDump,
    Queue,
    Reachable,
    Reservation,
    Stage,
    RoutingStatus,
    SkillNeed,
)
