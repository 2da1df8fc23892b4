"""The `Store` port in memory."""

from __future__ import annotations

import asyncio
from bisect import bisect_left, insort
from collections.abc import Sequence

from tandem.adapters.checks import check_page
from tandem.adapters.keyorder import Key, decode, encode, span
from tandem.adapters.threads import Bell
from tandem.core.ports.store import Delete, Put, Row


class RowTables:
    """Rows and positions of views. Usable without asyncio; survives a simulated crash.

    `full` makes it refuse writes as a full disk does.
    """

    def __init__(self) -> None:
        self.full = False
        self._rows: dict[str, dict[bytes, bytes]] = {}
        self._order: dict[str, list[bytes]] = {}
        self._positions: dict[tuple[str, str], int] = {}

    def project(self, view: str, partition: str, position: int, writes: Sequence[Put | Delete]) -> bool:
        """See the port."""
        encoded = [(write, encode(write.key)) for write in writes]
        if self.full:
            raise OSError("no room for rows")
        if self.position(view, partition) >= position:
            return False
        for write, key in encoded:
            match write:
                case Put():
                    self._put(write.table, key, write.value)
                case Delete():
                    self._delete(write.table, key)
        self._positions[view, partition] = position
        return True

    def _put(self, table: str, key: bytes, value: bytes) -> None:
        rows = self._rows.setdefault(table, {})
        if key not in rows:
            insort(self._order.setdefault(table, []), key)
        rows[key] = value

    def _delete(self, table: str, key: bytes) -> None:
        if self._rows.get(table, {}).pop(key, None) is not None:
            order = self._order[table]
            del order[bisect_left(order, key)]

    def position(self, view: str, partition: str) -> int:
        """See the port."""
        return self._positions.get((view, partition), 0)

    def get(self, table: str, key: Key) -> bytes | None:
        """See the port."""
        return self._rows.get(table, {}).get(encode(key))

    def scan(
        self, table: str, prefix: Key, *, after: Key | None = None, limit: int = 100, descending: bool = False
    ) -> Sequence[Row]:
        """See the port."""
        check_page(limit)
        low, high = span(prefix, after, descending)
        order = self._order.get(table, [])
        first, last = bisect_left(order, low), bisect_left(order, high)
        page = order[max(first, last - limit) : last][::-1] if descending else order[first : min(last, first + limit)]
        return [Row(decode(key), self._rows[table][key]) for key in page]

    def drop(self, view: str, tables: Sequence[str]) -> None:
        """See the port."""
        for table in tables:
            self._rows.pop(table, None)
            self._order.pop(table, None)
        self._positions = {key: position for key, position in self._positions.items() if key[0] != view}


class MemoryStore:
    """The asyncio face of `RowTables`."""

    def __init__(self, tables: RowTables) -> None:
        self._tables = tables
        self._bell = Bell()
        self._closed = False

    async def project(self, view: str, partition: str, position: int, writes: Sequence[Put | Delete]) -> bool:
        """See the port."""
        done = self._open().project(view, partition, position, writes)
        self._bell.ring([(view, partition)])
        return done

    async def position(self, view: str, partition: str) -> int:
        """See the port."""
        return self._open().position(view, partition)

    async def wait(self, view: str, partition: str, position: int, timeout_s: float) -> bool:
        """See the port."""
        topic = (view, partition)
        try:
            async with asyncio.timeout(timeout_s):
                while self._open().position(view, partition) < position:
                    waiter = self._bell.listen(topic)
                    try:
                        await waiter
                    finally:
                        self._bell.leave(topic, waiter)
        except TimeoutError:
            return False
        return True

    async def get(self, table: str, key: Key) -> bytes | None:
        """See the port."""
        return self._open().get(table, key)

    async def scan(
        self, table: str, prefix: Key, *, after: Key | None = None, limit: int = 100, descending: bool = False
    ) -> Sequence[Row]:
        """See the port."""
        return self._open().scan(table, prefix, after=after, limit=limit, descending=descending)

    async def drop(self, view: str, tables: Sequence[str]) -> None:
        """See the port."""
        self._open().drop(view, tables)

    async def close(self) -> None:
        """See the port."""
        self._closed = True
        self._bell.ring_all()

    def _open(self) -> RowTables:
        if self._closed:
            raise RuntimeError("the store was closed")
        return self._tables
