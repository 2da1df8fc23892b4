"""Bad adapters of the `Store` port."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from tandem.adapters.keyorder import Key
from tandem.adapters.memory import (
    MemoryStore,
    RowTables,
)
from tandem.core.ports.store import Delete, Put, Row
from tests.contract.planted.defect import PATIENCE_S, Planted
from tests.contract.store_contract import StoreContract
from tests.contract.worlds import MemoryStoreWorld


def store_world(tables: type[RowTables], store: type[MemoryStore] = MemoryStore) -> Callable[[], object]:
    """A world of a bad store."""

    class PlantedStoreWorld(MemoryStoreWorld):
        patience_s = PATIENCE_S

        def __init__(self) -> None:
            self.tables = tables()

        async def open(self) -> MemoryStore:
            return store(self.tables)

        async def crash(self, adapter: MemoryStore) -> None:
            crash = getattr(self.tables, "crash", None)
            if crash:
                crash()

    PlantedStoreWorld.__name__ = (tables if tables is not RowTables else store).__name__
    return PlantedStoreWorld


class DeletesFirst(RowTables):
    def project(self, view: str, partition: str, position: int, writes: Sequence[Put | Delete]) -> bool:
        return super().project(view, partition, position, sorted(writes, key=lambda write: isinstance(write, Put)))


class ProjectsTwice(RowTables):
    def project(self, view: str, partition: str, position: int, writes: Sequence[Put | Delete]) -> bool:
        if super().project(view, partition, position, writes):
            return True
        for write in writes:
            if isinstance(write, Put):
                self._rows[write.table][next(iter(self._rows[write.table]))] = write.value
        return False


class GoesBack(RowTables):
    """Takes any position but the same."""

    def project(self, view: str, partition: str, position: int, writes: Sequence[Put | Delete]) -> bool:
        if self.position(view, partition) > position:
            del self._positions[view, partition]
        return super().project(view, partition, position, writes)


class PositionApart(RowTables):
    """The position is written after the rows, in a transaction of its own."""

    def crash(self) -> None:
        self._positions = {topic: position - 1 for topic, position in self._positions.items()}


class RowsApart(RowTables):
    """A failure in the middle leaves the first rows."""

    def project(self, view: str, partition: str, position: int, writes: Sequence[Put | Delete]) -> bool:
        if self.full:
            self.full = False
            super().project(view, partition, position, writes[:1])
            raise OSError("no room")
        return super().project(view, partition, position, writes)


class OnePosition(RowTables):
    def position(self, view: str, partition: str) -> int:
        return max(self._positions.values(), default=0)


class WaitsForNext(MemoryStore):
    """Waits for a move even if the view is there already."""

    async def wait(self, view: str, partition: str, position: int, timeout_s: float) -> bool:
        try:
            async with asyncio.timeout(timeout_s):
                await self._bell.listen((view, partition))
        except TimeoutError:
            return False
        return True


class WakesOnAnyMove(MemoryStore):
    async def wait(self, view: str, partition: str, position: int, timeout_s: float) -> bool:
        if await self.position(view, partition) < position:
            await self._bell.listen((view, partition))
        return True


class AlwaysReached(MemoryStore):
    async def wait(self, view: str, partition: str, position: int, timeout_s: float) -> bool:
        await super().wait(view, partition, position, timeout_s)
        return True


class EmptyForNone(RowTables):
    def get(self, table: str, key: Key) -> bytes | None:
        return super().get(table, key) or b""


class IntsAsTexts(RowTables):
    """Sorts ints by their digits."""

    def scan(
        self, table: str, prefix: Key, *, after: Key | None = None, limit: int = 100, descending: bool = False
    ) -> Sequence[Row]:
        rows = super().scan(table, prefix, after=after, limit=limit, descending=descending)
        return sorted(rows, key=lambda row: [str(part) for part in row.key], reverse=descending)


class NeverReversed(RowTables):
    def scan(
        self, table: str, prefix: Key, *, after: Key | None = None, limit: int = 100, descending: bool = False
    ) -> Sequence[Row]:
        rows = super().scan(table, prefix, after=after, limit=limit, descending=descending)
        return sorted(rows, key=lambda row: repr(row.key)) if descending else rows


class PrefixOfTexts(RowTables):
    """A prefix `a` also finds `a` with more behind it in the same string."""

    def scan(
        self, table: str, prefix: Key, *, after: Key | None = None, limit: int = 100, descending: bool = False
    ) -> Sequence[Row]:
        rows = super().scan(table, prefix[:1], after=after, limit=1000, descending=descending)
        wanted = "/".join(map(str, prefix))
        return [row for row in rows if "/".join(map(str, row.key)).startswith(wanted)][:limit]


class AfterIsIncluded(RowTables):
    def scan(
        self, table: str, prefix: Key, *, after: Key | None = None, limit: int = 100, descending: bool = False
    ) -> Sequence[Row]:
        rows = list(super().scan(table, prefix, after=after, limit=limit, descending=descending))
        value = self.get(table, after) if after else None
        return [Row(after, value), *rows][:limit] if after and value and rows else rows


class NoLimit(RowTables):
    def scan(
        self, table: str, prefix: Key, *, after: Key | None = None, limit: int = 100, descending: bool = False
    ) -> Sequence[Row]:
        return super().scan(table, prefix, after=after, limit=1000, descending=descending)


class KeysAsTexts(RowTables):
    """Takes any key and writes rows until one cannot be."""

    def project(self, view: str, partition: str, position: int, writes: Sequence[Put | Delete]) -> bool:
        for write in writes:
            super().project(view, partition, position + len(self._rows), [write])
        return True


class DropsRowsAlone(RowTables):
    def drop(self, view: str, tables: Sequence[str]) -> None:
        positions = self._positions
        super().drop(view, tables)
        self._positions = positions


class DropsAllPositions(RowTables):
    def drop(self, view: str, tables: Sequence[str]) -> None:
        super().drop(view, tables)
        self._positions = {}


class StoreClosesOnce(MemoryStore):
    async def close(self) -> None:
        assert not self._closed, "closed twice"
        await super().close()


STORES = [
    Planted(StoreContract, "test_writes_are_applied_in_their_order", store_world(DeletesFirst)),
    Planted(StoreContract, "test_projecting_twice_is_the_same_as_once", store_world(ProjectsTwice)),
    Planted(StoreContract, "test_projecting_twice_is_the_same_as_once", store_world(GoesBack)),
    Planted(StoreContract, "test_rows_and_position_survive_a_crash_together", store_world(PositionApart)),
    Planted(StoreContract, "test_a_failed_projection_moves_neither_rows_nor_position", store_world(RowsApart)),
    Planted(StoreContract, "test_positions_are_per_view_and_partition", store_world(OnePosition)),
    Planted(StoreContract, "test_a_reached_position_is_not_waited_for", store_world(RowTables, WaitsForNext)),
    Planted(StoreContract, "test_waiters_are_woken_at_their_position", store_world(RowTables, WakesOnAnyMove)),
    Planted(StoreContract, "test_a_wait_ends_with_its_time", store_world(RowTables, AlwaysReached)),
    Planted(StoreContract, "test_get_gives_the_row_or_none", store_world(EmptyForNone)),
    Planted(StoreContract, "test_scans_are_in_the_order_of_keys", store_world(IntsAsTexts)),
    Planted(StoreContract, "test_scans_are_in_the_order_of_keys", store_world(NeverReversed)),
    Planted(StoreContract, "test_a_prefix_is_whole_parts", store_world(PrefixOfTexts)),
    Planted(StoreContract, "test_pages_follow_each_other", store_world(AfterIsIncluded)),
    Planted(StoreContract, "test_a_page_has_a_limit", store_world(NoLimit)),
    Planted(StoreContract, "test_keys_without_a_tenant_or_order_are_refused", store_world(KeysAsTexts)),
    Planted(StoreContract, "test_drop_forgets_tables_and_positions_of_one_view", store_world(DropsRowsAlone)),
    Planted(StoreContract, "test_drop_forgets_tables_and_positions_of_one_view", store_world(DropsAllPositions)),
    Planted(StoreContract, "test_close_is_idempotent", store_world(RowTables, StoreClosesOnce)),
]
