"""What every `Blobs` must do, a test for each clause of the port's docstrings."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tandem.core.ports.blobs import MAX_NAME, BlobExists, BlobMissing, Blobs
from tests.contract.worlds import World, clause

BlobsWorld = World[Blobs]
CHUNK_BYTES = 256 * 1024
BIG = bytes(range(256)) * 4096 + b"the end"


class Interrupted(Exception):
    """The source of a blob broke off."""


async def chunks(*parts: bytes) -> AsyncIterator[bytes]:
    """Content that comes bit by bit."""
    for part in parts:
        await asyncio.sleep(0)
        yield part


async def breaking_off(*parts: bytes) -> AsyncIterator[bytes]:
    """Content that never becomes whole."""
    for part in parts:
        yield part
    raise Interrupted


async def content(blobs: Blobs, name: str, start: int = 0, length: int | None = None) -> bytes:
    """All that `read` gives."""
    return b"".join([chunk async for chunk in blobs.read(name, start, length)])


class BlobsContract:
    """Run by `test_contracts.py` in the world of each adapter."""

    @clause
    async def test_what_was_put_is_read_byte_for_byte(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        await blobs.put("a/whole", BIG)
        await blobs.put("a/streamed", chunks(BIG[:5], b"", BIG[5:70_000], BIG[70_000:]))
        await blobs.put("a/empty", b"")
        assert await content(blobs, "a/whole") == BIG
        assert await content(blobs, "a/streamed") == BIG
        assert await content(blobs, "a/empty") == b""
        await blobs.close()

    @clause
    async def test_the_same_content_again_is_a_success(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        await blobs.put("a", BIG)
        await blobs.put("a", BIG)
        await blobs.put("a", chunks(BIG[:9], BIG[9:]))
        assert await content(blobs, "a") == BIG
        await blobs.close()

    @clause
    async def test_another_content_is_refused_and_the_first_stands(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        await blobs.put("a", BIG)
        for other in (b"", BIG[:-1], BIG + b"x", BIG[:-1] + b"X"):
            with pytest.raises(BlobExists):
                await blobs.put("a", other)
        assert await content(blobs, "a") == BIG
        await blobs.close()

    @clause
    async def test_of_many_puts_at_once_one_stands(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        contents = [bytes([number]) * 1000 for number in range(8)]
        results = await asyncio.gather(*[blobs.put("a", one) for one in contents], return_exceptions=True)
        assert results.count(None) == 1
        assert {type(result) for result in results if result is not None} == {BlobExists}
        assert await content(blobs, "a") == contents[results.index(None)]
        await blobs.close()

    @clause
    async def test_what_was_put_survives_a_crash(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        await blobs.put("a/b/c", BIG)
        await blobs.put("a/b", b"beside")
        await world.crash(blobs)
        blobs = await world.open()
        assert await blobs.list("") == ["a/b", "a/b/c"]
        assert await content(blobs, "a/b/c") == BIG
        await blobs.close()

    @clause
    async def test_a_put_that_breaks_off_leaves_nothing(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        with pytest.raises(Interrupted):
            await blobs.put("a", breaking_off(BIG, BIG))
        assert await blobs.list("") == []
        with pytest.raises(BlobMissing):
            await blobs.size("a")
        await blobs.put("a", b"another content")
        await blobs.close()

    @clause
    async def test_a_reader_never_sees_a_part(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield BIG
            yield BIG
            arrived.set()
            await go_on.wait()
            yield b"last"

        async with asyncio.TaskGroup() as group:
            group.create_task(blobs.put("a", slowly()))
            await arrived.wait()
            seen = await blobs.list("")
            with pytest.raises(BlobMissing):
                await content(blobs, "a")
            go_on.set()
        assert seen == []
        assert await blobs.size("a") == 2 * len(BIG) + 4
        await blobs.close()

    @clause
    async def test_a_crash_in_a_put_leaves_nothing(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        arrived, never = asyncio.Event(), asyncio.Event()

        async def half() -> AsyncIterator[bytes]:
            yield BIG
            arrived.set()
            await never.wait()

        putting = asyncio.create_task(blobs.put("a", half()))
        await arrived.wait()
        await world.crash(blobs)
        putting.cancel()
        await asyncio.wait([putting])
        blobs = await world.open()
        assert await blobs.list("") == []
        await blobs.put("a", b"another content")
        await blobs.close()

    @clause
    async def test_size_is_in_bytes(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        await blobs.put("a", BIG)
        await blobs.put("empty", b"")
        assert await blobs.size("a") == len(BIG)
        assert await blobs.size("empty") == 0
        await blobs.close()

    @clause
    async def test_ranges_are_cut_to_the_byte(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        await blobs.put("a", BIG)
        for start, length in ((0, 1), (5, 10), (CHUNK_BYTES - 1, 2), (3, 2 * CHUNK_BYTES), (len(BIG) - 4, 100), (7, 0)):
            assert await content(blobs, "a", start, length) == BIG[start : start + length]
        assert await content(blobs, "a", 100) == BIG[100:]
        assert await content(blobs, "a", len(BIG) + 5) == b""
        for start, length in ((-1, None), (0, -1)):
            with pytest.raises(ValueError):
                await content(blobs, "a", start, length)
        await blobs.close()

    @clause
    async def test_chunks_are_bounded(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        await blobs.put("a", BIG)
        assert all([0 < len(chunk) <= CHUNK_BYTES async for chunk in blobs.read("a")])
        await blobs.close()

    @clause
    async def test_missing_blobs_are_missing(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        await blobs.put("a/b", b"x")
        for name in ("a", "b", "a/b/c", "a/c"):
            with pytest.raises(BlobMissing):
                await blobs.size(name)
            with pytest.raises(BlobMissing):
                await content(blobs, name)
        await blobs.close()

    @clause
    async def test_lists_are_in_order(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        names = ["a", "a-b", "a.b", "a/-", "a/b", "a/b/c", "a/b-c", "a/~", "a0", "aa/b", "B", "~", "-", "a~/b", "z/..."]
        for name in names:
            await blobs.put(name, name.encode())
        assert await blobs.list("") == sorted(names)
        for prefix in ("a", "a/", "a/b", "a/b/", "z/.", "nothing", "a~", "/", ""):
            inside = [name for name in sorted(names) if name.startswith(prefix)]
            assert await blobs.list(prefix) == inside
            for after in ("", "a", "a/", "a/b", "a/b/c", "a0", "zz", "B"):
                assert await blobs.list(prefix, after) == [name for name in inside if name > after]
        await blobs.close()

    @clause
    async def test_lists_have_pages(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        names = [f"p/{number:02d}/x" for number in range(25)]
        for name in names:
            await blobs.put(name, b"x")
        pages = [await blobs.list("p/", "", 10)]
        while pages[-1]:
            pages.append(await blobs.list("p/", pages[-1][-1], 10))
        assert [len(page) for page in pages] == [10, 10, 5, 0]
        assert [name for page in pages for name in page] == names
        for limit in (0, -1, 1001):
            with pytest.raises(ValueError):
                await blobs.list("p/", "", limit)
        await blobs.close()

    @clause
    async def test_a_deleted_blob_is_gone_for_good(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        await blobs.put("a/b/c", b"1")
        await blobs.put("a/d", b"2")
        await blobs.delete("a/b/c")
        await world.crash(blobs)
        blobs = await world.open()
        assert await blobs.list("") == ["a/d"]
        with pytest.raises(BlobMissing):
            await blobs.size("a/b/c")
        await blobs.put("a/b/c", b"another content")
        assert await content(blobs, "a/b/c") == b"another content"
        await blobs.close()

    @clause
    async def test_deleting_a_missing_blob_is_no_error(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        await blobs.put("a/b", b"1")
        for name in ("a", "a/b/c", "never"):
            await blobs.delete(name)
        assert await blobs.list("") == ["a/b"]
        await blobs.close()

    @clause
    async def test_names_outside_the_alphabet_are_refused(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        bad = ("", "/", "/a", "a/", "a//b", ".", "..", "a/../b", "a/./b", "a b", "a+b", "ü", "a\n", "a\x00", "a\\b")
        for name in (*bad, "/".join(["x" * 102] * 5)[: MAX_NAME + 1], "x" * 201):
            with pytest.raises(ValueError):
                await blobs.put(name, b"x")
            with pytest.raises(ValueError):
                await blobs.size(name)
            with pytest.raises(ValueError):
                await content(blobs, name)
            with pytest.raises(ValueError):
                await blobs.delete(name)
        assert await blobs.list("") == []
        longest = "/".join(["x" * 102] * 5)[:MAX_NAME]
        for name in (longest, "x" * 200, "...", "~", "a/...b", ".a"):
            await blobs.put(name, b"x")
        assert await blobs.size(longest) == 1
        await blobs.close()

    @clause
    async def test_a_full_disk_stores_nothing_and_later_calls_work(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        with world.broken(), pytest.raises(OSError):
            await blobs.put("a/b", BIG)
        assert await blobs.list("") == []
        await blobs.put("a/b", BIG)
        assert await content(blobs, "a/b") == BIG
        await blobs.close()

    @clause
    async def test_close_is_idempotent(self, world: BlobsWorld) -> None:
        blobs = await world.open()
        await blobs.put("a", b"x")
        await blobs.close()
        await blobs.close()
        blobs = await world.open()
        assert await content(blobs, "a") == b"x"
        await blobs.close()
