"""A bad flow is refused when it is saved, with the path of each fault."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tandem.core.flow import (
    MAX_ID,
    MAX_PROMPTS,
    MAX_SKILLS,
    MAX_STEPS,
    AnswerStep,
    Fault,
    Flow,
    FlowStep,
    HangUpStep,
    MenuOption,
    MenuStep,
    PlayStep,
    QueueStep,
    SkillNeed,
    StepBody,
    faults,
)

PROMPTS = ("welcome", "again", "bye", "music")
QUEUES = ("sales",)
MENU = MenuStep(("welcome",), (MenuOption("1", "queue"), MenuOption("#", "bye")), 5000, 3, ("again",), (), "bye")
QUEUE = QueueStep("sales", (SkillNeed("german", 50),), 10, ("welcome",), "music", 60_000, "bye")
GOOD = (
    FlowStep("hello", AnswerStep("play")),
    FlowStep("play", PlayStep(("welcome",), "menu")),
    FlowStep("menu", MENU),
    FlowStep("queue", QUEUE),
    FlowStep("bye", HangUpStep(("bye",))),
)


def _with(index: int, body: StepBody) -> tuple[FlowStep, ...]:
    return tuple(replace(step, body=body) if at == index else step for at, step in enumerate(GOOD))


def _paths(steps: tuple[FlowStep, ...]) -> list[str]:
    return [fault.path for fault in faults(steps, QUEUES, PROMPTS)]


def test_a_good_flow_has_no_faults() -> None:
    assert faults(GOOD, QUEUES, PROMPTS) == []
    assert faults((FlowStep("bye", HangUpStep(())),), (), ()) == []
    forever = replace(QUEUE, max_wait_ms=0, otherwise="")
    assert faults(_with(3, forever), QUEUES, PROMPTS) == []


BAD: dict[str, tuple[tuple[FlowStep, ...], list[str]]] = {
    "no steps": ((), ["steps"]),
    "too many steps": (
        (*GOOD, *(FlowStep(f"s{index}", HangUpStep(())) for index in range(MAX_STEPS))),
        ["steps"],
    ),
    "an empty id": ((*GOOD, FlowStep("", HangUpStep(()))), ["steps[5].id"]),
    "a long id": ((*GOOD, FlowStep("x" * (MAX_ID + 1), HangUpStep(()))), ["steps[5].id"]),
    "an id twice": ((*GOOD, FlowStep("bye", HangUpStep(()))), ["steps[5].id"]),
    "answer to nowhere": (_with(0, AnswerStep("x")), ["steps[0].answer.next"]),
    "answer without next": (_with(0, AnswerStep("")), ["steps[0].answer.next"]),
    "play to nowhere": (_with(1, PlayStep(("welcome",), "x")), ["steps[1].play.next"]),
    "play of nothing": (_with(1, PlayStep((), "menu")), ["steps[1].play.prompts"]),
    "play of an unknown prompt": (_with(1, PlayStep(("welcome", "x"), "menu")), ["steps[1].play.prompts[1]"]),
    "too many prompts": (
        _with(1, PlayStep(("welcome",) * (MAX_PROMPTS + 1), "menu")),
        ["steps[1].play.prompts"],
    ),
    "menu without options": (_with(2, replace(MENU, options=())), ["steps[2].menu.options"]),
    "an option to nowhere": (
        _with(2, replace(MENU, options=(MenuOption("1", "queue"), MenuOption("2", "x")))),
        ["steps[2].menu.options[1].next"],
    ),
    "an option of no digit": (
        _with(2, replace(MENU, options=(MenuOption("12", "queue"), MenuOption("", "bye"), MenuOption("a", "bye")))),
        ["steps[2].menu.options[0].digit", "steps[2].menu.options[1].digit", "steps[2].menu.options[2].digit"],
    ),
    "a digit twice": (
        _with(2, replace(MENU, options=(MenuOption("1", "queue"), MenuOption("1", "bye")))),
        ["steps[2].menu.options[1].digit"],
    ),
    "no tries": (_with(2, replace(MENU, tries=0)), ["steps[2].menu.tries"]),
    "too many tries": (_with(2, replace(MENU, tries=10)), ["steps[2].menu.tries"]),
    "no time": (_with(2, replace(MENU, timeout_ms=0)), ["steps[2].menu.timeout_ms"]),
    "too much time": (_with(2, replace(MENU, timeout_ms=60_001)), ["steps[2].menu.timeout_ms"]),
    "menu prompts": (
        _with(2, replace(MENU, prompts=("x",), invalid_prompts=("y",), timeout_prompts=("z",))),
        ["steps[2].menu.prompts[0]", "steps[2].menu.invalid_prompts[0]", "steps[2].menu.timeout_prompts[0]"],
    ),
    "menu without otherwise": (_with(2, replace(MENU, otherwise="")), ["steps[2].menu.otherwise"]),
    "an unknown queue": (_with(3, replace(QUEUE, queue="x")), ["steps[3].queue.queue"]),
    "unknown music": (_with(3, replace(QUEUE, music="")), ["steps[3].queue.music"]),
    "an unknown announcement": (_with(3, replace(QUEUE, prompts=("x",))), ["steps[3].queue.prompts[0]"]),
    "too many skills": (
        _with(3, replace(QUEUE, skills=tuple(SkillNeed(f"s{index}") for index in range(MAX_SKILLS + 1)))),
        ["steps[3].queue.skills"],
    ),
    "a skill without a name": (
        _with(3, replace(QUEUE, skills=(SkillNeed("", 1),))),
        ["steps[3].queue.skills[0].skill"],
    ),
    "levels": (
        _with(3, replace(QUEUE, skills=(SkillNeed("a", 0), SkillNeed("b", 101)))),
        ["steps[3].queue.skills[0].level", "steps[3].queue.skills[1].level"],
    ),
    "a skill twice": (
        _with(3, replace(QUEUE, skills=(SkillNeed("a", 10), SkillNeed("a", 20)))),
        ["steps[3].queue.skills[1].skill"],
    ),
    "priorities": (_with(3, replace(QUEUE, priority=1001)), ["steps[3].queue.priority"]),
    "a longest wait that leads nowhere": (
        _with(3, replace(QUEUE, otherwise="")),
        ["steps[3].queue.otherwise", "steps[3].queue.otherwise"],
    ),
    "a longest wait below zero": (_with(3, replace(QUEUE, max_wait_ms=-1)), ["steps[3].queue.max_wait_ms"]),
    "an unknown farewell": (_with(4, HangUpStep(("x",))), ["steps[4].hang_up.prompts[0]"]),
    "a round that never ends": (
        (FlowStep("a", AnswerStep("b")), FlowStep("b", AnswerStep("a"))),
        ["steps[0].answer.next", "steps[1].answer.next"],
    ),
    "a round beside the way": (
        (FlowStep("a", AnswerStep("b")), FlowStep("b", AnswerStep("b"))),
        ["steps[1].answer.next"],
    ),
    "first a menu": ((FlowStep("menu", MENU), *GOOD[3:]), ["steps[0]"]),
}


@pytest.mark.parametrize("name", BAD)
def test_every_fault_has_its_path(name: str) -> None:
    steps, paths = BAD[name]
    assert _paths(steps) == paths


def test_a_fault_says_what_to_do_about_it() -> None:
    found = faults(_with(3, replace(QUEUE, queue="support")), QUEUES, PROMPTS)
    assert found == [Fault("steps[3].queue.queue", "there is no queue 'support'")]


def test_a_step_is_found_by_its_id() -> None:
    flow = Flow("main", 1, GOOD)
    assert flow.step("menu") is MENU
    with pytest.raises(KeyError):
        flow.step("x")
