"""The fold of a shard's counted commits: all that the shard knows (rules 3, 4 and 8).

Owner, standby and replay use this one fold: the owner applies each thing as it decides,
the others apply whole commits, and both end in the same state. Nothing here decides.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tandem.core.arbiter import Arbiter
from tandem.core.commit import Commit, Effect, Envelope, Input, Mark, Part, Record, Reply
from tandem.core.decider import Kind
from tandem.core.seal import Sealed, Withheld
from tandem.internal.log.v1 import log_pb2
from tandem.runtime.past import Key, Past, Row, Section
from tandem.runtime.service import Group, kind_of
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


@dataclass(slots=True)
class Aggregate:
    """A live aggregate: state, version of its stream, id of its data key."""

    kind: Kind
    state: Any
    version: int = 0
    key: str = ""


@dataclass(slots=True)
class Pending:
    """An effect that is not settled, with its decoded payload."""

    effect: Effect
    payload: Any


class BadHistory(Exception):
    """`evolve` raised or an event is unknown: the aggregate named cannot be folded."""


@dataclass(slots=True)
class Ledger:
    """State of a shard. `aggregates` and `names` are keyed by (tenant, stream)."""

    group: Group
    arbiter: Arbiter = field(default_factory=Arbiter)
    shard_time_ms: int = 0
    boot_id: str = ""
    boottime_ms: int = 0
    aggregates: dict[tuple[str, str], Aggregate] = field(default_factory=dict)
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

    def born(self, tenant: str, stream: str, key: str) -> Aggregate:
        """An aggregate in its initial state, not yet part of the ledger."""
        kind = self.group.kinds[kind_of(stream)]
        return Aggregate(kind, kind.start(), 0, key)

    def before_event(self, tenant: str, stream: str, event: Any) -> None:
        """Call before an aggregate evolves: what the event may change is kept for who reads a past moment."""
        self._keep(AGGREGATES, (tenant, stream))
        rows = self.group.kinds[kind_of(stream)].rows
        if rows is not None:
            for table, name in rows.touched(event):
                self._keep(("row", tenant, stream, table), name)

    def apply_event(self, envelope: Envelope, event: Any, key: str) -> Aggregate:
        """Fold one event with its settlements. Raises whatever `evolve` raises."""
        place = (envelope.tenant, envelope.stream)
        self.before_event(envelope.tenant, envelope.stream, event)
        aggregate = self.aggregates.get(place)
        if aggregate is None:
            aggregate = self.aggregates[place] = self.born(envelope.tenant, envelope.stream, key)
        aggregate.state = aggregate.kind.evolve(aggregate.state, event)
        aggregate.version = envelope.version
        for settled in envelope.settles:
            self.settle(settled)
        return aggregate

    def close_if_over(self, tenant: str, stream: str) -> Aggregate | None:
        """Let go of an aggregate to which nothing more can happen, with all it has pending."""
        aggregate = self.aggregates.get((tenant, stream))
        if aggregate is None or not aggregate.kind.over(aggregate.state):
            return None
        self._keep(AGGREGATES, (tenant, stream))
        for section in self._tables(tenant, stream, aggregate.kind):
            for name in self._container(section):
                self._keep(section, name)
        del self.aggregates[tenant, stream]
        for key in list(self.names.get((tenant, stream), {}).values()):
            self.settle(key)
        return aggregate

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
        """Fold a record if it counts; False for a void one.

        Raises `BadHistory` for an event that cannot be folded.
        """
        if not self.arbiter.counts(record):
            return False
        self.arbiter = self.arbiter.after(record)
        if isinstance(record, Commit):
            self._fold_commit(record)
        return True

    def _fold_commit(self, commit: Commit) -> None:
        self._compare(commit)
        keys: dict[tuple[str, str], str] = {}
        for taken in commit.inputs:
            self.apply_input(taken)
            if taken.key:
                keys[taken.tenant, taken.stream] = taken.key
        for envelope in commit.events:
            if envelope.stream == SHARD:
                continue
            service = self.group.service_of[kind_of(envelope.stream)]
            try:
                event = service.events.decode(envelope.part)
                self.apply_event(envelope, event, keys.get((envelope.tenant, envelope.stream), ""))
            except Exception as error:
                raise BadHistory(f"event {envelope.event_id} ({envelope.type}) of {envelope.stream}") from error
        for effect in commit.effects:
            self.apply_effect(effect, self.payload(effect))
        for envelope in commit.events:
            if envelope.stream != SHARD:
                self.close_if_over(envelope.tenant, envelope.stream)
        for mark in commit.marks:
            self.apply_mark(mark)
        for reply in commit.replies:
            self.apply_reply(reply)
        self.apply_time(commit)

    def apply_input(self, taken: Input) -> None:
        """An input may itself settle an effect: a due wake, an outcome."""
        if taken.settles:
            self.settle(taken.settles)

    def apply_time(self, commit: Commit) -> None:
        """Where shard time stood at the commit, the last thing that it changes."""
        before_ms, self.shard_time_ms = self.shard_time_ms, commit.shard_time_ms
        self.boot_id, self.boottime_ms = commit.boot_id, commit.boottime_ms
        if before_ms and before_ms // HASH_EVERY_MS != commit.shard_time_ms // HASH_EVERY_MS and self.hash.free:
            self.hash.reached(Point(commit.n, self.head(), self.moment()), self.row)

    def _compare(self, commit: Commit) -> None:
        """What the owner says that the state hashed to."""
        for envelope in commit.events:
            if envelope.type == STATE_HASHED:
                said = log_pb2.StateHashed.FromString(envelope.part.clear)
                if said.schema == self.group.canonical.schema:
                    self.hash.check(said.n, said.hash, self.row)

    def payload(self, effect: Effect) -> Any:
        """What an effect shall do: a wake's command, a receiver's order."""
        service = self.group.service_of[kind_of(effect.stream)]
        table = self.group.commands[service.name] if effect.kind == "wake" else service.effects
        return table.decode(effect.part)

    # ---------------------------------------------------------------- rows

    def _keep(self, section: Section, key: Key) -> None:
        self.past.keep(section, key, self.row)

    def moment(self) -> Past:
        """From here on the state as it is now can be read with `rows_at`."""
        self.past.next = Past()
        self.past = self.past.next
        return self.past

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
                return (
                    "aggregate",
                    *key,
                    value.version,
                    value.key,
                    value.state if rows is None else rows.base(value.state),
                )
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
                case ("aggregate", tenant, stream, version, key, state):
                    kind = group.kinds[kind_of(stream)]
                    ledger.aggregates[tenant, stream] = Aggregate(kind, state, version, key)
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
        ledger.aggregates = {place: ledger.aggregates[place] for place in sorted(ledger.aggregates)}
        large.build(ledger.aggregates)
        for effect in sorted(pending, key=lambda effect: _made(effect.key)):
            ledger.apply_effect(effect, ledger.payload(effect))
        ledger.past = Past()
        if schema not in (None, group.canonical.schema):
            value = total(ledger.parts())
        ledger.hash.begin(value, ledger.head(), ledger.past)
        return ledger


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
