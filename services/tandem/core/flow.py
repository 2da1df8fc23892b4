"""Flows: what happens to a contact before a person has it, as data (house: core/flow.py).

A flow is a tuple of steps; the first one is where it begins. `faults` finds everything
that is wrong with one, each with the path of the place, so that a bad flow is refused
when it is saved and never met by a caller.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from typing import get_args

from tandem.core.values import dataclass

DIGITS = "0123456789*#"
MAX_STEPS = 200
"""Steps of one flow; a flow is read by people."""
MAX_TRIES = 9
MAX_TIMEOUT_MS = 60_000
MAX_PROMPTS = 8
MAX_SKILLS = 16
MAX_ID = 63


@dataclass(frozen=True, slots=True)
class MenuOption:
    """A digit and where it leads."""

    digit: str
    next: str


@dataclass(frozen=True, slots=True)
class SkillNeed:
    """A skill, and the least level (1 to 100) that will do."""

    skill: str
    level: int = 1


@dataclass(frozen=True, slots=True)
class AnswerStep:
    """Answer the call."""

    next: str


@dataclass(frozen=True, slots=True)
class PlayStep:
    """Play prompts one after another."""

    prompts: tuple[str, ...]
    next: str


@dataclass(frozen=True, slots=True)
class MenuStep:
    """Ask for one digit, at most `tries` times, `timeout_ms` after the prompts each time."""

    prompts: tuple[str, ...]
    options: tuple[MenuOption, ...]
    timeout_ms: int
    tries: int
    invalid_prompts: tuple[str, ...]
    timeout_prompts: tuple[str, ...]
    otherwise: str
    sensitive: bool = False


@dataclass(frozen=True, slots=True)
class QueueStep:
    """Wait for an agent of `queue` who has all `skills`; `max_wait_ms` 0 waits without limit."""

    queue: str
    skills: tuple[SkillNeed, ...]
    priority: int
    prompts: tuple[str, ...]
    music: str
    max_wait_ms: int
    otherwise: str


@dataclass(frozen=True, slots=True)
class HangUpStep:
    """Play prompts and end the call."""

    prompts: tuple[str, ...]


StepBody = AnswerStep | PlayStep | MenuStep | QueueStep | HangUpStep


@dataclass(frozen=True, slots=True)
class FlowStep:
    """A named step."""

    id: str
    body: StepBody


STEP_CLASSES: tuple[type, ...] = (FlowStep, *get_args(StepBody), MenuOption, SkillNeed)
"""What the steps of a flow are made of, for states that have some."""


@dataclass(frozen=True, slots=True)
class Flow:
    """A published flow."""

    flow: str
    version: int
    steps: tuple[FlowStep, ...]

    def step(self, id_: str) -> StepBody:
        """The step of that id. Raises KeyError: a validated flow names no other."""
        for step in self.steps:
            if step.id == id_:
                return step.body
        raise KeyError(id_)


@dataclass(frozen=True, slots=True)
class Fault:
    """What is wrong, and where: `steps[2].menu.options[1].next`."""

    path: str
    message: str


def faults(steps: tuple[FlowStep, ...], queues: Collection[str], prompts: Collection[str]) -> list[Fault]:
    """All faults of a flow. `queues` and `prompts` are the names that exist."""
    return list(_faults(steps, queues, prompts))


def _faults(steps: tuple[FlowStep, ...], queues: Collection[str], prompts: Collection[str]) -> Iterator[Fault]:
    if not steps:
        yield Fault("steps", "a flow needs at least one step")
    if len(steps) > MAX_STEPS:
        yield Fault("steps", f"{len(steps)} steps are over the limit of {MAX_STEPS}")
    ids: dict[str, int] = {}
    for index, step in enumerate(steps):
        path = f"steps[{index}]"
        if not 0 < len(step.id) <= MAX_ID:
            yield Fault(f"{path}.id", f"an id has 1 to {MAX_ID} characters")
        elif step.id in ids:
            yield Fault(f"{path}.id", f"{step.id!r} is the id of steps[{ids[step.id]}] too")
        ids.setdefault(step.id, index)
    for index, step in enumerate(steps):
        yield from _step_faults(f"steps[{index}]", step.body, ids, queues, prompts)
    yield from _way_faults(steps, ids)


def _step_faults(
    path: str, body: StepBody, ids: Collection[str], queues: Collection[str], prompts: Collection[str]
) -> Iterator[Fault]:
    for where, target in _targets(path, body):
        if target not in ids:
            yield Fault(where, f"there is no step {target!r}" if target else "the next step is missing")
    for where, names in _prompts(path, body):
        if len(names) > MAX_PROMPTS:
            yield Fault(where, f"{len(names)} prompts are over the limit of {MAX_PROMPTS}")
        for index, name in enumerate(names):
            if name not in prompts:
                yield Fault(f"{where}[{index}]", f"there is no prompt {name!r}")
    match body:
        case PlayStep(prompts=()):
            yield Fault(f"{path}.play.prompts", "a play step needs at least one prompt")
        case MenuStep():
            yield from _menu_faults(f"{path}.menu", body)
        case QueueStep():
            yield from _queue_faults(f"{path}.queue", body, queues, prompts)
        case _:
            pass


def _menu_faults(path: str, menu: MenuStep) -> Iterator[Fault]:
    if not menu.options:
        yield Fault(f"{path}.options", "a menu needs at least one option")
    seen: dict[str, int] = {}
    for index, option in enumerate(menu.options):
        where = f"{path}.options[{index}].digit"
        if len(option.digit) != 1 or option.digit not in DIGITS:
            yield Fault(where, f"{option.digit!r} is no digit of a phone ({DIGITS})")
        elif option.digit in seen:
            yield Fault(where, f"{option.digit!r} is the digit of options[{seen[option.digit]}] too")
        seen.setdefault(option.digit, index)
    if not 1 <= menu.tries <= MAX_TRIES:
        yield Fault(f"{path}.tries", f"tries are 1 to {MAX_TRIES}")
    if not 0 < menu.timeout_ms <= MAX_TIMEOUT_MS:
        yield Fault(f"{path}.timeout_ms", f"a time-out is 1 to {MAX_TIMEOUT_MS} ms")


def _queue_faults(path: str, step: QueueStep, queues: Collection[str], prompts: Collection[str]) -> Iterator[Fault]:
    if step.queue not in queues:
        yield Fault(f"{path}.queue", f"there is no queue {step.queue!r}")
    if step.music not in prompts:
        yield Fault(f"{path}.music", f"there is no prompt {step.music!r}")
    if len(step.skills) > MAX_SKILLS:
        yield Fault(f"{path}.skills", f"{len(step.skills)} skills are over the limit of {MAX_SKILLS}")
    seen: dict[str, int] = {}
    for index, need in enumerate(step.skills):
        if not need.skill:
            yield Fault(f"{path}.skills[{index}].skill", "a skill needs a name")
        elif need.skill in seen:
            yield Fault(f"{path}.skills[{index}].skill", f"skills[{seen[need.skill]}] asks for {need.skill!r} too")
        seen.setdefault(need.skill, index)
        if not 1 <= need.level <= 100:
            yield Fault(f"{path}.skills[{index}].level", "a level is 1 to 100")
    if not -1000 <= step.priority <= 1000:
        yield Fault(f"{path}.priority", "a priority is -1000 to 1000")
    if step.max_wait_ms < 0:
        yield Fault(f"{path}.max_wait_ms", "a longest wait is 0 (none) or more")
    if step.max_wait_ms and not step.otherwise:
        yield Fault(f"{path}.otherwise", "a longest wait needs a step to go on with")


def _targets(path: str, body: StepBody) -> Iterator[tuple[str, str]]:
    """(path, step id) of every way out of a step."""
    match body:
        case AnswerStep(next=target):
            yield f"{path}.answer.next", target
        case PlayStep(next=target):
            yield f"{path}.play.next", target
        case MenuStep():
            for index, option in enumerate(body.options):
                yield f"{path}.menu.options[{index}].next", option.next
            yield f"{path}.menu.otherwise", body.otherwise
        case QueueStep():
            if body.max_wait_ms or body.otherwise:
                yield f"{path}.queue.otherwise", body.otherwise
        case HangUpStep():
            pass


def _prompts(path: str, body: StepBody) -> Iterator[tuple[str, tuple[str, ...]]]:
    match body:
        case PlayStep(prompts=names):
            yield f"{path}.play.prompts", names
        case MenuStep():
            yield f"{path}.menu.prompts", body.prompts
            yield f"{path}.menu.invalid_prompts", body.invalid_prompts
            yield f"{path}.menu.timeout_prompts", body.timeout_prompts
        case QueueStep(prompts=names):
            yield f"{path}.queue.prompts", names
        case HangUpStep(prompts=names):
            yield f"{path}.hang_up.prompts", names
        case AnswerStep():
            pass


def _way_faults(steps: tuple[FlowStep, ...], ids: dict[str, int]) -> Iterator[Fault]:
    """Ways on which a caller would hear nothing, or go round without ever waiting: each
    way through steps that take no time must end, and media needs an answered call."""
    quick = {step.id: step.body.next for step in steps if isinstance(step.body, AnswerStep) and step.body.next in ids}
    for id_ in quick:
        seen, at = [id_], quick[id_]
        while at in quick and at not in seen:
            seen.append(at)
            at = quick[at]
        if at == id_:
            yield Fault(f"steps[{ids[id_]}].answer.next", "these steps go round for ever: " + " -> ".join([*seen, id_]))
    if steps and not isinstance(steps[0].body, AnswerStep | HangUpStep):
        yield Fault("steps[0]", "the first step must answer the call, or hang up")
