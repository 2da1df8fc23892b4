"""Blobs as files: whose they are, what processes that share them see, and what nobody leaves behind."""

from __future__ import annotations

import asyncio
import stat
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tandem.adapters.blobs import LocalBlobs
from tandem.core.ports.blobs import BlobExists


def incoming(root: Path) -> list[Path]:
    """Directories of processes that write."""
    return [path for path in (root / "incoming").iterdir() if path.is_dir()]


def test_files_and_directories_are_their_owner_s_alone(tmp_path: Path) -> None:
    async def body() -> None:
        blobs = await LocalBlobs.open(tmp_path / "blobs")
        await blobs.put("a/b/c", b"x")
        for path in (tmp_path / "blobs", *(tmp_path / "blobs").rglob("*")):
            assert stat.S_IMODE(path.stat().st_mode) == (0o700 if path.is_dir() else 0o600)
        await blobs.close()

    asyncio.run(body())


def test_processes_share_a_directory(tmp_path: Path) -> None:
    async def body() -> None:
        one, other = await LocalBlobs.open(tmp_path), await LocalBlobs.open(tmp_path)
        arrived, go_on = asyncio.Event(), asyncio.Event()

        async def slowly() -> AsyncIterator[bytes]:
            yield b"first"
            arrived.set()
            await go_on.wait()

        putting = asyncio.create_task(one.put("a/b", slowly()))
        await arrived.wait()
        # A third one starts: what a living process writes is left alone.
        third = await LocalBlobs.open(tmp_path)
        assert len(incoming(tmp_path)) == 3
        await other.put("a/b", b"second")
        go_on.set()
        with pytest.raises(BlobExists):
            await putting
        assert [chunk async for chunk in one.read("a/b")] == [b"second"]
        for blobs in (one, other, third):
            await blobs.close()
        assert incoming(tmp_path) == []

    asyncio.run(body())


def test_what_dead_processes_were_writing_goes(tmp_path: Path) -> None:
    async def body() -> None:
        await (await LocalBlobs.open(tmp_path)).close()
        dead = tmp_path / "incoming" / "dead"
        dead.mkdir()
        (dead / "half").write_bytes(b"x")
        blobs = await LocalBlobs.open(tmp_path)
        assert not dead.exists()
        await blobs.close()

    asyncio.run(body())


def test_puts_and_deletes_race_over_a_directory(tmp_path: Path) -> None:
    async def body() -> None:
        blobs = await LocalBlobs.open(tmp_path)

        async def churn(name: str) -> None:
            for _ in range(60):
                await blobs.put(f"a/b/{name}", name.encode())
                assert await blobs.size(f"a/b/{name}") == 1
                await blobs.delete(f"a/b/{name}")
                await blobs.list("a/")

        async with asyncio.TaskGroup() as group:
            for name in "xyz":
                group.create_task(churn(name))
        assert list((tmp_path / "names").iterdir()) == []
        await blobs.close()

    asyncio.run(body())


def test_a_cancelled_put_leaves_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        blobs = await LocalBlobs.open(tmp_path)

        async def endless() -> AsyncIterator[bytes]:
            while True:
                yield b"x" * 100_000
                await asyncio.sleep(0)

        for turns in range(0, 40, 3):
            putting = asyncio.create_task(blobs.put("a", endless()))
            for _ in range(turns):
                await asyncio.sleep(0)
            putting.cancel()
            await asyncio.wait([putting])
        assert await blobs.list("") == []
        assert [path for directory in incoming(tmp_path) for path in directory.iterdir()] == []
        await blobs.close()

    asyncio.run(body())


def test_a_reader_keeps_what_is_deleted_under_it(tmp_path: Path) -> None:
    async def body() -> None:
        blobs = await LocalBlobs.open(tmp_path)
        content = bytes(range(256)) * 4000
        await blobs.put("a", content)
        chunks = blobs.read("a")
        got = await anext(chunks)
        await blobs.delete("a")
        await blobs.put("a", b"another content")
        got += b"".join([chunk async for chunk in chunks])
        assert got == content
        await blobs.close()

    asyncio.run(body())


def test_closed_blobs_say_so(tmp_path: Path) -> None:
    async def body() -> None:
        blobs = await LocalBlobs.open(tmp_path)
        await blobs.close()
        with pytest.raises(RuntimeError, match="closed"):
            await blobs.put("a", b"x")
        assert incoming(tmp_path) == []

    asyncio.run(body())
