"""Offers of agents to a contact: made, ringing, taken back, and how they end before an answer."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Context, EffectEnded
from tandem.core.ports.media import (
    By,
    Cause,
    LegAnswered,
    LegEnded,
    LegRinging,
    Outcome,
    RecordingFailed,
    RecordingStored,
)
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.ending import caller_gone
from tandem.session.domain.contact.recordings import never_recorded, recording_over

Events = Sequence[Any]

_OFFER_OUTCOME = {
    Cause.BUSY: w.OfferOutcome.REJECTED,
    Cause.DECLINED: w.OfferOutcome.REJECTED,
    Cause.UNREACHABLE: w.OfferOutcome.UNREACHABLE,
    Cause.NO_MEDIA: w.OfferOutcome.UNREACHABLE,
    Cause.MEDIA_LOST: w.OfferOutcome.UNKNOWN,
}


def offer_outcome(cause: Cause, by: By) -> w.OfferOutcome:
    """How an offer ended whose leg ended so before the answer. What is nobody's fault is
    UNREACHABLE: so is a phone that gave up by itself (480, 408), for only a ring that lasted
    its limit, which the node ends, is an agent's (spine 12, "blamed")."""
    if cause is Cause.NO_ANSWER and by is By.NODE:
        return w.OfferOutcome.TIMEOUT
    return _OFFER_OUTCOME.get(cause, w.OfferOutcome.UNREACHABLE)


def _offer(state: st.Waiting, command: w.OfferContact, context: Context) -> Events:
    return (offered(state.call, command, context.now_ms),)


def offered(call: st.Call, offer: w.OfferContact, at_ms: int) -> w.AgentOffered:
    """The agent's device is to ring."""
    leg = f"{call.contact}.{offer.offer}"
    return w.AgentOffered(offer.offer, offer.agent, offer.device, leg, offer.queue, offer.ring_timeout_ms, at_ms)


def _turn_down(state: st.State, command: w.OfferContact, context: Context) -> Events:
    """Routing decided on a contact that hung up, or was offered, in the meantime: the offer is
    rescinded, the agent keeps their idle time."""
    return (w.OfferTurnedDown(command.offer, command.agent, context.now_ms),)


def not_held(state: st.State, command: w.RescindOffer, context: Context) -> Events:
    """Each question has its answer, also when the first one was lost: or the agent stays reserved."""
    if holds(state, command.offer):
        return ()
    return (w.OfferNotHeld(command.offer, context.now_ms),)


def holds(state: Any, offer: str) -> bool:
    """Whether the end of that offer, or of its talk, is still to come."""
    offered: st.Offered | None = getattr(state, "offered", None)
    if offered is None or offered.offer != offer:
        return False
    if isinstance(state, st.Closing):
        return offered.leg in state.open
    return not isinstance(state, st.Ended)


def _ringing_leg(state: st.Ringing, command: w.NoteLeg, context: Context) -> Events:
    call, offered, at = state.call, state.offered, command.at_ms
    match command.body:
        case LegEnded() as ended if command.leg == call.leg:
            # The caller hung up before the agent answered: CANCEL, no blame, idle time kept.
            return caller_gone(state, ended, at)
        case LegRinging() if command.leg == offered.leg and not offered.ringing:
            return (w.AgentRinging(offered.offer, at),)
        case LegAnswered() if command.leg == offered.leg and state.cancel is None:
            return (w.AgentAnswered(offered.offer, offered.agent, at),)
        case LegEnded() as ended if command.leg == offered.leg:
            # A leg that is being taken down ends as that said, whatever its last word was.
            outcome = state.cancel or offer_outcome(ended.cause, ended.by)
            return (
                w.OfferEnded(offered.offer, offered.agent, outcome, ended.cause, ended.rang_ms, at),
                w.LegClosed(offered.leg, ended.cause, ended.by, at),
            )
        case RecordingStored() | RecordingFailed():
            return recording_over(state, command)
        case _:
            return ()  # the answer to a call that is being cancelled: its leg goes down by itself


def _ringing_effect(state: st.Ringing, command: EffectEnded, context: Context) -> Events:
    """An order that ended without an event of the leg: the leg never came to be, or is in doubt."""
    at = context.now_ms
    if command.name == "announce":
        return (w.QueueMusicStarted(at),)
    if command.name == "ring" and command.outcome is Outcome.DONE and state.cancel is None:
        # The leg's own event comes first; it was lost with the node's agent, and somebody listens.
        return (w.AgentAnswered(state.offered.offer, state.offered.agent, at),)
    never = command.name == "ring" and command.outcome is not Outcome.DONE
    gone = command.name == f"hangup/{state.offered.leg}"
    if not never and not gone:
        return never_recorded(state, command, context)
    if command.outcome is Outcome.UNKNOWN:
        # The node has lost the order, and perhaps not the call: what it listed before counted as ours.
        outcome = state.cancel or w.OfferOutcome.UNKNOWN
        ended = w.OfferEnded(state.offered.offer, state.offered.agent, outcome, Cause.FAILED, 0, at)
        return ended, w.LegInDoubt(state.offered.leg, at)
    cause = Cause(command.reason) if command.reason in Cause.__members__ else Cause.UNREACHABLE
    outcome = state.cancel or offer_outcome(cause, By.FAR)
    return (w.OfferEnded(state.offered.offer, state.offered.agent, outcome, cause, 0, at),)


def _rescind(state: st.Ringing, command: w.RescindOffer, context: Context) -> Events:
    if command.offer != state.offered.offer:
        return not_held(state, command, context)
    if state.cancel is not None:
        return ()
    return (w.OfferCancelBegun(command.offer, w.OfferOutcome.RESCINDED, context.now_ms),)


HANDLERS: dict[tuple[type, type], Any] = {
    (st.Waiting, w.OfferContact): _offer,
    (st.Ringing, w.NoteLeg): _ringing_leg,
    (st.Ringing, EffectEnded): _ringing_effect,
    (st.Ringing, w.RescindOffer): _rescind,
    **{
        (state, w.OfferContact): _turn_down
        for state in (st.InFlow, st.Ringing, st.Connecting, st.Talking, st.Closing, st.Ended)
    },
    **{
        (state, w.RescindOffer): not_held
        for state in (st.InFlow, st.Waiting, st.Connecting, st.Talking, st.Closing, st.Ended)
    },
}
