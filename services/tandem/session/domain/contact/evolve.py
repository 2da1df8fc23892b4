"""How events change a contact. No decision is taken here: what happened, happened."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from tandem.core.changed import changed
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st


def _with(state: Any, **changes: Any) -> st.State:
    """The same state with other fields, whichever of those that have them it is."""
    made: st.State = changed(state, **changes)
    return made


def _started(state: st.State, event: w.ContactStarted) -> st.State:
    call = st.Call(event.contact, event.node, event.number, event.caller, event.flow, event.flow_version, event.at_ms)
    return st.InFlow(call, "", 0)


def _answered(state: Any, event: w.ContactAnswered) -> st.State:
    return _with(state, call=changed(state.call, answered_ms=event.at_ms))


def _step(state: Any, event: w.FlowStepEntered) -> st.State:
    return st.InFlow(state.call, event.step, event.attempt, getattr(state, "recordings", ()))


def _queued(state: Any, event: w.ContactQueued) -> st.State:
    place = st.Place(
        event.queue,
        event.step,
        event.skills,
        event.priority,
        event.enqueued_ms,
        event.give_up_ms,
        event.music,
    )
    return st.Waiting(state.call, place, state.recordings)


def _dequeued(state: st.Waiting, event: w.ContactDequeued) -> st.State:
    return st.InFlow(state.call, state.place.step, 0, state.recordings)


def _move_begun(state: st.Waiting, event: w.CallerMoveBegun) -> st.State:
    call = changed(state.call, moves=state.call.moves + 1)
    return st.Moving(call, state.place, event.leg, event.node, recordings=state.recordings)


def _handed_out(state: st.Moving, event: w.CallerHandedOut) -> st.State:
    return changed(state, asked=True)


def _kept(state: st.Moving, event: w.OfferKept) -> st.State:
    offer = w.OfferContact(event.offer, event.agent, event.device, event.queue, event.ring_timeout_ms)
    return changed(state, kept=offer)


def _turned_down(state: Any, event: w.OfferTurnedDown) -> st.State:
    dropped = isinstance(state, st.Moving) and state.kept is not None and state.kept.offer == event.offer
    return changed(state, kept=None) if dropped else _same(state, event)


def _moved(state: st.Moving, event: w.CallerMoved) -> st.State:
    call = state.call
    left = {} if state.lost else {"parting": (call.leg,), "elsewhere": (call.leg, call.node)}
    call = changed(call, node=event.node, moved_leg=event.leg, **left)
    return st.Waiting(call, state.place, state.recordings)


def _not_moved(state: st.Moving, event: w.CallerMoveFailed) -> st.State:
    left = {"parting": (state.leg,), "elsewhere": (state.leg, state.node)} if event.doubt else {}
    call = changed(state.call, stays_ms=event.stays_ms, **left)
    return st.Waiting(call, state.place, state.recordings)


def _offered(state: st.Waiting, event: w.AgentOffered) -> st.State:
    offered = st.Offered(event.offer, event.agent, event.device, event.leg, event.ring_timeout_ms, event.at_ms)
    return st.Ringing(state.call, state.place, offered, None, state.recordings)


def _ringing(state: st.Ringing, event: w.AgentRinging) -> st.State:
    return changed(state, offered=changed(state.offered, ringing=True))


def _cancel(state: st.Ringing, event: w.OfferCancelBegun) -> st.State:
    return changed(state, cancel=event.outcome)


def _offer_ended(state: Any, event: w.OfferEnded) -> st.State:
    if isinstance(state, st.Ringing):
        return st.Waiting(state.call, state.place, state.recordings)
    return _with(state, offered=None)  # closing: the caller has gone before


def _accepted(state: st.Ringing, event: w.AgentAnswered) -> st.State:
    return st.Connecting(state.call, state.place, state.offered, state.recordings)


def _connected(state: st.Connecting, event: w.ContactConnected) -> st.State:
    call = state.call if state.call.connected_ms else changed(state.call, connected_ms=event.at_ms)
    recording = st.Recording(event.recording, event.data_key, state.place.queue, event.agent, event.at_ms)
    return st.Talking(call, state.place, state.offered, event.at_ms, None, (*state.recordings, recording))


def _held(state: st.Talking, event: w.ContactHeld) -> st.State:
    return changed(state, held_by=event.by)


def _resumed(state: st.Talking, event: w.ContactResumed) -> st.State:
    return changed(state, held_by=None)


def _requeued(state: Any, event: w.ContactRequeued) -> st.State:
    place = state.place
    if isinstance(state, st.Talking) and place.give_up_ms:
        # Time with an agent is no wait: the rest of the longest wait is what it was.
        place = changed(place, give_up_ms=place.give_up_ms + event.at_ms - state.connected_ms)
    # Whoever comes next, the contact is not over before this leg is.
    call = changed(state.call, parting=(*state.call.parting, state.offered.leg))
    return st.Waiting(call, place, state.recordings)


def _disconnected(state: Any, event: w.ContactDisconnected) -> st.State:
    place = getattr(state, "place", None)
    offered = getattr(state, "offered", None)
    accepted = isinstance(state, st.Connecting | st.Talking)
    audio = isinstance(state, st.Talking)
    recordings = getattr(state, "recordings", ())
    open_ = (*event.open, *(leg for leg in state.call.parting if leg not in event.open))
    call = changed(state.call, parting=())
    if isinstance(state, st.Moving):
        call = changed(call, elsewhere=(state.leg, state.node))
    return _closed_or_closing(
        st.Closing(call, event.outcome, event.at_ms, open_, place, offered, accepted, audio, recordings)
    )


def _closed_or_closing(state: st.Closing) -> st.State:
    """Without an open leg a contact has ended."""
    if state.open:
        return state
    return st.Ended(
        state.call, state.outcome, state.ended_ms, state.place, state.offered, st.wraps(state), state.recordings
    )


def _leg_closed(state: Any, event: w.LegClosed) -> st.State:
    if isinstance(state, st.Moving) and event.leg == state.call.leg:
        return changed(state, lost=True)
    if not isinstance(state, st.Closing):
        return _parted(state, event.leg)
    return _closed_or_closing(changed(state, open=tuple(leg for leg in state.open if leg != event.leg)))


def _parted(state: Any, leg: str) -> st.State:
    parting = getattr(getattr(state, "call", None), "parting", ())
    if leg not in parting:
        return state  # type: ignore[no-any-return]
    rest = tuple(other for other in parting if other != leg)
    elsewhere = None if state.call.node_of(leg) != state.call.node else state.call.elsewhere
    return _with(state, call=changed(state.call, parting=rest, elsewhere=elsewhere))


def _in_doubt(state: Any, event: w.LegInDoubt) -> st.State:
    return _with(state, call=changed(state.call, parting=(*state.call.parting, event.leg)))


def _recording(state: Any, event: w.RecordingEnded) -> st.State:
    rest = tuple(recording for recording in state.recordings if recording.recording != event.recording)
    return _with(state, recordings=rest)


def _turning(state: st.Talking, event: w.RecordingPauseBegun) -> st.State:
    return _recorded(state, event.recording, ordered=event.paused)


def _turned(state: st.Talking, event: w.RecordingPaused | w.RecordingResumed) -> st.State:
    return _recorded(state, event.recording, ordered=None, paused=isinstance(event, w.RecordingPaused))


def _not_turned(state: st.Talking, event: w.RecordingPauseFailed) -> st.State:
    return _recorded(state, event.recording, ordered=None)


def _recorded(state: st.Talking, recording: str, **changes: Any) -> st.State:
    kept = (changed(one, **changes) if one.recording == recording else one for one in state.recordings)
    return changed(state, recordings=tuple(kept))


def _wrapped(state: Any, event: w.WrapUpEnded) -> st.State:
    return changed(state, wrapped=True) if isinstance(state, st.Closing) else changed(state, wrapping=False)


def _recovered(state: Any, event: w.ContactRecovered) -> st.State:
    if not event.counted:
        return state  # type: ignore[no-any-return]
    return _with(state, call=changed(state.call, recoveries=state.call.recoveries + 1))


def _same(state: st.State, event: Any) -> st.State:
    return state


def _done(state: st.State, event: Any) -> st.State:
    return st.Done()


_EVOLVE: dict[type, Callable[[Any, Any], st.State]] = {
    w.ContactStarted: _started,
    w.ContactTurnedAway: _done,
    w.ContactAnswered: _answered,
    w.FlowStepEntered: _step,
    w.MenuChosen: _same,
    w.MenuMissed: _same,
    w.ContactQueued: _queued,
    w.QueueMusicStarted: _same,
    w.ContactDequeued: _dequeued,
    w.AgentOffered: _offered,
    w.AgentRinging: _ringing,
    w.OfferCancelBegun: _cancel,
    w.OfferEnded: _offer_ended,
    w.OfferTurnedDown: _turned_down,
    w.AgentAnswered: _accepted,
    w.ContactConnected: _connected,
    w.ContactHeld: _held,
    w.ContactResumed: _resumed,
    w.RecordingPauseBegun: _turning,
    w.RecordingPaused: _turned,
    w.RecordingResumed: _turned,
    w.RecordingPauseFailed: _not_turned,
    w.ContactRequeued: _requeued,
    w.ContactDisconnected: _disconnected,
    w.LegClosed: _leg_closed,
    w.LegInDoubt: _in_doubt,
    w.CallerMoveBegun: _move_begun,
    w.CallerHandedOut: _handed_out,
    w.CallerMoved: _moved,
    w.CallerMoveFailed: _not_moved,
    w.OfferKept: _kept,
    w.RecordingEnded: _recording,
    w.WrapUpEnded: _wrapped,
    w.ContactRecovered: _recovered,
    w.QueueRejoined: _same,
    w.OfferNotHeld: _same,
    w.PlaceNotHeld: _same,
    w.ContactCompleted: _done,
}

EVENTS = tuple(_EVOLVE)


def evolve(state: st.State, event: Any) -> st.State:
    """The state after an event. Raises KeyError for an event that is not a contact's."""
    return _EVOLVE[type(event)](state, event)
