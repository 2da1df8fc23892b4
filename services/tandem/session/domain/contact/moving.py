"""A caller who waits on a media node that is being emptied: another node takes them over (ADR 0017).

The node that has them describes the call and gives nothing up; the other one asks the phone to speak with it
instead; then the first lets its side go. Until the other node has said that it has them they are where they were,
with their place and their music. Whom it has it has as a leg of its own, so that no leg is ever on two nodes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Context, EffectEnded
from tandem.core.ports.media import By, Cause, LegEnded, LegTakenOver, Outcome
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.ending import caller_gone, nobody_offered
from tandem.session.domain.contact.offers import not_held, offered
from tandem.session.domain.contact.recordings import never_recorded
from tandem.session.domain.contact.waiting import queue_refused, rejoin

Events = Sequence[Any]

AGAIN_MS = 60_000
"""A caller who could not be moved is left in peace for so long."""
_AGAIN_MS = {
    "OFFERED": 0,
    "NOT_WAITING": 5_000,  # the phone had not acknowledged its answer yet
    "CAPACITY": 5_000,
    # What will not change as long as the call lasts.
    **dict.fromkeys(("CANNOT_MOVE", "NO_DOOR", "NOT_ON_THIS_BACKEND"), 86_400_000),
}


def can_move(state: Any, now_ms: int) -> bool:
    """Whether a contact may be moved now: it waits, nothing of it is on its way down, nothing is recorded."""
    if not isinstance(state, st.Waiting) or state.recordings:
        return False
    return not state.call.parting and state.call.stays_ms <= now_ms


def _begin(state: st.Waiting, command: w.MoveCaller, context: Context) -> Events:
    call = state.call
    if command.node == call.node or not can_move(state, context.now_ms):
        return ()
    return (w.CallerMoveBegun(st.moved_leg(call.contact, call.moves + 1), command.node, context.now_ms),)


def _described(state: st.Moving, command: w.TakeDialog, context: Context) -> Events:
    if state.asked or command.leg != state.call.leg:
        return ()
    return (w.CallerHandedOut(command.dialog, command.at_ms),)


def moved(state: st.Moving, at_ms: int) -> Events:
    """The other node has them."""
    return w.CallerMoved(state.leg, state.node, at_ms), *_ring(state, at_ms)


def failed(state: st.Moving, reason: str, at_ms: int, *, doubt: bool = False) -> Events:
    """They stay where they are, if that is still there. `doubt`: the other node may have the leg."""
    if not state.lost:
        stays_ms = at_ms + _AGAIN_MS.get(reason, AGAIN_MS)
        return w.CallerMoveFailed(reason, doubt, stays_ms, at_ms), *_ring(state, at_ms)
    open_ = (state.leg,) * doubt
    lost = w.ContactDisconnected(w.ContactOutcome.MEDIA_LOST, w.EndedBy.NODE, Cause.MEDIA_LOST, open_, at_ms)
    events = *nobody_offered(state, at_ms), lost
    return events if open_ else (*events, w.ContactCompleted(at_ms))


def _ring(state: st.Moving, at_ms: int) -> Events:
    return () if state.kept is None else (offered(state.call, state.kept, at_ms),)


def leg_ended(state: st.Moving, leg: str, ended: LegEnded, at_ms: int) -> Events:
    """One of the two legs is over. A caller who hangs up has left, wherever they do it; a node that dies, or
    hears no audio any more, has only lost its own."""
    if leg not in (state.call.leg, state.leg):
        return ()
    if ended.by is By.FAR or not state.asked:
        return caller_gone(state, ended, at_ms, leg)
    if leg == state.leg:
        return failed(state, "LEG_ENDED", at_ms)
    return (w.LegClosed(leg, ended.cause, ended.by, at_ms),)


def _leg(state: st.Moving, command: w.NoteLeg, context: Context) -> Events:
    match command.body:
        case LegEnded() as ended:
            return leg_ended(state, command.leg, ended, command.at_ms)
        case LegTakenOver() if command.leg == state.leg and state.asked:
            return moved(state, command.at_ms)
        case _:
            return ()


def _effect(state: st.Moving, command: EffectEnded, context: Context) -> Events:
    at, outcome, reason = context.now_ms, command.outcome, command.reason
    match command.name:
        case "announce":
            return (w.QueueMusicStarted(at),)
        case "handout" if not state.asked:
            # What the node said comes before the outcome; without it there is nothing to go on with.
            return failed(state, "NOT_DESCRIBED" if outcome is Outcome.DONE else reason, at)
        case "takeover" if outcome is Outcome.DONE:
            # The leg's own event comes first; it was lost with the node's agent.
            return moved(state, at)
        case "takeover":
            return failed(state, reason, at, doubt=outcome is Outcome.UNKNOWN)
        case _:
            return never_recorded(state, command, context)


def _overdue(state: st.Moving, command: w.EndMove, context: Context) -> Events:
    """A node is away. One that had taken the caller over unheard would have cost the first its audio, and that its
    leg, by now; whose leg is gone has the other node's word to wait for."""
    if command.leg != state.leg or state.lost:
        return ()
    return failed(state, "NO_WORD", context.now_ms, doubt=state.asked)


def _offer(state: st.Moving, command: w.OfferContact, context: Context) -> Events:
    """An agent matters more than the move; once the other node is asked it is quicker to wait for it."""
    at = context.now_ms
    if not state.asked:
        return *failed(state, "OFFERED", at), offered(state.call, command, at)
    if state.kept is not None:
        return (w.OfferTurnedDown(command.offer, command.agent, at),)
    return (w.OfferKept(command.offer, command.agent, command.device, command.queue, command.ring_timeout_ms, at),)


def _rescind(state: st.Moving, command: w.RescindOffer, context: Context) -> Events:
    if state.kept is not None and state.kept.offer == command.offer:
        return nobody_offered(state, context.now_ms)
    return not_held(state, command, context)


def _refused(state: st.Moving, command: w.RefuseQueue, context: Context) -> Events:
    """Where the flow goes on is the other node's matter by then: the desk is asked again when it is over."""
    if command.queue != state.place.queue:
        return ()
    if not state.asked:
        return *failed(state, "REFUSED", context.now_ms), *queue_refused(state, command, context)
    return (w.ContactRecovered("routing.enqueue", command.why, False, True, False, context.now_ms),)


HANDLERS: dict[tuple[type, type], Any] = {
    (st.Waiting, w.MoveCaller): _begin,
    (st.Moving, w.TakeDialog): _described,
    (st.Moving, w.NoteLeg): _leg,
    (st.Moving, EffectEnded): _effect,
    (st.Moving, w.EndMove): _overdue,
    (st.Moving, w.OfferContact): _offer,
    (st.Moving, w.RescindOffer): _rescind,
    (st.Moving, w.RefuseQueue): _refused,
    (st.Moving, w.RejoinQueue): rejoin,
}
