"""The fold of a shard's counted commits: all that the shard knows (rules 3, 4 and 8).

Owner, standby and replay use this one fold: the owner applies each thing as it decides,
the others apply whole commits, and both end in the same state. Nothing here decides.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Any

from tandem.core.commit import Commit, Effect, Envelope, Mark, Record, Reply
from tandem.core.decider import Kind
from tandem.internal.log.v1 import log_pb2
from tandem.runtime.aggregates import Aggregate
from tandem.runtime.quarantine import Quarantine, quarantine_after
from tandem.runtime.service import RUNTIME_EVENTS, Quarantined, kind_of
from tandem.runtime.state import AGGREGATES, MARKS, PENDING, Pending, State
from tandem.runtime.statehash import HASH_EVERY_MS, Point

MAX_REQUESTS = 10_000
"""Client requests remembered per tenant (spine 3)."""
REQUEST_TTL_MS = 24 * 3600 * 1000
"""How long a client may repeat a request."""
SHARD = "shard"
"""Stream of the runtime's own events, of tenant `-`; they change no aggregate."""
STEPPED = "shard.time_stepped"
SNAPSHOT_TAKEN = "shard.snapshot_taken"
STATE_HASHED = "shard.state_hashed"
OF_THE_RUNTIME = RUNTIME_EVENTS.names


class BadHistory(Exception):
    """An event of a kind that this release does not have: there is nothing that could be set aside."""


class Ledger(State):
    """A state that goes on, one thing or one record at a time. Each row is kept before it changes."""

    __slots__ = ()

    # ---------------------------------------------------------------- one thing at a time

    def born(self, tenant: str, stream: str, key: str, trace: str = "") -> Aggregate:
        """An aggregate in its initial state, not yet part of the ledger."""
        kind = self.group.kinds[kind_of(stream)]
        return Aggregate(kind, kind.start(), 0, key, trace if kind.traced else "")

    def adopt(self, tenant: str, stream: str, aggregate: Aggregate) -> None:
        """Make it a part of the ledger, without an event."""
        self.keep(AGGREGATES, (tenant, stream))
        self.aggregates[tenant, stream] = aggregate

    def before_event(self, place: tuple[str, str], kind: Kind, event: Any) -> None:
        """Call before an aggregate evolves: what the event may change is kept for who reads a past moment."""
        self.keep(AGGREGATES, place)
        if kind.rows is not None:
            for table, name in kind.rows.touched(event):
                self.keep(("row", *place, table), name)

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
            self.keep_whole((tenant, stream), aggregate.kind)
            del self.aggregates[tenant, stream]
        self._settle_all((tenant, stream))

    def apply_quarantine(self, envelope: Envelope, event: Any, key: str) -> Aggregate:
        """Fold an event of the runtime."""
        place = (envelope.tenant, envelope.stream)
        self.keep(AGGREGATES, place)
        aggregate = self._beginning(envelope, key)
        aggregate.version = envelope.version
        self.aggregates.set_aside(place, quarantine_after(aggregate.quarantine, event, envelope.version))
        if isinstance(event, Quarantined) and aggregate.kind.rescue is not None:
            # What it was when it failed may differ between releases; what the log says does not.
            aggregate.state = aggregate.kind.start()
            self._settle_all(place)
        return aggregate

    def set_aside(self, envelope: Envelope, key: str, error: Exception) -> None:
        """An event that this release cannot fold: its aggregate is quarantined, its shard mates
        are not (P2). Raises `BadHistory` if there is no such kind."""
        place = (envelope.tenant, envelope.stream)
        self.keep(AGGREGATES, place)
        try:
            aggregate = self._beginning(envelope, key)
        except KeyError:
            raise BadHistory(f"event {envelope.event_id} ({envelope.type}) of {envelope.stream}") from error
        torn, sound = aggregate.kind.rescue is None, aggregate.version
        legs = tuple(aggregate.legs)
        found = Quarantine(type(error).__name__, envelope.type, legs, False, True, torn, sound)
        self.aggregates.set_aside(place, found)
        aggregate.version = envelope.version

    def apply_effect(self, effect: Effect, payload: Any) -> None:
        """Make an effect pending; one of the same name gives way."""
        names = self.names.setdefault((effect.tenant, effect.stream), {})
        earlier = names.get(effect.name)
        if earlier is not None:
            self.keep(PENDING, earlier)
            del self.pending[earlier]
        names[effect.name] = effect.key
        self.keep(PENDING, effect.key)
        self.pending[effect.key] = Pending(effect, payload)

    def settle(self, key: str) -> None:
        """End a pending effect; one that is not pending is no error (a late outcome)."""
        if key not in self.pending:
            return
        self.keep(PENDING, key)
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
        self.keep(MARKS, (mark.source, mark.tenant))
        self.marks[mark.source, mark.tenant] = mark.number

    def apply_reply(self, reply: Reply) -> None:
        """Remember a client's request; the oldest make room."""
        requests = self.requests.setdefault(reply.tenant, OrderedDict())
        section = ("request", reply.tenant)
        while requests and (
            len(requests) >= MAX_REQUESTS or next(iter(requests.values())).time_ms < reply.time_ms - REQUEST_TTL_MS
        ):
            self.keep(section, next(iter(requests)))
            requests.popitem(last=False)
        self.keep(section, reply.request)
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
                self.keep(AGGREGATES, place)
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
                self.keep(AGGREGATES, (effect.tenant, effect.stream))
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
