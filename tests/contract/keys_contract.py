"""What every `Keys` must do, a test for each clause of the port's docstrings."""

from __future__ import annotations

import asyncio

import pytest

from tandem.core.ports.keys import KEY_BYTES, MAX_BLOCK, KeyExists
from tests.contract.worlds import KeysWorld, clause

WINDOW = 8
"""So few bytes of a key in a file are not chance."""


def windows(*secrets: bytes) -> set[bytes]:
    """All parts of this size."""
    return {secret[at : at + WINDOW] for secret in secrets for at in range(len(secret) - WINDOW + 1)}


class KeysContract:
    """Run by `test_contracts.py` in the world of each adapter."""

    @clause
    async def test_each_id_gets_a_key_of_its_own(self, world: KeysWorld) -> None:
        keys = await world.open()
        ids = [f"contact/{number}" for number in range(50)]
        await keys.allocate(ids)
        found = await keys.get(ids)
        assert list(found) == ids
        assert {len(key) for key in found.values()} == {KEY_BYTES}
        assert len({*found.values()}) == 50
        assert await keys.get(ids) == found
        await keys.close()

    @clause
    async def test_allocated_keys_survive_a_crash(self, world: KeysWorld) -> None:
        keys = await world.open()
        await keys.allocate(["a", "b", "ü/ß"])
        found = await keys.get(["a", "b", "ü/ß"])
        await world.crash(keys)
        keys = await world.open()
        assert await keys.get(["a", "b", "ü/ß"]) == found
        assert len(found) == 3
        await keys.close()

    @clause
    async def test_a_used_id_allocates_none_of_its_block(self, world: KeysWorld) -> None:
        keys = await world.open()
        await keys.allocate(["b"])
        before = await keys.get(["b"])
        with pytest.raises(KeyExists):
            await keys.allocate(["a", "b", "c"])
        assert await keys.get(["a", "b", "c"]) == before
        await keys.allocate(["a", "c"])
        await keys.close()

    @clause
    async def test_an_id_twice_in_a_block_is_a_used_one(self, world: KeysWorld) -> None:
        keys = await world.open()
        with pytest.raises(KeyExists):
            await keys.allocate(["a", "a"])
        assert await keys.get(["a"]) == {}
        await keys.close()

    @clause
    async def test_a_destroyed_id_is_never_used_again(self, world: KeysWorld) -> None:
        keys = await world.open()
        await keys.allocate(["a"])
        await keys.destroy(["a"])
        with pytest.raises(KeyExists):
            await keys.allocate(["a"])
        await world.crash(keys)
        keys = await world.open()
        with pytest.raises(KeyExists):
            await keys.allocate(["a", "b"])
        assert await keys.get(["a", "b"]) == {}
        await keys.close()

    @clause
    async def test_bad_ids_and_long_blocks_are_refused(self, world: KeysWorld) -> None:
        keys = await world.open()
        for ids in (["a", ""], ["a", "x" * 201], [f"{number}" for number in range(MAX_BLOCK)] + ["a"]):
            with pytest.raises(ValueError):
                await keys.allocate(ids)
        assert await keys.get(["a"]) == {}
        await keys.allocate(["x" * 200, *[f"{number}" for number in range(MAX_BLOCK - 1)]])
        await keys.allocate([])
        await keys.close()

    @clause
    async def test_unknown_and_destroyed_ids_are_missing_from_the_answer(self, world: KeysWorld) -> None:
        keys = await world.open()
        await keys.allocate(["a", "b"])
        await keys.destroy(["a"])
        assert list(await keys.get(["a", "b", "never"])) == ["b"]
        assert await keys.get([]) == {}
        await keys.close()

    @clause
    async def test_destroying_unknown_ids_is_no_error(self, world: KeysWorld) -> None:
        keys = await world.open()
        await keys.allocate(["a", "b"])
        await keys.destroy(["never", "a"])
        assert list(await keys.get(["a", "b"])) == ["b"]
        await keys.destroy(["a"])
        await keys.destroy([])
        assert list(await keys.get(["a", "b"])) == ["b"]
        await keys.close()

    @clause
    async def test_destroyed_keys_stay_destroyed_after_a_crash(self, world: KeysWorld) -> None:
        keys = await world.open()
        await keys.allocate(["a", "b"])
        before = await keys.get(["a", "b"])
        await keys.destroy(["a"])
        await world.crash(keys)
        keys = await world.open()
        assert await keys.get(["a", "b"]) == {"b": before["b"]}
        await keys.close()

    @clause
    async def test_no_file_holds_a_byte_of_a_destroyed_key(self, world: KeysWorld) -> None:
        keys = await world.open()
        ids = [f"contact/{number}" for number in range(300)]
        await keys.allocate(ids)
        plain = await keys.get(ids)
        wrapped = [world.wrapped(key_id) or b"" for key_id in ids]
        for key_id in ids[::3]:
            await keys.destroy([key_id])
        left = windows(*world.files())
        assert not windows(*wrapped[::3]) & left
        # A key is nowhere in plain, destroyed or not; and what is kept must be found, or this test sees nothing.
        assert not windows(*plain.values()) & left
        assert windows(*wrapped[1::3]) <= left
        await keys.close()

    @clause
    async def test_destroy_is_not_answered_while_bytes_are_left(self, world: KeysWorld) -> None:
        keys = await world.open()
        await keys.allocate(["a", "b"])
        wrapped = world.wrapped("a") or b""
        with world.read_by_others():
            destroying = asyncio.create_task(keys.destroy(["a"]))
            await asyncio.sleep(0)
            await keys.allocate(["c"])  # others go on; by now the erasure has begun
            assert list(await keys.get(["b", "c"])) == ["b", "c"]
            assert not destroying.done() or not windows(wrapped) & windows(*world.files())
        await destroying
        assert not windows(wrapped) & windows(*world.files())
        await keys.close()

    @clause
    async def test_a_repeat_finishes_an_erasure_that_was_cut_off(self, world: KeysWorld) -> None:
        keys = await world.open()
        await keys.allocate(["a", "b"])
        wrapped = world.wrapped("a") or b""
        with world.read_by_others():
            destroying = asyncio.create_task(keys.destroy(["a"]))
            await asyncio.sleep(0)
            await keys.get(["b"])
            destroying.cancel()
            await asyncio.wait([destroying])
        await keys.destroy(["a"])
        assert not windows(wrapped) & windows(*world.files())
        assert list(await keys.get(["a", "b"])) == ["b"]
        await keys.close()

    @clause
    async def test_a_full_disk_allocates_nothing_and_later_calls_work(self, world: KeysWorld) -> None:
        keys = await world.open()
        await keys.allocate(["a"])
        block = [f"{number}" for number in range(MAX_BLOCK)]
        with world.broken(), pytest.raises(OSError):
            await keys.allocate(block)
        assert list(await keys.get(["a", *block])) == ["a"]
        await keys.allocate(block)
        assert len(await keys.get(block)) == MAX_BLOCK
        await keys.close()

    @clause
    async def test_close_is_idempotent(self, world: KeysWorld) -> None:
        keys = await world.open()
        await keys.allocate(["a"])
        await keys.close()
        await keys.close()
        keys = await world.open()
        assert list(await keys.get(["a"])) == ["a"]
        await keys.close()
