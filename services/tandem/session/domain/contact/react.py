"""What shall be done because of a contact's event: orders to media, messages, timers.

Sees the state after the event; runs only while deciding (architecture, rule 8).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tandem.core.decider import Act, Action, Answer, Settle, Tell, Wake
from tandem.core.ports import media
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.flow import step_key
from tandem.session.domain.contact.recordings import NEVER_STORED
from tandem.session.domain.contact.waiting import DESK_GONE
from tandem.session.domain.gate import GATE, CountCall, RefuseCall
from tandem.session.domain.late import ExpectRecording, stream_of

DESK = "desk"
ORDER_DEADLINE_MS = 5_000
"""By when an order that takes no time should have ended; then the node is asked again."""
LONG_DEADLINE_MS = 90_000
"""The same for prompts and menus."""
RING_GRACE_MS = 5_000
"""The ring limit is the media node's; past it by this much the owner asks (spine 5)."""
TAKE_OVER_DEADLINE_MS = 45_000
"""A phone has seven seconds to answer another node, and callers come one after the other. A node whose caller another
one has hears nothing of them any more and ends its leg for that after 30 s: past this it has not happened."""
HEARD, MOVE = ("answer", "play", "announce"), ("handout", "takeover", "moving")
"""Orders, by what they are about."""
REJOIN_MS = 1_000
"""How long a contact that could not be offered stays out of line: a loop goes round once in it."""
COMPLETION_MS = 3_600_000
"""An ended contact waits this long at most for its recording and wrap-up."""

Actions = Sequence[Action]


def _order(call: st.Call, name: str, verb: media.Verb, leg: str = "", deadline_ms: int = ORDER_DEADLINE_MS) -> Act:
    return Act(name, "media", w.MediaOrder(call.node_of(leg), leg or call.leg, verb), deadline_ms)


def _music(call: st.Call, music: str) -> Act:
    return _order(call, "play", media.Play((music,), loop=True))


def _started(state: st.State, event: w.ContactStarted) -> Actions:
    return (Tell(GATE, CountCall(event.at_ms)),)


def _turned_away(state: st.State, event: w.ContactTurnedAway) -> Actions:
    return (Tell(GATE, RefuseCall(event.node, event.leg)),) if event.leg else ()


def _step(state: st.InFlow, event: w.FlowStepEntered) -> Actions:
    call = state.call
    match event.kind:
        case w.StepKind.ANSWER if call.answered_ms:
            return ()
        case w.StepKind.ANSWER:
            return (_order(call, "answer", media.Answer()),)
        case w.StepKind.MENU:
            collect = media.Collect(
                step_key(event.step, event.attempt), event.prompts, 1, event.timeout_ms, sensitive=event.sensitive
            )
            return (_order(call, "play", collect, deadline_ms=LONG_DEADLINE_MS + event.timeout_ms),)
        case _ if event.prompts:
            return (_order(call, "play", media.Play(event.prompts), deadline_ms=LONG_DEADLINE_MS),)
        case _:
            return ()


def _enqueue(call: st.Call, place: st.Place) -> Tell:
    message = w.Enqueue(call.contact, place.queue, place.skills, place.priority, place.enqueued_ms)
    return Tell(DESK, message, gone=w.RefuseQueue(place.queue, DESK_GONE))


def _queued(state: st.Waiting, event: w.ContactQueued) -> Actions:
    call = state.call
    if event.prompts:
        sound = _order(call, "announce", media.Play(event.prompts), deadline_ms=LONG_DEADLINE_MS)
    else:
        sound = _music(call, event.music)
    return sound, _enqueue(call, state.place), *_give_up(state)


def _give_up(state: st.Waiting | st.Moving) -> Actions:
    place = state.place
    return (Wake("give_up", place.give_up_ms, w.GiveUpWaiting(place.step)),) if place.give_up_ms else ()


def _music_started(state: st.InLine, event: w.QueueMusicStarted) -> Actions:
    return (_music(state.call, state.place.music),)


def _dequeued(state: st.InFlow, event: w.ContactDequeued) -> Actions:
    return (
        Settle("give_up"),
        Settle("announce"),
        Settle("rejoin"),
        Tell(DESK, w.LeaveQueue(state.call.contact, event.why)),
    )


def _describe(state: st.Moving, event: w.CallerMoveBegun) -> Actions:
    return _order(state.call, "handout", media.HandOut()), _word(state, event.at_ms + ORDER_DEADLINE_MS)


def _word(state: st.Moving, at_ms: int) -> Wake:
    return Wake("moving", at_ms, w.EndMove(state.leg))


def _take_over(state: st.Moving, event: w.CallerHandedOut) -> Actions:
    order = w.MediaOrder(state.node, state.leg, media.TakeOver(event.dialog))
    ask = Act("takeover", "media", order, TAKE_OVER_DEADLINE_MS)
    return Settle("handout"), Settle("moving"), ask, _word(state, event.at_ms + TAKE_OVER_DEADLINE_MS)


def _moved(state: st.Waiting, event: w.CallerMoved) -> Actions:
    call = state.call
    heard = (Settle("announce"), Settle("play"), _music(call, state.place.music))
    return Settle("takeover"), Settle("moving"), *heard, *(leave(call, leg) for leg in call.parting), *_give_up(state)


def _not_moved(state: st.Waiting, event: w.CallerMoveFailed) -> Actions:
    call = state.call
    left = (leave(call, leg) for leg in call.parting)
    return Settle("handout"), Settle("takeover"), Settle("moving"), *left, *_give_up(state)


def _offered(state: st.Ringing, event: w.AgentOffered) -> Actions:
    call = state.call
    ring = media.Originate(event.device, event.ring_timeout_ms, event.offer, call.caller)
    return (_order(call, "ring", ring, event.leg, event.ring_timeout_ms + RING_GRACE_MS),)


def _cancel(state: st.Ringing, event: w.OfferCancelBegun) -> Actions:
    return Settle("ring"), _hang_up(state.call, state.offered.leg, media.Cause.CANCELED)


def _hang_up(call: st.Call, leg: str, cause: media.Cause = media.Cause.NORMAL) -> Act:
    return _order(call, f"hangup/{leg}", media.HangUp(cause), leg)


def leave(call: st.Call, leg: str, cause: media.Cause = media.Cause.NORMAL) -> Act:
    """A leg that the contact has left behind goes down. The phone of a caller who is on another node now is not to
    hear of it."""
    verb = media.HangUp(cause) if call.node_of(leg) == call.node else media.LetGo()
    return _order(call, f"hangup/{leg}", verb, leg)


def _offer_ended(state: Any, event: w.OfferEnded) -> Actions:
    contact = state.call.contact
    closed = w.OfferClosed(event.offer, contact, event.outcome, event.rang_ms, event.at_ms)
    actions: list[Action] = [Settle("ring"), Settle(f"hangup/{contact}.{event.offer}"), Tell(DESK, closed)]
    if isinstance(state, st.Waiting):
        actions += _give_up(state)
    return actions


def _turned_down(state: Any, event: w.OfferTurnedDown) -> Actions:
    contact = state.call.contact
    closed = Tell(DESK, w.OfferClosed(event.offer, contact, w.OfferOutcome.RESCINDED, 0, event.at_ms))
    if isinstance(state, st.InLine):
        return (closed,)
    # A desk that offers whom does not wait has missed that they left: it must not offer them again.
    return Tell(DESK, w.LeaveQueue(contact, "NOT_WAITING")), closed


def _not_held(state: Any, event: w.OfferNotHeld) -> Actions:
    contact = state.call.contact
    if isinstance(state, st.Closing | st.Ended) and state.offered is not None and state.offered.offer == event.offer:
        audio = st.wraps(state) if isinstance(state, st.Closing) else state.wrapping
        return (Tell(DESK, w.TalkEnded(event.offer, contact, audio, False, event.at_ms)),)
    return (Tell(DESK, w.OfferClosed(event.offer, contact, w.OfferOutcome.RESCINDED, 0, event.at_ms)),)


def _no_place(state: Any, event: w.PlaceNotHeld) -> Actions:
    why = "CONNECTED" if isinstance(state, st.WithAgent) else "NOT_WAITING"
    return (Tell(DESK, w.LeaveQueue(state.call.contact, why)),)


def _recovered(state: Any, event: w.ContactRecovered) -> Actions:
    """What may never have been ordered is ordered again, under the same names."""
    if event.half and isinstance(state, st.Live):
        return *(leave(state.call, leg) for leg in state.call.parting), *_as_recovered(state, event)
    return _as_recovered(state, event)


def _as_recovered(state: Any, event: w.ContactRecovered) -> Actions:
    match state:
        case st.Waiting() | st.Moving():
            return _waits_again(state, event)
        case st.Ringing(cancel=cancel) if event.half and cancel is not None:
            return (_hang_up(state.call, state.offered.leg, media.Cause.CANCELED),)
        case st.Closing() if event.half:
            return [_hang_up(state.call, leg) for leg in state.open]
        case st.Ended() if event.half:
            return _after(state, event.at_ms)
        case _:
            return ()


def _waits_again(state: st.Waiting | st.Moving, event: w.ContactRecovered) -> Actions:
    actions: list[Action] = []
    if event.half or event.refused == "effect.ended":
        actions.append(_music(state.call, state.place.music))  # the announcement is over, or missing
    if event.half:
        actions += _give_up(state)
    if event.rejoin:
        actions.append(Tell(DESK, w.LeaveQueue(state.call.contact, "RECOVERED")))
        actions.append(Wake("rejoin", event.at_ms + REJOIN_MS, w.RejoinQueue()))
    return actions


def _rejoined(state: st.Waiting | st.Moving, event: w.QueueRejoined) -> Actions:
    return (_enqueue(state.call, state.place),)


def _answered(state: st.Connecting, event: w.AgentAnswered) -> Actions:
    call, offered = state.call, state.offered
    return (
        Settle("ring"),
        Settle("announce"),
        Settle("give_up"),
        Tell(DESK, w.OfferAccepted(event.offer, call.contact, event.at_ms)),
        _order(call, "bridge", media.Bridge(offered.leg)),
    )


def _connected(state: st.Talking, event: w.ContactConnected) -> Actions:
    record = media.RecordStart(event.recording, event.data_key)
    return Settle("bridge"), Settle("play"), _order(state.call, f"record/{event.recording}", record)


def _turning(state: st.Talking, event: w.RecordingPauseBegun) -> Actions:
    verb = media.RecordPause(event.recording) if event.paused else media.RecordResume(event.recording)
    return _order(state.call, f"pause/{event.recording}", verb), Answer(w.RecordingOrdered(state.call.contact))


def _requeued(state: st.Waiting, event: w.ContactRequeued) -> Actions:
    call, leg = state.call, f"{state.call.contact}.{event.offer}"
    audio = event.why is not w.WhyRequeued.NOT_BRIDGED
    actions: list[Action] = [
        Settle("bridge"),
        Tell(DESK, w.TalkEnded(event.offer, call.contact, audio, True, event.at_ms)),
        _hang_up(call, leg),
        _music(call, state.place.music),
        _enqueue(call, state.place),
    ]
    actions += (
        _order(call, f"stop/{recording.recording}", media.RecordStop(recording.recording))
        for recording in state.recordings
    )
    return *actions, *_give_up(state)


def _disconnected(state: st.Closing | st.Ended, event: w.ContactDisconnected) -> Actions:
    call = state.call
    actions: list[Action] = [Settle(name) for name in (*HEARD, "give_up", "rejoin", *MOVE, "ring", "bridge")]
    actions += [_hang_up(call, leg) for leg in event.open]
    waited = state.place is not None and not (isinstance(state, st.Closing) and state.accepted)
    if waited:
        actions.append(Tell(DESK, w.LeaveQueue(call.contact, event.outcome.value)))
    if isinstance(state, st.Ended):
        actions += _after(state, event.at_ms)
    if event.by is w.EndedBy.API:
        actions.append(Answer(w.HangUpBegun(call.contact)))
    return actions


def _leg_closed(state: Any, event: w.LegClosed) -> Actions:
    actions: list[Action] = [Settle(f"hangup/{event.leg}")]
    if isinstance(state, st.Closing | st.Ended):
        offered = state.offered
        # A closing contact's offer that was not accepted has ended before its leg's event.
        if offered is not None and event.leg == offered.leg:
            audio = state.audio if isinstance(state, st.Closing) else state.wrapping
            actions.append(Tell(DESK, w.TalkEnded(offered.offer, state.call.contact, audio, False, event.at_ms)))
    if isinstance(state, st.Ended):
        actions += _after(state, event.at_ms)
    return actions


def _in_doubt(state: st.Live, event: w.LegInDoubt) -> Actions:
    return (_hang_up(state.call, event.leg, media.Cause.CANCELED),)


def _after(state: st.Ended, at_ms: int) -> Actions:
    return (Wake("complete", at_ms + COMPLETION_MS, w.CompleteAnyway()),)


def _recording(state: Any, event: w.RecordingEnded) -> Actions:
    if not event.blob:
        begun = Settle(f"record/{event.recording}")
        return (begun, expected(state.call, event)) if event.reason == NEVER_STORED else (begun,)
    kept = w.RecordingKept(
        event.recording,
        event.contact,
        event.queue,
        event.agent,
        event.started_ms,
        event.blob,
        event.frames,
        event.size_bytes,
        event.sha256,
        event.truncated,
        event.data_key,
    )
    return (Tell(f"recording/{event.recording}", kept),)


def expected(call: st.Call, recording: w.RecordingEnded | st.Recording) -> Tell:
    """Somebody else waits for a recording from now on."""
    name, key = recording.recording, recording.data_key
    expect = ExpectRecording(name, call.contact, call.node, recording.queue, recording.agent, recording.started_ms, key)
    return Tell(stream_of(name), expect)


def _nothing(state: Any, event: Any) -> Actions:
    return ()


_REACT: dict[type, Callable[[Any, Any], Actions]] = {
    w.ContactStarted: _started,
    w.ContactTurnedAway: _turned_away,
    w.FlowStepEntered: _step,
    w.ContactQueued: _queued,
    w.QueueMusicStarted: _music_started,
    w.ContactDequeued: _dequeued,
    w.AgentOffered: _offered,
    w.OfferCancelBegun: _cancel,
    w.OfferEnded: _offer_ended,
    w.OfferTurnedDown: _turned_down,
    w.AgentAnswered: _answered,
    w.ContactConnected: _connected,
    w.RecordingPauseBegun: _turning,
    w.ContactRequeued: _requeued,
    w.ContactDisconnected: _disconnected,
    w.LegClosed: _leg_closed,
    w.LegInDoubt: _in_doubt,
    w.CallerMoveBegun: _describe,
    w.CallerHandedOut: _take_over,
    w.CallerMoved: _moved,
    w.CallerMoveFailed: _not_moved,
    w.RecordingEnded: _recording,
    w.ContactRecovered: _recovered,
    w.QueueRejoined: _rejoined,
    w.OfferNotHeld: _not_held,
    w.PlaceNotHeld: _no_place,
}


def react(state: st.State, event: Any) -> Actions:
    """What the event asks for."""
    return _REACT.get(type(event), _nothing)(state, event)
