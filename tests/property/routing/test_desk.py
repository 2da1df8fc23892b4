"""The desk against a scan written apart, for any life of agents, contacts and configuration."""

from __future__ import annotations

from typing import Any

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

from tandem.core.errors import Rejected
from tandem.core.flow import SkillNeed
from tandem.routing.domain import words as w
from tandem.routing.domain.desk import Desk, Stage
from tandem.routing.domain.fold import ROWS
from tests.support.budget import examples
from tests.support.desk_world import DeskWorld

AGENTS = st.sampled_from(["ana", "ben", "cho", "dee"])
CONTACTS = st.sampled_from([f"c{index}" for index in range(7)])
QUEUES = st.sampled_from(["q1", "q2"])
SKILL = st.builds(SkillNeed, st.sampled_from(["de", "fr"]), st.sampled_from([1, 50]))
SKILLS = st.lists(SKILL, max_size=2, unique_by=lambda need: need.skill).map(tuple)
NEEDS = ((), (SkillNeed("de", 1),), (SkillNeed("de", 50),), (SkillNeed("de", 1), SkillNeed("fr", 50)))
SOME_QUEUES = st.lists(QUEUES, min_size=1, max_size=2, unique=True).map(tuple)
DEVICES = st.sampled_from(["desk", "soft"])
CLOSED = st.sampled_from([outcome for outcome in w.Outcome if outcome is not w.Outcome.ACCEPTED])


class DeskLife(RuleBasedStateMachine):
    """Contacts close their offers in any way and at any time; each exactly once."""

    def __init__(self) -> None:
        super().__init__()
        self.world = DeskWorld()
        self.version = 0
        self.forgotten: set[str] = set()
        for queue in ("q1", "q2"):
            self.world.queue(queue, wrap_up_ms=0 if queue == "q2" else 5000)
        for agent in ("ana", "ben"):
            self.world.ready(agent, "q1", "q2")

    def _next(self) -> int:
        self.version += 1
        return self.version + 1

    # ---------------------------------------------------------------- configuration

    @rule(queue=QUEUES, wrap_up_ms=st.sampled_from([0, 5000]), deleted=st.sampled_from([False, False, True]))
    def publish_queue(self, queue: str, wrap_up_ms: int, deleted: bool) -> None:
        self.world.queue(queue, self._next(), wrap_up_ms=wrap_up_ms, deleted=deleted)

    @rule(agent=AGENTS, queues=SOME_QUEUES, skills=SKILLS, deleted=st.sampled_from([False, False, True]))
    def publish_agent(self, agent: str, queues: tuple[str, ...], skills: Any, deleted: bool) -> None:
        self.world.do(w.PublishAgent(agent, self._next(), queues, skills, ("desk", "soft"), deleted))

    # ---------------------------------------------------------------- agents

    @rule(agent=AGENTS, device=DEVICES, on=st.booleans())
    def register(self, agent: str, device: str, on: bool) -> None:
        self.world.device(agent, device, on=on)

    @rule(agent=AGENTS, presence=st.sampled_from([w.AVAILABLE, w.AVAILABLE, "Break"]))
    def say(self, agent: str, presence: str) -> None:
        try:
            self.world.do(w.SetPresence(agent, presence))
        except Rejected as rejected:
            assert rejected.reason.name == "UNKNOWN_NAME"
            assert agent not in self.world.desk.agents or not self.world.desk.agents[agent].version

    @rule(agent=AGENTS)
    def be_through(self, agent: str) -> None:
        row = self.world.desk.agents.get(agent)
        wraps = row is not None and row.version > 0 and row.status is w.RoutingStatus.WRAP_UP
        try:
            self.world.do(w.FinishWrapUp(agent))
        except Rejected:
            assert not wraps
        else:
            assert wraps

    # ---------------------------------------------------------------- contacts

    @rule(contact=CONTACTS, queue=QUEUES, skills=SKILLS, priority=st.sampled_from([0, 0, 5]), back=st.integers(0, 9))
    def enqueue(self, contact: str, queue: str, skills: Any, priority: int, back: int) -> None:
        if any(self.world.contact_of[offer] == contact for offer in self.world.offers):
            return  # a contact that is offered or talks does not enter a line
        self.world.do(w.EnqueueContact(contact, queue, skills, priority, self.world.now_ms - back * 1000))

    @rule(contact=CONTACTS)
    def leave(self, contact: str) -> None:
        self.world.do(w.RemoveContact(contact, "ABANDONED"))

    @precondition(lambda self: any(entry.offer for entry in self.world.desk.entries.values()))
    @rule(data=st.data(), outcome=st.none() | CLOSED)
    def be_recovered(self, data: st.DataObject, outcome: w.Outcome | None) -> None:
        """A contact forgot its offer, left and is back at its place; that the offer is over is told then,
        or later."""
        offered = [entry for _, entry in sorted(self.world.desk.entries.items()) if entry.offer]
        entry = data.draw(st.sampled_from(offered))
        forgotten = entry.offer
        self.forgotten.add(forgotten)
        self.world.do(w.RemoveContact(entry.contact, "RECOVERED"))
        again = w.EnqueueContact(entry.contact, entry.queue, entry.skills, entry.priority, entry.enqueued_ms)
        self.world.do(again)
        if outcome is not None:
            self.world.close(forgotten, outcome)

    def _offer(self, data: st.DataObject, *stages: Stage) -> str | None:
        rows = [offer for offer, row in sorted(self.world.desk.reservations.items()) if row.stage in stages]
        return data.draw(st.sampled_from(rows)) if rows else None

    @precondition(lambda self: self.world.offers)
    @rule(data=st.data())
    def answer(self, data: st.DataObject) -> None:
        offer = self._offer(data, Stage.PENDING, Stage.RESCINDING)
        if offer and offer not in self.forgotten:
            self.world.accept(offer)

    @precondition(lambda self: self.world.offers)
    @rule(data=st.data(), outcome=CLOSED)
    def close(self, data: st.DataObject, outcome: w.Outcome) -> None:
        offer = self._offer(data, Stage.PENDING, Stage.RESCINDING)
        if offer:
            self.world.close(offer, outcome)

    @precondition(lambda self: self.world.offers)
    @rule(data=st.data(), audio=st.booleans(), lost=st.booleans())
    def hang_up(self, data: st.DataObject, audio: bool, lost: bool) -> None:
        offer = self._offer(data, Stage.ACCEPTED)
        if offer:
            self.world.end(offer, audio=audio, lost=lost)

    @precondition(lambda self: self.world.offers)
    @rule(data=st.data())
    def gone(self, data: st.DataObject) -> None:
        offer = self._offer(data, *Stage)
        if offer:
            self.world.do(w.CloseGone(offer))

    @rule(contact=CONTACTS, data=st.data())
    def say_it_late(self, contact: str, data: st.DataObject) -> None:
        """What names an offer that is over changes nothing."""
        over = sorted(set(self.world.contact_of) - set(self.world.offers))
        if over:
            offer = data.draw(st.sampled_from(over))
            now = self.world.now_ms
            for command in (
                w.AcceptOffer(offer, contact, now),
                w.CloseOffer(offer, contact, w.Outcome.TIMEOUT, 0, now),
                w.EndTalk(offer, contact, True, False, now),
                w.CloseGone(offer),
                w.AskOffer(offer),
                w.WrapUpOver("ana", offer + "x"),
                w.BackOffOver("ana", now + 1),
            ):
                assert self.world.do(command) == []

    @rule(ms=st.sampled_from([1, 1000, 6000, 60_000]))
    def time_passes(self, ms: int) -> None:
        self.world.pass_ms(ms)

    # ---------------------------------------------------------------- the scan says the same

    @invariant()
    def chooses_like_a_scan(self) -> None:
        for desk in (self.world.desk, ROWS.load(ROWS.dump(self.world.desk))):
            self._same_choices(desk)

    def _same_choices(self, desk: Desk) -> None:
        naive = self.world.naive
        for queue in ("q1", "q2"):
            assert [entry.contact for entry in desk.line(queue)] == naive.line(queue)
            for skills in NEEDS:
                best = desk.best_agent((queue, skills))
                order = naive.agents_for(queue, [(need.skill, need.level) for need in skills])
                assert (best.agent if best else None) == (order[0] if order else None)
        for agent in desk.agents.values():
            entry = desk.best_contact(agent.profile)
            order = naive.contacts_for(list(agent.queues), {need.skill: need.level for need in agent.skills})
            assert (entry.contact if entry else None) == (order[0] if order else None)

    @invariant()
    def a_snapshot_is_the_same_desk(self) -> None:
        image = ROWS.dump(self.world.desk)
        assert ROWS.dump(ROWS.load(image)) == image

    def teardown(self) -> None:
        """Everybody goes home: every offer is closed, every timer fires, and nothing is left."""
        world = self.world
        for contact in sorted(world.desk.entries):
            world.do(w.RemoveContact(contact, "ABANDONED"))
        for offer in sorted(world.offers):
            row = world.desk.reservations[offer]
            if row.stage is Stage.ACCEPTED:
                world.end(offer)
            else:
                world.close(offer, w.Outcome.RESCINDED)
        world.pass_ms(60_000)
        assert (world.offers, world.wakes) == ({}, {})
        assert {agent.status for agent in world.desk.agents.values()} <= {
            w.RoutingStatus.IDLE,
            w.RoutingStatus.OFF_QUEUE,
            w.RoutingStatus.NOT_RESPONDING,
        }


DeskLife.TestCase.settings = examples(60, steps=50)
TestDeskLife = DeskLife.TestCase
