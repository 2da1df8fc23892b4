"""A ledger out of the parts of a snapshot."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tandem.core.arbiter import Arbiter
from tandem.core.commit import Effect, Part, Reply
from tandem.runtime.aggregates import Aggregate, Aggregates
from tandem.runtime.ledger import Ledger
from tandem.runtime.past import Past, Row
from tandem.runtime.quarantine import Quarantine
from tandem.runtime.service import Group, kind_of
from tandem.runtime.state import made
from tandem.runtime.statehash import digest_of, total

BESIDE = (("place",), ("followed",))
"""What a snapshot has beside the state: see `snapshot`."""


def restore(group: Group, parts: Iterable[bytes], schema: str | None = None, beside: list[Row] | None = None) -> Ledger:
    """The ledger that gave these parts; `schema` is theirs if it may be another release's.
    What is no part of the state is put into `beside`. Raises canonical.NotCanonical, KeyError
    or ValueError for parts that cannot be read."""
    ledger, large = Ledger(group), _Large()
    aggregates: dict[tuple[str, str], Aggregate] = {}
    quarantines: dict[tuple[str, str], Quarantine] = {}
    pending: list[Effect] = []
    value = 0
    for body in parts:
        part = group.canonical.decode(body)
        if beside is not None and isinstance(part, tuple) and part[:1] in BESIDE:
            beside.append(part)
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
    for effect in sorted(pending, key=lambda effect: made(effect.key)):
        ledger.apply_effect(effect, ledger.payload(effect))
    ledger.past = Past()
    if schema not in (None, group.canonical.schema):
        value = total(ledger.parts())
    ledger.hash.begin(value, ledger.head(), ledger.past)
    return ledger


class _Large:
    """Rows of aggregates that come apart in a snapshot."""

    def __init__(self) -> None:
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
