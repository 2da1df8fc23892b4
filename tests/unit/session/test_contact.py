"""A contact's rules as examples: given what happened, when this comes, then that (races of a call)."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from tandem.core.decider import Act, EffectEnded, Settle, Tell, Wake
from tandem.core.ports import media
from tandem.core.ports.media import (
    By,
    Cause,
    Collected,
    LegAnswered,
    LegBridged,
    LegEnded,
    LegReferred,
    LegRinging,
    Outcome,
)
from tandem.core.seal import Secret, Withheld
from tandem.session.domain import reception as r
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.react import COMPLETION_MS, ORDER_DEADLINE_MS, RING_GRACE_MS
from tandem.session.domain.gate import CountCall
from tandem.session.events import CONTACT
from tests.support.given import AT, Given
from tests.support.live_world import MAX_WAIT_MS, NODE, STEPS

STREAM, LEG = "contact/c1", "c1.o1"


def reception() -> r.Reception:
    """The number 100 leads to the flow `main`."""
    state = r.Reception()
    for event in (r.NumberConfigured("100", 1, "main", False), r.FlowConfigured("main", 1, STEPS)):
        r.evolve(state, event)
    return state


def menu(attempt: int = 1, prompts: tuple[str, ...] = ("menu",)) -> w.FlowStepEntered:
    return w.FlowStepEntered("menu", w.StepKind.MENU, attempt, prompts, 5000, False, AT)


def step(name: str, kind: w.StepKind, *prompts: str) -> w.FlowStepEntered:
    return w.FlowStepEntered(name, kind, 1, prompts, 0, False, AT)


STARTED = (
    w.ContactStarted("c1", "100", Withheld(), NODE, "main", 1, AT),
    step("hello", w.StepKind.ANSWER),
)
ANSWERED = (*STARTED, w.ContactAnswered(AT), step("welcome", w.StepKind.PLAY, "welcome"))
IN_MENU = (*ANSWERED, menu())
QUEUED = w.ContactQueued("sales", "sales", (), 0, AT, AT + MAX_WAIT_MS, ("please-wait",), "music")
IN_LINE = (*IN_MENU, w.MenuChosen("menu", "sales", Withheld(), AT), QUEUED)
BEGUN = w.CallerMoveBegun("c1.move1", "m2", AT)
ASKED = (*IN_LINE, BEGUN, w.CallerHandedOut(Withheld(), AT))
OFFERED = w.AgentOffered("o1", "ana", "ana-phone", LEG, "sales", 15_000, AT)
RINGING = (*IN_LINE, OFFERED)
CANCELLING = (*RINGING, w.OfferCancelBegun("o1", w.OfferOutcome.RESCINDED, AT))
ACCEPTED = (*RINGING, w.AgentAnswered("o1", "ana", AT))
CONNECTED = w.ContactConnected("o1", "ana", "c1-o1", Withheld(), AT)
TALKING = (*ACCEPTED, CONNECTED)
LOST = w.ContactRequeued("sales", AT, "o1", w.WhyRequeued.AGENT_LOST, AT)

PAST: dict[type, tuple[Any, ...]] = {
    st.InFlow: IN_MENU,
    st.Waiting: IN_LINE,
    st.Moving: ASKED,
    st.Ringing: RINGING,
    st.Connecting: ACCEPTED,
    st.Talking: TALKING,
}


def given(*past: Any) -> Given:
    return Given(CONTACT, STREAM, past, reception())


def leg(body: Any, name: str = "c1") -> w.NoteLeg:
    return w.NoteLeg(NODE, name, AT, body)


def order(name: str, verb: media.Verb, leg: str = "c1", deadline_ms: int = ORDER_DEADLINE_MS) -> Act:
    return Act(name, "media", w.MediaOrder(NODE, leg, verb), deadline_ms)


def desk(message: Any) -> Tell:
    """A desk that fails to take a contact says so."""
    gone = w.RefuseQueue(message.queue, "DESK_GONE") if isinstance(message, w.Enqueue) else None
    return Tell("desk", message, gone)


def disconnected(outcome: w.ContactOutcome, by: w.EndedBy, *open_: str, cause: Cause = Cause.NORMAL) -> Any:
    return w.ContactDisconnected(outcome, by, cause, open_, AT)


# ------------------------------------------------------------------- the flow


def test_a_call_is_answered() -> None:
    taken = given().when(w.TakeCall(NODE, AT, "100", Withheld()))
    taken.then(STARTED, [Tell("gate", CountCall(AT)), order("answer", media.Answer())])


def test_a_call_to_a_number_that_was_withdrawn_ends() -> None:
    when = given().when(w.TakeCall(NODE, AT, "999", Withheld()))
    started, ended = when.events
    assert (started.flow, ended.outcome) == ("", w.ContactOutcome.FLOW_ENDED)
    assert when.actions[-1] == order("hangup/c1", media.HangUp(), "c1")


def test_a_refused_call_begins_and_ends_a_contact() -> None:
    when = given().when(w.NoteRefusal(NODE, AT, "100", "CAPACITY"))
    assert isinstance(when.then([w.ContactTurnedAway("100", "CAPACITY", AT)], []).state, st.Done)


def test_an_answered_call_goes_on_and_the_outcome_of_the_answer_skips_nothing() -> None:
    """The leg's event and the order's outcome both say `answered`; one of them moves the flow."""
    past = given(*STARTED)
    past.when(leg(LegAnswered())).then(
        [w.ContactAnswered(AT), step("welcome", w.StepKind.PLAY, "welcome")],
        [order("play", media.Play(("welcome",)), deadline_ms=90_000)],
    )
    past.when(EffectEnded("answer", Outcome.DONE)).nothing()


@pytest.mark.parametrize("outcome", [Outcome.FAILED, Outcome.UNKNOWN])
def test_an_answer_that_fails_ends_the_contact_unless_the_leg_is_gone(outcome: Outcome) -> None:
    given(*STARTED).when(EffectEnded("answer", outcome, "NO_MEDIA")).then(
        [disconnected(w.ContactOutcome.FAILED, w.EndedBy.NODE, "c1", cause=Cause.FAILED)]
    )
    given(*STARTED).when(EffectEnded("answer", outcome, "LEG_GONE")).nothing()
    given(*ANSWERED).when(EffectEnded("answer", outcome, "NO_MEDIA")).nothing()


@pytest.mark.parametrize("outcome", Outcome)
def test_a_prompt_that_is_over_or_missing_leads_on(outcome: Outcome) -> None:
    given(*ANSWERED).when(EffectEnded("play", outcome, "" if outcome is Outcome.DONE else "UNKNOWN_PROMPT")).then(
        [menu()]
    )
    if outcome is not Outcome.DONE:
        given(*ANSWERED).when(EffectEnded("play", outcome, "LEG_GONE")).nothing()


def digits(pressed: str, why: Collected = Collected.COMPLETE, step_key: str = "menu#1") -> w.TakeDigits:
    return w.TakeDigits("c1", AT, step_key, Secret(pressed.encode()), why)


def test_a_digit_that_the_menu_has_leads_to_the_queue() -> None:
    chosen = w.MenuChosen("menu", "sales", Secret(b"1"), AT)
    given(*IN_MENU).when(digits("1")).then(
        [chosen, QUEUED],
        [
            order("announce", media.Play(("please-wait",)), deadline_ms=90_000),
            desk(w.Enqueue("c1", "sales", (), 0, AT)),
            Wake("give_up", AT + MAX_WAIT_MS, w.GiveUpWaiting("sales")),
        ],
    )


@pytest.mark.parametrize(
    ("pressed", "why", "prompt"), [("7", Collected.COMPLETE, "invalid"), ("", Collected.TIMEOUT, "timeout")]
)
def test_a_try_that_fails_is_repeated_with_its_prompt(pressed: str, why: Collected, prompt: str) -> None:
    given(*IN_MENU).when(digits(pressed, why)).then(
        [w.MenuMissed("menu", 1, not pressed, Secret(pressed.encode()), AT), menu(2, (prompt, "menu"))]
    )


def test_the_last_try_that_fails_leads_elsewhere() -> None:
    past = (*IN_MENU, w.MenuMissed("menu", 1, True, Withheld(), AT), menu(2))
    when = given(*past).when(digits("", Collected.TIMEOUT, "menu#2"))
    assert when.events[-1] == step("bye", w.StepKind.HANG_UP, "goodbye")


def test_digits_of_another_try_and_of_a_menu_that_was_replaced_change_nothing() -> None:
    given(*IN_MENU).when(digits("1", step_key="menu#2")).nothing()
    given(*IN_MENU).when(digits("1", Collected.REPLACED)).nothing()
    given(*ANSWERED).when(digits("1")).nothing()


def test_a_menu_that_the_node_could_not_play_counts_as_a_try() -> None:
    when = given(*IN_MENU).when(EffectEnded("play", Outcome.FAILED, "UNKNOWN_PROMPT"))
    assert [type(event) for event in when.events] == [w.MenuMissed, w.FlowStepEntered]


def test_after_the_farewell_the_call_ends() -> None:
    past = (*IN_MENU, step("bye", w.StepKind.HANG_UP, "goodbye"))
    ended = disconnected(w.ContactOutcome.FLOW_ENDED, w.EndedBy.FLOW, "c1")
    when = given(*past).when(EffectEnded("play", Outcome.DONE)).then([ended])
    assert when.actions[-1] == order("hangup/c1", media.HangUp(), "c1")
    given(*past).when(EffectEnded("answer", Outcome.DONE)).nothing()


def test_callers_keep_the_version_of_the_flow_that_they_began_with() -> None:
    state = reception()
    other = tuple(replace(row, body=replace(row.body, options=())) if row.id == "menu" else row for row in STEPS)
    r.evolve(state, r.FlowConfigured("main", 2, other))
    when = Given(CONTACT, STREAM, IN_MENU, state).when(digits("1"))
    assert isinstance(when.state, st.Waiting)


@pytest.mark.parametrize(
    ("past", "command"),
    [
        (STARTED, leg(LegAnswered())),
        (ANSWERED, EffectEnded("play", Outcome.DONE)),
        (IN_MENU, digits("1")),
        (IN_LINE, w.GiveUpWaiting("sales")),
    ],
    ids=["answered", "played", "digits", "gave up"],
)
def test_a_flow_version_that_is_no_more_ends_the_contact_instead_of_leaving_it_in_silence(
    past: tuple[Any, ...], command: Any
) -> None:
    state = reception()
    del state.flows["main"][1]
    when = Given(CONTACT, STREAM, past, state).when(command)
    assert when.events[-1] == disconnected(w.ContactOutcome.FAILED, w.EndedBy.FLOW, "c1", cause=Cause.FAILED)
    assert order("hangup/c1", media.HangUp(), "c1") in when.actions


# ------------------------------------------------------------------- in line


def test_after_the_announcement_music_plays() -> None:
    given(*IN_LINE).when(EffectEnded("announce", Outcome.DONE)).then(
        [w.QueueMusicStarted(AT)], [order("play", media.Play(("music",), loop=True))]
    )


def test_an_offer_rings_the_phone_for_its_time() -> None:
    given(*IN_LINE).when(w.OfferContact("o1", "ana", "ana-phone", "sales", 15_000)).then(
        [OFFERED],
        [order("ring", media.Originate("ana-phone", 15_000, "o1", Withheld()), LEG, 15_000 + RING_GRACE_MS)],
    )


def test_who_waited_too_long_goes_on_in_the_flow() -> None:
    when = given(*IN_LINE).when(w.GiveUpWaiting("sales"))
    assert when.events == [
        w.ContactDequeued("sales", "MAX_WAIT", AT),
        step("bye", w.StepKind.HANG_UP, "goodbye"),
    ]
    assert desk(w.LeaveQueue("c1", "MAX_WAIT")) in when.actions
    given(*IN_LINE).when(w.GiveUpWaiting("other")).nothing()


def test_while_a_phone_rings_nobody_gives_up_and_afterwards_the_wake_is_set_again() -> None:
    given(*RINGING).when(w.GiveUpWaiting("sales")).nothing()
    when = given(*RINGING).when(leg(LegEnded(Cause.DECLINED, By.FAR), LEG), AT + 2 * MAX_WAIT_MS)
    assert Wake("give_up", AT + MAX_WAIT_MS, w.GiveUpWaiting("sales")) in when.actions


def test_a_queue_that_there_is_not_leads_on() -> None:
    when = given(*IN_LINE).when(w.RefuseQueue("sales", "UNKNOWN_QUEUE"))
    assert when.events[0] == w.ContactDequeued("sales", "UNKNOWN_QUEUE", AT)
    given(*IN_LINE).when(w.RefuseQueue("other", "UNKNOWN_QUEUE")).nothing()


# ------------------------------------------------------------------- ringing

ENDS = [
    (Cause.NO_ANSWER, w.OfferOutcome.UNREACHABLE),  # the phone gave up by itself
    (Cause.BUSY, w.OfferOutcome.REJECTED),
    (Cause.DECLINED, w.OfferOutcome.REJECTED),
    (Cause.UNREACHABLE, w.OfferOutcome.UNREACHABLE),
    (Cause.NO_MEDIA, w.OfferOutcome.UNREACHABLE),
    (Cause.REFUSED, w.OfferOutcome.UNREACHABLE),
    (Cause.FAILED, w.OfferOutcome.UNREACHABLE),
    (Cause.CANCELED, w.OfferOutcome.UNREACHABLE),
    (Cause.NORMAL, w.OfferOutcome.UNREACHABLE),
    (Cause.FALLBACK, w.OfferOutcome.UNREACHABLE),
    (Cause.MEDIA_LOST, w.OfferOutcome.UNKNOWN),
    (Cause.MOVED, w.OfferOutcome.UNREACHABLE),  # only a waiting caller is moved: here nobody rings any more
]


def test_every_cause_has_an_outcome() -> None:
    assert [cause for cause, _ in ENDS] and {cause for cause, _ in ENDS} == set(Cause)


@pytest.mark.parametrize(("cause", "outcome"), ENDS, ids=[cause.value for cause, _ in ENDS])
def test_an_offer_that_was_not_accepted_keeps_the_place(cause: Cause, outcome: w.OfferOutcome) -> None:
    when = given(*RINGING).when(leg(LegEnded(cause, By.FAR, 3000), LEG))
    assert when.events == [
        w.OfferEnded("o1", "ana", outcome, cause, 3000, AT),
        w.LegClosed(LEG, cause, By.FAR, AT),
    ]
    assert desk(w.OfferClosed("o1", "c1", outcome, 3000, AT)) in when.actions
    assert isinstance(when.state, st.Waiting) and when.state.place.enqueued_ms == AT


def test_only_a_ring_that_lasted_its_limit_is_the_agents() -> None:
    when = given(*RINGING).when(leg(LegEnded(Cause.NO_ANSWER, By.NODE, 15_000), LEG))
    timeout = w.OfferOutcome.TIMEOUT
    assert when.events[0] == w.OfferEnded("o1", "ana", timeout, Cause.NO_ANSWER, 15_000, AT)


@pytest.mark.parametrize(
    ("outcome", "reason", "ended"),
    [
        (Outcome.FAILED, "BUSY", w.OfferOutcome.REJECTED),
        (Outcome.FAILED, "SOMETHING_NEW", w.OfferOutcome.UNREACHABLE),
    ],
)
def test_a_phone_that_never_rang_is_told_by_the_outcome_of_the_order(
    outcome: Outcome, reason: str, ended: w.OfferOutcome
) -> None:
    when = given(*RINGING).when(EffectEnded("ring", outcome, reason))
    assert [event.outcome for event in when.events] == [ended]


@pytest.mark.parametrize(("past", "ended"), [(RINGING, w.OfferOutcome.UNKNOWN), (CANCELLING, w.OfferOutcome.RESCINDED)])
def test_a_phone_of_which_its_node_has_forgotten_the_order_is_told_to_hang_up(
    past: tuple[Any, ...], ended: w.OfferOutcome
) -> None:
    """It may ring on, or be answered by then: the contact is not over before its leg is."""
    contact = given(*past)
    when = contact.when(EffectEnded("ring", Outcome.UNKNOWN, "IN_DOUBT"))
    when.then([w.OfferEnded("o1", "ana", ended, Cause.FAILED, 0, AT), w.LegInDoubt(LEG, AT)])
    assert when.actions[-1] == order(f"hangup/{LEG}", media.HangUp(Cause.CANCELED), LEG)
    assert st.legs(when.state) == ((NODE, "c1"), (NODE, LEG))
    contact.when(leg(LegAnswered(), LEG)).nothing()
    gone = contact.when(leg(LegEnded(Cause.NORMAL, By.TANDEM), LEG))
    gone.then([w.LegClosed(LEG, Cause.NORMAL, By.TANDEM, AT)])
    assert st.legs(gone.state) == ((NODE, "c1"),)


def test_an_answer_connects() -> None:
    given(*RINGING).when(leg(LegAnswered(), LEG)).then(
        [w.AgentAnswered("o1", "ana", AT)],
        [
            Settle("ring"),
            Settle("announce"),
            Settle("give_up"),
            desk(w.OfferAccepted("o1", "c1", AT)),
            order("bridge", media.Bridge(LEG)),
        ],
    )


def test_ringing_is_noted_once() -> None:
    given(*RINGING).when(leg(LegRinging(), LEG)).then([w.AgentRinging("o1", AT)], [])
    given(*RINGING, w.AgentRinging("o1", AT)).when(leg(LegRinging(), LEG)).nothing()


def test_routing_takes_the_offer_back() -> None:
    given(*RINGING).when(w.RescindOffer("o1", "AGENT_AWAY")).then(
        [w.OfferCancelBegun("o1", w.OfferOutcome.RESCINDED, AT)],
        [Settle("ring"), order(f"hangup/{LEG}", media.HangUp(Cause.CANCELED), LEG)],
    )
    not_held = w.OfferClosed("o2", "c1", w.OfferOutcome.RESCINDED, 0, AT)
    given(*RINGING).when(w.RescindOffer("o2", "AGENT_AWAY")).then([w.OfferNotHeld("o2", AT)], [desk(not_held)])
    given(*CANCELLING).when(w.RescindOffer("o1", "OVERDUE")).nothing()


@pytest.mark.parametrize("cause", Cause)
def test_an_offer_that_is_taken_back_ends_rescinded_whatever_the_phone_said_last(cause: Cause) -> None:
    when = given(*CANCELLING).when(leg(LegEnded(cause, By.FAR, 15_000), LEG))
    assert when.events[0].outcome is w.OfferOutcome.RESCINDED
    given(*CANCELLING).when(leg(LegAnswered(), LEG)).nothing()  # its leg goes down by itself


def test_an_offer_that_is_taken_back_before_the_phone_was_asked_ends_too() -> None:
    when = given(*CANCELLING).when(EffectEnded(f"hangup/{LEG}", Outcome.DONE))
    assert [event.outcome for event in when.events] == [w.OfferOutcome.RESCINDED]


def test_the_caller_hangs_up_while_it_rings() -> None:
    when = given(*RINGING).when(leg(LegEnded(Cause.CANCELED, By.FAR)))
    assert when.events[0] == disconnected(w.ContactOutcome.ABANDONED, w.EndedBy.CALLER, LEG, cause=Cause.CANCELED)
    assert desk(w.LeaveQueue("c1", "ABANDONED")) in when.actions
    assert order(f"hangup/{LEG}", media.HangUp(), LEG) in when.actions
    closing = Given(CONTACT, STREAM, (*RINGING, *when.events))
    closing.when(leg(LegAnswered(), LEG)).nothing()  # an answer that crossed
    end = closing.when(leg(LegEnded(Cause.CANCELED, By.TANDEM), LEG))
    assert desk(w.OfferClosed("o1", "c1", w.OfferOutcome.CANCELED, 0, AT)) in end.actions
    assert isinstance(end.state, st.Done)


# ------------------------------------------------------------------- with an agent


def test_audio_begins_and_is_recorded() -> None:
    key = Secret(b"recording/c1-o1")
    given(*ACCEPTED).when(leg(LegBridged(LEG))).then(
        [w.ContactConnected("o1", "ana", "c1-o1", key, AT)],
        [Settle("bridge"), Settle("play"), order("record/c1-o1", media.RecordStart("c1-o1", key))],
    )


def test_the_caller_hangs_up_between_answer_and_bridge_no_wrap_up() -> None:
    gone = given(*ACCEPTED).when(leg(LegEnded(Cause.NORMAL, By.FAR)))
    assert gone.events[0].outcome is w.ContactOutcome.ABANDONED
    end = Given(CONTACT, STREAM, (*ACCEPTED, *gone.events)).when(leg(LegEnded(Cause.NORMAL, By.TANDEM), LEG))
    assert desk(w.TalkEnded("o1", "c1", False, False, AT)) in end.actions
    assert isinstance(end.state, st.Done)


def test_the_caller_hangs_up_in_the_talk_and_the_agent_wraps_up() -> None:
    gone = given(*TALKING).when(leg(LegEnded(Cause.NORMAL, By.FAR)))
    assert gone.events[0].outcome is w.ContactOutcome.HANDLED
    end = Given(CONTACT, STREAM, (*TALKING, *gone.events)).when(leg(LegEnded(Cause.NORMAL, By.TANDEM), LEG))
    assert desk(w.TalkEnded("o1", "c1", True, False, AT)) in end.actions
    assert Wake("complete", AT + COMPLETION_MS, w.CompleteAnyway()) in end.actions
    assert isinstance(end.state, st.Ended) and end.state.wrapping


def test_the_agent_hangs_up() -> None:
    when = given(*TALKING).when(leg(LegEnded(Cause.NORMAL, By.FAR), LEG))
    assert when.events[0] == disconnected(w.ContactOutcome.HANDLED, w.EndedBy.AGENT, "c1")
    assert desk(w.TalkEnded("o1", "c1", True, False, AT)) in when.actions


@pytest.mark.parametrize("cause", [Cause.NO_MEDIA, Cause.UNREACHABLE])
def test_the_agents_network_is_gone_and_the_caller_is_back_at_the_place(cause: Cause) -> None:
    when = given(*TALKING).when(leg(LegEnded(cause, By.NODE), LEG))
    assert when.events == [LOST, w.LegClosed(LEG, cause, By.NODE, AT)]
    assert desk(w.TalkEnded("o1", "c1", True, True, AT)) in when.actions
    assert desk(w.Enqueue("c1", "sales", (), 0, AT)) in when.actions
    assert order("stop/c1-o1", media.RecordStop("c1-o1")) in when.actions
    assert isinstance(when.state, st.Waiting)


def test_a_caller_whom_the_agents_phone_hands_over_is_back_at_their_place() -> None:
    talk = given(*TALKING)
    when = talk.when(leg(LegReferred(LEG, Withheld())))
    assert when.events == [w.ContactRequeued("sales", AT, "o1", w.WhyRequeued.REFERRED, AT)]
    assert order("play", media.Play(("music",), loop=True)) in when.actions, "nobody is left in silence"
    assert order(f"hangup/{LEG}", media.HangUp(), LEG) in when.actions, "a phone need not say BYE"
    assert desk(w.TalkEnded("o1", "c1", True, True, AT)) in when.actions
    assert order("stop/c1-o1", media.RecordStop("c1-o1")) in when.actions
    talk.when(leg(LegEnded(Cause.NORMAL, By.FAR), LEG)).then(
        [w.LegClosed(LEG, Cause.NORMAL, By.FAR, AT)], [Settle(f"hangup/{LEG}")]
    )
    assert isinstance(talk.state, st.Waiting)


def test_a_caller_whose_phone_hands_the_agent_over_has_left() -> None:
    when = given(*TALKING).when(leg(LegReferred("c1", Withheld()), LEG))
    assert when.events == [disconnected(w.ContactOutcome.HANDLED, w.EndedBy.CALLER, "c1", LEG)]
    assert order(f"hangup/{LEG}", media.HangUp(), LEG) in when.actions


def test_nobody_is_handed_over_who_is_in_no_talk() -> None:
    for past in (IN_MENU, IN_LINE, RINGING):
        given(*past).when(leg(LegReferred("", Withheld()))).nothing()


def test_time_with_an_agent_is_no_wait() -> None:
    """Back in line after a long talk, the caller has as long to wait as before it."""
    late = replace(leg(LegEnded(Cause.NO_MEDIA, By.NODE), LEG), at_ms=AT + 10 * MAX_WAIT_MS)
    when = given(*TALKING).when(late, AT + 10 * MAX_WAIT_MS)
    assert Wake("give_up", AT + 11 * MAX_WAIT_MS, w.GiveUpWaiting("sales")) in when.actions


def test_the_media_node_is_gone() -> None:
    for name in ("c1", LEG):
        when = given(*TALKING).when(leg(LegEnded(Cause.MEDIA_LOST, By.NODE), name))
        assert (when.events[0].outcome, when.events[0].by) == (w.ContactOutcome.MEDIA_LOST, w.EndedBy.NODE)


@pytest.mark.parametrize(("outcome", "reason"), [(Outcome.FAILED, "NOT_UP"), (Outcome.UNKNOWN, "IN_DOUBT")])
def test_a_bridge_that_does_not_come_about_keeps_the_place(outcome: Outcome, reason: str) -> None:
    when = given(*ACCEPTED).when(EffectEnded("bridge", outcome, reason))
    assert when.events == [w.ContactRequeued("sales", AT, "o1", w.WhyRequeued.NOT_BRIDGED, AT)]
    assert order(f"hangup/{LEG}", media.HangUp(), LEG) in when.actions
    given(*ACCEPTED).when(EffectEnded("bridge", Outcome.FAILED, "LEG_GONE")).nothing()


def test_a_bridge_that_is_done_is_a_talk_also_if_the_legs_own_event_was_lost() -> None:
    """An agent that died between the bridge and its journal: the next one only finds that it stands."""
    when = given(*ACCEPTED).when(EffectEnded("bridge", Outcome.DONE))
    said = given(*ACCEPTED).when(leg(LegBridged(LEG)))
    assert (when.events, when.actions, when.state) == (said.events, said.actions, said.state)
    given(*ACCEPTED, *when.events).when(leg(LegBridged(LEG))).nothing()  # told all the same


def test_a_ring_that_is_done_is_an_answer_also_if_the_legs_own_event_was_lost() -> None:
    when = given(*RINGING).when(EffectEnded("ring", Outcome.DONE))
    said = given(*RINGING).when(leg(LegAnswered(), LEG))
    assert (when.events, when.actions, when.state) == (said.events, said.actions, said.state)
    given(*RINGING, *when.events).when(leg(LegAnswered(), LEG)).nothing()
    given(*CANCELLING).when(EffectEnded("ring", Outcome.DONE)).nothing()  # its leg goes down by itself


def test_an_outcome_of_something_else_begins_no_talk() -> None:
    given(*ACCEPTED).when(EffectEnded("", Outcome.DONE)).nothing()  # an order that is not pending any more


def test_hold_is_ended_by_whose_phone_began_it() -> None:
    held = given(*TALKING).when(leg(media.LegHeld(), LEG)).then([w.ContactHeld(w.EndedBy.AGENT, AT)])
    past = (*TALKING, *held.events)
    given(*past).when(leg(media.LegHeld())).nothing()
    given(*past).when(leg(media.LegResumed())).nothing()
    given(*past).when(leg(media.LegResumed(), LEG)).then([w.ContactResumed(w.EndedBy.AGENT, AT)])


# ------------------------------------------------------------------- the end


@pytest.mark.parametrize("state", PAST, ids=lambda cls: cls.__name__)
def test_the_api_hangs_up_in_any_state(state: type) -> None:
    when = given(*PAST[state]).when(w.HangUpContact())
    outcome = w.ContactOutcome.HANDLED if state is st.Talking else w.ContactOutcome.HUNG_UP
    (ended,) = when.events
    assert (ended.outcome, ended.by) == (outcome, w.EndedBy.API)
    names = [action.name for action in when.actions if isinstance(action, Act)]
    assert names == [f"hangup/{name}" for name in ended.open]
    again = Given(CONTACT, STREAM, (*PAST[state], *when.events))
    again.when(w.HangUpContact()).refused("CONTACT_ENDED")


@pytest.mark.parametrize("order_", [(0, 1), (1, 0)], ids=["caller first", "agent first"])
@pytest.mark.parametrize("told_by", ["event", "outcome"])
@pytest.mark.parametrize("state", [st.Ringing, st.Connecting, st.Talking], ids=lambda cls: cls.__name__)
def test_legs_go_down_in_any_order_and_are_told_in_either_way(
    state: type, told_by: str, order_: tuple[int, int]
) -> None:
    contact = given(*PAST[state])
    contact.when(w.HangUpContact())
    told: list[Any] = []
    for index in order_:
        name = ("c1", LEG)[index]
        if told_by == "event":
            told += contact.when(leg(LegEnded(Cause.NORMAL, By.TANDEM), name)).actions
        told += contact.when(EffectEnded(f"hangup/{name}", Outcome.DONE)).actions
    closing = [a.message for a in told if isinstance(a, Tell)]
    wanted = w.OfferClosed if state is st.Ringing else w.TalkEnded
    assert [type(message) for message in closing] == [wanted]
    assert isinstance(contact.state, st.Ended if state is st.Talking else st.Done)


def test_wrap_up_and_recording_end_in_any_order() -> None:
    stored = leg(media.RecordingStored("c1-o1", "blob", 8000, 16000, "00"))
    for first, second in ((stored, w.EndWrapUp("o1", AT)), (w.EndWrapUp("o1", AT), stored)):
        contact = given(*TALKING)
        contact.when(leg(LegEnded(Cause.NORMAL, By.FAR)))
        contact.when(leg(LegEnded(Cause.NORMAL, By.TANDEM), LEG))
        assert not isinstance(contact.when(first).state, st.Done)
        assert isinstance(contact.when(second).state, st.Done)


def test_the_agent_may_be_through_before_the_callers_leg_is_down() -> None:
    contact = given(*TALKING)
    contact.when(leg(LegEnded(Cause.NORMAL, By.FAR), LEG))
    contact.when(w.EndWrapUp("o1", AT)).then([w.WrapUpEnded("o1", AT)])
    contact.when(leg(media.RecordingFailed("c1-o1", "NO_ROOM")))
    end = contact.when(leg(LegEnded(Cause.NORMAL, By.TANDEM)))
    assert isinstance(end.state, st.Done)


@pytest.mark.parametrize("past", [TALKING, (*TALKING, LOST)], ids=["talking", "back in line"])
def test_a_recording_that_never_began_is_not_waited_for(past: tuple[Any, ...]) -> None:
    """A caller who hangs up at the very bridge: the order to record finds no leg."""
    when = given(*past).when(EffectEnded("record/c1-o1", Outcome.FAILED, "LEG_GONE"))
    assert [(event.blob, event.reason) for event in when.events] == [("", "LEG_GONE")]
    given(*past).when(EffectEnded("record/c1-o1", Outcome.UNKNOWN, "IN_DOUBT")).nothing()


def test_a_recording_is_told_to_its_service_wherever_the_contact_is_by_then() -> None:
    gave_up = (w.ContactDequeued("sales", "MAX_WAIT", AT), step("bye", w.StepKind.HANG_UP, "goodbye"))
    stored = leg(media.RecordingStored("c1-o1", "blob", 8000, 16000, "00"))
    for more in ((), (LOST,), (LOST, OFFERED), (LOST, *gave_up)):
        when = given(*TALKING, *more).when(stored)
        (told,) = when.actions
        assert (told.stream, told.message.blob, told.message.agent) == ("recording/c1-o1", "blob", "ana")


def test_what_never_comes_is_not_waited_for_longer_than_an_hour() -> None:
    contact = given(*TALKING)
    contact.when(leg(LegEnded(Cause.NORMAL, By.FAR)))
    contact.when(leg(LegEnded(Cause.NORMAL, By.TANDEM), LEG))
    when = contact.when(w.CompleteAnyway())
    assert [type(event) for event in when.events] == [w.RecordingEnded, w.ContactCompleted]
    assert when.events[0].reason == "NEVER_STORED"


def test_the_end_of_an_agents_leg_never_ends_the_contact_of_a_caller_who_is_in_the_flow() -> None:
    """An agent's leg that was being taken down when the wait was given up."""
    requeued = w.ContactRequeued("sales", AT, "o1", w.WhyRequeued.NOT_BRIDGED, AT)
    gave_up = (w.ContactDequeued("sales", "MAX_WAIT", AT), step("bye", w.StepKind.HANG_UP, "goodbye"))
    past = (*ACCEPTED, requeued, *gave_up)
    when = given(*past).when(leg(LegEnded(Cause.NORMAL, By.TANDEM), LEG))
    when.then([w.LegClosed(LEG, Cause.NORMAL, By.TANDEM, AT)], [Settle(f"hangup/{LEG}")])
    given(*past).when(leg(LegAnswered(), LEG)).nothing()


# ------------------------------------------------------------------- a phone that is left behind

LEFT = (*ACCEPTED, w.ContactRequeued("sales", AT, "o1", w.WhyRequeued.NOT_BRIDGED, AT))
"""The bridge did not come about: the caller waits again, and the agent's phone is going down."""
NEXT = w.AgentOffered("o2", "ben", "ben-phone", "c1.o2", "sales", 15_000, AT)
LEFT_IN: dict[type, tuple[Any, ...]] = {
    st.InFlow: (*LEFT, w.ContactDequeued("sales", "MAX_WAIT", AT), step("bye", w.StepKind.HANG_UP, "goodbye")),
    st.Waiting: LEFT,
    st.Ringing: (*LEFT, NEXT),
    st.Connecting: (*LEFT, NEXT, w.AgentAnswered("o2", "ben", AT)),
    st.Talking: (
        *(*LEFT, NEXT, w.AgentAnswered("o2", "ben", AT)),
        w.ContactConnected("o2", "ben", "c1-o2", Withheld(), AT),
    ),
}
PARTED = {
    "event": leg(LegEnded(Cause.CANCELED, By.TANDEM), LEG),
    "outcome": EffectEnded(f"hangup/{LEG}", Outcome.FAILED, "LEG_GONE"),
}


@pytest.mark.parametrize("told", PARTED.values(), ids=PARTED)
def test_a_contact_is_not_over_before_the_phone_that_it_left_is_down(told: Any) -> None:
    """The caller leaves in the same breath: an order to hang up dies with whoever gave it."""
    contact = given(*LEFT)
    contact.when(leg(LegEnded(Cause.NORMAL, By.FAR)))
    assert contact.state.open == (LEG,)
    when = contact.when(told)
    assert [type(event) for event in when.events] == [w.LegClosed, w.ContactCompleted]
    assert isinstance(contact.state, st.Done)


@pytest.mark.parametrize("told", PARTED.values(), ids=PARTED)
@pytest.mark.parametrize("state", LEFT_IN, ids=lambda cls: cls.__name__)
def test_the_end_of_a_phone_that_was_left_is_told_once_and_changes_nothing_else(state: type, told: Any) -> None:
    contact = given(*LEFT_IN[state])
    assert (NODE, LEG) in st.legs(contact.state)
    contact.when(told).then([w.LegClosed(LEG, Cause.CANCELED, By.TANDEM, AT)], [Settle(f"hangup/{LEG}")])
    assert isinstance(contact.state, state) and (NODE, LEG) not in st.legs(contact.state)
    contact.when(told).nothing()


@pytest.mark.parametrize("state", LEFT_IN, ids=lambda cls: cls.__name__)
def test_a_supervisor_who_ends_the_call_ends_it_with_the_phone_that_was_left(state: type) -> None:
    contact = given(*LEFT_IN[state])
    contact.when(w.HangUpContact())
    assert LEG in contact.state.open


def test_a_flow_that_ends_waits_for_the_phone_that_was_left() -> None:
    contact = given(*LEFT_IN[st.InFlow])
    contact.when(EffectEnded("play", Outcome.DONE))
    contact.when(leg(LegEnded(Cause.NORMAL, By.TANDEM)))
    assert isinstance(contact.state, st.Closing) and contact.state.open == (LEG,)


def test_an_agent_who_was_lost_is_not_waited_for() -> None:
    contact = given(*TALKING)
    contact.when(leg(LegEnded(Cause.NO_MEDIA, By.NODE), LEG))
    assert st.legs(contact.state) == ((NODE, "c1"),)


# ------------------------------------------------------------------- L7: what the desk asks, and its answer

OFFER = w.OfferContact("o2", "ben", "ben-phone", "sales", 15_000)


def test_an_offer_to_a_contact_in_any_state_gets_one_closing_answer() -> None:
    """Turned down at once in every state but Waiting, where it is closed when it ends, as above, and
    Moving, which keeps it until they may be rung for."""
    ended = given(*TALKING)
    ended.when(leg(LegEnded(Cause.NORMAL, By.FAR)))
    closing = ended.state
    ended.when(leg(LegEnded(Cause.NORMAL, By.TANDEM), LEG))
    pasts = {**PAST, st.Closing: closing, st.Ended: ended.state}
    for state, past in pasts.items():
        contact = given(*past) if isinstance(past, tuple) else given()
        if not isinstance(past, tuple):
            contact.state = past
        assert type(contact.state) is state
        when = contact.when(OFFER)
        if state is st.Waiting:
            assert isinstance(when.state, st.Ringing)
        elif state is st.Moving:
            when.then([w.OfferKept("o2", "ben", "ben-phone", "sales", 15_000, AT)], [])
        else:
            closed = w.OfferClosed("o2", "c1", w.OfferOutcome.RESCINDED, 0, AT)
            # A desk that offers whom does not wait is told that, too: it would offer them for ever.
            left = () if state is st.Ringing else (desk(w.LeaveQueue("c1", "NOT_WAITING")),)
            when.then([w.OfferTurnedDown("o2", "ben", AT)], [*left, desk(closed)])
            assert type(when.state) is state
