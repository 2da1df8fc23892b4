"""What a desk should choose, by looking at everybody each time. Shares no code with the desk:
it keeps plain lists of what the events say and knows only the order that the docs promise."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Person:
    """An agent."""

    queues: list[str] = field(default_factory=list)
    levels: dict[str, int] = field(default_factory=dict)
    idle_since: int | None = None


@dataclass
class Caller:
    """A contact in line."""

    queue: str
    wants: list[tuple[str, int]]
    priority: int
    since: int
    offer: str | None = None


class NaiveDesk:
    """Fed with events, asked for choices."""

    def __init__(self) -> None:
        self.people: dict[str, Person] = {}
        self.callers: dict[str, Caller] = {}

    def hear(self, event: Any) -> None:
        """Take note of an event."""
        match type(event).__name__:
            case "AgentConfigured" if event.deleted:
                person = self.people.get(event.agent)
                if person is not None:
                    person.idle_since = None
            case "AgentConfigured":
                person = self.people.setdefault(event.agent, Person())
                person.queues = list(event.queues)
                person.levels = {skill.skill: skill.level for skill in event.skills}
            case "AgentReady":
                self.people[event.agent].idle_since = event.idle_since_ms
            case "AgentReserved":
                self.people[event.agent].idle_since = None
                caller = self.callers[event.contact]
                assert caller.offer is None, f"{event.contact} has {caller.offer} and is offered by {event.offer}"
                caller.offer = event.offer
            case "AgentUnready" | "AgentBackedOff" | "AgentNotResponding" | "WrapUpStarted" | "AgentEngaged":
                self._busy(event)
            case "ReservationClosed":
                for caller in self.callers.values():
                    if caller.offer == event.offer:
                        caller.offer = None
            case "ContactEnteredLine":
                wants = [(skill.skill, skill.level) for skill in event.skills]
                self.callers[event.contact] = Caller(event.queue, wants, event.priority, event.enqueued_ms)
            case "ContactLeftLine":
                del self.callers[event.contact]

    def _busy(self, event: Any) -> None:
        if event.agent in self.people:
            self.people[event.agent].idle_since = None

    # ---------------------------------------------------------------- choices

    @staticmethod
    def can(person: Person, queue: str, wants: list[tuple[str, int]]) -> bool:
        """Whether a person may serve."""
        if queue not in person.queues:
            return False
        return all(skill in person.levels and person.levels[skill] >= level for skill, level in wants)

    def agents_for(self, queue: str, wants: list[tuple[str, int]]) -> list[str]:
        """Everybody idle who may serve, longest idle first."""
        found = []
        for name, person in self.people.items():
            if person.idle_since is not None and self.can(person, queue, wants):
                found.append((person.idle_since, name))
        return [name for _, name in sorted(found)]

    def contacts_for(self, queues: list[str], levels: dict[str, int]) -> list[str]:
        """Everybody waiting without an offer whom such a person may serve, in order."""
        person = Person(queues, levels)
        found = []
        for name, caller in self.callers.items():
            if caller.offer is None and self.can(person, caller.queue, caller.wants):
                found.append((0 - caller.priority, caller.since, name))
        return [name for _, _, name in sorted(found)]

    def line(self, queue: str) -> list[str]:
        """Everybody in a queue's line."""
        found = [(0 - c.priority, c.since, name) for name, c in self.callers.items() if c.queue == queue]
        return [name for _, _, name in sorted(found)]

    def idle_and_wanted(self) -> list[tuple[str, str]]:
        """Pairs that must not be: an idle agent and a waiting contact who suit each other."""
        return [
            (name, contact)
            for name, person in self.people.items()
            if person.idle_since is not None
            for contact in self.contacts_for(person.queues, person.levels)
        ]
