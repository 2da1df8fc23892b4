"""No hole in the contact's table: each pair of state and command is handled, or changes nothing for a reason."""

from __future__ import annotations

import typing

import pytest

from tandem.core.decider import EffectEnded
from tandem.session import events as session
from tandem.session.domain import erasure, gate, late, retention
from tandem.session.domain import reception as r
from tandem.session.domain import words as w
from tandem.session.domain.contact import ending, flow, moving, offers, pausing, recordings, talking, waiting
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.decide import HANDLERS
from tandem.session.domain.contact.evolve import EVENTS
from tandem.session.domain.contact.react import _REACT
from tandem.session.domain.stray import HangUpStray

STATES = typing.get_args(st.State)
OF_OTHERS = {
    *(r.PublishNumber, r.PublishDevice, r.PublishFlow, r.NoteDevice, r.AskDevices, HangUpStray),
    *(erasure.EraseContact, erasure.EraseDue, retention.Retention),
    *(late.ExpectRecording, late.NoteLateRecording, late.GiveUpRecording, late.FoundRecording),
    *(gate.PublishQuota, gate.CountCall, gate.RefuseCall),
}
COMMANDS = [cls for _, cls in session.COMMANDS.classes() if cls not in OF_OTHERS] + [EffectEnded]

BEFORE = "a contact begins with its call; whatever else is told of it is answered `gone` by the runtime"
BEGUN = "the call has been taken: a repeat of its arrival"
AFTER = "a contact that is over leaves the live state; in the step itself the runtime answers `gone`"
NO_MENU = "digits of a menu that the flow has left"
NO_LINE = "the wait is over: the wake was settled with it, or lost the race"
IT_WAITS = "the place is the contact's: nothing is to be answered"
NOT_ENDED = "only an ended contact waits to be completed"
NO_WRAP_UP = "the wrap-up of an earlier talk of this contact, which goes on without it"
NOT_TO_MOVE = "only a caller who waits is moved, and once at a time"
NOT_MOVING = "the move was given up meanwhile"
REFUSED_BEFORE = "the queue was refused or left before"

NOTHING: dict[tuple[type, type], str] = {
    **{(st.New, command): BEFORE for command in COMMANDS if command not in (w.TakeCall, w.NoteRefusal)},
    **{(st.Done, command): AFTER for command in COMMANDS},
    **{(state, command): BEGUN for state in STATES[1:-1] for command in (w.TakeCall, w.NoteRefusal)},
    **{(state, w.TakeDigits): NO_MENU for state in STATES[2:-1]},
    **{(state, w.GiveUpWaiting): NO_LINE for state in (st.InFlow, st.Connecting, st.Talking, st.Closing, st.Ended)},
    **{
        (state, w.RefuseQueue): REFUSED_BEFORE
        for state in (st.InFlow, st.Ringing, st.Connecting, st.Talking, st.Closing, st.Ended)
    },
    **{
        (state, w.RejoinQueue): NO_LINE
        for state in (st.InFlow, st.Ringing, st.Connecting, st.Talking, st.Closing, st.Ended)
    },
    **{(state, w.AskPlace): IT_WAITS for state in typing.get_args(st.InLine)},
    **{(state, w.EndWrapUp): NO_WRAP_UP for state in typing.get_args(st.Live)},
    **{(state, w.MoveCaller): NOT_TO_MOVE for state in STATES[1:-1] if state is not st.Waiting},
    **{(state, w.TakeDialog): NOT_MOVING for state in STATES[1:-1] if state is not st.Moving},
    **{(state, w.EndMove): NOT_MOVING for state in STATES[1:-1] if state is not st.Moving},
    **{(state, w.CompleteAnyway): NOT_ENDED for state in STATES[1:-2]},
}


@pytest.mark.parametrize("command", COMMANDS, ids=lambda cls: cls.__name__)
@pytest.mark.parametrize("state", STATES, ids=lambda cls: cls.__name__)
def test_every_pair_has_its_place(state: type, command: type) -> None:
    handled, ignored = (state, command) in HANDLERS, (state, command) in NOTHING
    assert handled != ignored, "both handled and said to change nothing" if handled else "in neither table"


def test_the_tables_name_nothing_else() -> None:
    pairs = {(state, command) for state in STATES for command in COMMANDS}
    assert set(HANDLERS) | set(NOTHING) == pairs


def test_every_event_of_a_contact_has_a_name_and_changes_or_keeps_the_state() -> None:
    named = {cls for name, cls in session.EVENTS.classes() if name.startswith("contact.")} - {erasure.ContactErased}
    assert named == set(EVENTS)
    assert set(_REACT) <= named


def test_no_pair_is_decided_by_two_phases() -> None:
    phases = (flow, waiting, moving, offers, talking, pausing, ending, recordings)
    assert sum(len(phase.HANDLERS) for phase in phases) == len(HANDLERS)
