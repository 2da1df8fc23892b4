"""A contact with an agent: the bridge, the talk, hold, and who leaves first."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Context, EffectEnded
from tandem.core.ports.media import (
    By,
    Cause,
    LegBridged,
    LegEnded,
    LegHeld,
    LegReferred,
    LegResumed,
    Outcome,
    RecordingFailed,
    RecordingStored,
)
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.ending import caller_gone
from tandem.session.domain.contact.pausing import order_ended
from tandem.session.domain.contact.recordings import never_recorded, recording_over

Events = Sequence[Any]


def _connecting_leg(state: st.Connecting, command: w.NoteLeg, context: Context) -> Events:
    call, offered, at = state.call, state.offered, command.at_ms
    match command.body:
        case LegEnded() as ended if command.leg == call.leg:
            # Between the agent's answer and the bridge: no audio, so no wrap-up.
            return caller_gone(state, ended, at)
        case LegEnded() as ended if command.leg == offered.leg:
            return _agent_gone_early(state, ended, at)
        case LegBridged():
            return connected(state, context, at)
        case RecordingStored() | RecordingFailed():
            return recording_over(state, command)
        case _:
            return ()


def connected(state: st.Connecting, context: Context, at_ms: int) -> Events:
    """Caller and agent hear each other."""
    offered = state.offered
    recording = f"{state.call.contact}-{offered.offer}"
    key = context.derive(f"recording/{recording}")
    return (w.ContactConnected(offered.offer, offered.agent, recording, key, at_ms),)


def _agent_gone_early(state: st.Connecting, ended: LegEnded, at_ms: int) -> Events:
    place, offered = state.place, state.offered
    return (
        w.ContactRequeued(place.queue, place.enqueued_ms, offered.offer, w.WhyRequeued.NOT_BRIDGED, at_ms),
        w.LegClosed(offered.leg, ended.cause, ended.by, at_ms),
    )


def _connecting_effect(state: st.Connecting, command: EffectEnded, context: Context) -> Events:
    if command.name != "bridge":
        return never_recorded(state, command, context)
    if command.outcome is Outcome.DONE:
        # The leg's own event comes first; it was lost with the node's agent, and they hear each other.
        return connected(state, context, context.now_ms)
    if command.reason == "LEG_GONE":
        return ()  # its end comes by itself
    # The bridge did not come about although nobody has hung up: take the agent's leg down, place kept.
    place, offered = state.place, state.offered
    why = w.WhyRequeued.NOT_BRIDGED
    return (w.ContactRequeued(place.queue, place.enqueued_ms, offered.offer, why, context.now_ms),)


def _talking_leg(state: st.Talking, command: w.NoteLeg, context: Context) -> Events:
    call, offered, at = state.call, state.offered, command.at_ms
    by = w.EndedBy.CALLER if command.leg == call.leg else w.EndedBy.AGENT
    match command.body:
        case LegEnded() as ended if command.leg == call.leg:
            return caller_gone(state, ended, at)
        case LegEnded() as ended if command.leg == offered.leg:
            return _agent_gone(state, ended, at)
        case LegHeld() if state.held_by is None:
            return (w.ContactHeld(by, at),)
        case LegResumed() if state.held_by is by:
            return (w.ContactResumed(by, at),)
        case LegReferred():
            return _referred(state, by, at)
        case RecordingStored() | RecordingFailed():
            return recording_over(state, command)
        case _:
            return ()


def _referred(state: st.Talking, by: w.EndedBy, at_ms: int) -> Events:
    """A phone asked to hand the other party over, who hears nothing now. Nobody is called because of it."""
    call, place, offered = state.call, state.place, state.offered
    if by is w.EndedBy.CALLER:
        # The agent has let go of a caller who is not served yet: back to their place, never into silence.
        return (w.ContactRequeued(place.queue, place.enqueued_ms, offered.offer, w.WhyRequeued.REFERRED, at_ms),)
    # The caller wanted to leave the agent, and has.
    open_ = (call.leg, offered.leg)
    return (w.ContactDisconnected(w.ContactOutcome.HANDLED, w.EndedBy.CALLER, Cause.NORMAL, open_, at_ms),)


def _agent_gone(state: st.Talking, ended: LegEnded, at_ms: int) -> Events:
    call, place, offered = state.call, state.place, state.offered
    closed = w.LegClosed(offered.leg, ended.cause, ended.by, at_ms)
    if ended.by is By.NODE and ended.cause is not Cause.MEDIA_LOST:
        # The agent's network is gone, not the agent's will: the caller is back at their place.
        why = w.WhyRequeued.AGENT_LOST
        return w.ContactRequeued(place.queue, place.enqueued_ms, offered.offer, why, at_ms), closed
    if ended.cause is Cause.MEDIA_LOST:
        outcome, by = w.ContactOutcome.MEDIA_LOST, w.EndedBy.NODE
    else:
        outcome, by = w.ContactOutcome.HANDLED, w.EndedBy.AGENT
    return w.ContactDisconnected(outcome, by, ended.cause, (call.leg,), at_ms), closed


HANDLERS: dict[tuple[type, type], Any] = {
    (st.Connecting, w.NoteLeg): _connecting_leg,
    (st.Connecting, EffectEnded): _connecting_effect,
    (st.Talking, w.NoteLeg): _talking_leg,
    (st.Talking, EffectEnded): order_ended,
}
