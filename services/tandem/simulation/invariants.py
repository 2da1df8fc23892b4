"""What must hold at every step, each by a checker of its own.

A checker sees counted records and what phones and clients saw; it shares no code with what it
checks but the tables that decode a record. The first thing that does not hold is a `Violation`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

from tandem.core.commit import Commit, Envelope
from tandem.core.ports.log import Partition
from tandem.core.ports.media import By, Cause, Hello, contact_of
from tandem.simulation.phones import Caller, Dialog

Happened = Sequence[tuple[Envelope, Any]]
"""The events of a commit, decoded."""
Place = tuple[str, str]
"""A tenant and a name of it."""


ESTIMATE_MS = 2_000
"""How far an estimated clock of another host may be off: a round trip on a slow line."""


class Violation(AssertionError):
    """An invariant does not hold."""

    def __init__(self, invariant: str, text: str) -> None:
        self.invariant, self.text = invariant, text
        super().__init__(f"{invariant}: {text}")


class Checker:
    """The hooks; each checker takes those that it needs."""

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """A commit was stored and counts."""

    def saw(self, what: str, dialog: Dialog) -> None:
        """A phone saw something."""


class Sources(Checker):
    """Every input acts once, media's without a gap; marks stand in the commit and never go back."""

    def __init__(self) -> None:
        self._last: dict[tuple[Partition, str, str], int] = {}

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        raised: dict[tuple[str, str], int] = {}
        for taken in commit.inputs:
            if not taken.number:
                continue
            place = (partition, taken.source, taken.tenant)
            last = self._last.get(place, 0)
            if taken.number <= last:
                raise Violation("an input acts once", f"{taken.source} {taken.number} was taken after {last}")
            if taken.source.startswith("media/") and taken.number != last + 1 and last:
                raise Violation("media inputs have no gap", f"{taken.source} {taken.number} came after {last}")
            self._last[place] = raised[taken.source, taken.tenant] = taken.number
        marks = {(mark.source, mark.tenant): mark.number for mark in commit.marks}
        if marks != raised:
            raise Violation("marks are part of the commit", f"{partition} n={commit.n}: {marks} for inputs {raised}")

    def acked(self, partition: Partition, source: str, tenant: str, number: int) -> None:
        """A node is told that it may forget its events up to `number`."""
        if number > self._last.get((partition, source, tenant), 0):
            raise Violation("nothing leaves before it is durable", f"the acknowledgement of {source} {number}")


class ShardTimes(Checker):
    """Shard time never runs back."""

    def __init__(self) -> None:
        self._last: dict[Partition, int] = {}

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        last = self._last.get(partition, 0)
        if commit.shard_time_ms < last:
            raise Violation("shard time is monotone", f"{partition} n={commit.n}: {commit.shard_time_ms} after {last}")
        self._last[partition] = commit.shard_time_ms


class Tenancy(Checker):
    """No tenant's id stands in what is another tenant's."""

    def __init__(self) -> None:
        self.words: list[str] = []

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        for row in (*commit.inputs, *commit.events, *commit.effects, *commit.messages):
            for word in self.words:
                if word != row.tenant and (word.encode() in row.part.clear or word in row.stream):
                    raise Violation("no tenant sees another", f"{word} in {row.part.type} of {row.tenant}")
        for mark in commit.marks:
            if mark.tenant not in mark.source:
                raise Violation("no tenant sees another", f"mark of {mark.source} for {mark.tenant}")


class Outcomes(Checker):
    """Every contact has exactly one outcome, and it is the one that the phones know."""

    def __init__(self, dialogs: dict[str, Dialog], callers: dict[str, Caller]) -> None:
        self._dialogs, self._callers = dialogs, callers
        self.of: dict[Place, str] = {}
        self.started: dict[Place, None] = {}
        self.completed: dict[Place, None] = {}

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        for envelope, event in happened:
            contact = envelope.stream.partition("/")[2]
            place = (envelope.tenant, contact)
            match envelope.type:
                case "contact.started":
                    if place in self.started:
                        raise Violation("a contact begins once", contact)
                    self.started[place] = None
                case "contact.disconnected" | "contact.turned_away":
                    if place in self.of:
                        raise Violation("exactly one outcome", f"{contact} after {self.of[place]}")
                    self.of[place] = "REFUSED" if envelope.type.endswith("away") else event.outcome.value
                    self._by_the_phones(contact, self.of[place], event)
                case "contact.completed":
                    if place not in self.of or place in self.completed:
                        raise Violation("exactly one outcome", f"{contact} completed without outcome, or twice")
                    self.completed[place] = None

    def _by_the_phones(self, contact: str, outcome: str, event: Any) -> None:
        dialog, caller = self._dialogs.get(contact), self._callers.get(contact)
        if dialog is None or caller is None:
            return
        talked = dialog.joined_ms >= 0
        wrong = ""
        match outcome:
            case "HANDLED" if not talked:
                wrong = "the phones never talked"
            case "ABANDONED" | "LEFT_IN_FLOW" if dialog.talked_to_end:
                wrong = "the caller was talking"
            case "ABANDONED" | "LEFT_IN_FLOW" if event.by.value == "CALLER" and not dialog.own:
                wrong = "the caller did not hang up"
            case "HUNG_UP" if not caller.cut_by_us:
                wrong = "nobody asked for it"
            case "MEDIA_LOST" if not dialog.dead:
                wrong = "its node lives"
            case _:
                pass
        if wrong:
            raise Violation("the outcome is what the phones saw", f"{contact} ended {outcome}, but {wrong}")


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


class Rings(Checker):
    """No phone rings twice for an offer, no agent's phones have two calls, nobody is blamed for a ring
    that did not last or was answered."""

    def __init__(self, agent_of: Callable[[str], str]) -> None:
        self._agent_of = agent_of
        self._rung: dict[tuple[str, str], Dialog] = {}
        self._open: dict[str, list[Dialog]] = {}
        self.offers: dict[str, Dialog] = {}

    def saw(self, what: str, dialog: Dialog) -> None:
        """See `Checker`."""
        if what != "rings":
            return
        if (dialog.offer, dialog.device) in self._rung:
            raise Violation("no phone rings twice", f"{dialog.device} for offer {dialog.offer}")
        self._rung[dialog.offer, dialog.device] = self.offers[dialog.offer] = dialog
        agent = self._agent_of(dialog.device)
        still = [other for other in self._open.get(agent, ()) if other.open]
        if still:
            raise Violation("no agent has two calls", f"{dialog.device} rings while {still[0].leg} is open")
        self._open[agent] = [*still, dialog]

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        for envelope, event in happened:
            if envelope.type == "agent.not_responding":
                self._blamed(event)

    def _blamed(self, event: Any) -> None:
        dialog = self.offers.get(event.offer)
        wrong = ""
        if dialog is None:
            wrong = "no phone rang"
        elif dialog.answered_ms >= 0:
            wrong = "the phone was answered"
        elif dialog.own:
            wrong = "the call was declined"
        elif dialog.ended_ms - dialog.began_ms < dialog.limit_ms:
            wrong = f"it rang {dialog.ended_ms - dialog.began_ms} of {dialog.limit_ms} ms"
        if wrong:
            raise Violation("nobody is blamed for it", f"{event.agent} for offer {event.offer}, but {wrong}")


class Drops(Checker):
    """A talk ends because a phone or a client ended it, or with its node."""

    def __init__(self, dialogs: dict[str, Dialog], callers: dict[str, Caller]) -> None:
        self._dialogs, self._callers = dialogs, callers

    def saw(self, what: str, dialog: Dialog) -> None:
        """See `Checker`."""
        if what != "is over" or not dialog.talked_to_end or dialog.own or dialog.by is By.FAR:
            return
        caller = self._callers[contact_of(dialog.leg)]
        if dialog.dead or caller.cut_by_us or dialog.cause is Cause.NO_MEDIA:
            return
        raise Violation("no call is dropped", f"{dialog.leg} ended {dialog.cause} by {dialog.by} in mid-talk")


class Effects(Checker):
    """An effect's key is used once, an event ends it once, and nothing is done that is not in the log."""

    def __init__(self, now_ms: Callable[[], int]) -> None:
        self._now_ms = now_ms
        self._made: dict[Partition, dict[str, None]] = {}
        self._ended: dict[str, str] = {}
        self.made_ms: dict[str, int] = {}

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        made = self._made.setdefault(partition, {})
        for effect in commit.effects:
            if effect.key in made:
                raise Violation("an effect's key is used once", effect.key)
            made[effect.key] = None
            self.made_ms[effect.key] = self._now_ms()
        for envelope in commit.events:
            for key in envelope.settles:
                if key in self._ended:
                    raise Violation("an effect settles once", f"{key} by {envelope.event_id} and {self._ended[key]}")
                self._ended[key] = envelope.event_id

    def sent(self, partition: Partition, key: str) -> None:
        """A command leaves for a node."""
        if key not in self._made.get(partition, {}):
            raise Violation("nothing leaves before it is durable", f"command {key} of {partition}")


class Epochs:
    """A node that has heard a newer owner takes no older one, whatever restarts (T1)."""

    def __init__(self) -> None:
        self._highest: dict[tuple[str, int, str], int] = {}

    def welcomed(self, hello: Hello, incarnation: str) -> None:
        """A node took an owner's Hello."""
        place = (hello.group, hello.shard, incarnation)
        highest = self._highest.get(place, 0)
        if hello.epoch < highest:
            raise Violation("older epochs are refused", f"{place}: epoch {hello.epoch} is welcome after {highest}")
        self._highest[place] = hello.epoch


class Timers(Checker):
    """After a takeover no timer fires before what the node had kept is taken, or its patience is over."""

    def __init__(self, now_ms: Callable[[], int], kept: Callable[[Partition], dict[str, int]]) -> None:
        self._now_ms, self._kept = now_ms, kept
        self._claimed: dict[Partition, int] = {}
        self._owed: dict[Partition, dict[str, int]] = {}
        self._marks: dict[tuple[Partition, str], int] = {}

    def claim(self, partition: Partition) -> None:
        """A claim counts."""
        self._claimed[partition], self._owed[partition] = self._now_ms(), self._kept(partition)

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        early = self._now_ms() < self._claimed.get(partition, 0) + 2_000
        for taken in commit.inputs:
            if taken.source.startswith("media/"):
                self._marks[partition, taken.tenant] = taken.number
            owed = self._owed.get(partition, {}).get(taken.tenant, 0)
            if early and taken.source == "wake" and self._marks.get((partition, taken.tenant), 0) < owed:
                raise Violation(
                    "kept events come before due timers",
                    f"{partition}: {taken.part.type} of {taken.tenant} while event {owed} is kept",
                )


class Acknowledged(Checker):
    """What a client was told is in the log, and a repeat is told the same."""

    def __init__(self) -> None:
        self._replies: dict[tuple[str, str], str] = {}
        self._told: dict[tuple[str, str], Any] = {}

    def commit(self, partition: Partition, commit: Commit, happened: Happened) -> None:
        """See `Checker`."""
        for reply in commit.replies:
            place = (reply.tenant, reply.request)
            if place in self._replies:
                raise Violation("a request is carried out once", reply.request)
            self._replies[place] = reply.digest

    def told(self, tenant: str, request: str, value: Any) -> None:
        """A client holds an answer."""
        place = (tenant, request)
        if place not in self._replies:
            raise Violation("answered means durable", f"{request} of {tenant} is not in the log")
        if self._told.setdefault(place, value) != value:
            raise Violation("a repeat is told the same", f"{request} of {tenant}: {value}")
