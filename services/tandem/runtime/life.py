"""A stream's life out of the log, moment by moment, for people."""

from __future__ import annotations

import dataclasses
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from tandem.core.commit import Commit, Part
from tandem.core.seal import Erased, Sealed, Secret, Withheld, unseal
from tandem.runtime.codec import Codec, UnknownType
from tandem.runtime.service import Group, kind_of

MAX_TEXT = 400
"""Characters shown of a value."""
OUTCOME = "effect.ended"

Key = Callable[[str], bytes | None]


class What(StrEnum):
    """What kind of moment it is."""

    INPUT = "input"
    EVENT = "event"
    ORDER = "order"
    TIMER = "timer"
    MESSAGE = "message"


@dataclass(frozen=True, slots=True)
class Moment:
    """One thing that the log says of a stream. `fields` are (name, text), private values opened."""

    time_ms: int
    n: int
    what: What
    stream: str
    type: str
    fields: tuple[tuple[str, str], ...]
    cause: str


def life(group: Group, commits: Iterable[Commit], tenant: str, stream: str, key: Key) -> Iterator[Moment]:
    """All that was asked of a stream, happened to it, and was ordered for it; and what happened
    elsewhere in the tenant that names it."""
    name = stream.partition("/")[2]
    for commit in commits:
        for taken in commit.inputs:
            if (taken.tenant, taken.stream) == (tenant, stream):
                fields = _fields(group.commands_of(stream), taken.part, key)
                refused = (("refused", taken.refused),) if taken.refused else ()
                settles = (("settles", taken.settles),) if taken.settles else ()
                number = f" {taken.number}" if taken.number else ""
                cause = f"{taken.source}{number}"
                yield Moment(
                    taken.time_ms, commit.n, What.INPUT, stream, taken.part.type, fields + settles + refused, cause
                )
        for envelope in commit.events:
            if envelope.tenant != tenant or kind_of(envelope.stream) not in group.service_of:
                continue
            fields = _fields(group.service_of[kind_of(envelope.stream)].events, envelope.part, key)
            if envelope.stream == stream or ("contact", name) in fields:
                yield Moment(
                    envelope.time_ms, commit.n, What.EVENT, envelope.stream, envelope.type, fields, envelope.cause
                )
        service = group.service_of[kind_of(stream)]
        for effect in commit.effects:
            if (effect.tenant, effect.stream) == (tenant, stream):
                what = What.TIMER if effect.kind == "wake" else What.ORDER
                table = group.commands_of(stream) if effect.kind == "wake" else service.effects
                fields = _fields(table, effect.part, key)
                yield Moment(commit.shard_time_ms, commit.n, what, stream, effect.name, fields, effect.key)
        for message in commit.messages:
            if (message.tenant, message.sender) == (tenant, stream):
                fields = (("to", message.stream), *_fields(service.messages, message.part, key))
                yield Moment(commit.shard_time_ms, commit.n, What.MESSAGE, stream, message.part.type, fields, "")


def _fields(table: Codec, part: Part, key: Key) -> tuple[tuple[str, str], ...]:
    try:
        value = table.decode(part)
    except UnknownType:
        return (("", "of another release"),)
    return tuple((field.name, text(getattr(value, field.name), key)) for field in dataclasses.fields(value))


def text(value: Any, key: Key) -> str:
    """A value for people; what is private opened, if its key is there."""
    return _text(value, key)[:MAX_TEXT]


def _text(value: Any, key: Key) -> str:
    match value:
        case Sealed():
            return _opened(unseal(value, key(value.key)))
        case Withheld() | Erased() | Secret():
            return _opened(value)
        case tuple():
            return ", ".join(_text(item, key) for item in value)
        case StrEnum():
            return value.value
        case _ if dataclasses.is_dataclass(value) and not isinstance(value, type):
            inner = ", ".join(f"{f.name}={_text(getattr(value, f.name), key)}" for f in dataclasses.fields(value))
            return f"{type(value).__name__}({inner})" if inner else type(value).__name__
        case _:
            return str(value)


def _opened(value: bytes | Withheld | Erased | Secret) -> str:
    match value:
        case bytes():
            return value.decode("utf-8", "replace")
        case Withheld():
            return "WITHHELD"
        case _:
            return "ERASED"
