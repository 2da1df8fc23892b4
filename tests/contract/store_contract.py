"""What every `Store` must do, a test for each clause of the port's docstrings."""

from __future__ import annotations

import asyncio
import random

import pytest

from tandem.core.ports.store import Delete, Put, Row, Store
from tests.contract.worlds import World, clause

StoreWorld = World[Store]
Key = tuple[str | int, ...]
VIEW, PARTITION = "contacts", "live/0"


def comes_before(one: Key, other: Key) -> bool:
    """The port's order of keys, word for word: by part; ints by value, strings by code point,
    ints before strings; a shorter key before a longer one that it begins."""
    for left, right in zip(one, other, strict=False):
        if left == right and isinstance(left, int) == isinstance(right, int):
            continue
        if isinstance(left, int) != isinstance(right, int):
            return isinstance(left, int)
        if isinstance(left, int) and isinstance(right, int):
            return left < right
        return [ord(character) for character in str(left)] < [ord(character) for character in str(right)]
    return len(one) < len(other)


def in_order(keys: list[Key]) -> list[Key]:
    """Sorted by `comes_before` and nothing else."""
    ordered: list[Key] = []
    for key in keys:
        ordered.insert(sum(comes_before(other, key) for other in ordered), key)
    return ordered


STRINGS = ("", "a", "aa", "a\x00", "a\x00b", "a\x01", "b", "Z", "ü", "\uffff", "\U0001f600", "\x00", "\x00\x00", "\xff")
INTS = (0, 1, -1, 255, 256, -256, 2**31, -(2**31), 2**63 - 1, -(2**63), 10, 9)
KEYS: list[Key] = [
    *[("t", text) for text in STRINGS],
    *[("t", number) for number in INTS],
    *[("t", text, number) for text in STRINGS[:5] for number in INTS[:4]],
    *[("t", number, text) for text in STRINGS[:5] for number in INTS[:4]],
    ("t",),
    ("t\x00",),
    ("t\x00", 1),
    ("s", 5),
    ("tt", 5),
]


async def filled(store: Store, keys: list[Key]) -> None:
    """A table `rows` with these keys, put in any order; each row's value is its key's text."""
    mixed = random.Random(7).sample(keys, len(keys))
    assert await store.project(VIEW, PARTITION, 1, [Put("rows", key, repr(key).encode()) for key in mixed])


async def scanned(store: Store, prefix: Key, **options: object) -> list[Key]:
    """The keys of a scan, whose rows must be whole."""
    rows = await store.scan("rows", prefix, **{"limit": 1000, **options})  # type: ignore[arg-type]
    assert all(row.value == repr(row.key).encode() for row in rows)
    return [row.key for row in rows]


class StoreContract:
    """Run by `test_contracts.py` in the world of each adapter."""

    @clause
    async def test_writes_are_applied_in_their_order(self, world: StoreWorld) -> None:
        store = await world.open()
        one, two, three = ("t", 1), ("t", 2), ("t", 3)
        await store.project(
            VIEW, PARTITION, 1, [Put("rows", one, b"1"), Put("rows", two, b"2"), Put("other", one, b"x")]
        )
        writes = [Put("rows", one, b"new"), Delete("rows", two), Put("rows", three, b"3"), Delete("rows", three)]
        assert await store.project(VIEW, PARTITION, 2, [*writes, Put("rows", three, b"back"), Delete("rows", ("t", 9))])
        assert await store.project(VIEW, PARTITION, 3, [Put("rows", ("t", 4), b"4"), Delete("rows", ("t", 4))])
        assert await store.scan("rows", ("t",)) == [Row(one, b"new"), Row(three, b"back")]
        assert await store.get("rows", two) is None
        assert await store.get("other", one) == b"x"
        await store.close()

    @clause
    async def test_projecting_twice_is_the_same_as_once(self, world: StoreWorld) -> None:
        store = await world.open()
        assert await store.project(VIEW, PARTITION, 5, [Put("rows", ("t", 1), b"first")])
        for position in (5, 4, 1):
            assert not await store.project(VIEW, PARTITION, position, [Put("rows", ("t", 1), b"again")])
        assert await store.get("rows", ("t", 1)) == b"first"
        assert await store.position(VIEW, PARTITION) == 5
        results = await asyncio.gather(*[store.project(VIEW, PARTITION, 6, []) for _ in range(8)])
        assert results.count(True) == 1
        await store.close()

    @clause
    async def test_rows_and_position_survive_a_crash_together(self, world: StoreWorld) -> None:
        store = await world.open()
        for position in range(1, 6):
            await store.project(VIEW, PARTITION, position, [Put("rows", ("t", position), b"x")])
        await world.crash(store)
        store = await world.open()
        rows = await store.scan("rows", ("t",))
        assert [row.key[1] for row in rows] == [1, 2, 3, 4, 5]
        assert await store.position(VIEW, PARTITION) == 5
        await store.close()

    @clause
    async def test_a_failed_projection_moves_neither_rows_nor_position(self, world: StoreWorld) -> None:
        store = await world.open()
        await store.project(VIEW, PARTITION, 1, [Put("rows", ("t", 1), b"x")])
        big = [Put("rows", ("t", number), b"y" * 50_000) for number in range(1, 10)]
        with world.broken(), pytest.raises(OSError):
            await store.project(VIEW, PARTITION, 2, big)
        assert await store.scan("rows", ("t",)) == [Row(("t", 1), b"x")]
        assert await store.position(VIEW, PARTITION) == 1
        assert await store.project(VIEW, PARTITION, 2, big)
        assert len(await store.scan("rows", ("t",))) == 9
        await store.close()

    @clause
    async def test_positions_are_per_view_and_partition(self, world: StoreWorld) -> None:
        store = await world.open()
        assert await store.position(VIEW, PARTITION) == 0
        await store.project(VIEW, PARTITION, 7, [])
        assert await store.position(VIEW, PARTITION) == 7
        assert await store.position(VIEW, "live/1") == 0
        assert await store.position("other", PARTITION) == 0
        assert await store.project("other", PARTITION, 1, [])
        await store.close()

    @clause
    async def test_a_reached_position_is_not_waited_for(self, world: StoreWorld) -> None:
        store = await world.open()
        assert await store.wait(VIEW, PARTITION, 0, 0)
        await store.project(VIEW, PARTITION, 7, [])
        assert await store.wait(VIEW, PARTITION, 7, world.patience_s)
        assert await store.wait(VIEW, PARTITION, 3, world.patience_s)
        await store.close()

    @clause
    async def test_waiters_are_woken_at_their_position(self, world: StoreWorld) -> None:
        store = await world.open()
        async with asyncio.TaskGroup() as group:
            waits = [group.create_task(store.wait(VIEW, PARTITION, n, world.patience_s)) for n in (2, 3, 3)]
            await asyncio.sleep(0.05)
            await store.project(VIEW, PARTITION, 1, [])
            await store.project("other", PARTITION, 9, [])
            await asyncio.sleep(0.05)
            assert not any(wait.done() for wait in waits)
            await store.project(VIEW, PARTITION, 2, [])
            assert await waits[0]
            assert not waits[1].done()
            await store.project(VIEW, PARTITION, 4, [])
        assert [wait.result() for wait in waits] == [True, True, True]
        await store.close()

    @clause
    async def test_a_wait_ends_with_its_time(self, world: StoreWorld) -> None:
        store = await world.open()
        await store.project(VIEW, PARTITION, 1, [])
        assert await store.wait(VIEW, PARTITION, 2, 0.05) is False
        await store.close()

    @clause
    async def test_get_gives_the_row_or_none(self, world: StoreWorld) -> None:
        store = await world.open()
        await filled(store, KEYS)
        for key in KEYS:
            assert await store.get("rows", key) == repr(key).encode()
        for key in (("t", "c"), ("t", 2), ("T",), ("t", "a", 5)):
            assert await store.get("rows", key) is None
        assert await store.get("none", KEYS[0]) is None
        await store.close()

    @clause
    async def test_scans_are_in_the_order_of_keys(self, world: StoreWorld) -> None:
        store = await world.open()
        await filled(store, KEYS)
        ordered = in_order([key for key in KEYS if key[0] == "t"])
        assert await scanned(store, ("t",)) == ordered
        assert await scanned(store, ("t",), descending=True) == ordered[::-1]
        await store.close()

    @clause
    async def test_a_prefix_is_whole_parts(self, world: StoreWorld) -> None:
        store = await world.open()
        await filled(store, KEYS)
        for prefix in [("t",), ("t\x00",), ("s",), *KEYS]:
            inside = in_order([key for key in KEYS if key[: len(prefix)] == prefix])
            assert await scanned(store, prefix) == inside
            assert await scanned(store, prefix, descending=True) == inside[::-1]
        await store.close()

    @clause
    async def test_pages_follow_each_other(self, world: StoreWorld) -> None:
        store = await world.open()
        await filled(store, KEYS)
        ordered = in_order([key for key in KEYS if key[0] == "t"])
        for descending in (False, True):
            got: list[Key] = []
            while page := await scanned(store, ("t",), after=got[-1] if got else None, limit=7, descending=descending):
                assert len(page) <= 7
                got += page
            assert got == (ordered[::-1] if descending else ordered)
        # What lies beyond a key that is not there, before the prefix, or behind it.
        assert await scanned(store, ("t",), after=("t", 11)) == [key for key in ordered if comes_before(("t", 11), key)]
        assert await scanned(store, ("t",), after=("s",)) == ordered
        assert await scanned(store, ("t",), after=("u",)) == []
        assert await scanned(store, ("t",), after=("u",), descending=True) == ordered[::-1]
        await store.close()

    @clause
    async def test_a_page_has_a_limit(self, world: StoreWorld) -> None:
        store = await world.open()
        await filled(store, [("t", number) for number in range(1200)])
        assert len(await store.scan("rows", ("t",))) == 100
        assert len(await store.scan("rows", ("t",), limit=1)) == 1
        assert len(await store.scan("rows", ("t",), limit=1000)) == 1000
        for limit in (0, -1, 1001):
            with pytest.raises(ValueError):
                await store.scan("rows", ("t",), limit=limit)
        await store.close()

    @clause
    async def test_keys_without_a_tenant_or_order_are_refused(self, world: StoreWorld) -> None:
        store = await world.open()
        bad: list[tuple[object, ...]] = [
            (),
            (1,),
            ("t", 2**63),
            ("t", -(2**63) - 1),
            ("t", 1.5),
            ("t", None),
            ("t", True),
        ]
        for key in bad:
            with pytest.raises((ValueError, TypeError)):
                await store.project(VIEW, PARTITION, 1, [Put("rows", ("t", "good"), b"x"), Put("rows", key, b"x")])  # type: ignore[arg-type]
        assert await store.get("rows", ("t", "good")) is None
        assert await store.position(VIEW, PARTITION) == 0
        with pytest.raises(ValueError):
            await store.scan("rows", ())
        await store.close()

    @clause
    async def test_drop_forgets_tables_and_positions_of_one_view(self, world: StoreWorld) -> None:
        store = await world.open()
        await store.project(VIEW, PARTITION, 5, [Put("rows", ("t", 1), b"x"), Put("index", ("t", 1), b"x")])
        await store.project(VIEW, "live/1", 5, [Put("rows", ("t", 2), b"x")])
        await store.project("other", PARTITION, 5, [Put("others", ("t", 1), b"x")])
        await store.drop(VIEW, ["rows", "index"])
        await world.crash(store)
        store = await world.open()
        assert await store.scan("rows", ("t",)) == []
        assert await store.scan("index", ("t",)) == []
        assert [await store.position(VIEW, partition) for partition in (PARTITION, "live/1")] == [0, 0]
        assert await store.get("others", ("t", 1)) == b"x"
        assert await store.position("other", PARTITION) == 5
        assert await store.project(VIEW, PARTITION, 1, [Put("rows", ("t", 1), b"anew")])
        await store.close()

    @clause
    async def test_close_is_idempotent(self, world: StoreWorld) -> None:
        store = await world.open()
        await store.project(VIEW, PARTITION, 1, [Put("rows", ("t", 1), b"x")])
        await store.close()
        await store.close()
        store = await world.open()
        assert await store.get("rows", ("t", 1)) == b"x"
        await store.close()
