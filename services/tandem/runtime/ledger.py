"""The fold of a shard's counted commits: all that the shard knows (rules 3, 4 and 8).

Owner, standby and replay use this one fold: the owner applies each thing as it decides,
the others apply whole commits, and both end in the same state. Nothing here decides.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from tandem.core.arbiter import Arbiter
from tandem.core.commit import Commit, Effect, Envelope, Input, Mark, Part, Record, Reply
from tandem.core.decider import Kind
from tandem.core.seal import Sealed, Withheld
from tandem.runtime.service import (
    RUNTIME_EVENTS,
    Group,
    Quarantined,
    QuarantinedLegEnded,
    QuarantineLifted,
    kind_of,
)

MAX_REQUESTS = 10_000
"""Client requests remembered per tenant (spine 3)."""
REQUEST_TTL_MS = 24 * 3600 * 1000
"""How long a client may repeat a request."""
STEPPED = "shard.time_stepped"
"""Name of the runtime's own event; it stands on the stream `shard` of tenant `-`."""
CELL_TENANT = "-"
"""Tenant of what concerns the whole cell."""


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
        self._living: dict[tuple[str, str], int] = {}
        self._counted: set[tuple[str, str]] = set()

    def living(self, tenant: str, kind: str) -> int:
        """How many there are."""
        return self._living.get((tenant, kind), 0)

    def __setitem__(self, place: tuple[str, str], aggregate: Aggregate) -> None:
        super().__setitem__(place, aggregate)
        self._count(place, aggregate.kind.name, not aggregate.over)

    def __delitem__(self, place: tuple[str, str]) -> None:
        self._count(place, self[place].kind.name, False)
        super().__delitem__(place)

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

    # ---------------------------------------------------------------- one thing at a time

    def aggregate(self, tenant: str, stream: str) -> Aggregate | None:
        """A live aggregate."""
        return self.aggregates.get((tenant, stream))

    def born(self, tenant: str, stream: str, key: str, trace: str = "") -> Aggregate:
        """An aggregate in its initial state, not yet part of the ledger."""
        kind = self.group.kinds[kind_of(stream)]
        return Aggregate(kind, kind.start(), 0, key, trace if kind.traced else "")

    def apply_event(self, envelope: Envelope, event: Any, key: str) -> Aggregate:
        """Fold one event with its settlements. Raises whatever `evolve` raises."""
        place = (envelope.tenant, envelope.stream)
        aggregate = self.aggregates.get(place)
        if aggregate is None:
            aggregate = self.aggregates[place] = self.born(envelope.tenant, envelope.stream, key, envelope.trace)
        aggregate.state = aggregate.kind.evolve(aggregate.state, event)
        aggregate.version = envelope.version
        for settled in envelope.settles:
            self.settle(settled)
        return aggregate

    def close_if_over(self, tenant: str, stream: str) -> Aggregate | None:
        """Let go of an aggregate to which nothing more can happen, with all it has pending."""
        aggregate = self.aggregates.get((tenant, stream))
        if aggregate is None or not aggregate.over:
            return None
        self._end(tenant, stream)
        return aggregate

    def _end(self, tenant: str, stream: str) -> None:
        if (tenant, stream) in self.aggregates:
            del self.aggregates[tenant, stream]
        for key in list(self.names.get((tenant, stream), {}).values()):
            self.settle(key)

    def apply_quarantine(self, envelope: Envelope, event: Any, key: str) -> Aggregate:
        """Fold an event of the runtime."""
        place = (envelope.tenant, envelope.stream)
        aggregate = self.aggregates.get(place)
        if aggregate is None:
            aggregate = self.aggregates[place] = self.born(envelope.tenant, envelope.stream, key, envelope.trace)
        before, aggregate.version = aggregate.quarantine, envelope.version
        match event:
            case Quarantined():
                legs = tuple((row.node, row.leg) for row in event.legs)
                unread, torn = (False, False) if before is None else (before.unread, before.torn)
                sound = envelope.version if before is None else before.sound
                aggregate.quarantine = Quarantine(event.why, event.event, legs, True, unread, torn, sound, event.unread)
                if aggregate.kind.rescue is not None:
                    # What it was when it failed may differ between releases; what the log says does not.
                    aggregate.state = aggregate.kind.start()
                    for pending in list(self.names.get(place, {}).values()):
                        self.settle(pending)
            case QuarantinedLegEnded(leg=leg) if before is not None:
                rest = tuple(row for row in before.legs if row[1] != leg)
                aggregate.quarantine = replace(before, legs=rest)
            case QuarantineLifted():
                # Who could not read the history has not the state that goes on.
                still = before is not None and before.unread
                aggregate.quarantine = replace(before, noted=False) if before is not None and still else None
        return aggregate

    def set_aside(self, envelope: Envelope, key: str, error: Exception) -> None:
        """An event that this release cannot fold: its aggregate is quarantined, its shard mates
        are not (P2). Raises `BadHistory` if there is no such kind."""
        place = (envelope.tenant, envelope.stream)
        aggregate = self.aggregates.get(place)
        try:
            aggregate = aggregate or self.born(envelope.tenant, envelope.stream, key, envelope.trace)
        except KeyError:
            raise BadHistory(f"event {envelope.event_id} ({envelope.type}) of {envelope.stream}") from error
        self.aggregates[place] = aggregate
        torn, sound = aggregate.kind.rescue is None, aggregate.version
        legs = tuple(aggregate.legs)
        aggregate.quarantine = Quarantine(type(error).__name__, envelope.type, legs, False, True, torn, sound)
        aggregate.version = envelope.version

    def quarantined(self) -> Iterator[tuple[str, str, Aggregate]]:
        """(tenant, stream, aggregate) of all that are in quarantine."""
        for (tenant, stream), aggregate in self.aggregates.items():
            if aggregate.quarantine is not None:
                yield tenant, stream, aggregate

    @property
    def torn(self) -> bool:
        """Whether a state is half changed: no snapshot of it, no hash, until it is folded anew."""
        return any(row.quarantine.torn for _, _, row in self.quarantined() if row.quarantine is not None)

    def apply_effect(self, effect: Effect, payload: Any) -> None:
        """Make an effect pending; one of the same name gives way."""
        names = self.names.setdefault((effect.tenant, effect.stream), {})
        earlier = names.get(effect.name)
        if earlier is not None:
            del self.pending[earlier]
        names[effect.name] = effect.key
        self.pending[effect.key] = Pending(effect, payload)

    def settle(self, key: str) -> None:
        """End a pending effect; one that is not pending is no error (a late outcome)."""
        pending = self.pending.pop(key, None)
        if pending is None:
            return
        place = (pending.effect.tenant, pending.effect.stream)
        names = self.names[place]
        del names[pending.effect.name]
        if not names:
            del self.names[place]

    def apply_mark(self, mark: Mark) -> None:
        """Raise a source's mark."""
        self.marks[mark.source, mark.tenant] = mark.number

    def mark(self, source: str, tenant: str) -> int:
        """Last number taken, 0 for none."""
        return self.marks.get((source, tenant), 0)

    def apply_reply(self, reply: Reply) -> None:
        """Remember a client's request; the oldest make room."""
        requests = self.requests.setdefault(reply.tenant, OrderedDict())
        requests.pop(reply.request, None)  # an id that is used anew after its time
        requests[reply.request] = reply
        while len(requests) > MAX_REQUESTS or (
            requests and next(iter(requests.values())).time_ms < reply.time_ms - REQUEST_TTL_MS
        ):
            requests.popitem(last=False)

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
        keys: dict[tuple[str, str], str] = {}
        for taken in commit.inputs:
            self.apply_input(taken)
            if taken.key:
                keys[taken.tenant, taken.stream] = taken.key
        for envelope in commit.events:
            if envelope.type == STEPPED:
                continue
            self._fold_event(envelope, keys.get((envelope.tenant, envelope.stream), ""))
        for effect in commit.effects:
            self._fold_effect(effect)
        for envelope in commit.events:
            if envelope.type != STEPPED:
                self.close_if_over(envelope.tenant, envelope.stream)
        for row in commit.ended:
            self._end(row.tenant, row.stream)  # of which this fold could not read the end
        for mark in commit.marks:
            self.apply_mark(mark)
        for reply in commit.replies:
            self.apply_reply(reply)
        self.apply_time(commit)

    def _fold_event(self, envelope: Envelope, key: str) -> None:
        aggregate = self.aggregates.get((envelope.tenant, envelope.stream))
        try:
            if envelope.type in OF_THE_RUNTIME:
                self.apply_quarantine(envelope, RUNTIME_EVENTS.decode(envelope.part), key)
            elif aggregate is not None and aggregate.quarantine is not None:
                aggregate.version = envelope.version  # of an owner who could go on
                for settled in envelope.settles:
                    self.settle(settled)
            else:
                service = self.group.service_of[kind_of(envelope.stream)]
                self.apply_event(envelope, service.events.decode(envelope.part), key)
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
                aggregate.quarantine = found

    def apply_input(self, taken: Input) -> None:
        """An input may itself settle an effect: a due wake, an outcome."""
        if taken.settles:
            self.settle(taken.settles)

    def apply_time(self, commit: Commit) -> None:
        """Where shard time stood at the commit."""
        self.shard_time_ms = commit.shard_time_ms
        self.boot_id, self.boottime_ms = commit.boot_id, commit.boottime_ms

    def payload(self, effect: Effect) -> Any:
        """What an effect shall do: a wake's command, a receiver's order."""
        service = self.group.service_of[kind_of(effect.stream)]
        table = self.group.commands[service.name] if effect.kind == "wake" else service.effects
        return table.decode(effect.part)

    # ---------------------------------------------------------------- snapshots and hash

    def image(self) -> tuple[Any, ...]:
        """Everything, as it is now, in one order; frozen, so that it can be packed later."""
        arbiter = self.arbiter
        head = ("head", arbiter.epoch, arbiter.owner, arbiter.n, self.shard_time_ms, self.boot_id, self.boottime_ms)
        return (
            head,
            *(
                ("aggregate", tenant, stream, row.version, row.key, row.kind.dump(row.state))
                for (tenant, stream), row in sorted(self.aggregates.items(), key=_place)
            ),
            *(("trace", *place, row.trace) for place, row in sorted(self.aggregates.items(), key=_place) if row.trace),
            *(
                ("quarantined", tenant, stream, *_aside(row.quarantine))
                for tenant, stream, row in sorted(self.quarantined(), key=lambda item: item[:2])
                if row.quarantine is not None and row.quarantine.noted
            ),
            # In the order of the log: the newest incarnation of a node is the one taken from last.
            *(("mark", source, tenant, number) for (source, tenant), number in self.marks.items()),
            *(_pending(self.pending[key].effect) for key in sorted(self.pending, key=_made)),
            *(
                ("request", tenant, request, reply.digest, reply.time_ms, *_flat(reply.part))
                for tenant in sorted(self.requests)
                for request, reply in self.requests[tenant].items()
            ),
        )

    def parts(self) -> Iterator[bytes]:
        """The whole state as canonical bytes, one part a thing."""
        return map(self.group.canonical.encode, self.image())

    @classmethod
    def restored(cls, group: Group, parts: Iterator[bytes]) -> Ledger:
        """The ledger that gave these parts. Raises canonical.NotCanonical, KeyError or
        ValueError for parts of another release or a damaged snapshot."""
        ledger = cls(group)
        for body in parts:
            part = group.canonical.decode(body)
            match part:
                case ("head", epoch, owner, n, time_ms, boot_id, boottime_ms):
                    ledger.arbiter = Arbiter(epoch, owner, n)
                    ledger.shard_time_ms, ledger.boot_id, ledger.boottime_ms = time_ms, boot_id, boottime_ms
                case ("aggregate", tenant, stream, version, key, dumped):
                    kind = group.kinds[kind_of(stream)]
                    ledger.aggregates[tenant, stream] = Aggregate(kind, kind.load(dumped), version, key)
                case ("trace", tenant, stream, trace):
                    ledger.aggregates[tenant, stream].trace = trace
                case ("quarantined", tenant, stream, why, event, legs, guessed):
                    held = ledger.aggregates[tenant, stream]
                    held.quarantine = Quarantine(why, event, legs, sound=held.version, guessed=guessed)
                case ("mark", source, tenant, number):
                    ledger.marks[source, tenant] = number
                case ("pending", key, tenant, stream, name, kind, at_ms, type_, clear, private):
                    effect = Effect(key, tenant, stream, name, kind, at_ms, Part(type_, clear, private))
                    ledger.apply_effect(effect, ledger.payload(effect))
                case ("request", tenant, request, digest, time_ms, type_, clear, private):
                    ledger.apply_reply(Reply(tenant, request, digest, time_ms, Part(type_, clear, private)))
                case _:
                    raise ValueError(f"a snapshot part of an unknown kind: {part!r:.80}")
        return ledger


def _place(item: tuple[tuple[str, str], Aggregate]) -> tuple[str, str]:
    return item[0]


def _aside(row: Quarantine) -> tuple[Any, ...]:
    return row.why, row.event, row.legs, row.guessed


def _pending(effect: Effect) -> tuple[Any, ...]:
    where = (effect.tenant, effect.stream, effect.name)
    return ("pending", effect.key, *where, effect.kind, effect.at_ms, *_flat(effect.part))


def _made(key: str) -> tuple[str, int, int]:
    """Effects of a stream in the order in which they were made: on one leg it is kept."""
    stream, version, index = key.rsplit("/", 2)
    return stream, int(version), int(index)


def _flat(part: Part) -> tuple[str, bytes, tuple[tuple[int, Sealed | Withheld], ...]]:
    return part.type, part.clear, part.private
