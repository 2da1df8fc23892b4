"""A caller who waits is moved to another media node (ADR 0017): each step, and whatever comes in the middle of one."""

from __future__ import annotations

from typing import Any

import pytest

from tandem.core.decider import Act, EffectEnded, Settle, Wake
from tandem.core.ports import media
from tandem.core.ports.media import By, Cause, LegEnded, LegTakenOver, Outcome
from tandem.core.seal import Secret, Withheld
from tandem.session.domain import words as w
from tandem.session.domain.contact import recovery
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.moving import AGAIN_MS, can_move
from tandem.session.domain.contact.react import TAKE_OVER_DEADLINE_MS
from tests.support.given import AT, When
from tests.support.live_world import MAX_WAIT_MS, NODE
from tests.unit.session.test_contact import (
    ASKED,
    BEGUN,
    IN_LINE,
    LOST,
    OFFER,
    RINGING,
    TALKING,
    desk,
    disconnected,
    given,
    leg,
    order,
)
from tests.unit.session.test_recovery import refused

THERE, MOVED_LEG = "m2", "c1.move1"
DIALOG = Secret(b'{"format":2}')
MOVED = w.CallerMoved(MOVED_LEG, THERE, AT)
AFTER = (*ASKED, MOVED)
GIVE_UP = Wake("give_up", AT + MAX_WAIT_MS, w.GiveUpWaiting("sales"))
KEPT = w.OfferKept("o2", "ben", "ben-phone", "sales", 15_000, AT)
RUNG = w.AgentOffered("o2", "ben", "ben-phone", "c1.o2", "sales", 15_000, AT)
DOWN = w.OfferTurnedDown("o2", "ben", AT)
NODE_DIED = LegEnded(Cause.MEDIA_LOST, By.NODE)
LEFT = LegEnded(Cause.NORMAL, By.FAR)
TAKEN = leg(LegTakenOver(), MOVED_LEG)


def there(name: str, verb: media.Verb, leg: str = MOVED_LEG, deadline_ms: int = 5_000) -> Act:
    return Act(name, "media", w.MediaOrder(THERE, leg, verb), deadline_ms)


def stays(reason: str, *, doubt: bool = False, again_ms: int = AGAIN_MS) -> w.CallerMoveFailed:
    return w.CallerMoveFailed(reason, doubt, AT + again_ms, AT)


OVER = [Settle("handout"), Settle("takeover"), Settle("moving"), GIVE_UP]


def word(ms: int, leg: str = MOVED_LEG) -> Wake:
    return Wake("moving", AT + ms, w.EndMove(leg))


LET_GO = order("hangup/c1", media.LetGo())
MUSIC_THERE = there("play", media.Play(("music",), loop=True))


# ------------------------------------------------------------------- the three steps


def test_the_node_that_has_them_describes_the_call() -> None:
    given(*IN_LINE).when(w.MoveCaller(THERE)).then([BEGUN], [order("handout", media.HandOut()), word(5_000)])


def test_the_other_one_is_asked_to_take_it_over_as_a_leg_of_its_own() -> None:
    when = given(*IN_LINE, BEGUN).when(w.TakeDialog("c1", AT, DIALOG))
    asked = there("takeover", media.TakeOver(DIALOG), deadline_ms=TAKE_OVER_DEADLINE_MS)
    settled = (Settle("handout"), Settle("moving"))
    when.then([w.CallerHandedOut(DIALOG, AT)], [*settled, asked, word(TAKE_OVER_DEADLINE_MS)])
    assert st.legs(when.state) == ((NODE, "c1"), (THERE, MOVED_LEG))


@pytest.mark.parametrize("told", [TAKEN, EffectEnded("takeover", Outcome.DONE)], ids=["told", "outcome alone"])
def test_then_the_first_lets_go_and_the_music_plays_on_the_other(told: Any) -> None:
    when = given(*ASKED).when(told)
    settled = [Settle(name) for name in ("takeover", "moving", "announce", "play")]
    when.then([MOVED], [*settled, MUSIC_THERE, LET_GO, GIVE_UP])
    assert isinstance(when.state, st.Waiting) and when.state.place.enqueued_ms == AT
    assert st.legs(when.state) == ((THERE, MOVED_LEG), (NODE, "c1"))


def test_the_first_nodes_word_that_it_let_go_ends_nothing() -> None:
    gone = leg(LegEnded(Cause.MOVED, By.TANDEM))
    when = given(*AFTER).when(gone).then([w.LegClosed("c1", Cause.MOVED, By.TANDEM, AT)], [Settle("hangup/c1")])
    assert st.legs(when.state) == ((THERE, MOVED_LEG),)
    given(*AFTER, *when.events).when(EffectEnded("hangup/c1", Outcome.DONE)).nothing()
    alone = given(*AFTER).when(EffectEnded("hangup/c1", Outcome.DONE))
    assert st.legs(alone.state) == ((THERE, MOVED_LEG),), "its word was lost with the node's agent"


LEFT_BEHIND = (*AFTER, w.LegClosed("c1", Cause.MOVED, By.TANDEM, AT))


def test_afterwards_all_happens_on_the_other_node() -> None:
    rung = given(*LEFT_BEHIND).when(OFFER)
    assert rung.actions[0].payload.node == THERE
    answered = given(*LEFT_BEHIND, *rung.events).when(w.NoteLeg(THERE, "c1.o2", AT, media.LegAnswered()))
    assert there("bridge", media.Bridge("c1.o2")) in answered.actions
    over = given(*LEFT_BEHIND, *rung.events).when(w.NoteLeg(THERE, MOVED_LEG, AT, LEFT))
    assert over.events[0] == disconnected(w.ContactOutcome.ABANDONED, w.EndedBy.CALLER, "c1.o2")
    assert there("hangup/c1.o2", media.HangUp(), "c1.o2") in over.actions
    ended = given(*LEFT_BEHIND).when(w.HangUpContact())
    assert there(f"hangup/{MOVED_LEG}", media.HangUp()) in ended.actions
    assert isinstance(given(*LEFT_BEHIND).when(w.NoteLeg(THERE, MOVED_LEG, AT, LEFT)).state, st.Done)


def test_who_waits_too_long_there_hears_the_rest_of_the_flow_there() -> None:
    when = given(*LEFT_BEHIND).when(w.GiveUpWaiting("sales"))
    assert [action.payload for action in when.actions if isinstance(action, Act)] == [
        w.MediaOrder(THERE, MOVED_LEG, media.Play(("goodbye",)))
    ]
    over = given(*LEFT_BEHIND, *when.events).when(EffectEnded("play", Outcome.DONE))
    assert over.actions[-1] == there(f"hangup/{MOVED_LEG}", media.HangUp())


def test_they_move_on_as_another_leg() -> None:
    back = given(*LEFT_BEHIND).when(w.MoveCaller(NODE))
    back.then(
        [w.CallerMoveBegun("c1.move2", NODE, AT)],
        [there("handout", media.HandOut()), word(5_000, "c1.move2")],
    )


# ------------------------------------------------------------------- who is moved


@pytest.mark.parametrize(
    ("past", "why"),
    [
        (RINGING, "it rings"),
        (TALKING, "a talk"),
        ((*TALKING, LOST), "a phone that is going down, and a recording"),
        (AFTER, "the first node has not let go yet"),
        ((*IN_LINE, BEGUN), "on the way"),
        ((*IN_LINE, BEGUN, stays("CAPACITY")), "tried just now"),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_only_a_caller_who_waits_and_nothing_else_is_moved(past: tuple[Any, ...], why: str) -> None:
    assert not can_move(given(*past).state, AT), why
    given(*past).when(w.MoveCaller("m3")).nothing()


def test_nobody_is_moved_to_where_they_are() -> None:
    given(*IN_LINE).when(w.MoveCaller(NODE)).nothing()


@pytest.mark.parametrize(
    ("reason", "again_ms"), [("NO_ANSWER", AGAIN_MS), ("NOT_WAITING", 5_000), ("CANNOT_MOVE", 86_400_000)]
)
def test_whom_a_node_does_not_hand_out_stays_and_is_tried_again_later(reason: str, again_ms: int) -> None:
    when = given(*IN_LINE, BEGUN).when(EffectEnded("handout", Outcome.FAILED, reason))
    when.then([stays(reason, again_ms=again_ms)], OVER)
    assert st.legs(when.state) == ((NODE, "c1"),)
    assert [can_move(when.state, AT + again_ms + ms) for ms in (-1, 0)] == [False, True]


def test_without_the_description_there_is_nothing_to_go_on_with() -> None:
    when = given(*IN_LINE, BEGUN).when(EffectEnded("handout", Outcome.DONE))
    assert when.events == [stays("NOT_DESCRIBED")]
    given(*ASKED).when(EffectEnded("handout", Outcome.DONE)).nothing()
    given(*ASKED).when(w.TakeDialog("c1", AT, DIALOG)).nothing()
    given(*IN_LINE, BEGUN).when(w.TakeDialog("c1.other", AT, DIALOG)).nothing()


def test_whom_the_other_node_does_not_get_stays() -> None:
    when = given(*ASKED).when(EffectEnded("takeover", Outcome.FAILED, "NO_ANSWER"))
    when.then([stays("NO_ANSWER")], OVER)
    assert st.legs(when.state) == ((NODE, "c1"),)


def test_what_the_other_node_may_have_it_lets_go() -> None:
    when = given(*ASKED).when(EffectEnded("takeover", Outcome.UNKNOWN, "SWITCH_GONE"))
    assert when.events == [stays("SWITCH_GONE", doubt=True)]
    assert there(f"hangup/{MOVED_LEG}", media.LetGo()) in when.actions
    assert st.legs(when.state) == ((NODE, "c1"), (THERE, MOVED_LEG))
    gone = given(*ASKED, *when.events).when(EffectEnded(f"hangup/{MOVED_LEG}", Outcome.DONE))
    assert st.legs(gone.state) == ((NODE, "c1"),)


# ------------------------------------------------------------------- in the middle


def test_who_hangs_up_before_the_other_node_is_asked_has_left() -> None:
    gone = disconnected(w.ContactOutcome.ABANDONED, w.EndedBy.CALLER)
    when = given(*IN_LINE, BEGUN).when(leg(LEFT))
    when.then([gone, w.LegClosed("c1", Cause.NORMAL, By.FAR, AT), w.ContactCompleted(AT)])
    assert Settle("handout") in when.actions


def test_a_node_that_is_away_holds_nobody_up_for_ever() -> None:
    """Agents' offers are kept meanwhile, and the caller would not be served."""
    assert given(*IN_LINE, BEGUN).when(w.EndMove(MOVED_LEG)).events == [stays("NO_WORD")]
    late = given(*ASKED, KEPT).when(w.EndMove(MOVED_LEG))
    assert late.events == [stays("NO_WORD", doubt=True), RUNG]
    assert there(f"hangup/{MOVED_LEG}", media.LetGo()) in late.actions
    given(*ASKED).when(w.EndMove("c1.move0")).nothing()
    given(*ASKED, w.LegClosed("c1", Cause.NO_MEDIA, By.NODE, AT)).when(w.EndMove(MOVED_LEG)).nothing()


@pytest.mark.parametrize(("where", "other"), [("c1", MOVED_LEG), (MOVED_LEG, "c1")])
def test_who_hangs_up_has_left_wherever_they_do_it(where: str, other: str) -> None:
    when = given(*ASKED).when(w.NoteLeg(NODE, where, AT, LEFT))
    assert when.events == [
        disconnected(w.ContactOutcome.ABANDONED, w.EndedBy.CALLER, other),
        w.LegClosed(where, Cause.NORMAL, By.FAR, AT),
    ]
    down = order if other == "c1" else there
    assert down(f"hangup/{other}", media.HangUp(), other) in when.actions
    over = given(*ASKED, *when.events).when(EffectEnded(f"hangup/{other}", Outcome.DONE))
    assert isinstance(over.state, st.Done)


def test_a_contact_that_is_hung_up_goes_down_on_both() -> None:
    when = given(*ASKED).when(w.HangUpContact())
    assert order("hangup/c1", media.HangUp()) in when.actions
    assert there(f"hangup/{MOVED_LEG}", media.HangUp()) in when.actions


def test_when_the_first_node_dies_the_other_decides() -> None:
    lost = given(*ASKED).when(leg(NODE_DIED))
    lost.then([w.LegClosed("c1", Cause.MEDIA_LOST, By.NODE, AT)], [Settle("hangup/c1")])
    past = (*ASKED, *lost.events)
    saved = given(*past).when(TAKEN)
    assert saved.events == [MOVED] and LET_GO not in saved.actions
    assert st.legs(saved.state) == ((THERE, MOVED_LEG),)
    gone = disconnected(w.ContactOutcome.MEDIA_LOST, w.EndedBy.NODE, cause=Cause.MEDIA_LOST)
    failed = given(*past).when(EffectEnded("takeover", Outcome.FAILED, "NO_ANSWER"))
    assert failed.events == [gone, w.ContactCompleted(AT)]
    doubt = given(*past).when(EffectEnded("takeover", Outcome.UNKNOWN, "SWITCH_GONE"))
    assert doubt.events == [
        disconnected(w.ContactOutcome.MEDIA_LOST, w.EndedBy.NODE, MOVED_LEG, cause=Cause.MEDIA_LOST)
    ]
    assert there(f"hangup/{MOVED_LEG}", media.HangUp()) in doubt.actions


def test_when_it_dies_before_the_other_is_asked_the_call_is_lost() -> None:
    when = given(*IN_LINE, BEGUN).when(leg(NODE_DIED))
    assert when.events[0].outcome is w.ContactOutcome.MEDIA_LOST and isinstance(when.state, st.Done)


def test_when_the_other_node_loses_what_it_just_took_they_are_where_they_were() -> None:
    when = given(*ASKED).when(w.NoteLeg(THERE, MOVED_LEG, AT, NODE_DIED))
    assert when.events == [stays("LEG_ENDED")] and st.legs(when.state) == ((NODE, "c1"),)


def test_an_agent_matters_more_than_a_move_that_has_not_reached_the_other_node() -> None:
    when = given(*IN_LINE, BEGUN).when(OFFER)
    assert when.events == [stays("OFFERED", again_ms=0), RUNG]
    assert isinstance(when.state, st.Ringing) and when.actions[-1].payload.node == NODE
    given(*IN_LINE, BEGUN, *when.events).when(w.TakeDialog("c1", AT, DIALOG)).nothing()


@pytest.mark.parametrize(
    ("told", "node"), [(TAKEN, THERE), (EffectEnded("takeover", Outcome.FAILED, "NO_ANSWER"), NODE)]
)
def test_once_it_has_they_are_rung_where_the_caller_is_then(told: Any, node: str) -> None:
    assert given(*ASKED).when(OFFER).then([KEPT], []).state.kept == OFFER
    when = given(*ASKED, KEPT).when(told)
    assert when.events[-1] == RUNG and isinstance(when.state, st.Ringing)
    assert when.actions[-1].payload.node == node


def test_a_second_agent_is_turned_down() -> None:
    second = w.OfferContact("o3", "eve", "eve-phone", "sales", 15_000)
    when = given(*ASKED, KEPT).when(second)
    closed = w.OfferClosed("o3", "c1", w.OfferOutcome.RESCINDED, 0, AT)
    when.then([w.OfferTurnedDown("o3", "eve", AT)], [desk(closed)])
    assert when.state.kept == OFFER


CLOSED = desk(w.OfferClosed("o2", "c1", w.OfferOutcome.RESCINDED, 0, AT))


def test_an_offer_that_is_taken_back_is_not_kept() -> None:
    when = given(*ASKED, KEPT).when(w.RescindOffer("o2", "AGENT_AWAY")).then([DOWN], [CLOSED])
    assert when.state.kept is None


@pytest.mark.parametrize(
    "told", [leg(LEFT), w.HangUpContact(), w.NoteLeg(THERE, MOVED_LEG, AT, LEFT)], ids=["here", "api", "there"]
)
def test_nobody_is_rung_for_a_contact_that_is_over(told: Any) -> None:
    when = given(*ASKED, KEPT).when(told)
    assert when.events[0] == DOWN and CLOSED in when.actions
    assert isinstance(when.state, st.Closing)


def test_who_cannot_be_saved_is_not_rung_for() -> None:
    past = (*ASKED, KEPT, w.LegClosed("c1", Cause.MEDIA_LOST, By.NODE, AT))
    when = given(*past).when(EffectEnded("takeover", Outcome.FAILED, "NO_ANSWER"))
    assert when.events[0] == DOWN and isinstance(when.state, st.Done)


def test_the_longest_wait_may_pass_in_the_middle() -> None:
    given(*ASKED).when(w.GiveUpWaiting("sales")).nothing()
    late = given(*ASKED).when(TAKEN, now_ms=AT + 2 * MAX_WAIT_MS)
    assert GIVE_UP in late.actions


def test_a_desk_that_refuses_is_asked_again_when_it_is_over() -> None:
    when = given(*ASKED).when(w.RefuseQueue("sales", "UNKNOWN_QUEUE"))
    assert isinstance(when.state, st.Moving)
    assert [action.name for action in when.actions if isinstance(action, Wake)] == ["rejoin"]
    asked = given(*ASKED, *when.events).when(w.RejoinQueue())
    assert desk(w.Enqueue("c1", "sales", (), 0, AT)) in asked.actions
    given(*ASKED).when(w.RefuseQueue("other", "UNKNOWN_QUEUE")).nothing()
    early = given(*IN_LINE, BEGUN).when(w.RefuseQueue("sales", "UNKNOWN_QUEUE"))
    assert [type(event) for event in early.events[:2]] == [w.CallerMoveFailed, w.ContactDequeued]


def test_the_announcement_may_end_in_the_middle() -> None:
    when = given(*ASKED).when(EffectEnded("announce", Outcome.DONE))
    when.then([w.QueueMusicStarted(AT)], [order("play", media.Play(("music",), loop=True))])


# ------------------------------------------------------------------- what could not be decided


@pytest.mark.parametrize("told", [TAKEN, EffectEnded("takeover", Outcome.DONE)], ids=["told", "outcome"])
def test_that_the_other_node_has_them_is_a_fact(told: Any) -> None:
    assert refused(ASKED, told).events[1:] == [MOVED]


def test_that_the_caller_left_on_the_other_node_is_a_fact() -> None:
    when = refused(ASKED, w.NoteLeg(THERE, MOVED_LEG, AT, LEFT))
    assert when.events[1].open == ("c1",) and when.events[1].by is w.EndedBy.CALLER


def recovered(past: tuple[Any, ...], command: Any) -> When:
    when = refused(past, command)
    assert isinstance(when.events[0], w.ContactRecovered)
    return when


def test_a_step_that_cannot_be_decided_ends_the_move() -> None:
    early = recovered((*IN_LINE, BEGUN), w.TakeDialog("c1", AT, DIALOG))
    assert early.events[1:] == [stays("RECOVERED")]
    late = recovered((*ASKED, KEPT), EffectEnded("takeover", Outcome.FAILED, "NO_ANSWER"))
    assert late.events[1:] == [DOWN, stays("RECOVERED", doubt=True)]
    assert there(f"hangup/{MOVED_LEG}", media.LetGo()) in late.actions


def test_in_quarantine_no_phone_hears_of_the_leg_that_was_left() -> None:
    rung = (*AFTER, RUNG, w.AgentAnswered("o2", "ben", AT))
    assert LET_GO in recovery.part(given(*rung).state, "contact/c1", AT)
    rest = ((THERE, MOVED_LEG), (THERE, "c1.o2"))
    assert recovery.leg_over("contact/c1", "c1", rest, False, AT) == ()
    down = recovery.leg_over("contact/c1", MOVED_LEG, ((THERE, "c1.o2"),), False, AT)
    assert [action.payload.leg for action in down] == ["c1.o2"]
    agent = recovery.leg_over("contact/c1", "c1.o2", ((THERE, MOVED_LEG),), False, AT)
    assert [action.payload.leg for action in agent[1:]] == [MOVED_LEG]


def test_a_state_of_an_earlier_release_has_its_caller_where_the_call_came_in() -> None:
    call = st.Call("c1", NODE, "100", Withheld(), "main", 1, AT)
    assert (call.leg, call.node_of("c1"), call.node_of("c1.o1")) == ("c1", NODE, NODE)
