"""What a contact decides: commands to events, one small handler per state and command.

Every race of a call is a case here, with a sentence. A pair of state and command that is
in no table changes nothing: the command came too late.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Context, EffectEnded, dispatch
from tandem.core.errors import CONTACT_ENDED, Rejected
from tandem.core.flow import AnswerStep, Flow, HangUpStep, MenuStep, PlayStep, QueueStep
from tandem.core.ports.media import (
    By,
    Cause,
    Collected,
    LegAnswered,
    LegBridged,
    LegEnded,
    LegHeld,
    LegResumed,
    LegRinging,
    Outcome,
    RecordingFailed,
    RecordingStored,
)
from tandem.core.seal import Secret
from tandem.session.domain import states as st
from tandem.session.domain import words as w

Events = Sequence[Any]

APOLOGY = ""
"""The step of a contact that is at its fallback; no flow has a step of this name."""
DESK_GONE = "DESK_GONE"
"""Why of a `RefuseQueue` that the runtime gives: the desk did not take the contact."""
NEVER_STORED = "NEVER_STORED"
"""Reason of a recording that a contact does not wait for any longer; it may come late."""
MAX_RECOVERIES = 3
"""After so many things that could not be decided a contact is not waited with any longer."""

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


# ------------------------------------------------------------------- the flow


def _take_call(state: st.New, command: w.TakeCall, context: Context) -> Events:
    # An emergency call will be told from others here and pass before any quota (pitfalls Y4).
    refusal = context.gate.refusal(context.living, command.at_ms) if context.gate else ""
    if refusal:
        return (w.ContactTurnedAway(command.number, refusal, command.at_ms, _contact(context), command.node),)
    flow: Flow | None = context.shared.flow_of(command.number) if context.shared else None
    at = command.at_ms
    started = w.ContactStarted(
        _contact(context),
        command.number,
        command.caller,
        command.node,
        flow.flow if flow else "",
        flow.version if flow else 0,
        at,
    )
    if flow is None:
        # The number was withdrawn while the call was on its way.
        return started, _disconnected(context, w.ContactOutcome.FLOW_ENDED, w.EndedBy.FLOW, at, (_contact(context),))
    return started, *_enter(flow, flow.steps[0].id, context, at, answered=False)


def _refusal(state: st.New, command: w.NoteRefusal, context: Context) -> Events:
    return (w.ContactTurnedAway(command.number, command.reason, command.at_ms),)


def _contact(context: Context) -> str:
    return context.stream.partition("/")[2]


def _disconnected(
    context: Context,
    outcome: w.ContactOutcome,
    by: w.EndedBy,
    at_ms: int,
    open_: tuple[str, ...],
    cause: Cause = Cause.NORMAL,
) -> w.ContactDisconnected:
    return w.ContactDisconnected(outcome, by, cause, open_, at_ms)


def _enter(flow: Flow, step: str, context: Context, at_ms: int, answered: bool) -> Events:
    """Go on with a step. Waiting begins with its own event, which is the place in line."""
    match flow.step(step):
        case AnswerStep(next=then) if answered:
            # Validation has seen to it that such steps do not go round for ever.
            return _entered(step, w.StepKind.ANSWER, at_ms), *_enter(flow, then, context, at_ms, answered)
        case AnswerStep():
            return (_entered(step, w.StepKind.ANSWER, at_ms),)
        case PlayStep(prompts=prompts):
            return (_entered(step, w.StepKind.PLAY, at_ms, prompts),)
        case MenuStep() as menu:
            return (_menu_entered(step, menu, 1, (), at_ms),)
        case QueueStep() as body:
            give_up_ms = at_ms + body.max_wait_ms if body.max_wait_ms else 0
            return (
                w.ContactQueued(
                    body.queue, step, body.skills, body.priority, at_ms, give_up_ms, body.prompts, body.music
                ),
            )
        case HangUpStep(prompts=()):
            contact = _contact(context)
            return (
                _entered(step, w.StepKind.HANG_UP, at_ms),
                _disconnected(context, w.ContactOutcome.FLOW_ENDED, w.EndedBy.FLOW, at_ms, (contact,)),
            )
        case HangUpStep(prompts=prompts):
            return (_entered(step, w.StepKind.HANG_UP, at_ms, prompts),)


def _entered(step: str, kind: w.StepKind, at_ms: int, prompts: tuple[str, ...] = ()) -> w.FlowStepEntered:
    return w.FlowStepEntered(step, kind, 1, prompts, 0, False, at_ms)


def _menu_entered(step: str, menu: MenuStep, attempt: int, say_first: tuple[str, ...], at_ms: int) -> w.FlowStepEntered:
    prompts = (*say_first, *menu.prompts)
    return w.FlowStepEntered(step, w.StepKind.MENU, attempt, prompts, menu.timeout_ms, menu.sensitive, at_ms)


def _flow(call: st.Call, context: Context) -> Flow | None:
    return context.shared.flow(call.flow, call.flow_version) if context.shared else None


def _go_on(call: st.Call, step: str, context: Context, at_ms: int) -> Events:
    flow = _flow(call, context)
    return _flow_gone(call, context, at_ms) if flow is None else _enter(flow, step, context, at_ms, answered=True)


def _flow_gone(call: st.Call, context: Context, at_ms: int) -> Events:
    """More than MAX_VERSIONS were published while this caller was in the flow."""
    return (_disconnected(context, w.ContactOutcome.FAILED, w.EndedBy.FLOW, at_ms, (call.contact,), Cause.FAILED),)


def _flow_effect(state: st.InFlow, command: EffectEnded, context: Context) -> Events:
    """An order of the flow has ended: not answered, or played to its end."""
    at, failed = context.now_ms, command.outcome is not Outcome.DONE
    if failed and command.reason == "LEG_GONE":
        return ()  # its end comes by itself
    if command.name not in ("answer", "play"):
        return _never_recorded(state, command, context)
    if state.step == APOLOGY:
        return apologised(state, at) if command.name == "play" else ()
    flow = _flow(state.call, context)
    if flow is None:
        return _flow_gone(state.call, context, at)
    match command.name, flow.step(state.step):
        case "answer", AnswerStep() if failed:
            contact = state.call.contact
            return (_disconnected(context, w.ContactOutcome.FAILED, w.EndedBy.NODE, at, (contact,), Cause.FAILED),)
        case "answer", AnswerStep(next=step):
            # The leg's own event comes first; it was lost with the node's journal.
            return w.ContactAnswered(at), *_go_on(state.call, step, context, at)
        case "play", MenuStep() as menu if failed:
            # A missing prompt is not worth a lost caller: it counts as a try without a digit.
            return _missed(state, menu, True, Secret(b""), context, at)
        case "play", PlayStep(next=step):
            return _go_on(state.call, step, context, at)
        case "play", HangUpStep():
            contact = state.call.contact
            return (_disconnected(context, w.ContactOutcome.FLOW_ENDED, w.EndedBy.FLOW, at, (contact,)),)
        case _:
            return ()  # answered: the leg's own event has said so before


def apologised(state: st.InFlow, at_ms: int) -> Events:
    """The apology was heard, or could not be played: the contact ends."""
    contact = state.call.contact
    failed = w.ContactOutcome.FAILED
    return (w.ContactDisconnected(failed, w.EndedBy.FLOW, Cause.FAILED, (contact,), at_ms),)


def _digits(state: st.InFlow, command: w.TakeDigits, context: Context) -> Events:
    if state.step == APOLOGY:
        return ()
    flow = _flow(state.call, context)
    if flow is None:
        return _flow_gone(state.call, context, command.at_ms)
    body = flow.step(state.step)
    if not isinstance(body, MenuStep) or command.step != _step_key(state):
        return ()  # digits of a step that the flow has left
    if command.why is Collected.REPLACED:
        return ()
    pressed = command.digits.value.decode(errors="replace") if isinstance(command.digits, Secret) else ""
    for option in body.options:
        if pressed == option.digit:
            chosen = w.MenuChosen(state.step, option.next, command.digits, command.at_ms)
            return chosen, *_go_on(state.call, option.next, context, command.at_ms)
    return _missed(state, body, not pressed, command.digits, context, command.at_ms)


def _step_key(state: st.InFlow) -> str:
    return step_key(state.step, state.attempt)


def step_key(step: str, attempt: int) -> str:
    """What names one try of a menu towards the media node."""
    return f"{step}#{attempt}"


def _missed(state: st.InFlow, menu: MenuStep, timeout: bool, digits: Any, context: Context, at_ms: int) -> Events:
    missed = w.MenuMissed(state.step, state.attempt, timeout, digits, at_ms)
    if state.attempt >= menu.tries:
        return missed, *_go_on(state.call, menu.otherwise, context, at_ms)
    say = menu.timeout_prompts if timeout else menu.invalid_prompts
    return missed, _menu_entered(state.step, menu, state.attempt + 1, say, at_ms)


def _flow_leg(state: st.InFlow, command: w.NoteLeg, context: Context) -> Events:
    match command.body:
        case LegAnswered() if command.leg == state.call.contact:
            answered = w.ContactAnswered(command.at_ms)
            if state.step == APOLOGY:
                return (answered,)
            flow = _flow(state.call, context)
            if flow is None:
                return answered, *_flow_gone(state.call, context, command.at_ms)
            body = flow.step(state.step)
            if isinstance(body, AnswerStep):
                return answered, *_go_on(state.call, body.next, context, command.at_ms)
            return (answered,)
        case LegEnded() as ended if command.leg == state.call.contact:
            return _caller_gone(state, ended, context, command.at_ms)
        case RecordingStored() | RecordingFailed():
            return _recording(state, command)
        case _:
            return ()


# ------------------------------------------------------------------- in line


def _caller_gone(
    state: st.InFlow | st.Waiting | st.Ringing | st.Connecting | st.Talking,
    ended: LegEnded,
    context: Context,
    at_ms: int,
) -> Events:
    """The caller's leg has ended: the contact has its outcome, an agent's leg goes down."""
    contact = state.call.contact
    open_ = tuple(leg for _, leg in st.legs(state) if leg != contact)
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
        _disconnected(context, outcome, by, at_ms, open_, ended.cause),
        w.LegClosed(contact, ended.cause, ended.by, at_ms),
    )
    waits = bool(open_) or bool(getattr(state, "recordings", ()))
    return events if waits else (*events, w.ContactCompleted(at_ms))


def _side(ended: LegEnded, far: w.EndedBy) -> w.EndedBy:
    return far if ended.by is By.FAR else w.EndedBy.NODE


def _waiting_leg(state: st.Waiting, command: w.NoteLeg, context: Context) -> Events:
    match command.body:
        case LegEnded() as ended if command.leg == state.call.contact:
            return _caller_gone(state, ended, context, command.at_ms)
        case RecordingStored() | RecordingFailed():
            return _recording(state, command)
        case _:
            return ()


def _waiting_effect(state: st.Waiting, command: EffectEnded, context: Context) -> Events:
    """The announcement is over (or is missing): music."""
    if command.name == "announce":
        return (w.QueueMusicStarted(context.now_ms),)
    return _never_recorded(state, command, context)


def _offer(state: st.Waiting, command: w.OfferContact, context: Context) -> Events:
    leg = f"{state.call.contact}.{command.offer}"
    return (
        w.AgentOffered(
            command.offer,
            command.agent,
            command.device,
            leg,
            command.queue,
            command.ring_timeout_ms,
            context.now_ms,
        ),
    )


def _turn_down(state: st.State, command: w.OfferContact, context: Context) -> Events:
    """Routing decided on a contact that hung up, or was offered, in the meantime: the offer is
    rescinded, the agent keeps their idle time."""
    return (w.OfferTurnedDown(command.offer, command.agent, context.now_ms),)


def _give_up(state: st.Waiting | st.Ringing, command: w.GiveUpWaiting, context: Context) -> Events:
    if command.step != state.place.step:
        return ()
    if isinstance(state, st.Ringing):
        return ()  # an agent's phone rings: the offer stands; the wake is set again when it ends
    return _out_of_line(state, "MAX_WAIT", context)


def _out_of_line(state: st.Waiting, why: str, context: Context) -> Events:
    flow, at = _flow(state.call, context), context.now_ms
    body = flow.step(state.place.step) if flow else None
    dequeued = w.ContactDequeued(state.place.queue, why, at)
    if isinstance(body, QueueStep) and body.otherwise:
        return dequeued, *_go_on(state.call, body.otherwise, context, at)
    contact = state.call.contact
    return dequeued, _disconnected(context, w.ContactOutcome.FAILED, w.EndedBy.FLOW, at, (contact,), Cause.FAILED)


def _queue_refused(state: st.Waiting, command: w.RefuseQueue, context: Context) -> Events:
    if command.queue != state.place.queue:
        return ()
    if command.why == DESK_GONE and state.call.recoveries < MAX_RECOVERIES:
        # The desk failed, or is out of order for a moment: the place is asked for again.
        return (w.ContactRecovered("routing.enqueue", DESK_GONE, True, True, False, context.now_ms),)
    return _out_of_line(state, command.why, context)


def _rejoin(state: st.Waiting, command: w.RejoinQueue, context: Context) -> Events:
    return (w.QueueRejoined(state.place.queue, state.place.enqueued_ms, context.now_ms),)


def _not_held(state: st.State, command: w.RescindOffer, context: Context) -> Events:
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


# ------------------------------------------------------------------- ringing


def _ringing_leg(state: st.Ringing, command: w.NoteLeg, context: Context) -> Events:
    call, offered, at = state.call, state.offered, command.at_ms
    match command.body:
        case LegEnded() as ended if command.leg == call.contact:
            # The caller hung up before the agent answered: CANCEL, no blame, idle time kept.
            return _caller_gone(state, ended, context, at)
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
            return _recording(state, command)
        case _:
            return ()  # the answer to a call that is being cancelled: its leg goes down by itself


def _ringing_effect(state: st.Ringing, command: EffectEnded, context: Context) -> Events:
    """An order that ended without an event of the leg: the leg never came to be, or is in doubt."""
    at = context.now_ms
    if command.name == "announce":
        return (w.QueueMusicStarted(at),)
    never = command.name == "ring" and command.outcome is not Outcome.DONE
    gone = command.name == f"hangup/{state.offered.leg}"
    if not never and not gone:
        return _never_recorded(state, command, context)
    if command.outcome is Outcome.UNKNOWN:
        outcome, cause = state.cancel or w.OfferOutcome.UNKNOWN, Cause.FAILED
    else:
        cause = Cause(command.reason) if command.reason in Cause.__members__ else Cause.UNREACHABLE
        outcome = state.cancel or offer_outcome(cause, By.FAR)
    return (w.OfferEnded(state.offered.offer, state.offered.agent, outcome, cause, 0, at),)


def _rescind(state: st.Ringing, command: w.RescindOffer, context: Context) -> Events:
    if command.offer != state.offered.offer:
        return _not_held(state, command, context)
    if state.cancel is not None:
        return ()
    return (w.OfferCancelBegun(command.offer, w.OfferOutcome.RESCINDED, context.now_ms),)


# ------------------------------------------------------------------- with an agent


def _connecting_leg(state: st.Connecting, command: w.NoteLeg, context: Context) -> Events:
    call, offered, at = state.call, state.offered, command.at_ms
    match command.body:
        case LegEnded() as ended if command.leg == call.contact:
            # Between the agent's answer and the bridge: no audio, so no wrap-up.
            return _caller_gone(state, ended, context, at)
        case LegEnded() as ended if command.leg == offered.leg:
            return _agent_gone_early(state, ended, at)
        case LegBridged():
            return connected(state, context, at)
        case RecordingStored() | RecordingFailed():
            return _recording(state, command)
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
    """The bridge did not come about although nobody has hung up: take the agent's leg down, place kept."""
    if command.name == "bridge" and command.outcome is not Outcome.DONE and command.reason != "LEG_GONE":
        place, offered = state.place, state.offered
        why = w.WhyRequeued.NOT_BRIDGED
        return (w.ContactRequeued(place.queue, place.enqueued_ms, offered.offer, why, context.now_ms),)
    return _never_recorded(state, command, context)


def _talking_leg(state: st.Talking, command: w.NoteLeg, context: Context) -> Events:
    call, offered, at = state.call, state.offered, command.at_ms
    by = w.EndedBy.CALLER if command.leg == call.contact else w.EndedBy.AGENT
    match command.body:
        case LegEnded() as ended if command.leg == call.contact:
            return _caller_gone(state, ended, context, at)
        case LegEnded() as ended if command.leg == offered.leg:
            return _agent_gone(state, ended, context, at)
        case LegHeld() if state.held_by is None:
            return (w.ContactHeld(by, at),)
        case LegResumed() if state.held_by is by:
            return (w.ContactResumed(by, at),)
        case RecordingStored() | RecordingFailed():
            return _recording(state, command)
        case _:
            return ()


def _agent_gone(state: st.Talking, ended: LegEnded, context: Context, at_ms: int) -> Events:
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
    return _disconnected(context, outcome, by, at_ms, (call.contact,), ended.cause), closed


# ------------------------------------------------------------------- the end


def _hang_up(state: st.Live, command: w.HangUpContact, context: Context) -> Events:
    open_ = tuple(leg for _, leg in st.legs(state))
    talked = isinstance(state, st.Talking)
    outcome = w.ContactOutcome.HANDLED if talked else w.ContactOutcome.HUNG_UP
    return (_disconnected(context, outcome, w.EndedBy.API, context.now_ms, open_),)


def _hang_up_ended(state: st.State, command: w.HangUpContact, context: Context) -> Events:
    raise Rejected(CONTACT_ENDED, "the contact has ended", contact=_contact(context))


def _closing_leg(state: st.Closing, command: w.NoteLeg, context: Context) -> Events:
    match command.body:
        case LegEnded(cause=cause, by=by, rang_ms=rang_ms):
            return closed(state, command.leg, cause, by, rang_ms, command.at_ms)
        case RecordingStored() | RecordingFailed():
            return _recording(state, command)
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
        return _never_recorded(state, command, context)
    return closed(state, leg, Cause.CANCELED, By.TANDEM, 0, context.now_ms)


def _recording(
    state: st.InFlow | st.Waiting | st.Ringing | st.Connecting | st.Talking | st.Closing | st.Ended, command: w.NoteLeg
) -> Events:
    for kept in state.recordings:
        match command.body:
            case RecordingStored(recording, blob, frames, size, sha256, truncated) if recording == kept.recording:
                return (_recording_ended(kept, command, blob, frames, size, sha256, truncated, ""),)
            case RecordingFailed(recording, reason) if recording == kept.recording:
                return (_recording_ended(kept, command, "", 0, 0, "", False, reason),)
            case _:
                pass
    return ()


def _never_recorded(
    state: st.InFlow | st.Waiting | st.Ringing | st.Connecting | st.Talking | st.Closing | st.Ended,
    command: EffectEnded,
    context: Context,
) -> Events:
    """A recording that could not begin is told by the outcome of its order alone."""
    prefix, _, recording = command.name.partition("/")
    if prefix != "record" or command.outcome is not Outcome.FAILED:
        return ()
    return _recording(
        state, w.NoteLeg("", state.call.contact, context.now_ms, RecordingFailed(recording, command.reason))
    )


def _recording_ended(
    kept: st.Recording,
    command: w.NoteLeg,
    blob: str,
    frames: int,
    size_bytes: int,
    sha256: str,
    truncated: bool,
    reason: str,
) -> w.RecordingEnded:
    return w.RecordingEnded(
        kept.recording,
        command.leg.partition(".")[0],
        kept.queue,
        kept.agent,
        kept.started_ms,
        blob,
        frames,
        size_bytes,
        sha256,
        truncated,
        reason,
        kept.data_key,
        command.at_ms,
    )


def _journal_lost(
    state: st.InFlow | st.Waiting | st.Ringing | st.Connecting | st.Talking | st.Closing | st.Ended,
    command: w.NoteNewJournal,
    context: Context,
) -> Events:
    """What the node recorded is lost to it: nothing is to be waited for any more."""
    if state.call.node != command.node or not state.recordings:
        return ()
    note = w.NoteLeg(command.node, state.call.contact, command.at_ms, RecordingFailed("", "JOURNAL_LOST"))
    lost = [_recording_ended(kept, note, "", 0, 0, "", False, "JOURNAL_LOST") for kept in state.recordings]
    over = isinstance(state, st.Ended) and not state.wrapping
    return (*lost, w.ContactCompleted(command.at_ms)) if over else lost


def _ended_leg(state: st.Ended, command: w.NoteLeg, context: Context) -> Events:
    return _last_recording(state, _recording(state, command), command.at_ms)


def _ended_effect(state: st.Ended, command: EffectEnded, context: Context) -> Events:
    return _last_recording(state, _never_recorded(state, command, context), context.now_ms)


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
    note = w.NoteLeg("", state.call.contact, context.now_ms, RecordingFailed("", NEVER_STORED))
    lost = [_recording_ended(kept, note, "", 0, 0, "", False, NEVER_STORED) for kept in state.recordings]
    return *lost, w.ContactCompleted(context.now_ms)


HANDLERS: dict[tuple[type, type], Any] = {
    (st.New, w.TakeCall): _take_call,
    (st.New, w.NoteRefusal): _refusal,
    (st.InFlow, EffectEnded): _flow_effect,
    (st.InFlow, w.TakeDigits): _digits,
    (st.InFlow, w.NoteLeg): _flow_leg,
    (st.Waiting, w.NoteLeg): _waiting_leg,
    (st.Waiting, EffectEnded): _waiting_effect,
    (st.Waiting, w.OfferContact): _offer,
    (st.Waiting, w.GiveUpWaiting): _give_up,
    (st.Waiting, w.RefuseQueue): _queue_refused,
    (st.Waiting, w.RejoinQueue): _rejoin,
    (st.Ringing, w.NoteLeg): _ringing_leg,
    (st.Ringing, EffectEnded): _ringing_effect,
    (st.Ringing, w.RescindOffer): _rescind,
    (st.Ringing, w.GiveUpWaiting): _give_up,
    (st.Connecting, w.NoteLeg): _connecting_leg,
    (st.Connecting, EffectEnded): _connecting_effect,
    (st.Talking, w.NoteLeg): _talking_leg,
    (st.Talking, EffectEnded): _never_recorded,
    (st.Closing, w.NoteLeg): _closing_leg,
    (st.Closing, EffectEnded): _closing_effect,
    (st.Closing, w.EndWrapUp): _wrapped_early,
    (st.Ended, w.NoteLeg): _ended_leg,
    (st.Ended, EffectEnded): _ended_effect,
    (st.Ended, w.EndWrapUp): _wrapped,
    (st.Ended, w.CompleteAnyway): _complete,
    **{
        (state, w.OfferContact): _turn_down
        for state in (st.InFlow, st.Ringing, st.Connecting, st.Talking, st.Closing, st.Ended)
    },
    **{
        (state, w.RescindOffer): _not_held
        for state in (st.InFlow, st.Waiting, st.Connecting, st.Talking, st.Closing, st.Ended)
    },
    **{
        (state, w.NoteNewJournal): _journal_lost
        for state in (st.InFlow, st.Waiting, st.Ringing, st.Connecting, st.Talking, st.Closing, st.Ended)
    },
    **{(state, w.HangUpContact): _hang_up for state in (st.InFlow, st.Waiting, st.Ringing, st.Connecting, st.Talking)},
    **{(state, w.HangUpContact): _hang_up_ended for state in (st.Closing, st.Ended)},
}


def decide(state: st.State, command: Any, context: Context) -> Events:
    """The events that a command leads to, none if it came too late."""
    return dispatch(HANDLERS, state, command, context)
