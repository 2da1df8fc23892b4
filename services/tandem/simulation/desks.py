"""The invariants of a desk, by a naive scan of what its log says."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

from tandem.core.commit import Commit, Envelope
from tandem.core.ports.log import Partition
from tandem.simulation.invariants import Checker, Happened, Place, Violation
from tandem.simulation.phones import Caller

ESTIMATE_MS = 2_000
"""How far an estimated clock of another host may be off: a round trip on a slow line."""


@dataclass(slots=True)
class _Agent:
    profile: tuple[tuple[str, ...], dict[str, int]] = ((), {})
    idle: bool = False
    idle_since_ms: int = 0
    offer: str = ""
    closed: str = ""  # how the last offer ended, until the status that follows


@dataclass(slots=True)
class _Entry:
    queue: str
    skills: tuple[tuple[str, int], ...]
    priority: int
    enqueued_ms: int
    offer: str = ""

    def before(self, other: _Entry) -> bool:
        return (-self.priority, self.enqueued_ms) < (-other.priority, other.enqueued_ms)


@dataclass(slots=True)
class _Offer:
    agent: str
    contact: str
    idle_since_ms: int


@dataclass(slots=True)
class _Desk:
    agents: dict[str, _Agent] = field(default_factory=dict)
    line: dict[str, _Entry] = field(default_factory=dict)
    offers: dict[str, _Offer] = field(default_factory=dict)

    def agent(self, name: str) -> _Agent:
        return self.agents.setdefault(name, _Agent())


_IDLE_KEPT = ("CANCELED", "RESCINDED", "UNREACHABLE", "UNKNOWN")
"""Ends of an offer that are nobody's fault."""


class Line(Checker):
    """A desk by a naive scan: one offer per agent and contact, the order of the line, nobody waits
    while somebody who suits is idle, places and idle times are kept."""

    def __init__(self) -> None:
        self._desks: dict[str, _Desk] = {}
        self._enqueued: dict[Place, int] = {}

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        touched: dict[str, None] = {}
        for envelope, event in happened:
            if envelope.stream == "desk":
                touched[envelope.tenant] = None
                self._on_desk(self._desks.setdefault(envelope.tenant, _Desk()), envelope, event)
            elif envelope.type in ("contact.queued", "contact.requeued"):
                self._on_contact(envelope, event)
        for tenant in touched:
            self._matched(tenant, commit)

    def _on_contact(self, envelope: Envelope, event: Any) -> None:
        place = (envelope.tenant, envelope.stream.partition("/")[2])
        if envelope.type == "contact.requeued" and self._enqueued[place] != event.enqueued_ms:
            raise Violation("a place is kept", f"{place} went from {self._enqueued[place]} to {event.enqueued_ms}")
        self._enqueued[place] = event.enqueued_ms

    def _on_desk(self, desk: _Desk, envelope: Envelope, event: Any) -> None:
        match envelope.type:
            case "desk.agent_configured":
                skills = {need.skill: need.level for need in event.skills}
                desk.agent(event.agent).profile = (event.queues, skills)
            case "agent.ready":
                self._ready(desk, event)
            case "agent.backed_off":
                self._backed_off(desk, event)
            case "agent.unready" | "agent.not_responding" | "agent.wrap_up_started":
                agent = desk.agent(event.agent)
                agent.idle, agent.closed = False, ""
            case "line.entered":
                self._entered(desk, envelope, event)
            case "line.left":
                desk.line.pop(event.contact)
            case "agent.reserved":
                self._reserved(desk, event)
            case "agent.reservation_closed" | "agent.released":
                self._closed(desk, event)
            case _:
                pass

    def _entered(self, desk: _Desk, envelope: Envelope, event: Any) -> None:
        place = (envelope.tenant, event.contact)
        if self._enqueued.get(place) != event.enqueued_ms:
            raise Violation(
                "a place is kept", f"{place} enters at {event.enqueued_ms}, not {self._enqueued.get(place)}"
            )
        if event.contact in desk.line:
            raise Violation("nobody stands in line twice", event.contact)
        skills = tuple((need.skill, need.level) for need in event.skills)
        desk.line[event.contact] = _Entry(event.queue, skills, event.priority, event.enqueued_ms)

    def _reserved(self, desk: _Desk, event: Any) -> None:
        agent, entry = desk.agent(event.agent), desk.line.get(event.contact)
        if agent.offer or not agent.idle:
            raise Violation("an agent has one offer", f"{event.agent} is offered {event.contact} but not idle")
        if entry is None or entry.offer:
            raise Violation("a contact has one offer", f"{event.contact} is offered but does not wait")
        if entry.enqueued_ms != event.enqueued_ms:
            raise Violation("a place is kept", f"{event.contact} is offered as of {event.enqueued_ms}")
        for contact, other in desk.line.items():
            same = (other.queue, other.skills) == (entry.queue, entry.skills)
            if same and not other.offer and other.before(entry):
                raise Violation("nobody loses their place", f"{event.contact} is offered before {contact}")
        for name, rival in desk.agents.items():
            sooner = (rival.idle_since_ms, name) < (agent.idle_since_ms, event.agent)
            if rival.idle and rival.profile == agent.profile and sooner:
                raise Violation("the longest idle agent", f"{event.agent} is offered before {name}")
        agent.offer, agent.idle, entry.offer = event.offer, False, event.offer
        desk.offers[event.offer] = _Offer(event.agent, event.contact, agent.idle_since_ms)

    def _closed(self, desk: _Desk, event: Any) -> None:
        offer = desk.offers.pop(event.offer)
        agent = desk.agent(offer.agent)
        agent.offer = ""
        agent.closed = event.outcome.value if hasattr(event, "outcome") else ""
        entry = desk.line.get(offer.contact)
        if entry is not None and entry.offer == event.offer:
            entry.offer = ""

    def _ready(self, desk: _Desk, event: Any) -> None:
        agent = desk.agent(event.agent)
        if agent.closed in _IDLE_KEPT and agent.idle_since_ms != event.idle_since_ms:
            raise Violation(
                "idle time is kept",
                f"{event.agent} after {agent.closed}: {agent.idle_since_ms} became {event.idle_since_ms}",
            )
        agent.idle, agent.idle_since_ms, agent.closed = True, event.idle_since_ms, ""

    def _backed_off(self, desk: _Desk, event: Any) -> None:
        agent = desk.agent(event.agent)
        if agent.closed in _IDLE_KEPT and agent.idle_since_ms != event.idle_since_ms:
            raise Violation("idle time is kept", f"{event.agent} after {agent.closed}")
        agent.idle, agent.idle_since_ms, agent.closed = False, event.idle_since_ms, ""

    def _matched(self, tenant: str, commit: Commit) -> None:
        desk = self._desks[tenant]
        for contact, entry in desk.line.items():
            for name, agent in desk.agents.items():
                if not entry.offer and agent.idle and _suits(agent, entry):
                    raise Violation("nobody waits while somebody is idle", f"{contact} and {name}, n={commit.n}")


def _suits(agent: _Agent, entry: _Entry) -> bool:
    queues, skills = agent.profile
    return entry.queue in queues and all(skills.get(skill, 0) >= level for skill, level in entry.skills)


class Presses(Checker):
    """Callers with the same need stand in the order in which they pressed their digit."""

    def __init__(self, callers: dict[str, Caller], node_boot: str) -> None:
        self._callers, self._node_boot = callers, node_boot
        self._known: dict[tuple[str, str, Any], list[tuple[int, int, str]]] = {}
        self._estimated = False

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        # An owner on another host estimates when the node's events were; from then on the
        # order is exact to the slowest round trip only.
        self._estimated = self._estimated or commit.boot_id != self._node_boot
        for envelope, event in happened:
            if envelope.type != "contact.queued":
                continue
            contact = envelope.stream.partition("/")[2]
            caller = self._callers.get(contact)
            if caller is None or not caller.presses:
                continue
            pressed = caller.presses[-1][0]
            row = self._known.setdefault((envelope.tenant, event.queue, event.skills), [])
            slack = ESTIMATE_MS if self._estimated else 0
            for other, enqueued, name in row:
                before, behind = other + slack < pressed, other > pressed + slack
                if (before and enqueued > event.enqueued_ms) or (behind and enqueued < event.enqueued_ms):
                    raise Violation(
                        "the line is in the order of the digits",
                        f"{name} pressed at {other} has {enqueued}; {contact} at {pressed} has {event.enqueued_ms}",
                    )
            row.append((pressed, event.enqueued_ms, contact))
