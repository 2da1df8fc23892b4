"""What becomes of a contact when something that was told of it could not be decided (rule 12)."""

from __future__ import annotations

import typing
from typing import Any

import pytest

from tandem.core.decider import HOPS, EffectEnded, Refusal, Settle, Wake
from tandem.core.ports import media
from tandem.core.ports.media import By, Cause, LegAnswered, LegBridged, LegEnded, LegTakenOver, Outcome
from tandem.core.seal import Secret, Withheld
from tandem.session import events as session
from tandem.session.domain import words as w
from tandem.session.domain.contact import recovery
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.flow import APOLOGY
from tandem.session.domain.contact.react import REJOIN_MS
from tandem.session.domain.contact.waiting import MAX_RECOVERIES
from tests.support.given import AT, Given, When
from tests.unit.session.test_contact import (
    ACCEPTED,
    ASKED,
    CANCELLING,
    IN_LINE,
    IN_MENU,
    LEFT_IN,
    LEG,
    NODE,
    OFFER,
    RINGING,
    STARTED,
    TALKING,
    desk,
    given,
    leg,
    order,
)

CALLER_LEFT = LegEnded(Cause.NORMAL, By.FAR)
CLOSING = (*TALKING, w.ContactDisconnected(w.ContactOutcome.HANDLED, w.EndedBy.CALLER, Cause.NORMAL, (LEG,), AT))
ENDED = (*CLOSING, w.LegClosed(LEG, Cause.NORMAL, By.TANDEM, AT))
PASTS: dict[type, tuple[Any, ...]] = {
    st.InFlow: IN_MENU,
    st.Waiting: IN_LINE,
    st.Moving: ASKED,
    st.Ringing: RINGING,
    st.Connecting: ACCEPTED,
    st.Talking: TALKING,
    st.Closing: CLOSING,
    st.Ended: ENDED,
}
SAMPLES: dict[type, Any] = {
    w.TakeCall: w.TakeCall(NODE, AT, "100", Withheld()),
    w.NoteRefusal: w.NoteRefusal(NODE, AT, "100", "FULL"),
    w.NoteLeg: leg(CALLER_LEFT),
    w.NoteNewJournal: w.NoteNewJournal(NODE, AT),
    w.TakeDigits: w.TakeDigits("c1", AT, "menu#1", Secret(b"1"), media.Collected.COMPLETE),
    w.TakeDialog: w.TakeDialog("c1", AT, Secret(b"{}")),
    w.MoveCaller: w.MoveCaller("m2"),
    w.EndMove: w.EndMove("c1.move1"),
    w.OfferContact: OFFER,
    w.RescindOffer: w.RescindOffer("o1", "OVERDUE"),
    w.AskPlace: w.AskPlace("sales"),
    w.RefuseQueue: w.RefuseQueue("sales", "UNKNOWN_QUEUE"),
    w.EndWrapUp: w.EndWrapUp("o1", AT),
    w.HangUpContact: w.HangUpContact(),
    w.PauseRecording: w.PauseRecording(True, ""),
    w.GiveUpWaiting: w.GiveUpWaiting("sales"),
    w.RejoinQueue: w.RejoinQueue(),
    w.CompleteAnyway: w.CompleteAnyway(),
}


def name_of(command: Any) -> str:
    return "effect.ended" if isinstance(command, EffectEnded) else session.COMMANDS.name(command)


def refused(past: tuple[Any, ...], command: Any, why: str = "KeyError") -> When:
    """The contact after that command could not be decided."""
    return given(*past).when(recovery.recover(Refusal(name_of(command), command, why), AT))


def noted(command: Any, *, rejoin: bool = False) -> w.ContactRecovered:
    return w.ContactRecovered(name_of(command), "KeyError", True, rejoin, False, AT)


APOLOGISES = w.FlowStepEntered(APOLOGY, w.StepKind.HANG_UP, 1, ("apology",), 0, False, AT)
SORRY = order("play", media.Play(("apology",)), deadline_ms=90_000)


# ------------------------------------------------------------------- total


def _facts() -> list[Any]:
    bodies: list[Any] = [CALLER_LEFT, LegAnswered(), LegBridged(LEG), LegEnded(Cause.DECLINED, By.FAR), LegTakenOver()]
    legs = [leg(body, name) for body in bodies for name in ("c1", LEG, "c1.other", "c1.move1")]
    calls = ("answer", "play", "announce", "handout", "takeover", "ring", "bridge", f"hangup/{LEG}", "hangup/c1")
    names = (*calls, "record/c1-o1", "pause/c1-o1", "")
    return [
        *legs,
        *(EffectEnded(name, outcome, reason) for name in names for outcome in Outcome for reason in ("", "LEG_GONE")),
    ]


COMMANDS = [*(command for kind, command in SAMPLES.items() if kind is not w.NoteLeg), *_facts(), None]


def test_every_command_of_a_contact_is_tried() -> None:
    named = {cls for name, cls in session.COMMANDS.classes() if not name.startswith("config.")}
    assert {cls for cls in named if cls.__module__.endswith("words")} == set(SAMPLES)


@pytest.mark.parametrize("half", [False, True])
@pytest.mark.parametrize("why", ["ZeroDivisionError", HOPS])
@pytest.mark.parametrize("state", typing.get_args(st.State), ids=lambda cls: cls.__name__)
def test_recover_holds_in_every_state_for_every_command(state: type, why: str, half: bool) -> None:
    """Whatever was refused, without the reception, however often: no exception, one outcome at most."""
    for command in COMMANDS:
        name = "later.unknown" if command is None else name_of(command)
        past = PASTS.get(state, (*IN_LINE, w.ContactCompleted(AT)) if state is st.Done else ())
        contact = Given(session.CONTACT, "contact/c1", past)
        assert type(contact.state) is state
        outcomes = state in (st.Closing, st.Ended)
        for _ in range(MAX_RECOVERIES + 2):
            when = contact.when(recovery.recover(Refusal(name, command, why, half), AT))
            contact.state = when.state
            outcomes += sum(isinstance(event, w.ContactDisconnected) for event in when.events)
        assert outcomes <= 1, (state, command)


@pytest.mark.parametrize("state", PASTS, ids=lambda cls: cls.__name__)
def test_the_same_trouble_again_and_again_ends_or_changes_nothing(state: type) -> None:
    """No contact goes round for ever: after a few it has left the line or the trouble does not matter."""
    for command in COMMANDS:
        if command is None:
            continue
        contact = given(*PASTS[state])
        for _ in range(MAX_RECOVERIES + 2):
            last = contact.when(recovery.recover(Refusal(name_of(command), command, "KeyError"), AT))
            contact.state = last.state
        assert not any(isinstance(event, w.ContactRecovered) and event.rejoin for event in last.events)


# ------------------------------------------------------------------- before and in the flow


def test_a_call_whose_arrival_could_not_be_decided_has_its_outcome_and_is_hung_up() -> None:
    call = SAMPLES[w.TakeCall]
    when = given().when(recovery.recover(Refusal("media.take_call", call, "KeyError"), AT))
    assert [type(event) for event in when.events] == [w.ContactStarted, w.ContactRecovered, w.ContactDisconnected]
    assert when.events[2].outcome is w.ContactOutcome.FAILED
    assert order("hangup/c1", media.HangUp(Cause.NORMAL)) in when.actions


def test_who_is_in_the_flow_hears_the_apology_and_then_the_call_ends() -> None:
    digits = SAMPLES[w.TakeDigits]
    when = refused(IN_MENU, digits).then([noted(digits), APOLOGISES], [SORRY])
    for outcome in (Outcome.DONE, Outcome.FAILED):
        sorry = Given(session.CONTACT, "contact/c1", (*IN_MENU, *when.events))
        sorry.when(digits).nothing()  # keys pressed meanwhile
        sorry.when(EffectEnded("answer", Outcome.DONE)).nothing()
        (over,) = sorry.when(EffectEnded("play", outcome)).events
        assert (over.outcome, over.open) == (w.ContactOutcome.FAILED, ("c1",))


def test_a_second_failure_in_the_apology_ends_the_call() -> None:
    digits = SAMPLES[w.TakeDigits]
    when = refused((*IN_MENU, noted(digits), APOLOGISES), EffectEnded("play", Outcome.DONE))
    assert isinstance(when.events[1], w.ContactDisconnected)


def test_who_has_not_been_answered_cannot_hear_an_apology() -> None:
    when = refused(STARTED, EffectEnded("answer", Outcome.DONE))
    assert [type(event) for event in when.events] == [w.ContactRecovered, w.ContactDisconnected]


def test_that_the_leg_was_answered_is_a_fact_whatever_the_flow_made_of_it() -> None:
    when = refused(STARTED, leg(LegAnswered()))
    assert when.events == [noted(leg(LegAnswered())), w.ContactAnswered(AT), APOLOGISES]


@pytest.mark.parametrize("state", typing.get_args(st.Live), ids=lambda cls: cls.__name__)
def test_that_the_caller_left_is_a_fact_in_every_state(state: type) -> None:
    when = refused(PASTS[state], leg(CALLER_LEFT))
    (over,) = [event for event in when.events if isinstance(event, w.ContactDisconnected)]
    assert over.outcome is (w.ContactOutcome.HANDLED if state is st.Talking else w.ContactOutcome.FAILED)
    assert over.by is w.EndedBy.CALLER
    others = {st.Moving: ("c1.move1",), **dict.fromkeys((st.Ringing, st.Connecting, st.Talking), (LEG,))}
    assert over.open == others.get(state, ())


# ------------------------------------------------------------------- in line


def test_an_offer_that_could_not_be_taken_is_turned_down_and_the_place_is_taken_again() -> None:
    when = refused(IN_LINE, OFFER)
    assert when.events == [noted(OFFER, rejoin=True), w.OfferTurnedDown("o2", "ben", AT)]
    assert when.actions == [
        desk(w.LeaveQueue("c1", "RECOVERED")),
        Wake("rejoin", AT + REJOIN_MS, w.RejoinQueue()),
        desk(w.OfferClosed("o2", "c1", w.OfferOutcome.RESCINDED, 0, AT)),
    ]
    back = given(*IN_LINE, *when.events).when(w.RejoinQueue(), now_ms=AT + REJOIN_MS)
    back.then([w.QueueRejoined("sales", AT, AT + REJOIN_MS)], [desk(w.Enqueue("c1", "sales", (), 0, AT))])


def test_after_a_few_such_offers_the_contact_is_not_waited_with_any_longer() -> None:
    past = (*IN_LINE, *[noted(OFFER, rejoin=True)] * MAX_RECOVERIES)
    when = refused(past, OFFER)
    assert [type(event) for event in when.events] == [
        w.ContactRecovered,
        w.ContactDequeued,
        w.OfferTurnedDown,
        w.FlowStepEntered,
    ]
    assert Settle("rejoin") in when.actions and SORRY in when.actions


def test_a_message_past_the_hop_limit_is_not_held_against_the_contact() -> None:
    past = (*IN_LINE, *[w.ContactRecovered("x", HOPS, False, True, False, AT)] * 10)
    when = refused(past, OFFER, HOPS)
    assert when.events[0].rejoin and isinstance(when.state, st.Waiting)


@pytest.mark.parametrize("kind", [w.RefuseQueue, w.GiveUpWaiting])
def test_whose_wait_is_over_does_not_wait_for_ever(kind: type) -> None:
    when = refused(IN_LINE, SAMPLES[kind])
    assert [type(event) for event in when.events[1:]] == [w.ContactDequeued, w.FlowStepEntered]


def test_after_an_announcement_music_plays_whatever_became_of_its_end() -> None:
    when = refused(IN_LINE, EffectEnded("announce", Outcome.DONE))
    assert when.actions == [order("play", media.Play(("music",), loop=True))]
    assert isinstance(when.state, st.Waiting)


def test_a_desk_that_failed_is_asked_again_and_then_the_flow_goes_on() -> None:
    gone = w.RefuseQueue("sales", "DESK_GONE")
    contact = given(*IN_LINE)
    for _ in range(MAX_RECOVERIES):
        when = contact.when(gone)
        assert [(type(event), event.rejoin) for event in when.events] == [(w.ContactRecovered, True)]
        contact.state = when.state
    assert isinstance(contact.when(gone).events[0], w.ContactDequeued)


# ------------------------------------------------------------------- with an agent


@pytest.mark.parametrize(
    "command",
    [leg(LegAnswered(), LEG), EffectEnded("ring", Outcome.FAILED), w.RescindOffer("o1", "AGENT_AWAY")],
    ids=["answer", "ring", "rescind"],
)
def test_while_it_rings_the_phone_is_taken_down_and_the_place_kept(command: Any) -> None:
    when = refused(RINGING, command)
    assert when.events[1] == w.OfferCancelBegun("o1", w.OfferOutcome.RESCINDED, AT)
    end = Given(session.CONTACT, "contact/c1", (*RINGING, *when.events)).when(
        leg(LegEnded(Cause.CANCELED, By.FAR), LEG)
    )
    assert isinstance(end.state, st.Waiting) and end.state.place.enqueued_ms == AT


def test_the_end_of_the_phones_leg_ends_the_offer_without_blame() -> None:
    gone = leg(LegEnded(Cause.NO_ANSWER, By.NODE, 15_000), LEG)
    when = refused(RINGING, gone)
    assert (when.events[1].outcome, type(when.state)) == (w.OfferOutcome.RESCINDED, st.Waiting)


def test_the_outcome_of_the_cancel_is_the_end_of_the_offer() -> None:
    when = refused(CANCELLING, EffectEnded(f"hangup/{LEG}", Outcome.DONE))
    assert isinstance(when.events[1], w.OfferEnded) and isinstance(when.state, st.Waiting)


def test_a_bridge_that_did_not_come_about_is_none_and_the_place_is_kept() -> None:
    when = refused(ACCEPTED, EffectEnded("bridge", Outcome.FAILED))
    assert isinstance(when.events[1], w.ContactRequeued) and isinstance(when.state, st.Waiting)


def test_that_they_hear_each_other_is_a_fact() -> None:
    for told in (leg(LegBridged(LEG)), EffectEnded("bridge", Outcome.DONE)):
        when = refused(ACCEPTED, told)
        assert isinstance(when.events[1], w.ContactConnected) and isinstance(when.state, st.Talking)


@pytest.mark.parametrize("kind", [kind for kind in SAMPLES if kind not in (w.NoteLeg, w.OfferContact)])
def test_a_talk_goes_on(kind: type) -> None:
    when = refused(TALKING, SAMPLES[kind])
    assert isinstance(when.state, st.Talking) and len(when.events) == 1 + (kind is w.AskPlace)


def test_the_agent_who_hung_up_ends_the_talk() -> None:
    when = refused(TALKING, leg(LegEnded(Cause.NORMAL, By.FAR), LEG))
    over = when.events[1]
    assert (over.outcome, over.by, over.open) == (w.ContactOutcome.HANDLED, w.EndedBy.AGENT, ("c1",))


# ------------------------------------------------------------------- at the end


def test_the_last_leg_ends_a_closing_contact() -> None:
    when = refused(CLOSING, leg(LegEnded(Cause.NORMAL, By.TANDEM), LEG))
    assert isinstance(when.state, st.Ended)


def test_wrap_up_is_over_whatever_became_of_its_end() -> None:
    when = refused(ENDED, SAMPLES[w.EndWrapUp])
    assert w.WrapUpEnded("o1", AT) in when.events


def test_an_ended_contact_is_completed_in_the_end() -> None:
    assert isinstance(refused(ENDED, w.CompleteAnyway()).state, st.Done)


# ------------------------------------------------------------------- what had happened by halves


def half(past: tuple[Any, ...], command: Any = None) -> When:
    """The contact after a reaction to what had happened raised."""
    return given(*past).when(recovery.recover(Refusal("media.note_leg", command, "KeyError", half=True), AT))


def test_what_may_never_have_been_ordered_is_ordered_again() -> None:
    music, rejoin = order("play", media.Play(("music",), loop=True)), Wake("rejoin", AT + REJOIN_MS, w.RejoinQueue())
    waits = half(IN_LINE)
    assert music in waits.actions and rejoin in waits.actions
    assert any(isinstance(action, Wake) and action.name == "give_up" for action in waits.actions)
    assert isinstance(half(RINGING).events[1], w.OfferCancelBegun)
    assert order(f"hangup/{LEG}", media.HangUp(Cause.CANCELED), LEG) in half(CANCELLING).actions
    assert isinstance(half(ACCEPTED).events[1], w.ContactRequeued)
    assert half(CLOSING).actions == [order(f"hangup/{LEG}", media.HangUp(Cause.NORMAL), LEG)]
    assert [action.name for action in half(ENDED).actions] == ["complete"]
    assert isinstance(half(TALKING).state, st.Talking)


def test_a_phone_that_was_up_when_its_bridge_failed_by_halves_is_down_before_the_contact_is_over() -> None:
    """The caller hangs up in the same millisecond: the order for the agent's leg may not have left yet."""
    contact = given(*ACCEPTED)
    contact.when(recovery.recover(Refusal("media.note_leg", None, "KeyError", half=True), AT))
    assert isinstance(contact.state, st.Waiting)
    when = contact.when(leg(CALLER_LEFT))
    assert isinstance(contact.state, st.Closing) and contact.state.open == (LEG,)
    assert order(f"hangup/{LEG}", media.HangUp(), LEG) in when.actions
    contact.when(leg(LegEnded(Cause.NORMAL, By.TANDEM), LEG))
    assert isinstance(contact.state, st.Done)


@pytest.mark.parametrize("state", LEFT_IN, ids=lambda cls: cls.__name__)
def test_the_end_of_a_phone_that_was_left_is_a_fact(state: type) -> None:
    for told in (leg(CALLER_LEFT, LEG), EffectEnded(f"hangup/{LEG}", Outcome.DONE)):
        when = refused(LEFT_IN[state], told)
        assert [type(event) for event in when.events] == [w.ContactRecovered, w.LegClosed]
        assert isinstance(when.state, state) and (NODE, LEG) not in st.legs(when.state)


def test_a_phone_whose_hang_up_may_never_have_been_ordered_is_hung_up() -> None:
    down = order(f"hangup/{LEG}", media.HangUp(), LEG)
    assert all(down in half(past).actions for past in LEFT_IN.values())


# ------------------------------------------------------------------- routing asks again


@pytest.mark.parametrize("state", PASTS, ids=lambda cls: cls.__name__)
def test_who_asks_after_an_offer_that_is_not_held_is_told_its_end_again(state: type) -> None:
    """L7: the first answer may have been refused; the agent must not stay reserved for that."""
    when = given(*PASTS[state]).when(w.RescindOffer("o0", "OVERDUE"))
    closed = w.OfferClosed("o0", "c1", w.OfferOutcome.RESCINDED, 0, AT)
    when.then([w.OfferNotHeld("o0", AT)], [desk(closed)])


def test_who_asks_after_a_talk_that_is_over_is_told_that() -> None:
    when = given(*ENDED).when(w.RescindOffer("o1", "OVERDUE"))
    when.then([w.OfferNotHeld("o1", AT)], [desk(w.TalkEnded("o1", "c1", True, False, AT))])
    given(*TALKING).when(w.RescindOffer("o1", "OVERDUE")).nothing()  # it goes on


@pytest.mark.parametrize("state", PASTS, ids=lambda cls: cls.__name__)
def test_who_does_not_wait_has_no_place_and_who_does_keeps_it(state: type) -> None:
    """That it left the line may have been lost with a desk that was out of service."""
    ask = w.AskPlace("sales")
    when = given(*PASTS[state]).when(ask)
    if state in typing.get_args(st.InLine):
        when.nothing()
    else:
        why = "CONNECTED" if state in (st.Connecting, st.Talking) else "NOT_WAITING"
        when.then([w.PlaceNotHeld("sales", AT)], [desk(w.LeaveQueue("c1", why))])
    again = refused(PASTS[state], ask)  # it could not be decided
    assert again.events[1:] == when.events and again.actions == when.actions
    assert isinstance(again.state, state)


# ------------------------------------------------------------------- quarantined


def test_nobody_is_left_with_music_for_ever() -> None:
    for state, past in PASTS.items():
        contact = given(*past)
        actions = recovery.part(contact.state, "contact/c1", AT)
        assert actions[0] == desk(w.LeaveQueue("c1", "QUARANTINED"))
        down = {action.payload.leg for action in actions[1:]}
        assert down == (set() if state in (st.Connecting, st.Talking) else {leg for _, leg in st.legs(contact.state)})


@pytest.mark.parametrize("guessed", [False, True])
def test_without_the_caller_there_is_no_talk(guessed: bool) -> None:
    assert recovery.leg_over("contact/c1", "c1", ((NODE, LEG),), guessed, AT) == (
        order(f"hangup/{LEG}", media.HangUp(Cause.FAILED), LEG),
    )


def test_the_agent_is_free_when_their_own_leg_is_down() -> None:
    closed = w.OfferClosed("o1", "c1", w.OfferOutcome.UNKNOWN, 0, AT)
    assert recovery.leg_over("contact/c1", LEG, (), False, AT) == (desk(closed),)
    # An old leg of the agent: the caller may talk with another by now.
    assert recovery.leg_over("contact/c1", LEG, ((NODE, "c1"),), True, AT) == (desk(closed),)
    # Another agent's leg is up: the old one was being taken down, or the talk ends with the other.
    both = ((NODE, "c1"), (NODE, "c1.o2"))
    assert recovery.leg_over("contact/c1", LEG, both, False, AT) == (desk(closed),)
    talk_ended = recovery.leg_over("contact/c1", LEG, ((NODE, "c1"),), False, AT)
    assert talk_ended == (desk(closed), order("hangup/c1", media.HangUp(Cause.FAILED), "c1"))


@pytest.mark.parametrize("state", LEFT_IN, ids=lambda cls: cls.__name__)
def test_in_quarantine_a_phone_that_was_left_goes_down_in_any_case(state: type) -> None:
    actions = recovery.part(given(*LEFT_IN[state]).state, "contact/c1", AT)
    assert order(f"hangup/{LEG}", media.HangUp(Cause.FAILED), LEG) in actions
    down = {action.payload.leg for action in actions[1:]}
    assert ("c1" in down) == (state not in (st.Connecting, st.Talking))


def test_what_says_that_a_leg_is_over() -> None:
    assert recovery.over(leg(CALLER_LEFT)) == "c1"
    assert recovery.over(EffectEnded(f"hangup/{LEG}", Outcome.DONE)) == LEG
    assert recovery.over(leg(LegAnswered())) == recovery.over(EffectEnded("play", Outcome.DONE)) == ""
    assert recovery.about("contact/c1", w.RescindOffer("o1", "x")) == LEG
