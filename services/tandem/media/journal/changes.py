"""The changes that a media agent writes down, and their bytes.

A journal is a list of changes; `JournalState` is their fold. A change is a small MessagePack
array that begins with a tag; the port's own types stand in it as `runtime.media_codec` writes
them. Tags and the order of fields never change; new fields are appended.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from types import UnionType
from typing import Any, get_args, get_origin, get_type_hints

import msgspec

from tandem.core.ports.log import Partition
from tandem.core.ports.media import Command, CommandSettled, Directory, Event, Outcome
from tandem.media.backend import RowKind
from tandem.runtime.media_codec import MediaCodecError, from_bytes, to_bytes


class BadChange(Exception):
    """Bytes in a journal that are no change of this release or an earlier one."""


@dataclass(frozen=True, slots=True)
class Opened:
    """The first change: a journal, and with it an incarnation, begins."""

    incarnation: str


@dataclass(frozen=True, slots=True)
class EpochSeen:
    """The highest epoch of a partition's owner so far."""

    partition: Partition
    epoch: int


@dataclass(frozen=True, slots=True)
class TenantHomed:
    """The partition that a tenant's events go to."""

    tenant: str
    partition: Partition


@dataclass(frozen=True, slots=True)
class DirectoryTaken:
    """A partition's directory, in place of its earlier one."""

    partition: Partition
    directory: Directory


@dataclass(frozen=True, slots=True)
class KeyTaken:
    """A command that is new; written before the backend begins it."""

    command: Command


@dataclass(frozen=True, slots=True)
class EventKept:
    """An event with its number; written before it is sent, kept until it is acknowledged."""

    event: Event


@dataclass(frozen=True, slots=True)
class Acked:
    """The owner's mark: a tenant's events up to `number` are durable elsewhere."""

    tenant: str
    number: int


@dataclass(frozen=True, slots=True)
class RowKept:
    """A backend's row, in place of its earlier one; None forgets it."""

    kind: RowKind
    id: str
    value: Mapping[str, Any] | None


@dataclass(frozen=True, slots=True)
class Deferred:
    """A change of state (hold, registration) that waits for room among the kept events: the
    latest of its `subject` alone. None: it was told, or its subject is gone."""

    tenant: str
    subject: str
    event: Event | None


@dataclass(frozen=True, slots=True)
class NumberReached:
    """A tenant's last number: when a journal is rewritten, and when an owner knows a higher one."""

    tenant: str
    number: int


@dataclass(frozen=True, slots=True)
class KeySettled:
    """A key with its outcome, when a journal is rewritten. `number` is that of the settlement."""

    tenant: str
    leg: str
    settled: CommandSettled
    number: int
    acked: bool


@dataclass(frozen=True, slots=True)
class LegKnown:
    """A leg, when a journal is rewritten. `ended` is the number of its end, 0 while it lives."""

    tenant: str
    leg: str
    ended: int


@dataclass(frozen=True, slots=True)
class TimeReached:
    """CLOCK_BOOTTIME of a boot had come so far; written now and then while legs live, so that
    their end can be told at the time at which it happened."""

    boot_id: str
    media_time_ms: int


@dataclass(frozen=True, slots=True)
class DrainSet:
    """An operator's wish: no new callers while `on`. `since_ms` is CLOCK_BOOTTIME, and so is `until_ms`, from when
    who still waits is let go; 0 for never."""

    on: bool
    since_ms: int
    until_ms: int


Change = (
    Opened
    | EpochSeen
    | TenantHomed
    | DirectoryTaken
    | KeyTaken
    | EventKept
    | Acked
    | RowKept
    | Deferred
    | NumberReached
    | KeySettled
    | LegKnown
    | TimeReached
    | DrainSet
)


_ENCODE: Mapping[type, Callable[[Any], tuple[Any, ...]]] = {
    EventKept: lambda c: ("event", to_bytes(c.event)),
    Acked: lambda c: ("acked", c.tenant, c.number),
    KeyTaken: lambda c: ("key", to_bytes(c.command)),
    RowKept: lambda c: ("row", c.kind.value, c.id, c.value),
    EpochSeen: lambda c: ("epoch", c.partition.group, c.partition.shard, c.epoch),
    TenantHomed: lambda c: ("home", c.tenant, c.partition.group, c.partition.shard),
    DirectoryTaken: lambda c: ("directory", c.partition.group, c.partition.shard, to_bytes(c.directory)),
    Deferred: lambda c: ("deferred", c.tenant, c.subject, None if c.event is None else to_bytes(c.event)),
    NumberReached: lambda c: ("number", c.tenant, c.number),
    KeySettled: lambda c: (
        ("settled", c.tenant, c.leg, c.settled.key, c.settled.outcome.value, c.settled.reason, c.number, c.acked)
    ),
    LegKnown: lambda c: ("leg", c.tenant, c.leg, c.ended),
    Opened: lambda c: ("opened", c.incarnation),
    TimeReached: lambda c: ("time", c.boot_id, c.media_time_ms),
    DrainSet: lambda c: ("drain", c.on, c.since_ms, c.until_ms),
}

_DECODE: Mapping[str, Callable[..., Change]] = {
    "event": lambda event: EventKept(from_bytes(Event, event)),
    "acked": Acked,
    "key": lambda command: KeyTaken(from_bytes(Command, command)),
    "row": lambda kind, id_, value: RowKept(RowKind(kind), id_, value),
    "epoch": lambda group, shard, epoch: EpochSeen(Partition(group, shard), epoch),
    "home": lambda tenant, group, shard: TenantHomed(tenant, Partition(group, shard)),
    "directory": lambda group, shard, data: DirectoryTaken(Partition(group, shard), from_bytes(Directory, data)),
    "deferred": lambda tenant, subject, data: Deferred(
        tenant, subject, None if data is None else from_bytes(Event, data)
    ),
    "number": NumberReached,
    "settled": lambda tenant, leg, key, outcome, reason, number, acked: KeySettled(
        tenant, leg, CommandSettled(key, Outcome(outcome), reason), number, acked
    ),
    "leg": LegKnown,
    "opened": Opened,
    "time": TimeReached,
    "drain": DrainSet,
}


def encode_change(change: Change) -> bytes:
    """Raises `MediaCodecError` for what the port's codec refuses."""
    return msgspec.msgpack.encode(_ENCODE[type(change)](change))


def decode_change(data: bytes) -> Change:
    """Raises `BadChange`."""
    try:
        tag, *values = msgspec.msgpack.decode(data)
        change: Change = _DECODE[tag](*values)
        _check(change)
    except (msgspec.MsgspecError, MediaCodecError, TypeError, ValueError, KeyError) as error:
        raise BadChange("the journal holds a change that this release cannot read") from error
    return change


def _kinds(hint: Any) -> tuple[type, ...]:
    """The classes of which a field's value may be; a mapping is a dict, as MessagePack reads it."""
    members = get_args(hint) if isinstance(hint, UnionType) else (hint,)
    origins = ((get_origin(member), member) for member in members)
    return tuple(dict if origin is Mapping else origin or member for origin, member in origins)


_KINDS: Mapping[type, tuple[tuple[str, tuple[type, ...]], ...]] = {
    cls: tuple((name, _kinds(hint)) for name, hint in get_type_hints(cls).items())
    for cls in (*get_args(Change), Partition, CommandSettled)
}


def _check(value: Any) -> None:
    """Raises TypeError for a change with a field that is not what its class says: MessagePack can hold anything."""
    for name, kinds in _KINDS.get(type(value), ()):
        part = getattr(value, name)
        if type(part) not in kinds:
            raise TypeError(f"{type(value).__name__}.{name} is a {type(part).__name__}")
        _check(part)
