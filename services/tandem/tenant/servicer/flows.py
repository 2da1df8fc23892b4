"""Flow steps <-> protobuf. Fault paths are those of the protos: `steps[2].menu.options[1].next`."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from tandem.api.tenant.v1 import flow_pb2 as pb
from tandem.core import flow as core
from tandem.core.errors import BAD_FLOW, Rejected
from tandem.tenant.servicer.forms import duration, millis, name_of, reference

DEFAULT_TIMEOUT_MS = 5000
DEFAULT_TRIES = 3


def steps_from(steps: Sequence[pb.FlowStep], tenant: str) -> tuple[core.FlowStep, ...]:
    """The steps as the decider judges them. Raises `Rejected` for a step without a body, and
    for too many steps, which must not occupy the decider."""
    if len(steps) > core.MAX_STEPS:
        problem = f"{len(steps)} steps are over the limit of {core.MAX_STEPS}"
        raise Rejected(BAD_FLOW, f"steps: {problem}", steps=problem)
    return tuple(
        core.FlowStep(step.id, _body_from(step, f"steps[{index}]", tenant)) for index, step in enumerate(steps)
    )


def _body_from(step: pb.FlowStep, path: str, tenant: str) -> core.StepBody:
    match step.WhichOneof("body"):
        case "answer":
            return core.AnswerStep(step.answer.next)
        case "play":
            return core.PlayStep(tuple(step.play.prompts), step.play.next)
        case "menu":
            return _menu_from(step.menu, f"{path}.menu")
        case "queue":
            return _queue_from(step.queue, f"{path}.queue", tenant)
        case "hang_up":
            return core.HangUpStep(tuple(step.hang_up.prompts))
        case _:
            problem = "a step needs exactly one of answer, play, menu, queue, hang_up"
            raise Rejected(BAD_FLOW, f"{path}: {problem}", **{path: problem})


def _menu_from(menu: pb.MenuStep, path: str) -> core.MenuStep:
    return core.MenuStep(
        prompts=tuple(menu.prompts),
        options=tuple(core.MenuOption(option.digit, option.next) for option in menu.options),
        timeout_ms=millis(menu.timeout, f"{path}.timeout") if menu.HasField("timeout") else DEFAULT_TIMEOUT_MS,
        tries=menu.tries or DEFAULT_TRIES,
        invalid_prompts=tuple(menu.invalid_prompts),
        timeout_prompts=tuple(menu.timeout_prompts),
        otherwise=menu.otherwise,
        sensitive=menu.sensitive,
    )


def _queue_from(queue: pb.QueueStep, path: str, tenant: str) -> core.QueueStep:
    return core.QueueStep(
        queue=reference(queue.queue, tenant, "queues"),
        skills=tuple(core.SkillNeed(need.skill, need.level or 1) for need in queue.skills),
        priority=queue.priority,
        prompts=tuple(queue.prompts),
        music=queue.music,
        max_wait_ms=millis(queue.max_wait, f"{path}.max_wait"),
        otherwise=queue.otherwise,
    )


def steps_to(steps: Iterable[core.FlowStep], tenant: str) -> list[pb.FlowStep]:
    """The steps as the API shows them."""
    return [_step_to(step, tenant) for step in steps]


def _step_to(step: core.FlowStep, tenant: str) -> pb.FlowStep:
    match step.body:
        case core.AnswerStep(next_):
            return pb.FlowStep(id=step.id, answer=pb.AnswerStep(next=next_))
        case core.PlayStep(prompts, next_):
            return pb.FlowStep(id=step.id, play=pb.PlayStep(prompts=prompts, next=next_))
        case core.MenuStep() as menu:
            return pb.FlowStep(id=step.id, menu=_menu_to(menu))
        case core.QueueStep() as queue:
            return pb.FlowStep(id=step.id, queue=_queue_to(queue, tenant))
        case core.HangUpStep(prompts):
            return pb.FlowStep(id=step.id, hang_up=pb.HangUpStep(prompts=prompts))


def _menu_to(menu: core.MenuStep) -> pb.MenuStep:
    return pb.MenuStep(
        prompts=menu.prompts,
        options=[pb.MenuOption(digit=option.digit, next=option.next) for option in menu.options],
        timeout=duration(menu.timeout_ms),
        tries=menu.tries,
        invalid_prompts=menu.invalid_prompts,
        timeout_prompts=menu.timeout_prompts,
        otherwise=menu.otherwise,
        sensitive=menu.sensitive,
    )


def _queue_to(queue: core.QueueStep, tenant: str) -> pb.QueueStep:
    return pb.QueueStep(
        queue=name_of(tenant, "queues", queue.queue),
        skills=[pb.SkillNeed(skill=need.skill, level=need.level) for need in queue.skills],
        priority=queue.priority,
        prompts=queue.prompts,
        music=queue.music,
        max_wait=duration(queue.max_wait_ms) if queue.max_wait_ms else None,
        otherwise=queue.otherwise,
    )
