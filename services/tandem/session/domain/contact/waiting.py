"""A contact in line: announcement and music, the longest wait, what the desk refuses."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from tandem.core.decider import Context, EffectEnded
from tandem.core.flow import QueueStep
from tandem.core.ports.media import Cause, LegEnded, RecordingFailed, RecordingStored
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.ending import caller_gone
from tandem.session.domain.contact.flow import flow_of, go_on
from tandem.session.domain.contact.recordings import never_recorded, recording_over

Events = Sequence[Any]

DESK_GONE = "DESK_GONE"
"""Why of a `RefuseQueue` that the runtime gives: the desk did not take the contact."""
MAX_RECOVERIES = 3
"""After so many things that could not be decided a contact is not waited with any longer."""


def _waiting_leg(state: st.Waiting, command: w.NoteLeg, context: Context) -> Events:
    match command.body:
        case LegEnded() as ended if command.leg == state.call.leg:
            return caller_gone(state, ended, command.at_ms)
        case RecordingStored() | RecordingFailed():
            return recording_over(state, command)
        case _:
            return ()


def _waiting_effect(state: st.Waiting, command: EffectEnded, context: Context) -> Events:
    """The announcement is over (or is missing): music."""
    if command.name == "announce":
        return (w.QueueMusicStarted(context.now_ms),)
    return never_recorded(state, command, context)


def _give_up(state: st.InLine, command: w.GiveUpWaiting, context: Context) -> Events:
    if command.step != state.place.step:
        return ()
    if not isinstance(state, st.Waiting):
        return ()  # an agent's phone rings, or another node takes them over: the wake is set again when that ends
    return _out_of_line(state, "MAX_WAIT", context)


def _out_of_line(state: st.Waiting | st.Moving, why: str, context: Context) -> Events:
    flow, at = flow_of(state.call, context), context.now_ms
    body = flow.step(state.place.step) if flow else None
    dequeued = w.ContactDequeued(state.place.queue, why, at)
    if isinstance(body, QueueStep) and body.otherwise:
        return dequeued, *go_on(state.call, body.otherwise, context, at)
    caller = state.call.leg
    return dequeued, w.ContactDisconnected(w.ContactOutcome.FAILED, w.EndedBy.FLOW, Cause.FAILED, (caller,), at)


def queue_refused(state: st.Waiting | st.Moving, command: w.RefuseQueue, context: Context) -> Events:
    """They go on in their flow, unless the desk may be asked again."""
    if command.queue != state.place.queue:
        return ()
    if command.why == DESK_GONE and state.call.recoveries < MAX_RECOVERIES:
        # The desk failed, or is out of order for a moment: the place is asked for again.
        return (w.ContactRecovered("routing.enqueue", DESK_GONE, True, True, False, context.now_ms),)
    return _out_of_line(state, command.why, context)


def rejoin(state: st.Waiting | st.Moving, command: w.RejoinQueue, context: Context) -> Events:
    """The desk is asked for the place again."""
    return (w.QueueRejoined(state.place.queue, state.place.enqueued_ms, context.now_ms),)


def _no_place(state: st.State, command: w.AskPlace, context: Context) -> Events:
    """That the contact left the line was lost: who does not wait has no place in it."""
    return (w.PlaceNotHeld(command.queue, context.now_ms),)


HANDLERS: dict[tuple[type, type], Any] = {
    (st.Waiting, w.NoteLeg): _waiting_leg,
    (st.Waiting, EffectEnded): _waiting_effect,
    (st.Waiting, w.RefuseQueue): queue_refused,
    (st.Waiting, w.RejoinQueue): rejoin,
    **{(state, w.AskPlace): _no_place for state in (st.InFlow, st.Connecting, st.Talking, st.Closing, st.Ended)},
    **{(state, w.GiveUpWaiting): _give_up for state in get_args(st.InLine)},
}
