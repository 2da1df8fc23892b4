"""The tables: everything has a name and a form, every command has a handler."""

from __future__ import annotations

from dataclasses import fields
from typing import Any, get_args, get_type_hints

import pytest

from tandem.core.access import Role
from tandem.core.decider import EffectEnded
from tandem.core.flow import AnswerStep, FlowStep, HangUpStep, MenuOption, MenuStep, PlayStep, QueueStep, SkillNeed
from tandem.core.seal import Private, Sealed, Withheld
from tandem.runtime.codec import Codec
from tandem.tenant import events
from tandem.tenant.domain import cell, decide, quota, retention
from tandem.tenant.domain.words import CreateFlow

STEPS = (
    FlowStep("a", AnswerStep("b")),
    FlowStep("b", PlayStep(("p",), "c")),
    FlowStep("c", MenuStep(("p",), (MenuOption("1", "d"),), 5000, 3, ("i",), ("t",), "e", True)),
    FlowStep("d", QueueStep("q", (SkillNeed("s", 1),), -5, ("p",), "m", 60_000, "e")),
    FlowStep("e", HangUpStep(("p",))),
)
SEALED = Sealed("key", b"n" * 12, b"aad", b"data")


def sample(hint: Any) -> Any:
    """A value of a field, other than its default."""
    if hint in (str, int, bool):
        return {str: "text", int: 7, bool: True}[hint]
    if hint is Role:
        return Role.SUPERVISOR
    if set(get_args(hint)) & set(get_args(Private)):
        return SEALED
    if hint == tuple[FlowStep, ...]:
        return STEPS
    if get_args(hint):
        return (sample(get_args(hint)[0]),)
    return made(hint)


def made(cls: type) -> Any:
    """An instance with something in every field."""
    hints = get_type_hints(cls)
    return cls(*[sample(hints[field.name]) for field in fields(cls)])


TABLES = [
    (name, cls, table)
    for table in (events.EVENTS, events.COMMANDS, events.MESSAGES, events.REPLIES)
    for name, cls in table.classes()
]


@pytest.mark.parametrize(("name", "cls", "table"), TABLES, ids=[row[0] for row in TABLES])
def test_what_is_written_reads_the_same(name: str, cls: type, table: Codec) -> None:
    value = made(cls)
    written, part = table.close(value, lambda type_, inner: Withheld())
    assert written == value
    assert part.type == name
    assert table.decode(part) == value


def test_a_flow_with_nonsense_can_be_written_so_that_its_decider_can_refuse_it() -> None:
    menu = MenuStep((), (), -1, -3, (), (), "", False)
    command = CreateFlow("main", "", (FlowStep("m", menu), FlowStep("q", QueueStep("", (), -9, (), "", -1, ""))), ())
    _, part = events.COMMANDS.close(command, lambda *_: Withheld())
    assert events.COMMANDS.decode(part) == command


def test_every_command_has_a_handler() -> None:
    handled = {command for _, command in (*cell._HANDLERS, *decide._HANDLERS)}
    handled |= {*quota.KIND.starts, *retention.KIND.starts}
    assert {cls for _, cls in events.COMMANDS.classes()} | {EffectEnded} == handled


def test_no_event_for_outsiders_has_a_secret() -> None:
    """Published events are opened; the digests of passwords must not be among them."""
    for name, cls in events.EVENTS.classes():
        message = events.EVENTS.message(events.EVENTS.close(made(cls), lambda *_: Withheld())[1])
        if message.DESCRIPTOR.full_name.startswith("tandem.api."):
            assert not any("ha1" in field.name for field in message.DESCRIPTOR.fields), name
