"""The fold of a journal's changes: all that an agent knows across its own death.

Only `apply` changes it. `rows` gives the shortest list of changes with the same fold; kept
events, open commands and directories are held encoded as well, so that rewriting a journal copies bytes and
never holds up the audio for long.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from itertools import takewhile
from typing import Any

from tandem.core.ports.log import Partition
from tandem.core.ports.media import (
    Command,
    CommandSettled,
    Directory,
    Event,
    LegEnded,
    RecordingFailed,
    RecordingStored,
    contact_of,
)
from tandem.media.backend import Row, RowKind
from tandem.media.journal.changes import (
    Acked,
    Change,
    Deferred,
    DirectoryTaken,
    DrainSet,
    EpochSeen,
    EventKept,
    KeySettled,
    KeyTaken,
    LegKnown,
    NumberReached,
    Opened,
    RowKept,
    TenantHomed,
    TimeReached,
    encode_change,
)

_NO_SIGN_OF_LIFE = (CommandSettled, RecordingStored, RecordingFailed)
"""Events that may name a leg after its end, or one that never was."""


@dataclass(slots=True)
class Key:
    """A command that was taken. `command` is there until it is settled."""

    leg: str
    command: Command | None
    encoded: bytes
    settled: CommandSettled | None = None
    number: int = 0
    acked: bool = False


class JournalState:
    """What the agent knows. Everything public is to be read only."""

    def __init__(self) -> None:
        self.incarnation = ""
        self.boot_id = ""
        self.time_ms = 0
        """CLOCK_BOOTTIME of that boot: nothing that was written is later."""
        self.living = 0
        """Legs that the backend has noted and not forgotten."""
        self.epochs: dict[Partition, int] = {}
        self.homes: dict[str, Partition] = {}
        self.directories: dict[Partition, Directory] = {}
        self.keys: dict[tuple[str, str], Key] = {}
        self.last: dict[str, int] = {}
        self.deferred: dict[tuple[str, str], Event] = {}
        self.drain: DrainSet | None = None
        """What an operator said last; None for nothing ever."""
        self._directory_rows: dict[Partition, bytes] = {}
        self._kept: dict[str, dict[int, tuple[Event, bytes]]] = {}
        self._legs: dict[tuple[str, str], int] = {}
        self._leg_keys: dict[tuple[str, str], dict[str, None]] = {}
        self._rows: dict[tuple[RowKind, str], Mapping[str, Any]] = {}

    # ------------------------------------------------------------------------------- reading

    def kept(self, tenant: str) -> list[Event]:
        """The tenant's events that no owner has acknowledged, in order."""
        return [event for event, _ in self._kept.get(tenant, {}).values()]

    def kept_event(self, tenant: str, number: int) -> Event:
        """One of those."""
        return self._kept[tenant][number][0]

    def kept_count(self, tenant: str) -> int:
        """How many those are."""
        return len(self._kept.get(tenant, ()))

    def kept_total(self) -> int:
        """How many of all tenants."""
        return sum(map(len, self._kept.values()))

    def first_kept(self, tenant: str) -> int | None:
        """The number of the first of them."""
        return next(iter(self._kept.get(tenant, ())), None)

    def backend_rows(self) -> tuple[Row, ...]:
        """What the backend remembered, in the order in which each row first came."""
        return tuple(Row(kind, id_, value) for (kind, id_), value in self._rows.items())

    def has_leg(self, leg: str) -> bool:
        """Whether the backend has noted it and not forgotten it."""
        return (RowKind.LEG, leg) in self._rows

    def has_caller(self, contact: str) -> bool:
        """Whether the backend has noted a caller's leg of the contact: its own, or one that was taken over."""
        return self.has_leg(contact) or any(
            kind is RowKind.LEG and contact_of(leg) == contact and value.get("inbound", False)
            for (kind, leg), value in self._rows.items()
        )

    def open_commands(self) -> tuple[Command, ...]:
        """Commands without an outcome, in the order in which they came."""
        return tuple(key.command for key in self.keys.values() if key.command is not None)

    # ------------------------------------------------------------------------------- changing

    def apply(self, change: Change, encoded: bytes) -> None:
        """Fold one change in; `encoded` are its bytes. Total: a change that finds nothing to
        change is no error, because a rewritten journal repeats some."""
        match change:
            case EventKept(event):
                self._keep(event, encoded)
            case Acked(tenant, number):
                self._ack(tenant, number)
            case KeyTaken(command):
                self._take_key(command.tenant, command.key, Key(command.leg, command, encoded))
            case RowKept(kind, id_, value):
                self._keep_row(kind, id_, value)
            case TimeReached(boot_id, media_time_ms):
                self.boot_id, self.time_ms = boot_id, media_time_ms
            case Deferred(tenant, subject, None):
                self.deferred.pop((tenant, subject), None)
            case Deferred(tenant, subject, event) if event is not None:
                self.deferred[tenant, subject] = event
            case EpochSeen(partition, epoch):
                self.epochs[partition] = max(epoch, self.epochs.get(partition, 0))
            case TenantHomed(tenant, partition):
                self.homes[tenant] = partition
            case DirectoryTaken(partition, directory):
                self.directories[partition] = directory
                self._directory_rows[partition] = encoded
            case DrainSet():
                self.drain = change
            case _:
                self._apply_rewritten(change)

    def _apply_rewritten(self, change: Change) -> None:
        match change:
            case Opened(incarnation):
                self.incarnation = incarnation
            case NumberReached(tenant, number):
                self.last[tenant] = max(number, self.last.get(tenant, 0))
            case KeySettled(tenant, leg, settled, number, acked):
                self._take_key(tenant, settled.key, Key(leg, None, b"", settled, number, acked))
            case LegKnown(tenant, leg, ended):
                self._legs[tenant, leg] = ended

    def _keep_row(self, kind: RowKind, id_: str, value: Mapping[str, Any] | None) -> None:
        known = (kind, id_) in self._rows
        if value is not None:
            self._rows[kind, id_] = value
        elif known:
            del self._rows[kind, id_]
        if kind is RowKind.LEG:
            self.living += (value is not None) - known

    def _take_key(self, tenant: str, name: str, key: Key) -> None:
        self.keys[tenant, name] = key
        self._leg_keys.setdefault((tenant, key.leg), {})[name] = None

    def _keep(self, event: Event, encoded: bytes) -> None:
        self.last[event.tenant] = max(event.number, self.last.get(event.tenant, 0))
        self.time_ms = max(self.time_ms, event.media_time_ms)
        self._kept.setdefault(event.tenant, {})[event.number] = (event, encoded)
        leg = (event.tenant, event.leg)
        match event.body:
            case CommandSettled() as settled:
                key = self.keys.get((event.tenant, settled.key))
                if key is not None:
                    key.settled = key.settled or settled
                    key.number, key.acked = event.number, False
                    key.command, key.encoded = None, b""
            case LegEnded():
                self._legs[leg] = event.number
            case body if event.leg and not isinstance(body, _NO_SIGN_OF_LIFE):
                self._legs[leg] = 0

    def _ack(self, tenant: str, number: int) -> None:
        kept = self._kept.get(tenant, {})
        for kept_number in list(takewhile(lambda n: n <= number, kept)):
            event, _ = kept.pop(kept_number)
            leg = (tenant, event.leg)
            match event.body:
                case CommandSettled(name):
                    key = self.keys.get((tenant, name))
                    if key is not None and key.number == kept_number:
                        key.acked = True
                        self._drop_keys(tenant, key.leg)
                case LegEnded() if self._legs.get(leg) == kept_number:
                    del self._legs[leg]
                    self._drop_keys(tenant, event.leg)

    def _drop_keys(self, tenant: str, leg: str) -> None:
        """A key goes when its outcome and its leg's end are both acknowledged. (A key whose leg
        never began, or was over before, waits for its outcome alone.)"""
        if (tenant, leg) in self._legs:
            return
        names = self._leg_keys.get((tenant, leg), {})
        for name in [name for name in names if self.keys[tenant, name].acked]:
            del self.keys[tenant, name]
            del names[name]
        if not names:
            self._leg_keys.pop((tenant, leg), None)

    # ------------------------------------------------------------------------------- rewriting

    def rows(self) -> Iterator[bytes]:
        """The shortest list of encoded changes with this fold.

        Legs and keys stand after the kept events, and so have the last word on what an event
        says of them.
        """
        yield encode_change(Opened(self.incarnation))
        for partition, epoch in self.epochs.items():
            yield encode_change(EpochSeen(partition, epoch))
        for tenant, home in self.homes.items():
            yield encode_change(TenantHomed(tenant, home))
        yield from self._directory_rows.values()
        for (kind, id_), value in self._rows.items():
            yield encode_change(RowKept(kind, id_, value))
        for tenant, number in self.last.items():
            yield encode_change(NumberReached(tenant, number))
        for kept in self._kept.values():
            yield from (encoded for _, encoded in kept.values())
        for (tenant, subject), event in self.deferred.items():
            yield encode_change(Deferred(tenant, subject, event))
        for (tenant, leg), ended in self._legs.items():
            yield encode_change(LegKnown(tenant, leg, ended))
        if self.drain is not None:
            yield encode_change(self.drain)
        if self.boot_id:
            yield encode_change(TimeReached(self.boot_id, self.time_ms))
        for (tenant, _name), key in self.keys.items():
            if key.settled is None:
                yield key.encoded
            else:
                yield encode_change(KeySettled(tenant, key.leg, key.settled, key.number, key.acked))
