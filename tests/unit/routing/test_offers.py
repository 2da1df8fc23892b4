"""Offers: who is chosen, and what becomes of agent and place however an offer ends (field guide C4 to C6)."""

from __future__ import annotations

import pytest

from tandem.core.flow import SkillNeed
from tandem.routing.domain import words as w
from tandem.routing.domain.fold import ASK_AFTER_MS, ASK_TALK_MS
from tandem.routing.domain.offers import REJECT_PAUSE_MS, UNREACHABLE_PAUSE_MS
from tandem.routing.domain.words import Outcome
from tandem.routing.domain.words import RoutingStatus as Status
from tests.support.desk_world import DeskWorld

GERMAN = (SkillNeed("german", 50),)


@pytest.fixture
def world() -> DeskWorld:
    """A desk with the queue `sales`."""
    world = DeskWorld()
    world.queue()
    return world


# ------------------------------------------------------------------- who is chosen


def test_the_agent_idle_for_longest(world: DeskWorld) -> None:
    for agent in ("zoe", "ana", "ben"):
        world.ready(agent)
    for contact in ("c1", "c2", "c3"):
        world.caller(contact)
    assert [message.agent for message in world.offers.values()] == ["zoe", "ana", "ben"]


def test_ties_are_broken_by_the_id(world: DeskWorld) -> None:
    for agent in ("zoe", "ana"):
        world.ready(agent)
        world.now_ms -= 1000
    world.caller("c1")
    assert [message.agent for message in world.offers.values()] == ["ana"]


def test_priority_before_time_before_id(world: DeskWorld) -> None:
    world.caller("late")
    world.caller("vip", priority=5)
    world.do(w.EnqueueContact("early", "sales", (), 0, 0))
    for agent in ("ana", "ben", "cho"):
        world.ready(agent)
    assert list(world.contact_of.values()) == ["vip", "early", "late"]


def test_skill_and_level_decide_who_may(world: DeskWorld) -> None:
    world.ready("novice", skills=(SkillNeed("german", 49),))
    world.caller("c1", skills=GERMAN)
    assert not world.offers
    world.ready("expert", skills=(SkillNeed("french", 1), SkillNeed("german", 50)))
    assert [message.agent for message in world.offers.values()] == ["expert"]


def test_an_idle_agent_who_learns_a_skill_gets_who_waits_for_it(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1", skills=GERMAN)
    configured, reserved = world.do(w.PublishAgent("ana", 2, ("sales",), GERMAN, ("ana-phone",), False))
    assert (reserved.contact, reserved.agent_version) == ("c1", 2)
    assert configured.version == 2


def test_the_device_that_registered_last_is_rung(world: DeskWorld) -> None:
    world.ready("ana")
    world.device("ana", "softphone")
    world.caller("c1")
    assert [message.device for message in world.offers.values()] == ["softphone"]


def test_an_offer_names_what_it_was_decided_on(world: DeskWorld) -> None:
    world.queue(version=7)
    world.ready("ana")
    idle_since = world.desk.agents["ana"].idle_since_ms
    at = world.now_ms
    _, reserved = world.do(w.EnqueueContact("c1", "sales", (), 0, at - 500))
    assert (reserved.queue_version, reserved.agent_version) == (7, 1)
    assert (reserved.enqueued_ms, reserved.idle_since_ms, reserved.at_ms) == (at - 500, idle_since, at)


# ------------------------------------------------------------------- how an offer ends

KEPT = "as it was"


@pytest.mark.parametrize(
    ("outcome", "status", "pause_ms", "idle_since"),
    [
        (Outcome.TIMEOUT, Status.NOT_RESPONDING, 0, None),
        (Outcome.REJECTED, Status.BACKING_OFF, REJECT_PAUSE_MS, "after the pause"),
        (Outcome.UNREACHABLE, Status.BACKING_OFF, UNREACHABLE_PAUSE_MS, KEPT),
        (Outcome.UNKNOWN, Status.BACKING_OFF, 15_000, KEPT),
        (Outcome.CANCELED, Status.IDLE, 0, KEPT),
        (Outcome.RESCINDED, Status.IDLE, 0, KEPT),
    ],
)
def test_status_pause_idle_time_and_place(
    world: DeskWorld, outcome: Outcome, status: Status, pause_ms: int, idle_since: str | None
) -> None:
    world.ready("ana")
    was_idle_since = world.desk.agents["ana"].idle_since_ms
    world.caller("c1")
    enqueued = world.desk.entries["c1"].enqueued_ms
    if outcome in (Outcome.CANCELED, Outcome.RESCINDED):
        world.do(w.RemoveContact("c1", "ABANDONED"))
    world.now_ms += 3000
    world.close(world.offer_of("ana"), outcome, 3000)
    ana = world.desk.agents["ana"]
    assert ana.status is status
    if outcome not in (Outcome.CANCELED, Outcome.RESCINDED):
        assert world.desk.entries["c1"].enqueued_ms == enqueued
        assert world.desk.entries["c1"].offer == ""
    if pause_ms:
        assert ana.until_ms == world.now_ms + pause_ms
        until = ana.until_ms
        world.pass_ms(pause_ms - 1)
        assert world.status("ana") is Status.BACKING_OFF
        world.pass_ms(1)
        assert world.offer_of("ana")  # the contact still waits at its place
        assert world.desk.agents["ana"].idle_since_ms == (was_idle_since if idle_since == KEPT else until)
    elif idle_since == KEPT:
        assert ana.idle_since_ms == was_idle_since


def test_a_phone_that_may_ring_yet_is_left_alone_also_if_its_agent_was_away_meanwhile(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    offer = world.offer_of("ana")
    world.do(w.SetPresence("ana", "Break"))
    world.close(offer, Outcome.UNKNOWN)
    world.do(w.SetPresence("ana", w.AVAILABLE))
    assert world.status("ana") is Status.BACKING_OFF
    world.pass_ms(15_000)
    assert world.contact_of[world.offer_of("ana")] == "c1"


def test_a_contact_whose_offer_failed_goes_to_the_next_agent_ahead_of_those_behind(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    world.caller("c2")
    world.close(world.offer_of("ana"), Outcome.REJECTED)
    world.ready("ben")
    assert world.contact_of[world.offer_of("ben")] == "c1"
    assert [entry.contact for entry in world.desk.line("sales")] == ["c1", "c2"]


def test_ring_no_answer_again_and_again_is_cleared_by_the_agent_alone(world: DeskWorld) -> None:
    """kazoo #6609: Not Responding is not for ever, and needs nothing but the agent's own word."""
    for _ in range(3):
        world.ready("ana") if "ana" not in world.desk.agents else world.do(w.SetPresence("ana", w.AVAILABLE))
        if not world.offers:
            world.caller("c1")
        world.close(world.offer_of("ana"), Outcome.TIMEOUT, 15_000)
        assert world.status("ana") is Status.NOT_RESPONDING
        world.pass_ms(3_600_000)
        assert world.status("ana") is Status.NOT_RESPONDING
    world.do(w.SetPresence("ana", w.AVAILABLE))
    assert world.contact_of[world.offer_of("ana")] == "c1"


def test_an_agent_who_is_not_responding_may_go_away_instead(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    world.close(world.offer_of("ana"), Outcome.TIMEOUT)
    world.do(w.SetPresence("ana", "Break"))
    assert world.status("ana") is Status.OFF_QUEUE


def test_two_are_freed_at_once_each_contact_gets_whom_the_order_says(world: DeskWorld) -> None:
    """A rescinded offer frees agent and contact; a VIP who came meanwhile is ahead of both."""
    world.ready("ana")
    world.caller("c1")
    world.do(w.SetPresence("ana", "Break"))
    world.caller("vip", priority=9)
    world.do(w.SetPresence("ana", w.AVAILABLE))
    world.close(world.offer_of("ana"), Outcome.RESCINDED)
    assert world.contact_of[world.offer_of("ana")] == "vip"
    assert world.desk.entries["c1"].offer == ""


# ------------------------------------------------------------------- taking an offer back


def test_logging_out_while_it_rings_rescinds_and_keeps_the_place(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    offer = world.offer_of("ana")
    world.do(w.SetPresence("ana", w.OFFLINE))
    assert world.told[-1] == ("contact/c1", w.RescindOffer(offer, "AGENT_AWAY"))
    assert world.status("ana") is Status.ALERTING  # until the closing answer
    world.close(offer, Outcome.RESCINDED)
    assert world.status("ana") is Status.OFF_QUEUE
    assert world.desk.entries["c1"].offer == ""


def test_losing_the_ringing_device_rescinds_and_losing_another_does_not(world: DeskWorld) -> None:
    world.ready("ana")
    world.device("ana", "softphone")
    world.caller("c1")
    offer = world.offer_of("ana")
    assert [type(event) for event in world.device("ana", on=False)] == [w.DeviceNoted]
    noted, rescinded = world.device("ana", "softphone", on=False)
    assert (rescinded.offer, rescinded.why) == (offer, "DEVICE_GONE")
    world.close(offer, Outcome.RESCINDED)
    assert world.status("ana") is Status.OFF_QUEUE
    assert noted.device == "softphone"


def test_an_answer_that_crosses_the_rescission_stands(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    offer = world.offer_of("ana")
    world.do(w.SetPresence("ana", "Break"))
    world.accept(offer)
    assert world.status("ana") is Status.INTERACTING
    world.end(offer)
    world.pass_ms(10_000)
    assert world.status("ana") is Status.OFF_QUEUE


def test_an_overdue_offer_is_asked_about_until_it_is_closed(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    offer = world.offer_of("ana")
    world.pass_ms(15_000 + ASK_AFTER_MS)
    assert world.told.count(("contact/c1", w.RescindOffer(offer, "OVERDUE"))) == 1
    world.pass_ms(ASK_AFTER_MS)
    assert world.told.count(("contact/c1", w.RescindOffer(offer, "OVERDUE"))) == 2
    world.do(w.CloseGone(offer))
    assert world.status("ana") is Status.IDLE
    assert "c1" not in world.desk.entries


def test_a_long_talk_is_asked_about_and_not_disturbed(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    offer = world.offer_of("ana")
    world.accept(offer)
    world.pass_ms(ASK_TALK_MS)
    assert world.told[-1] == ("contact/c1", w.RescindOffer(offer, "OVERDUE"))
    assert world.status("ana") is Status.INTERACTING
    world.do(w.CloseGone(offer))  # the contact is not there any more
    assert world.status("ana") is Status.IDLE


# ------------------------------------------------------------------- after the talk


def test_wrap_up_ends_by_time_and_the_contact_is_told(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    offer = world.offer_of("ana")
    world.accept(offer)
    world.end(offer)
    assert world.status("ana") is Status.WRAP_UP
    world.pass_ms(9_999)
    assert world.status("ana") is Status.WRAP_UP
    world.pass_ms(1)
    assert (world.status("ana"), world.desk.agents["ana"].idle_since_ms) == (Status.IDLE, world.now_ms)
    assert world.told[-1] == ("contact/c1", w.EndWrapUp(offer, world.now_ms))


def test_a_contact_whose_clock_is_ahead_does_not_put_off_the_question_after_its_talk(world: DeskWorld) -> None:
    """Shards step their times by themselves: two may be hours apart."""
    world.ready("ana")
    world.caller("c1")
    offer = world.offer_of("ana")
    world.do(w.AcceptOffer(offer, "c1", world.now_ms + 7_200_000))
    assert world.wakes[f"offer/{offer}"] == (world.now_ms + ASK_TALK_MS, w.AskOffer(offer))
    assert world.desk.agents["ana"].since_ms == world.now_ms


def test_wrap_up_ends_by_hand_once(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    world.accept(offer := world.offer_of("ana"))
    world.end(offer)
    world.do(w.FinishWrapUp("ana"))
    assert world.status("ana") is Status.IDLE
    assert world.do(w.WrapUpOver("ana", offer)) == []  # the timer lost


def test_without_wrap_up_time_the_agent_is_idle_and_the_contact_is_told(world: DeskWorld) -> None:
    world.queue(version=2, wrap_up_ms=0)
    world.ready("ana")
    world.caller("c1")
    world.accept(offer := world.offer_of("ana"))
    world.end(offer)
    assert world.status("ana") is Status.IDLE
    assert world.told[-1] == ("contact/c1", w.EndWrapUp(offer, world.now_ms))


def test_without_audio_there_is_no_wrap_up_and_idle_time_is_kept(world: DeskWorld) -> None:
    """Hang-up between the agent's answer and the bridge."""
    world.ready("ana")
    idle_since = world.desk.agents["ana"].idle_since_ms
    world.caller("c1")
    world.accept(offer := world.offer_of("ana"))
    world.end(offer, audio=False)
    assert (world.status("ana"), world.desk.agents["ana"].idle_since_ms) == (Status.IDLE, idle_since)


def test_a_phone_that_answered_without_a_bridge_is_left_alone_for_a_moment(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    world.accept(offer := world.offer_of("ana"))
    world.end(offer, audio=False, lost=True)
    assert world.status("ana") is Status.BACKING_OFF


def test_the_next_contact_comes_right_after_wrap_up(world: DeskWorld) -> None:
    world.ready("ana")
    world.caller("c1")
    world.caller("c2")
    world.accept(offer := world.offer_of("ana"))
    world.end(offer)
    world.do(w.FinishWrapUp("ana"))
    assert world.contact_of[world.offer_of("ana")] == "c2"
