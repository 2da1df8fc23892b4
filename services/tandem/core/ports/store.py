"""The `Store` port: tables of views, each row with an ordered key (rules 11 and 13).

Views are projections: they may be dropped and rebuilt, and the platform runs without
them. A projection's position stands in the same transaction as its rows, so an event is
projected exactly once whatever crashes.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from tandem.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Put:
    """Write a row. `key` is a tuple of strings and ints; the first is always the tenant."""

    table: str
    key: tuple[str | int, ...]
    value: bytes


@dataclass(frozen=True, slots=True)
class Delete:
    """Remove a row; a missing one is no error."""

    table: str
    key: tuple[str | int, ...]


@dataclass(frozen=True, slots=True)
class Row:
    """A row as it stands."""

    key: tuple[str | int, ...]
    value: bytes


class Store(Protocol):
    """Adapters pass `tests/contract/store_contract.py`. Key order is by part: ints by value,
    strings by code point, ints before strings; a shorter key before a longer one it begins.
    Ints fit 64 bits. Keys and prefixes that do not begin with a string raise ValueError. Every
    method raises OSError when the storage fails; what it was to do is then done or not, but
    never in part."""

    async def project(self, view: str, partition: str, position: int, writes: Sequence[Put | Delete]) -> bool:
        """Apply `writes` and the view's new position in one transaction.

        Returns False and writes nothing when the view stands at `position` or above for
        that partition: projecting twice is the same as once.
        """
        ...

    async def position(self, view: str, partition: str) -> int:
        """Highest position projected, 0 for none."""
        ...

    async def wait(self, view: str, partition: str, position: int, timeout_s: float) -> bool:
        """Until the view has reached `position`: woken, never polled. False on time-out."""
        ...

    async def get(self, table: str, key: tuple[str | int, ...]) -> bytes | None:
        """One row, or None."""
        ...

    async def scan(
        self,
        table: str,
        prefix: tuple[str | int, ...],
        *,
        after: tuple[str | int, ...] | None = None,
        limit: int = 100,
        descending: bool = False,
    ) -> Sequence[Row]:
        """Rows whose key begins with `prefix`, in key order (or reversed), beyond `after`,
        at most `limit` (1 to 1000)."""
        ...

    async def drop(self, view: str, tables: Sequence[str]) -> None:
        """Forget a view's tables and positions, so that it is built anew."""
        ...

    async def close(self) -> None:
        """Idempotent."""
        ...
