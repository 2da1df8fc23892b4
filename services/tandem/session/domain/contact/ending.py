"""How a contact ends: its one outcome, the legs that go down, and what still comes after them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, get_args

from tandem.core.decider import Context, EffectEnded
from tandem.core.errors import CONTACT_ENDED, Rejected
from tandem.core.ports.media import By, Cause, LegEnded, RecordingFailed, RecordingStored
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.recordings import NEVER_STORED, all_lost, never_recorded, recording_over

Events = Sequence[Any]


def caller_gone(
    state: st.Live,
    ended: LegEnded,
    at_ms: int,
    leg: str = "",
) -> Events:
    """The caller's leg has ended: the contact has its outcome, all others go down. `leg`, if they have another one."""
    caller = leg or state.call.leg
    open_ = tuple(leg for _, leg in st.legs(state) if leg != caller)
    if ended.cause is Cause.MEDIA_LOST:
        outcome, by = w.ContactOutcome.MEDIA_LOST, w.EndedBy.NODE
    elif ended.cause is Cause.FALLBACK:
        outcome, by = w.ContactOutcome.FALLBACK, w.EndedBy.NODE
    elif isinstance(state, st.Talking):
        outcome, by = w.ContactOutcome.HANDLED, _side(ended, w.EndedBy.CALLER)
    elif isinstance(state, st.InFlow):
        outcome, by = w.ContactOutcome.LEFT_IN_FLOW, _side(ended, w.EndedBy.CALLER)
    else:
        outcome, by = w.ContactOutcome.ABANDONED, _side(ended, w.EndedBy.CALLER)
    events = (
        *nobody_offered(state, at_ms),
        w.ContactDisconnected(outcome, by, ended.cause, open_, at_ms),
        w.LegClosed(caller, ended.cause, ended.by, at_ms),
    )
    waits = bool(open_) or bool(getattr(state, "recordings", ()))
    return events if waits else (*events, w.ContactCompleted(at_ms))


def nobody_offered(state: Any, at_ms: int) -> Events:
    """An offer that was kept for the end of a move is turned down."""
    kept: w.OfferContact | None = getattr(state, "kept", None)
    return () if kept is None else (w.OfferTurnedDown(kept.offer, kept.agent, at_ms),)


def _side(ended: LegEnded, far: w.EndedBy) -> w.EndedBy:
    return far if ended.by is By.FAR else w.EndedBy.NODE


def _hang_up(state: st.Live, command: w.HangUpContact, context: Context) -> Events:
    open_ = tuple(leg for _, leg in st.legs(state))
    talked = isinstance(state, st.Talking)
    outcome = w.ContactOutcome.HANDLED if talked else w.ContactOutcome.HUNG_UP
    over = w.ContactDisconnected(outcome, w.EndedBy.API, Cause.NORMAL, open_, context.now_ms)
    return *nobody_offered(state, context.now_ms), over


def _hang_up_ended(state: st.State, command: w.HangUpContact, context: Context) -> Events:
    raise Rejected(CONTACT_ENDED, "the contact has ended", contact=st.id_of(context.stream))


def _closing_leg(state: st.Closing, command: w.NoteLeg, context: Context) -> Events:
    match command.body:
        case LegEnded(cause=cause, by=by, rang_ms=rang_ms):
            return closed(state, command.leg, cause, by, rang_ms, command.at_ms)
        case RecordingStored() | RecordingFailed():
            return recording_over(state, command)
        case _:
            return ()  # an answer that crossed the hang-up


def closed(state: st.Closing, leg: str, cause: Cause, by: By, rang_ms: int, at_ms: int) -> Events:
    """A leg of a closing contact is gone; nothing if it was before."""
    if leg not in state.open:
        return ()
    events: list[Any] = []
    offered = state.offered
    if offered is not None and leg == offered.leg and not state.accepted:
        events.append(w.OfferEnded(offered.offer, offered.agent, w.OfferOutcome.CANCELED, cause, rang_ms, at_ms))
    events.append(w.LegClosed(leg, cause, by, at_ms))
    if state.open == (leg,) and not _waits(state):
        events.append(w.ContactCompleted(at_ms))
    return events


def _waits(state: st.Closing) -> bool:
    """Whether something still comes after the last leg: a recording, the agent's wrap-up."""
    return bool(state.recordings) or st.wraps(state)


def _closing_effect(state: st.Closing, command: EffectEnded, context: Context) -> Events:
    """A hang-up that ended without an event of its leg: the leg had never come to be."""
    prefix, _, leg = command.name.partition("/")
    if prefix != "hangup":
        return never_recorded(state, command, context)
    return closed(state, leg, Cause.CANCELED, By.TANDEM, 0, context.now_ms)


def _ended_leg(state: st.Ended, command: w.NoteLeg, context: Context) -> Events:
    return _last_recording(state, recording_over(state, command), command.at_ms)


def _ended_effect(state: st.Ended, command: EffectEnded, context: Context) -> Events:
    return _last_recording(state, never_recorded(state, command, context), context.now_ms)


def _last_recording(state: st.Ended, events: Events, at_ms: int) -> Events:
    if events and len(state.recordings) == 1 and not state.wrapping:
        return *events, w.ContactCompleted(at_ms)
    return events


def _wrapped_early(state: st.Closing, command: w.EndWrapUp, context: Context) -> Events:
    """The agent is through before the caller's leg is down."""
    if state.offered is None or command.offer != state.offered.offer or not st.wraps(state):
        return ()
    return (w.WrapUpEnded(command.offer, command.at_ms),)


def _wrapped(state: st.Ended, command: w.EndWrapUp, context: Context) -> Events:
    if not state.wrapping or state.offered is None or command.offer != state.offered.offer:
        return ()
    ended = w.WrapUpEnded(command.offer, command.at_ms)
    return (ended,) if state.recordings else (ended, w.ContactCompleted(command.at_ms))


def _complete(state: st.Ended, command: w.CompleteAnyway, context: Context) -> Events:
    return *all_lost(state, NEVER_STORED, context.now_ms), w.ContactCompleted(context.now_ms)


HANDLERS: dict[tuple[type, type], Any] = {
    (st.Closing, w.NoteLeg): _closing_leg,
    (st.Closing, EffectEnded): _closing_effect,
    (st.Closing, w.EndWrapUp): _wrapped_early,
    (st.Ended, w.NoteLeg): _ended_leg,
    (st.Ended, EffectEnded): _ended_effect,
    (st.Ended, w.EndWrapUp): _wrapped,
    (st.Ended, w.CompleteAnyway): _complete,
    **{(state, w.HangUpContact): _hang_up for state in get_args(st.Live)},
    **{(state, w.HangUpContact): _hang_up_ended for state in (st.Closing, st.Ended)},
}
