"""A snapshot that is packed row by row while its state goes on."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import chain, islice
from typing import Any

from tandem.core.decider import Rows
from tandem.runtime.ledger import Ledger
from tandem.runtime.past import Row


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
        assert list(Ledger.restored(self._group, self._packed).parts()) == self._wanted


def changed_rows(rows: Rows, before: Any, after: Any) -> set[tuple[str, str]]:
    """(table, name) of what differs between two states."""
    found = set()
    for table in rows.tables:
        one, other = getattr(before, table), getattr(after, table)
        found |= {(table, name) for name in {*one, *other} if one.get(name) != other.get(name)}
    return found
