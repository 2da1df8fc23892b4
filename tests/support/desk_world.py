"""A desk alone: its timers fire and its contacts answer when the test says so, and after every
command everything that must hold about a desk is looked at."""

from __future__ import annotations

from typing import Any

from tandem.core.decider import Answer, Context, Settle, Tell, Wake
from tandem.core.seal import Secret
from tandem.routing.domain import desk as d
from tandem.routing.domain import words as w
from tandem.routing.domain.desk import Desk, Stage
from tandem.routing.domain.fold import KIND, ROWS
from tandem.routing.domain.words import RoutingStatus as Status
from tests.support.naive_desk import NaiveDesk

HOLDING = (Status.ALERTING, Status.INTERACTING)


class DeskWorld:
    """`offers` are those that a contact has not closed yet, `wakes` the armed timers. Unwatched,
    only the events happen: for lives that are too long to be looked at all the time."""

    def __init__(self, *, watched: bool = True) -> None:
        self.watched = watched
        self.desk = Desk()
        self.naive = NaiveDesk()
        self.now_ms = 1_000_000
        self.events: list[Any] = []
        self.told: list[tuple[str, Any]] = []
        self.offers: dict[str, w.OfferContact] = {}
        self.contact_of: dict[str, str] = {}
        self.wakes: dict[str, tuple[int, Any]] = {}
        self._count = 0

    # ---------------------------------------------------------------- doing

    def do(self, command: Any) -> list[Any]:
        """Decide, evolve, react; the events. Raises what `decide` raises."""
        self._count += 1
        context = Context("t1", "desk", self.now_ms, f"u{self._count}", None, lambda label: Secret(b""))
        before = self._image() if self.watched else None
        try:
            events = list(KIND.decide(self.desk, command, context))
        finally:
            assert not self.watched or self._image() == before, f"deciding on {command} changed the desk"
        for event in events:
            KIND.evolve(self.desk, event)
            self.naive.hear(event)
            for action in KIND.react(self.desk, event):
                self._act(action)
            if isinstance(event, w.ReservationClosed | w.AgentReleased):
                self.offers.pop(event.offer, None)
        self.events += events
        if self.watched:
            self.check()
        return events

    def _act(self, action: Any) -> None:
        match action:
            case Tell(stream, message, _):
                self.told.append((stream, message))
                if isinstance(message, w.OfferContact):
                    assert message.offer not in self.offers and message.offer not in self.contact_of
                    self.offers[message.offer] = message
                    self.contact_of[message.offer] = stream.removeprefix("contact/")
            case Wake(name, at_ms, command):
                self.wakes[name] = (at_ms, command)
            case Settle(name):
                self.wakes.pop(name, None)
            case Answer():
                pass

    def pass_ms(self, ms: int) -> None:
        """Time goes by; timers fire in order, at their time."""
        end = self.now_ms + ms
        while due := sorted((at, name) for name, (at, _) in self.wakes.items() if at <= end):
            at, name = due[0]
            self.now_ms = max(self.now_ms, at)
            self.do(self.wakes.pop(name)[1])
        self.now_ms = end

    # ---------------------------------------------------------------- what contacts say

    def accept(self, offer: str) -> list[Any]:
        """The agent answered."""
        return self.do(w.AcceptOffer(offer, self.contact_of[offer], self.now_ms))

    def close(self, offer: str, outcome: w.Outcome, rang_ms: int = 0) -> list[Any]:
        """The offer is over without an answer."""
        return self.do(w.CloseOffer(offer, self.contact_of[offer], outcome, rang_ms, self.now_ms))

    def end(self, offer: str, *, audio: bool = True, lost: bool = False) -> list[Any]:
        """The talk is over."""
        return self.do(w.EndTalk(offer, self.contact_of[offer], audio, lost, self.now_ms))

    # ---------------------------------------------------------------- scenes

    def queue(self, name: str = "sales", version: int = 1, *, wrap_up_ms: int = 10_000, deleted: bool = False) -> None:
        """Publish a queue."""
        self.do(w.PublishQueue(name, version, 15_000, wrap_up_ms, deleted))

    def agent(self, name: str, *queues: str, version: int = 1, skills: tuple[Any, ...] = ()) -> None:
        """Publish an agent, by default of `sales`."""
        self.do(w.PublishAgent(name, version, queues or ("sales",), skills, (f"{name}-phone",), False))

    def device(self, name: str, device: str = "", *, on: bool = True) -> list[Any]:
        """A phone of the agent registers, or is gone."""
        return self.do(w.NoteDevice(name, device or f"{name}-phone", "m1", on, self.now_ms))

    def ready(self, name: str, *queues: str, skills: tuple[Any, ...] = ()) -> None:
        """An agent who can be offered contacts; a second passes, so that each is idle since another time."""
        self.agent(name, *queues, skills=skills)
        self.device(name)
        self.do(w.SetPresence(name, w.AVAILABLE))
        self.now_ms += 1000

    def caller(self, name: str, queue: str = "sales", *, priority: int = 0, skills: tuple[Any, ...] = ()) -> None:
        """A contact enters the line; a second passes."""
        self.do(w.EnqueueContact(name, queue, skills, priority, self.now_ms))
        self.now_ms += 1000

    def status(self, name: str) -> Status:
        """Routing status of an agent."""
        return self.desk.agents[name].status

    def offer_of(self, agent: str) -> str:
        """The open offer of an agent."""
        (offer,) = [offer for offer, message in self.offers.items() if message.agent == agent]
        return offer

    # ---------------------------------------------------------------- what must hold

    def check(self) -> None:
        """Everything that holds after any command."""
        self._agents()
        self._offers()
        assert self.naive.idle_and_wanted() == []
        self.bounded()

    def bounded(self) -> None:
        """The heaps hold no more than twice what lives, and a little."""
        desk = self.desk
        assert sum(map(len, desk._lines.values())) == desk._line_orders <= 2 * len(desk.entries) + d.STALE_SLACK
        assert sum(map(len, desk._idle.values())) == desk._idle_orders <= 2 * len(desk.agents) + d.STALE_SLACK

    def _agents(self) -> None:
        held = {row.agent: row.offer for row in self.desk.reservations.values()}
        assert len(held) == len(self.desk.reservations), "an agent has two offers"
        for name, agent in self.desk.agents.items():
            assert (name in held) == (agent.status in HOLDING), (name, agent.status)
            assert agent.status not in HOLDING or agent.offer == held[name]
            assert agent.status is not Status.IDLE or agent.ready
            assert agent.status is not Status.OFF_QUEUE or not agent.ready, f"{name} is ready and forgotten"
            assert (f"wrapup/{name}" in self.wakes) == (agent.status is Status.WRAP_UP), (name, agent.status)
            assert agent.status is not Status.BACKING_OFF or f"backoff/{name}" in self.wakes
            assert agent.version or agent.reachable or agent.status in HOLDING, f"{name} is a ghost"

    def _offers(self) -> None:
        reservations = self.desk.reservations
        assert set(reservations) == set(self.offers), "an offer that nobody will close, or that is closed already"
        for offer, row in reservations.items():
            assert f"offer/{offer}" in self.wakes, "nobody will ask what became of it"
            entry = self.desk.entries.get(row.contact)
            assert entry is None or row.stage is not Stage.ACCEPTED or entry.offer != offer
        for contact, entry in self.desk.entries.items():
            assert not entry.offer or reservations[entry.offer].contact == contact

    def _image(self) -> Any:
        desk = self.desk
        heaps = {need: list(heap) for need, heap in desk._lines.items()}
        return ROWS.dump(desk), heaps, {profile: list(heap) for profile, heap in desk._idle.items()}
