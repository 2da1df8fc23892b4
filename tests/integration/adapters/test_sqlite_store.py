"""The SQLite store as a file beside the log."""

from __future__ import annotations

import asyncio
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from tandem.adapters.sqlite import SqliteLog, SqliteStore
from tandem.adapters.sqlite.database import ForeignFile
from tandem.core.ports.log import Partition
from tandem.core.ports.store import Put


def test_its_file_may_be_thrown_away(tmp_path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(tmp_path)
        await store.project("view", "live/0", 3, [Put("rows", ("t", 1), b"x")])
        assert stat.S_IMODE((tmp_path / "views.db").stat().st_mode) == 0o600
        await store.close()
        (tmp_path / "views.db").unlink()
        store = await SqliteStore.open(tmp_path)
        assert await store.position("view", "live/0") == 0
        await store.close()

    asyncio.run(body())


def test_another_program_s_file_is_refused(tmp_path: Path) -> None:
    with closing(sqlite3.connect(tmp_path / "views.db")) as connection:
        connection.execute("CREATE TABLE theirs (x)")
    with pytest.raises(ForeignFile):
        asyncio.run(SqliteStore.open(tmp_path))


def test_a_stuck_view_delays_no_commit_of_the_log(tmp_path: Path) -> None:
    async def body() -> None:
        log, store = await SqliteLog.open(tmp_path), await SqliteStore.open(tmp_path)
        with closing(sqlite3.connect(tmp_path / "views.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            stuck = asyncio.create_task(store.project("view", "live/0", 1, [Put("rows", ("t", 1), b"x")]))
            for _ in range(20):
                await log.append(Partition("live", 0), b"x")
            assert not stuck.done()
            assert await store.scan("rows", ("t",)) == []
            other.execute("ROLLBACK")
        assert await stuck
        await store.close()
        await log.close()

    asyncio.run(body())


def test_projections_of_many_views_are_committed_together_and_apart(tmp_path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(tmp_path)

        async def project(view: str) -> None:
            for position in range(1, 101):
                assert await store.project(view, "live/0", position, [Put(view, ("t", position), view.encode())])

        async with asyncio.TaskGroup() as group:
            for number in range(8):
                group.create_task(project(f"view{number}"))
                group.create_task(store.wait(f"view{number}", "live/0", 100, 60))
        for number in range(8):
            assert len(await store.scan(f"view{number}", ("t",), limit=1000)) == 100
            assert await store.position(f"view{number}", "live/0") == 100
        await store.close()

    asyncio.run(body())


def test_a_closed_store_says_so(tmp_path: Path) -> None:
    async def body() -> None:
        store = await SqliteStore.open(tmp_path)
        waiting = asyncio.create_task(store.wait("view", "live/0", 1, 60))
        await asyncio.sleep(0)
        await store.close()
        with pytest.raises(RuntimeError, match="closed"):
            await waiting
        with pytest.raises(RuntimeError, match="closed"):
            await store.get("rows", ("t", 1))
        with pytest.raises(RuntimeError, match="closed"):
            await store.project("view", "live/0", 1, [])

    asyncio.run(body())
