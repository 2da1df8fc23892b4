"""All that a shard knows, and how it is read: as it is, or row by row as it was at a moment.

A row is a frozen tuple; `past` says what a moment is. Nothing here changes the state: that is the
ledger's, which keeps each row before it changes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tandem.core.arbiter import Arbiter
from tandem.core.commit import Effect, Part, Reply
from tandem.core.decider import Kind
from tandem.core.seal import Sealed, Withheld
from tandem.runtime.aggregates import Aggregate, Aggregates
from tandem.runtime.past import Key, Past, Row, Section
from tandem.runtime.service import Group, kind_of
from tandem.runtime.statehash import StateHash

AGGREGATES: Section = ("aggregate",)
MARKS: Section = ("mark",)
PENDING: Section = ("pending",)


@dataclass(slots=True)
class Pending:
    """An effect that is not settled, with its decoded payload."""

    effect: Effect
    payload: Any


@dataclass(slots=True)
class State:
    """State of a shard. `aggregates` and `names` are keyed by (tenant, stream)."""

    group: Group
    arbiter: Arbiter = field(default_factory=Arbiter)
    shard_time_ms: int = 0
    boot_id: str = ""
    boottime_ms: int = 0
    aggregates: Aggregates = field(default_factory=Aggregates)
    marks: dict[tuple[str, str], int] = field(default_factory=dict)  # (source, tenant) -> number
    pending: dict[str, Pending] = field(default_factory=dict)
    names: dict[tuple[str, str], dict[str, str]] = field(default_factory=dict)  # effect name -> key
    requests: dict[str, OrderedDict[str, Reply]] = field(default_factory=dict)
    past: Past = field(default_factory=Past)
    """Keeps what changes, since the last `moment`."""
    hash: StateHash = field(init=False)

    def __post_init__(self) -> None:
        self.hash = StateHash(self.group.canonical.encode, self.past)

    def aggregate(self, tenant: str, stream: str) -> Aggregate | None:
        """A live aggregate."""
        return self.aggregates.get((tenant, stream))

    def mark(self, source: str, tenant: str) -> int:
        """Last number taken, 0 for none."""
        return self.marks.get((source, tenant), 0)

    def quarantined(self) -> Iterator[tuple[str, str, Aggregate]]:
        """(tenant, stream, aggregate) of all that are in quarantine, in the order of their names."""
        for tenant, stream in sorted(self.aggregates.aside):
            yield tenant, stream, self.aggregates[tenant, stream]

    @property
    def torn(self) -> bool:
        """Whether a state is half changed: no snapshot of it, no hash, until it is folded anew."""
        return any(row.torn for row in self.aggregates.aside.values())

    @property
    def unsound(self) -> bool:
        """Whether a state is not what the log says, because this fold could not take all of it: a
        hash of it would say nothing."""
        return any(
            row.torn or (row.unread and (not row.noted or self.aggregates[place].kind.rescue is None))
            for place, row in self.aggregates.aside.items()
        )

    # ---------------------------------------------------------------- one row

    def head(self) -> Row:
        """What is not in any section."""
        arbiter = self.arbiter
        return "head", arbiter.epoch, arbiter.owner, arbiter.n, self.shard_time_ms, self.boot_id, self.boottime_ms

    def row(self, section: Section, key: Key) -> Row | None:
        """A row as it is now, frozen; None if there is none."""
        value = self._container(section).get(key)
        if value is None:
            return None
        match section[0]:
            case "aggregate":
                rows = value.kind.rows
                why = None if value.quarantine is None else value.quarantine.row
                state = value.state if rows is None else rows.base(value.state)
                return "aggregate", *key, value.version, value.key, value.trace, why, state
            case "row":
                rows = self.group.kinds[kind_of(section[2])].rows
                assert rows is not None, "only a kind with rows has such sections"
                return *section, key, rows.frozen(value)
            case "mark":
                return "mark", *key, value
            case "pending":
                effect = value.effect
                where = (effect.tenant, effect.stream, effect.name)
                return "pending", effect.key, *where, effect.kind, effect.at_ms, *_flat(effect.part)
            case _:
                return *section, key, value.digest, value.time_ms, *_flat(value.part)

    def _container(self, section: Section) -> Mapping[Key, Any]:
        match section:
            case ("aggregate",):
                return self.aggregates
            case ("row", tenant, stream, table):
                aggregate = self.aggregates.get((tenant, stream))
                return {} if aggregate is None else getattr(aggregate.state, table)
            case ("mark",):
                return self.marks
            case ("pending",):
                return self.pending
            case _:
                return self.requests.get(section[1], {})

    def _tables(self, tenant: str, stream: str, kind: Kind) -> list[Section]:
        return [] if kind.rows is None else [("row", tenant, stream, table) for table in kind.rows.tables]

    # ---------------------------------------------------------------- all rows

    def image(self) -> Iterator[Row]:
        """Everything, as it is now, in one order."""
        yield self.head()
        now = Past()
        for place in sorted(self.aggregates):
            yield self._there(AGGREGATES, place)
            for section in self._tables(*place, self.aggregates[place].kind):
                for name in sorted(self._container(section)):
                    yield self._there(section, name)
        # In the order of the log: the newest incarnation of a node is the one taken from last.
        yield from self._section_at(now, MARKS)
        for key in sorted(self.pending, key=made):
            yield self._there(PENDING, key)
        for tenant in sorted(self.requests):
            yield from self._section_at(now, ("request", tenant))

    def parts(self) -> Iterator[bytes]:
        """The whole state as canonical bytes, one part a row."""
        return map(self.group.canonical.encode, self.image())

    def _there(self, section: Section, key: Key) -> Row:
        row = self.row(section, key)
        assert row is not None, "it was listed just now"
        return row

    # ---------------------------------------------------------------- the past

    def keep(self, section: Section, key: Key) -> None:
        """Call before a row changes: who reads a past moment finds it as it was."""
        rows = self.past.sections[section]
        if key not in rows:
            rows[key] = self.row(section, key)

    def keep_whole(self, place: tuple[str, str], kind: Kind) -> None:
        """Call before an aggregate goes, with all its rows."""
        self.keep(AGGREGATES, place)
        for section in self._tables(*place, kind):
            for name in self._container(section):
                self.keep(section, name)

    def moment(self) -> Past:
        """From here on the state as it is now can be read with `rows_at`."""
        self.past.next = Past()
        self.past = self.past.next
        return self.past

    def rows_at(self, past: Past) -> Iterator[Row]:
        """All rows but the head as they were at a moment; the state may change between two of
        them. Requests of a tenant and marks come in their order."""
        for place in self._keys_at(past, AGGREGATES):
            row = past.row(AGGREGATES, place, self.row)
            if row is not None:
                yield row
                tenant, stream = place
                for section in self._tables(tenant, stream, self.group.kinds[kind_of(stream)]):
                    yield from self._section_at(past, section)
        for section in (MARKS, PENDING, *(("request", tenant) for tenant in tuple(self.requests))):
            yield from self._section_at(past, section)

    def _section_at(self, past: Past, section: Section) -> Iterator[Row]:
        for key in self._keys_at(past, section):
            row = past.row(section, key, self.row)
            if row is not None:
                yield row

    def _keys_at(self, past: Past, section: Section) -> list[Key]:
        """Keys of a section that were there, in order, and some that were not: those that have gone
        since stand before the others, because only requests have an order and the oldest go first."""
        there = self._container(section)
        gone = [key for key, row in past.changed(section).items() if row is not None and key not in there]
        return [*gone, *there]

    def sizes(self) -> dict[str, int]:
        """How much of each thing is in memory. `changed` are rows of the state that changed since the
        last hash; they are kept for it."""
        return {
            "aggregates": len(self.aggregates),
            "marks": len(self.marks),
            "pending": len(self.pending),
            "requests": sum(map(len, self.requests.values())),
            "changed": self.hash.kept,
        }


def made(key: str) -> tuple[str, int, int]:
    """Effects of a stream in the order in which they were made: on one leg it is kept."""
    stream, version, index = key.rsplit("/", 2)
    return stream, int(version.partition(".")[0]), int(index)


def _flat(part: Part) -> tuple[str, bytes, tuple[tuple[int, Sealed | Withheld], ...]]:
    return part.type, part.clear, part.private
