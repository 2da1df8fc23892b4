"""What a desk sets right after something of it was lost, or after its quarantine (rule 12)."""

from __future__ import annotations

from typing import Any

import pytest

from tandem.core.decider import Resumed
from tandem.core.flow import SkillNeed
from tandem.routing.domain import words as w
from tandem.routing.domain.fold import KIND, evolve
from tandem.routing.domain.words import Outcome
from tandem.routing.domain.words import RoutingStatus as Status
from tests.support.desk_world import DeskWorld


@pytest.fixture
def world() -> DeskWorld:
    """A desk with the queue `sales`; what is wrong with it is the tests' own doing."""
    world = DeskWorld(watched=False)
    world.queue()
    return world


def last(world: DeskWorld, kind: type) -> Any:
    return [event for event in world.events if isinstance(event, kind)][-1]


def test_an_offer_that_nobody_was_told_of_is_asked_after(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    events = world.do(w.LookAgain(last(world, w.AgentReserved)))
    assert [(type(event), event.why) for event in events] == [(w.ReservationRescinded, "LOST")]


def test_a_wrap_up_and_a_pause_without_a_timer_end_at_once(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    offer = world.offer_of("ana")
    world.accept(offer)
    world.end(offer)
    world.do(w.LookAgain(last(world, w.WrapUpStarted)))
    assert world.status("ana") is Status.IDLE
    world.caller("c2")
    world.close(world.offer_of("ana"), Outcome.REJECTED)
    world.do(w.LookAgain(last(world, w.AgentBackedOff)))
    assert world.status("ana") is Status.ALERTING  # and the caller is offered again


def test_back_in_service_all_open_offers_are_asked_after(world: DeskWorld) -> None:
    for agent, contact in (("ana", "c1"), ("ben", "c2")):
        world.ready(agent)
        world.caller(contact)
    world.accept(world.offer_of("ana"))
    line, *events, devices = world.do(w.LookAgain(Resumed()))
    assert {event.offer for event in events} == set(world.desk.reservations)
    assert (line, devices) == (w.LineAsked(("c2",), world.now_ms), w.DevicesAsked(world.now_ms))


def test_back_in_service_who_stands_in_line_is_asked_whether_they_wait(world: DeskWorld) -> None:
    """Seed 10462 of 30 minutes, grouped: a caller hung up as the desk went out of service, and kept a place
    that nobody with the skill ever came to find empty."""
    world.queue("support")
    world.caller("c1")
    world.caller("c2", "support", skills=(SkillNeed("deep", 2),))
    world.told.clear()
    assert world.do(w.LookAgain(Resumed()))[0] == w.LineAsked(("c1", "c2"), world.now_ms)
    assert world.told[:-1] == [("contact/c1", w.AskPlace("sales")), ("contact/c2", w.AskPlace("support"))]
    world.do(w.RemoveContact("c2", "NOT_WAITING"))
    assert [entry.contact for entry in world.desk.entries.values()] == ["c1"]
    assert world.do(w.LookAgain()) == []


def test_who_is_gone_for_good_has_no_place_either(world: DeskWorld) -> None:
    world.caller("c1")
    event, _ = world.do(w.LookAgain(Resumed()))
    (asked,) = KIND.react(world.desk, event)
    world.do(asked.gone)
    assert world.desk.entries == {}


def test_a_contact_whose_leaving_was_refused_is_asked_whether_it_waits(world: DeskWorld) -> None:
    """With an offer as well: its end would give the place back."""
    world.ready("ana")
    world.caller("c1")
    world.caller("c2")
    for contact in ("c1", "c2"):
        lost = w.RemoveContact(contact, "ABANDONED")
        assert world.do(w.LookAgain(lost)) == [w.LineAsked((contact,), world.now_ms)]
    assert world.do(w.LookAgain(w.LineAsked(("c2", "c9"), 0))) == [w.LineAsked(("c2",), world.now_ms)]
    assert world.do(w.LookAgain(w.RemoveContact("c9", "ABANDONED"))) == []


@pytest.mark.parametrize("lost", [Resumed(), w.NoteDevice("ana", "ana-phone", "m1", True, 0), w.DevicesAsked(0)])
def test_a_desk_that_may_have_missed_a_phone_asks_the_reception_which_are_registered(
    world: DeskWorld, lost: object
) -> None:
    """An agent whose registration was refused could not be offered anything until the phone registered anew."""
    for agent in ("zoe", "ana"):
        world.agent(agent)
    world.device("zoe")
    world.do(w.SetPresence("ana", w.AVAILABLE))
    world.told.clear()
    assert world.do(w.LookAgain(lost)) == [w.DevicesAsked(world.now_ms)]
    assert world.told == [("reception", w.AskDevices((w.KnownDevice("zoe", "zoe-phone", "m1"),)))]
    world.do(w.NoteDevice("ana", "ana-phone", "m1", True, world.now_ms, again=True))
    assert world.status("ana") is Status.IDLE


def test_an_answer_that_cannot_be_decided_either_is_not_asked_for_again(world: DeskWorld) -> None:
    """Or desk and reception would ask and answer for ever, where each has a log of its own."""
    assert world.do(w.LookAgain(w.NoteDevice("ana", "ana-phone", "m1", True, 0, again=True))) == []


def test_a_phone_that_is_gone_is_noted_also_if_the_offer_of_its_agent_is_gone_too(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    del world.desk.reservations[world.offer_of("ana")]
    assert [type(event) for event in world.device("ana", on=False)] == [w.DeviceNoted]


def test_an_agent_whose_offer_is_gone_is_free(world: DeskWorld) -> None:
    """The offer's end was folded, the agent's status was not."""
    world.ready("ana")
    world.caller("c1")
    offer = world.offer_of("ana")
    closed = w.ReservationClosed(offer, "ana", "c1", Outcome.RESCINDED, 0, world.now_ms)
    evolve(world.desk, closed)
    world.naive.hear(closed)
    assert world.status("ana") is Status.ALERTING
    world.do(w.LookAgain())
    assert world.status("ana") is Status.ALERTING and world.desk.agents["ana"].offer != offer


def test_an_agent_who_is_ready_is_idle_and_one_who_is_not_is_not(world: DeskWorld) -> None:
    world.ready("ana")
    evolve(world.desk, w.PresenceSet("ana", "Break", world.now_ms))
    world.do(w.LookAgain())
    assert world.status("ana") is Status.OFF_QUEUE
    evolve(world.desk, w.PresenceSet("ana", w.AVAILABLE, world.now_ms))
    world.do(w.LookAgain())
    assert world.status("ana") is Status.IDLE


def test_who_waits_and_who_is_idle_are_brought_together_one_at_a_time_until_nothing_is_left(world: DeskWorld) -> None:
    for agent in ("ana", "ben"):
        world.ready(agent)
    for contact in ("c1", "c2", "c3"):
        entered = w.ContactEnteredLine(contact, "sales", (), 0, world.now_ms)
        evolve(world.desk, entered)
        world.naive.hear(entered)
    assert [len(world.do(w.LookAgain())) for _ in range(3)] == [1, 1, 0]
    assert sorted(entry.contact for entry in world.desk.entries.values() if entry.offer) == ["c1", "c2"]


def test_a_contact_that_stands_elsewhere_than_it_says_is_moved(world: DeskWorld) -> None:
    """That it had left its first place was lost."""
    world.queue("support")
    world.caller("c1")
    world.do(w.EnqueueContact("c1", "support", (), 0, world.now_ms))
    assert [(entry.queue) for entry in world.desk.entries.values()] == ["support"]


def test_the_end_of_a_talk_stands_whatever_the_desk_knew_of_its_beginning(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    world.end(world.offer_of("ana"))
    assert world.status("ana") is Status.WRAP_UP and world.desk.entries == {}
    world.ready("ben")
    world.caller("c2")
    offer = world.offer_of("ben")
    world.accept(offer)
    world.close(offer, Outcome.RESCINDED)
    assert world.status("ben") is Status.IDLE
