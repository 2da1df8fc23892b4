"""Snapshots and state hashes that are made row by row while their state goes on."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import chain, islice
from typing import Any

from tandem.core.commit import Commit, Record
from tandem.core.decider import Rows
from tandem.core.ports.log import Partition, Stored
from tandem.internal.log.v1 import log_pb2
from tandem.runtime.ledger import STATE_HASHED, Ledger
from tandem.runtime.past import Row
from tandem.runtime.redecide import Redecide
from tandem.runtime.replay import Fold
from tandem.runtime.restore import restore
from tandem.runtime.service import Group
from tandem.runtime.shard import Shard
from tandem.runtime.statehash import total


class LateSnapshot:
    """Of the state of now; `pack` draws the next rows of it, at any later time."""

    def __init__(self, ledger: Ledger) -> None:
        self._group = ledger.group
        self._wanted = list(ledger.parts())
        self._rows: Iterator[Row] = chain((ledger.head(),), ledger.rows_at(ledger.moment()))
        self._packed: list[bytes] = []

    def pack(self, rows: int) -> None:
        """The next rows."""
        self._packed += map(self._group.canonical.encode, islice(self._rows, rows))

    def check(self) -> None:
        """Pack the rest: it is the state of then, byte for byte, and so is what is restored of it."""
        self._packed += map(self._group.canonical.encode, self._rows)
        assert sorted(self._packed) == sorted(self._wanted)
        assert list(restore(self._group, self._packed).parts()) == self._wanted


def changed_rows(rows: Rows, before: Any, after: Any) -> set[tuple[str, str]]:
    """(table, name) of what differs between two states."""
    found = set()
    for table in rows.tables:
        one, other = getattr(before, table), getattr(after, table)
        found |= {(table, name) for name in {*one, *other} if one.get(name) != other.get(name)}
    return found


class LateHash:
    """Digests the due points of a shard, some rows at a time."""

    def __init__(self, shard: Shard) -> None:
        self._shard = shard
        self._work: Iterator[None] | None = None

    def work(self, rows: int) -> None:
        """The next rows, of the next point if one is done."""
        if self._work is None:
            self._work = self._shard.hash_work()
        for _ in range(rows if self._work is not None else 0):
            if next(self._work or iter(()), self) is self:
                self._work = None
                return


def check_hashes(group: Group, records: list[Record]) -> int:
    """Each hash that the log names is that of all rows after its commit, and a fold says so too.
    How many there were."""
    ledger, totals, found = Ledger(group), dict[int, bytes](), 0
    for record in records:
        if not ledger.fold(record) or not isinstance(record, Commit):
            continue
        totals[record.n] = total(ledger.parts()).to_bytes(16, "big")
        for envelope in record.events:
            if envelope.type == STATE_HASHED:
                said = log_pb2.StateHashed.FromString(envelope.part.clear)
                assert said.hash == totals[said.n], f"after commit {said.n}"
                found += 1
    assert ledger.hash.wrong == []
    assert ledger.hash.checked + ledger.hash.missed == found
    return found


def check_replay(group: Group, log: Sequence[Stored], keys: dict[str, bytes]) -> None:
    """Who folds the log again and decides its inputs again finds the same."""
    partition = Partition(group.name, 0)
    held = lambda ids: {key: keys[key] for key in ids if key in keys}  # noqa: E731
    fold = Fold(group, partition, redecide=Redecide(group, str(partition), held))
    for _ in fold.run(log):
        pass
    assert fold.verdict.faults == [], fold.verdict.faults
    assert fold.verdict.again is not None
    assert fold.verdict.again.not_compared == {}
