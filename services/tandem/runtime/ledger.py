"""The fold of a shard's counted commits: all that the shard knows (rules 3, 4 and 8).

Owner, standby and replay use this one fold: the owner applies each thing as it decides,
the others apply whole commits, and both end in the same state. Nothing here decides.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import field, replace
from typing import Any

from tandem.core.arbiter import Arbiter
from tandem.core.commit import Commit, Effect, Envelope, Mark, Part, Record, Reply
from tandem.core.decider import Kind
from tandem.core.seal import Sealed, Withheld
from tandem.core.values import dataclass
from tandem.internal.log.v1 import log_pb2
from tandem.runtime.past import Key, Past, Row, Section
from tandem.runtime.service import (
    RUNTIME_EVENTS,
    Group,
    Quarantined,
    QuarantinedLegEnded,
    QuarantineLifted,
    kind_of,
)
from tandem.runtime.statehash import HASH_EVERY_MS, Point, StateHash, digest_of, total

MAX_REQUESTS = 10_000
"""Client requests remembered per tenant (spine 3)."""
REQUEST_TTL_MS = 24 * 3600 * 1000
"""How long a client may repeat a request."""
SHARD = "shard"
"""Stream of the runtime's own events, of tenant `-`; they change no aggregate."""
STEPPED = "shard.time_stepped"
SNAPSHOT_TAKEN = "shard.snapshot_taken"
STATE_HASHED = "shard.state_hashed"
CELL_TENANT = "-"
"""Tenant of what concerns the whole cell."""
ASIDE = (("place",), ("followed",))
"""What a snapshot has beside the state: see `snapshot`."""
AGGREGATES: Section = ("aggregate",)
MARKS: Section = ("mark",)
PENDING: Section = ("pending",)


Legs = tuple[tuple[str, str], ...]
"""(node, leg) pairs."""
OF_THE_RUNTIME = RUNTIME_EVENTS.names


@dataclass(frozen=True, slots=True)
class Quarantine:
    """Why an aggregate is not gone on with (rule 12), and the legs that it still holds.

    `noted`: it stands in the log; if not, this fold alone found it so. `unread`: this fold could
    not take the stream's events after version `sound`, so its state is not what the log says.
    `guessed`: the legs are those of an earlier state; there may be others, and they may talk.
    `torn`: a mutable state was left half changed; until it is folded anew nobody may look at it.
    """

    why: str
    event: str
    legs: Legs = ()
    noted: bool = True
    unread: bool = False
    torn: bool = False
    sound: int = 0
    guessed: bool = False


@dataclass(slots=True)
class Aggregate:
    """A live aggregate: state, version of its stream, id of its data key, trace context."""

    kind: Kind
    state: Any
    version: int = 0
    key: str = ""
    trace: str = ""
    quarantine: Quarantine | None = None

    @property
    def legs(self) -> Sequence[tuple[str, str]]:
        """(node, leg) of every leg that it holds."""
        return self.kind.legs(self.state) if self.quarantine is None else self.quarantine.legs

    @property
    def over(self) -> bool:
        """Whether nothing more can happen to it."""
        if self.quarantine is None:
            return self.kind.over(self.state)
        return self.quarantine.noted and self.kind.rescue is not None and not self.quarantine.legs


@dataclass(slots=True)
class Pending:
    """An effect that is not settled, with its decoded payload."""

    effect: Effect
    payload: Any


class Aggregates(dict[tuple[str, str], Aggregate]):
    """Aggregates by (tenant, stream), and how many of each kind a tenant has that are not over.

    Whoever changes an aggregate's state sets it anew, or lets it go when it is over.
    """

    def __init__(self) -> None:
        super().__init__()
        self.aside: dict[tuple[str, str], Quarantine] = {}
        """Those in quarantine."""
        self._living: dict[tuple[str, str], int] = {}
        self._counted: set[tuple[str, str]] = set()

    def living(self, tenant: str, kind: str) -> int:
        """How many there are."""
        return self._living.get((tenant, kind), 0)

    def __setitem__(self, place: tuple[str, str], aggregate: Aggregate) -> None:
        super().__setitem__(place, aggregate)
        self._count(place, aggregate.kind.name, not aggregate.over)

    def set_aside(self, place: tuple[str, str], quarantine: Quarantine | None) -> None:
        """Put one into quarantine, or take it back into service."""
        aggregate = self[place]
        aggregate.quarantine = quarantine
        if quarantine is None:
            self.aside.pop(place, None)
        else:
            self.aside[place] = quarantine
        self._count(place, aggregate.kind.name, not aggregate.over)

    def __delitem__(self, place: tuple[str, str]) -> None:
        self.aside.pop(place, None)
        self._count(place, self[place].kind.name, False)
        super().__delitem__(place)

    @classmethod
    def of(
        cls, aggregates: Mapping[tuple[str, str], Aggregate], quarantines: Mapping[tuple[str, str], Quarantine]
    ) -> Aggregates:
        """These, in the order of their names, and those of them in quarantine."""
        found = cls()
        for place in sorted(aggregates):
            found[place] = aggregates[place]
        for place in sorted(quarantines):
            found.set_aside(place, quarantines[place])
        return found

    def _count(self, place: tuple[str, str], kind: str, counts: bool) -> None:
        if counts == (place in self._counted):
            return
        key = (place[0], kind)
        self._living[key] = self._living.get(key, 0) + (1 if counts else -1)
        if counts:
            self._counted.add(place)
        else:
            self._counted.remove(place)
        if not self._living[key]:
            del self._living[key]


class BadHistory(Exception):
    """An event of a kind that this release does not have: there is nothing that could be set aside."""


@dataclass(slots=True)
class Ledger:
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

    # ---------------------------------------------------------------- one thing at a time

    def aggregate(self, tenant: str, stream: str) -> Aggregate | None:
        """A live aggregate."""
        return self.aggregates.get((tenant, stream))

    def born(self, tenant: str, stream: str, key: str, trace: str = "") -> Aggregate:
        """An aggregate in its initial state, not yet part of the ledger."""
        kind = self.group.kinds[kind_of(stream)]
        return Aggregate(kind, kind.start(), 0, key, trace if kind.traced else "")

    def adopt(self, tenant: str, stream: str, aggregate: Aggregate) -> None:
        """Make it a part of the ledger, without an event."""
        self._keep(AGGREGATES, (tenant, stream))
        self.aggregates[tenant, stream] = aggregate

    def before_event(self, place: tuple[str, str], kind: Kind, event: Any) -> None:
        """Call before an aggregate evolves: what the event may change is kept for who reads a past moment."""
        self._keep(AGGREGATES, place)
        if kind.rows is not None:
            for table, name in kind.rows.touched(event):
                self._keep(("row", *place, table), name)

    def _beginning(self, envelope: Envelope, key: str) -> Aggregate:
        """The aggregate of an event; it begins if there is none."""
        place = (envelope.tenant, envelope.stream)
        aggregate = self.aggregates.get(place)
        if aggregate is None:
            aggregate = self.aggregates[place] = self.born(*place, key, envelope.trace)
        return aggregate

    def _apply_event(self, envelope: Envelope, aggregate: Aggregate | None, key: str) -> None:
        """Fold one event with its settlements. Raises whatever `evolve` raises."""
        kind = aggregate.kind if aggregate is not None else self.group.kinds[kind_of(envelope.stream)]
        event = self.group.service_of[kind.name].events.decode(envelope.part)
        self.before_event((envelope.tenant, envelope.stream), kind, event)
        if aggregate is None:
            aggregate = self._beginning(envelope, key)
        aggregate.state = kind.evolve(aggregate.state, event)
        aggregate.version = envelope.version
        for settled in envelope.settles:
            self.settle(settled)

    def close_if_over(self, tenant: str, stream: str) -> Aggregate | None:
        """Let go of an aggregate to which nothing more can happen, with all it has pending."""
        aggregate = self.aggregates.get((tenant, stream))
        if aggregate is None or not aggregate.over:
            return None
        self._end(tenant, stream)
        return aggregate

    def _end(self, tenant: str, stream: str) -> None:
        aggregate = self.aggregates.get((tenant, stream))
        if aggregate is not None:
            self._keep(AGGREGATES, (tenant, stream))
            for section in self._tables(tenant, stream, aggregate.kind):
                for name in self._container(section):
                    self._keep(section, name)
            del self.aggregates[tenant, stream]
        self._settle_all((tenant, stream))

    def apply_quarantine(self, envelope: Envelope, event: Any, key: str) -> Aggregate:
        """Fold an event of the runtime."""
        place = (envelope.tenant, envelope.stream)
        self._keep(AGGREGATES, place)
        aggregate = self._beginning(envelope, key)
        before, aggregate.version = aggregate.quarantine, envelope.version
        match event:
            case Quarantined():
                legs = tuple((row.node, row.leg) for row in event.legs)
                unread, torn = (False, False) if before is None else (before.unread, before.torn)
                sound = envelope.version if before is None else before.sound
                found = Quarantine(event.why, event.event, legs, True, unread, torn, sound, event.unread)
                self.aggregates.set_aside(place, found)
                if aggregate.kind.rescue is not None:
                    # What it was when it failed may differ between releases; what the log says does not.
                    aggregate.state = aggregate.kind.start()
                    self._settle_all(place)
            case QuarantinedLegEnded(leg=leg) if before is not None:
                rest = tuple(row for row in before.legs if row[1] != leg)
                self.aggregates.set_aside(place, replace(before, legs=rest))
            case QuarantineLifted():
                # Who could not read the history has not the state that goes on.
                still = before is not None and before.unread
                self.aggregates.set_aside(place, replace(before, noted=False) if before and still else None)
        return aggregate

    def set_aside(self, envelope: Envelope, key: str, error: Exception) -> None:
        """An event that this release cannot fold: its aggregate is quarantined, its shard mates
        are not (P2). Raises `BadHistory` if there is no such kind."""
        place = (envelope.tenant, envelope.stream)
        self._keep(AGGREGATES, place)
        try:
            aggregate = self._beginning(envelope, key)
        except KeyError:
            raise BadHistory(f"event {envelope.event_id} ({envelope.type}) of {envelope.stream}") from error
        torn, sound = aggregate.kind.rescue is None, aggregate.version
        legs = tuple(aggregate.legs)
        found = Quarantine(type(error).__name__, envelope.type, legs, False, True, torn, sound)
        self.aggregates.set_aside(place, found)
        aggregate.version = envelope.version

    def quarantined(self) -> Iterator[tuple[str, str, Aggregate]]:
        """(tenant, stream, aggregate) of all that are in quarantine."""
        for tenant, stream in self.aggregates.aside:
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

    def apply_effect(self, effect: Effect, payload: Any) -> None:
        """Make an effect pending; one of the same name gives way."""
        names = self.names.setdefault((effect.tenant, effect.stream), {})
        earlier = names.get(effect.name)
        if earlier is not None:
            self._keep(PENDING, earlier)
            del self.pending[earlier]
        names[effect.name] = effect.key
        self._keep(PENDING, effect.key)
        self.pending[effect.key] = Pending(effect, payload)

    def settle(self, key: str) -> None:
        """End a pending effect; one that is not pending is no error (a late outcome)."""
        if key not in self.pending:
            return
        self._keep(PENDING, key)
        pending = self.pending.pop(key)
        place = (pending.effect.tenant, pending.effect.stream)
        names = self.names[place]
        del names[pending.effect.name]
        if not names:
            del self.names[place]

    def _settle_all(self, place: tuple[str, str]) -> None:
        for key in list(self.names.get(place, {}).values()):
            self.settle(key)

    def apply_mark(self, mark: Mark) -> None:
        """Raise a source's mark."""
        self._keep(MARKS, (mark.source, mark.tenant))
        self.marks[mark.source, mark.tenant] = mark.number

    def mark(self, source: str, tenant: str) -> int:
        """Last number taken, 0 for none."""
        return self.marks.get((source, tenant), 0)

    def apply_reply(self, reply: Reply) -> None:
        """Remember a client's request; the oldest make room."""
        requests = self.requests.setdefault(reply.tenant, OrderedDict())
        section = ("request", reply.tenant)
        while requests and (
            len(requests) >= MAX_REQUESTS or next(iter(requests.values())).time_ms < reply.time_ms - REQUEST_TTL_MS
        ):
            self._keep(section, next(iter(requests)))
            requests.popitem(last=False)
        self._keep(section, reply.request)
        requests.pop(reply.request, None)  # an id that is used anew after its time
        requests[reply.request] = reply

    # ---------------------------------------------------------------- whole records

    def fold(self, record: Record) -> bool:
        """Fold a record if it counts; False for a void one. What cannot be folded is set aside."""
        if not self.arbiter.counts(record):
            return False
        self.arbiter = self.arbiter.after(record)
        if isinstance(record, Commit):
            self._fold_commit(record)
        return True

    def _fold_commit(self, commit: Commit) -> None:
        self._compare(commit)
        keys: dict[tuple[str, str], str] = {}
        touched: dict[tuple[str, str], None] = {}
        for taken in commit.inputs:
            if taken.settles:  # a due wake, an outcome
                self.settle(taken.settles)
            if taken.key:
                keys[taken.tenant, taken.stream] = taken.key
        for envelope in commit.events:
            if envelope.stream != SHARD:
                place = envelope.tenant, envelope.stream
                self._fold_event(envelope, place, keys.get(place, ""))
                touched[place] = None
        for effect in commit.effects:
            self._fold_effect(effect)
        for place in touched:
            self.close_if_over(*place)
        for row in commit.ended:
            self._end(row.tenant, row.stream)  # of which this fold could not read the end
        for mark in commit.marks:
            self.apply_mark(mark)
        for reply in commit.replies:
            self.apply_reply(reply)
        self.apply_time(commit)

    def _fold_event(self, envelope: Envelope, place: tuple[str, str], key: str) -> None:
        aggregate = self.aggregates.get(place)
        try:
            if envelope.part.type in OF_THE_RUNTIME:
                self.apply_quarantine(envelope, RUNTIME_EVENTS.decode(envelope.part), key)
            elif aggregate is not None and aggregate.quarantine is not None:
                self._keep(AGGREGATES, place)
                aggregate.version = envelope.version  # of an owner who could go on
                for settled in envelope.settles:
                    self.settle(settled)
            else:
                self._apply_event(envelope, aggregate, key)
        except Exception as error:  # noqa: BLE001 - whatever it is, it is this aggregate's alone
            self.set_aside(envelope, key, error)

    def _fold_effect(self, effect: Effect) -> None:
        try:
            self.apply_effect(effect, self.payload(effect))
        except Exception as error:  # noqa: BLE001 - an order of another release, or damaged
            aggregate = self.aggregates.get((effect.tenant, effect.stream))
            if aggregate is None:
                return  # over in this very commit
            if aggregate.quarantine is None:
                legs, why = tuple(aggregate.legs), type(error).__name__
                found = Quarantine(why, effect.part.type, legs, False, True, False, aggregate.version)
                self._keep(AGGREGATES, (effect.tenant, effect.stream))
                self.aggregates.set_aside((effect.tenant, effect.stream), found)

    def apply_time(self, commit: Commit) -> None:
        """Where shard time stood at the commit, the last thing that it changes."""
        before_ms, self.shard_time_ms = self.shard_time_ms, commit.shard_time_ms
        self.boot_id, self.boottime_ms = commit.boot_id, commit.boottime_ms
        minute = before_ms and before_ms // HASH_EVERY_MS != commit.shard_time_ms // HASH_EVERY_MS
        if minute and self.hash.free and not self.unsound:
            self.hash.reached(Point(commit.n, self.head(), self.moment()), self.row)

    def _compare(self, commit: Commit) -> None:
        """What the owner says that the state hashed to."""
        for envelope in commit.events:
            if envelope.stream == SHARD and envelope.type == STATE_HASHED:
                said = log_pb2.StateHashed.FromString(envelope.part.clear)
                if said.schema == self.group.canonical.schema:
                    self.hash.check(said.n, said.hash, self.row)

    def payload(self, effect: Effect) -> Any:
        """What an effect shall do: a wake's command, a receiver's order."""
        kind = kind_of(effect.stream)
        table = self.group.commands[kind] if effect.kind == "wake" else self.group.service_of[kind].effects
        return table.decode(effect.part)

    # ---------------------------------------------------------------- rows

    def _keep(self, section: Section, key: Key) -> None:
        rows = self.past.sections[section]
        if key not in rows:
            rows[key] = self.row(section, key)

    def moment(self) -> Past:
        """From here on the state as it is now can be read with `rows_at`."""
        self.past.next = Past()
        self.past = self.past.next
        return self.past

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
                state = value.state if rows is None else rows.base(value.state)
                return "aggregate", *key, value.version, value.key, value.trace, _aside(value.quarantine), state
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

    # ---------------------------------------------------------------- snapshots

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
        for key in sorted(self.pending, key=_made):
            yield self._there(PENDING, key)
        for tenant in sorted(self.requests):
            yield from self._section_at(now, ("request", tenant))

    def _there(self, section: Section, key: Key) -> Row:
        row = self.row(section, key)
        assert row is not None, "it was listed just now"
        return row

    def parts(self) -> Iterator[bytes]:
        """The whole state as canonical bytes, one part a row."""
        return map(self.group.canonical.encode, self.image())

    @classmethod
    def restored(
        cls, group: Group, parts: Iterable[bytes], schema: str | None = None, aside: list[Row] | None = None
    ) -> Ledger:
        """The ledger that gave these parts; `schema` is theirs if it may be another release's.
        What is no part of the state is put into `aside`. Raises canonical.NotCanonical, KeyError
        or ValueError for parts that cannot be read."""
        ledger, large = cls(group), _Large(group)
        aggregates: dict[tuple[str, str], Aggregate] = {}
        quarantines: dict[tuple[str, str], Quarantine] = {}
        pending: list[Effect] = []
        value = 0
        for body in parts:
            part = group.canonical.decode(body)
            if aside is not None and isinstance(part, tuple) and part[:1] in ASIDE:
                aside.append(part)
                continue
            value += digest_of(body)
            match part:
                case ("head", epoch, owner, n, time_ms, boot_id, boottime_ms):
                    ledger.arbiter = Arbiter(epoch, owner, n)
                    ledger.shard_time_ms, ledger.boot_id, ledger.boottime_ms = time_ms, boot_id, boottime_ms
                case ("aggregate", tenant, stream, version, key, trace, why, state):
                    kind = group.kinds[kind_of(stream)]
                    aggregates[tenant, stream] = Aggregate(kind, state, version, key, trace)
                    if why is not None:
                        reason, event, legs, guessed = why
                        found = Quarantine(reason, event, legs, sound=version, guessed=guessed)
                        quarantines[tenant, stream] = found
                case ("row", tenant, stream, table, name, row):
                    large.add((tenant, stream), table, name, row)
                case ("mark", source, tenant, number):
                    ledger.marks[source, tenant] = number
                case ("pending", key, tenant, stream, name, kind, at_ms, type_, clear, private):
                    pending.append(Effect(key, tenant, stream, name, kind, at_ms, Part(type_, clear, private)))
                case ("request", tenant, request, digest, time_ms, type_, clear, private):
                    ledger.apply_reply(Reply(tenant, request, digest, time_ms, Part(type_, clear, private)))
                case _:
                    raise ValueError(f"a snapshot part of an unknown kind: {part!r:.80}")
        large.build(aggregates)
        ledger.aggregates = Aggregates.of(aggregates, quarantines)
        for effect in sorted(pending, key=lambda effect: _made(effect.key)):
            ledger.apply_effect(effect, ledger.payload(effect))
        ledger.past = Past()
        if schema not in (None, group.canonical.schema):
            value = total(ledger.parts())
        ledger.hash.begin(value, ledger.head(), ledger.past)
        return ledger


def _aside(row: Quarantine | None) -> tuple[Any, ...] | None:
    """What every fold of the log knows of a quarantine."""
    return None if row is None or not row.noted else (row.why, row.event, row.legs, row.guessed)


class _Large:
    """Rows of aggregates that come apart in a snapshot."""

    def __init__(self, group: Group) -> None:
        self._group = group
        self._rows: dict[tuple[str, str], dict[str, dict[str, Any]]] = {}

    def add(self, place: tuple[str, str], table: str, name: str, row: Any) -> None:
        """One of them."""
        self._rows.setdefault(place, {}).setdefault(table, {})[name] = row

    def build(self, aggregates: dict[tuple[str, str], Aggregate]) -> None:
        """Put them together."""
        for place, aggregate in aggregates.items():
            rows = aggregate.kind.rows
            if rows is not None:
                found = self._rows.pop(place, {})
                tables = [found.pop(table, {}) for table in rows.tables]
                if found:
                    raise ValueError(f"{place[1]} has no table {next(iter(found))}")
                aggregate.state = rows.load((aggregate.state, *([t[name] for name in sorted(t)] for t in tables)))
        if self._rows:
            raise ValueError(f"rows without an aggregate: {next(iter(self._rows))[1]}")


def _made(key: str) -> tuple[str, int, int]:
    """Effects of a stream in the order in which they were made: on one leg it is kept."""
    stream, version, index = key.rsplit("/", 2)
    return stream, int(version), int(index)


def _flat(part: Part) -> tuple[str, bytes, tuple[tuple[int, Sealed | Withheld], ...]]:
    return part.type, part.clear, part.private
