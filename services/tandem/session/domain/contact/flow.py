"""A contact that begins and is in its flow: arrival, steps, menus and their digits."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Context, EffectEnded
from tandem.core.flow import AnswerStep, Flow, HangUpStep, MenuStep, PlayStep, QueueStep
from tandem.core.ports.media import Cause, Collected, LegAnswered, LegEnded, Outcome, RecordingFailed, RecordingStored
from tandem.core.seal import Secret
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.ending import caller_gone
from tandem.session.domain.contact.recordings import never_recorded, recording_over

Events = Sequence[Any]

APOLOGY = ""
"""The step of a contact that is at its fallback; no flow has a step of this name."""


def _take_call(state: st.New, command: w.TakeCall, context: Context) -> Events:
    contact = st.id_of(context.stream)
    # An emergency call will be told from others here and pass before any quota (pitfalls Y4).
    refusal = context.gate.refusal(context.living, command.at_ms) if context.gate else ""
    if refusal:
        return (w.ContactTurnedAway(command.number, refusal, command.at_ms, contact, command.node),)
    flow: Flow | None = context.shared.flow_of(command.number) if context.shared else None
    at = command.at_ms
    started = w.ContactStarted(
        contact,
        command.number,
        command.caller,
        command.node,
        flow.flow if flow else "",
        flow.version if flow else 0,
        at,
    )
    if flow is None:
        # The number was withdrawn while the call was on its way.
        outcome, open_ = w.ContactOutcome.FLOW_ENDED, (contact,)
        return started, w.ContactDisconnected(outcome, w.EndedBy.FLOW, Cause.NORMAL, open_, at)
    return started, *_enter(flow, flow.steps[0].id, contact, at, answered=False)


def _refusal(state: st.New, command: w.NoteRefusal, context: Context) -> Events:
    return (w.ContactTurnedAway(command.number, command.reason, command.at_ms),)


def _enter(flow: Flow, step: str, caller: str, at_ms: int, answered: bool) -> Events:
    """Go on with a step, for the leg of a caller. Waiting begins with its own event, which is the place in line."""
    match flow.step(step):
        case AnswerStep(next=then) if answered:
            # Validation has seen to it that such steps do not go round for ever.
            return _entered(step, w.StepKind.ANSWER, at_ms), *_enter(flow, then, caller, at_ms, answered)
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
            return (
                _entered(step, w.StepKind.HANG_UP, at_ms),
                w.ContactDisconnected(w.ContactOutcome.FLOW_ENDED, w.EndedBy.FLOW, Cause.NORMAL, (caller,), at_ms),
            )
        case HangUpStep(prompts=prompts):
            return (_entered(step, w.StepKind.HANG_UP, at_ms, prompts),)


def _entered(step: str, kind: w.StepKind, at_ms: int, prompts: tuple[str, ...] = ()) -> w.FlowStepEntered:
    return w.FlowStepEntered(step, kind, 1, prompts, 0, False, at_ms)


def _menu_entered(step: str, menu: MenuStep, attempt: int, say_first: tuple[str, ...], at_ms: int) -> w.FlowStepEntered:
    prompts = (*say_first, *menu.prompts)
    return w.FlowStepEntered(step, w.StepKind.MENU, attempt, prompts, menu.timeout_ms, menu.sensitive, at_ms)


def flow_of(call: st.Call, context: Context) -> Flow | None:
    """The version of the flow that the contact began with, if it is still known."""
    return context.shared.flow(call.flow, call.flow_version) if context.shared else None


def go_on(call: st.Call, step: str, context: Context, at_ms: int) -> Events:
    """The flow goes on with that step."""
    flow = flow_of(call, context)
    return _flow_gone(call, at_ms) if flow is None else _enter(flow, step, call.leg, at_ms, answered=True)


def _flow_gone(call: st.Call, at_ms: int) -> Events:
    """More than MAX_VERSIONS were published while this caller was in the flow."""
    return (w.ContactDisconnected(w.ContactOutcome.FAILED, w.EndedBy.FLOW, Cause.FAILED, (call.leg,), at_ms),)


def _flow_effect(state: st.InFlow, command: EffectEnded, context: Context) -> Events:
    """An order of the flow has ended: not answered, or played to its end."""
    at, failed = context.now_ms, command.outcome is not Outcome.DONE
    if failed and command.reason == "LEG_GONE":
        return ()  # its end comes by itself
    if command.name not in ("answer", "play"):
        return never_recorded(state, command, context)
    if state.step == APOLOGY:
        return _apologised(state, at) if command.name == "play" else ()
    flow = flow_of(state.call, context)
    if flow is None:
        return _flow_gone(state.call, at)
    match command.name, flow.step(state.step):
        case "answer", AnswerStep() if failed:
            caller = state.call.leg
            return (w.ContactDisconnected(w.ContactOutcome.FAILED, w.EndedBy.NODE, Cause.FAILED, (caller,), at),)
        case "answer", AnswerStep(next=step):
            # The leg's own event comes first; it was lost with the node's journal.
            return w.ContactAnswered(at), *go_on(state.call, step, context, at)
        case "play", MenuStep() as menu if failed:
            # A missing prompt is not worth a lost caller: it counts as a try without a digit.
            return _missed(state, menu, True, Secret(b""), context, at)
        case "play", PlayStep(next=step):
            return go_on(state.call, step, context, at)
        case "play", HangUpStep():
            caller = state.call.leg
            return (w.ContactDisconnected(w.ContactOutcome.FLOW_ENDED, w.EndedBy.FLOW, Cause.NORMAL, (caller,), at),)
        case _:
            return ()  # answered: the leg's own event has said so before


def _apologised(state: st.InFlow, at_ms: int) -> Events:
    """The apology was heard, or could not be played: the contact ends."""
    failed = w.ContactOutcome.FAILED
    return (w.ContactDisconnected(failed, w.EndedBy.FLOW, Cause.FAILED, (state.call.leg,), at_ms),)


def _digits(state: st.InFlow, command: w.TakeDigits, context: Context) -> Events:
    if state.step == APOLOGY:
        return ()
    flow = flow_of(state.call, context)
    if flow is None:
        return _flow_gone(state.call, command.at_ms)
    body = flow.step(state.step)
    if not isinstance(body, MenuStep) or command.step != _step_key(state):
        return ()  # digits of a step that the flow has left
    if command.why is Collected.REPLACED:
        return ()
    pressed = command.digits.value.decode(errors="replace") if isinstance(command.digits, Secret) else ""
    for option in body.options:
        if pressed == option.digit:
            chosen = w.MenuChosen(state.step, option.next, command.digits, command.at_ms)
            return chosen, *go_on(state.call, option.next, context, command.at_ms)
    return _missed(state, body, not pressed, command.digits, context, command.at_ms)


def _step_key(state: st.InFlow) -> str:
    return step_key(state.step, state.attempt)


def step_key(step: str, attempt: int) -> str:
    """What names one try of a menu towards the media node."""
    return f"{step}#{attempt}"


def _missed(state: st.InFlow, menu: MenuStep, timeout: bool, digits: Any, context: Context, at_ms: int) -> Events:
    missed = w.MenuMissed(state.step, state.attempt, timeout, digits, at_ms)
    if state.attempt >= menu.tries:
        return missed, *go_on(state.call, menu.otherwise, context, at_ms)
    say = menu.timeout_prompts if timeout else menu.invalid_prompts
    return missed, _menu_entered(state.step, menu, state.attempt + 1, say, at_ms)


def _flow_leg(state: st.InFlow, command: w.NoteLeg, context: Context) -> Events:
    match command.body:
        case LegAnswered() if command.leg == state.call.leg:
            answered = w.ContactAnswered(command.at_ms)
            if state.step == APOLOGY:
                return (answered,)
            flow = flow_of(state.call, context)
            if flow is None:
                return answered, *_flow_gone(state.call, command.at_ms)
            body = flow.step(state.step)
            if isinstance(body, AnswerStep):
                return answered, *go_on(state.call, body.next, context, command.at_ms)
            return (answered,)
        case LegEnded() as ended if command.leg == state.call.leg:
            return caller_gone(state, ended, command.at_ms)
        case RecordingStored() | RecordingFailed():
            return recording_over(state, command)
        case _:
            return ()


HANDLERS: dict[tuple[type, type], Any] = {
    (st.New, w.TakeCall): _take_call,
    (st.New, w.NoteRefusal): _refusal,
    (st.InFlow, EffectEnded): _flow_effect,
    (st.InFlow, w.TakeDigits): _digits,
    (st.InFlow, w.NoteLeg): _flow_leg,
}
