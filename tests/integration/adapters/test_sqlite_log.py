"""The SQLite log as a file: whose it is, how durable, how long, and what it costs a slow reader."""

from __future__ import annotations

import asyncio
import json
import os
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from tandem.adapters.sqlite import LogBusy, SqliteKeys, SqliteLog
from tandem.adapters.sqlite import checkpoint as checkpoint_module
from tandem.adapters.sqlite.checkpoint import Checkpointer
from tandem.adapters.sqlite.database import CannotOpen, ForeignFile, LogMissing, NewerSchema
from tandem.adapters.sqlite.tail import MAX_TAIL_BYTES, MAX_TAIL_RECORDS
from tandem.adapters.system import SystemEntropy
from tandem.core.ports.log import LogFailed, Partition, Stored

ONE = Partition("live", 0)


async def opened_once(directory: Path, body: bytes = b"x") -> None:
    """A cell with a record, closed."""
    log = await SqliteLog.open(directory)
    await log.append(ONE, body)
    await log.close()


def execute(path: Path, statement: str) -> None:
    """Change a database behind Tandem's back."""
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        connection.execute(statement)


def test_a_second_process_is_told_whose_the_cell_is(tmp_path: Path) -> None:
    async def body() -> None:
        log = await SqliteLog.open(tmp_path)
        with pytest.raises(LogBusy, match=rf"process {os.getpid()}:.*--standby.*data_dir"):
            await SqliteLog.open(tmp_path)
        await log.close()
        await (await SqliteLog.open(tmp_path)).close()

    asyncio.run(body())


def test_a_standby_waits_and_finds_all(tmp_path: Path) -> None:
    async def body() -> None:
        log = await SqliteLog.open(tmp_path)
        standby = asyncio.create_task(SqliteLog.open(tmp_path, wait=True))
        await log.append(ONE, b"before")
        assert not standby.done()
        await log.close()
        successor = await standby
        assert await successor.end(ONE) == 1
        await successor.close()

    asyncio.run(body())


def test_a_standby_that_gives_up_takes_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        log = await SqliteLog.open(tmp_path)
        standby = asyncio.create_task(SqliteLog.open(tmp_path, wait=True))
        await asyncio.sleep(0.05)
        standby.cancel()
        await asyncio.wait([standby])
        await log.close()
        # The thread that was in the kernel's queue gets the lock and gives it back.
        await (await SqliteLog.open(tmp_path, wait=True)).close()

    asyncio.run(body())


def test_a_cancelled_open_holds_nothing(tmp_path: Path) -> None:
    async def body() -> None:
        for delay_s in (0, 0.001, 0.003, 0.01):
            opening = asyncio.create_task(SqliteLog.open(tmp_path))
            await asyncio.sleep(delay_s)
            opening.cancel()
            await asyncio.wait([opening])
            if not opening.cancelled():
                await opening.result().close()
            await (await SqliteLog.open(tmp_path, wait=True)).close()

    asyncio.run(body())


def test_files_are_their_owner_s_alone(tmp_path: Path) -> None:
    async def body() -> None:
        directory = tmp_path / "var" / "cell"
        log = await SqliteLog.open(directory)
        await log.append(ONE, b"x")
        modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in directory.iterdir()}
        await log.close()
        assert set(modes) == {"cell.json", "log.db", "log.db-wal", "log.db-shm", "log.lock"}
        assert set(modes.values()) == {0o600}
        assert stat.S_IMODE(directory.stat().st_mode) == 0o700

    asyncio.run(body())


def test_commits_are_synchronous_and_checkpoints_are_not_theirs(tmp_path: Path) -> None:
    async def body() -> None:
        log = await SqliteLog.open(tmp_path)
        assert log._writer
        settings = {
            name: log._writer.execute(f"PRAGMA {name}").fetchone()[0]
            for name in ("journal_mode", "synchronous", "wal_autocheckpoint")
        }
        assert settings == {"journal_mode": "wal", "synchronous": 2, "wal_autocheckpoint": 0}
        await log.close()

    asyncio.run(body())


@pytest.mark.parametrize("accident", ["removed", "emptied", "removed with its marker"])
def test_a_lost_log_is_never_begun_anew(tmp_path: Path, accident: str) -> None:
    async def body() -> None:
        await opened_once(tmp_path)
        keys = await SqliteKeys.open(tmp_path, entropy=SystemEntropy())
        await keys.close()
        (tmp_path / "log.db").unlink()
        if accident == "emptied":
            (tmp_path / "log.db").touch()
        if accident == "removed with its marker":
            (tmp_path / "cell.json").unlink()
        for _ in range(2):
            with pytest.raises(LogMissing, match=r"log\.db is gone or empty.*backup.*move the whole directory"):
                await SqliteLog.open(tmp_path)

    asyncio.run(body())


def test_a_first_start_that_was_killed_begins_again(tmp_path: Path) -> None:
    execute(tmp_path / "log.db", "PRAGMA journal_mode=WAL")
    asyncio.run(opened_once(tmp_path))
    marker = tmp_path / "cell.json"
    assert json.loads(marker.read_bytes()) == {"format": 1, "files": ["log.db"]}
    marker.unlink()
    asyncio.run(opened_once(tmp_path))
    assert marker.exists()


@pytest.mark.parametrize("content", [b"text", b"Not a database. " * 500])
def test_a_file_that_is_no_database_is_refused(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "log.db").write_bytes(content)
    with pytest.raises(ForeignFile, match="no SQLite file"):
        asyncio.run(opened_once(tmp_path))
    assert (tmp_path / "log.db").read_bytes() == content


def test_another_program_s_database_is_refused(tmp_path: Path) -> None:
    execute(tmp_path / "log.db", "CREATE TABLE theirs (x)")
    with pytest.raises(ForeignFile, match=r"not Tandem's log\.db"):
        asyncio.run(opened_once(tmp_path))


@pytest.mark.parametrize("file", ["log.db", "cell.json"])
def test_what_a_newer_tandem_wrote_is_refused(tmp_path: Path, file: str) -> None:
    asyncio.run(opened_once(tmp_path))
    if file == "log.db":
        execute(tmp_path / file, "PRAGMA user_version=2")
    else:
        (tmp_path / file).write_text('{"format": 2, "files": []}')
    with pytest.raises(NewerSchema, match="newer Tandem"):
        asyncio.run(opened_once(tmp_path))


def test_a_marker_that_cannot_be_read_is_refused(tmp_path: Path) -> None:
    asyncio.run(opened_once(tmp_path))
    (tmp_path / "cell.json").write_text("{")
    with pytest.raises(CannotOpen, match="cannot be read"):
        asyncio.run(opened_once(tmp_path))


def test_a_refused_start_leaves_the_cell_free(tmp_path: Path) -> None:
    asyncio.run(opened_once(tmp_path))
    execute(tmp_path / "log.db", "PRAGMA user_version=2")
    with pytest.raises(NewerSchema):
        asyncio.run(opened_once(tmp_path))
    execute(tmp_path / "log.db", "PRAGMA user_version=1")
    asyncio.run(opened_once(tmp_path))


def test_a_slow_reader_costs_no_memory(tmp_path: Path) -> None:
    async def body() -> None:
        log = await SqliteLog.open(tmp_path)
        batches = log.read(ONE)
        await log.append(ONE, b"0")
        got = list(await anext(batches))
        bodies = [str(number).encode().rjust(2000, b"0") for number in range(1, 4000)]
        await asyncio.gather(*[log.append(ONE, body) for body in bodies])
        tail = log._tails[str(ONE)]
        assert len(tail._records) <= MAX_TAIL_RECORDS
        assert sum(len(record.body) for record in tail._records) <= MAX_TAIL_BYTES
        sizes: list[int] = []
        while len(got) < 4000:
            batch = await anext(batches)
            sizes.append(sum(len(record.body) for record in batch))
            got += batch
        assert max(sizes) <= MAX_TAIL_BYTES + 2000
        assert [record.body for record in got] == [b"0", *bodies]
        await batches.aclose()
        await log.close()

    asyncio.run(body())


def test_readers_on_other_loops_are_woken(tmp_path: Path) -> None:
    async def take(log: SqliteLog) -> list[Stored]:
        got: list[Stored] = []
        async for batch in log.read(ONE):
            got += batch
            if len(got) == 500:
                break
        return got

    async def body() -> None:
        log = await SqliteLog.open(tmp_path)
        reader = asyncio.create_task(asyncio.to_thread(lambda: asyncio.run(take(log))))
        for number in range(500):
            await log.append(ONE, str(number).encode())
        assert [record.body for record in await reader] == [str(number).encode() for number in range(500)]
        await log.close()

    asyncio.run(body())


def test_records_that_are_gone_from_the_file_are_an_error(tmp_path: Path) -> None:
    async def body() -> None:
        log = await SqliteLog.open(tmp_path)
        for _ in range(3):
            await log.append(ONE, b"x" * (MAX_TAIL_BYTES + 1))
        execute(tmp_path / "log.db", "DELETE FROM record")
        with pytest.raises(LogFailed, match=r"lost records 1 to 3 of live/0.*backup"):
            await anext(log.read(ONE))
        await log.close()

    asyncio.run(body())


def test_an_append_stored_in_doubt_is_found_again(tmp_path: Path) -> None:
    """The disk fails after it stored: on the next append the log takes the file's word."""

    async def body() -> None:
        log = await SqliteLog.open(tmp_path)
        await log.append(ONE, b"1")
        batches = log.read(ONE)
        assert await anext(batches) == [Stored(1, b"1")]
        log._disconnect()
        execute(tmp_path / "log.db", "INSERT INTO record VALUES ('live/0', 2, x'32')")
        await log.append(ONE, b"3")
        got: list[Stored] = []
        while len(got) < 2:
            got += await anext(batches)
        assert got == [Stored(2, b"2"), Stored(3, b"3")]
        await batches.aclose()
        await log.close()

    asyncio.run(body())


def test_offsets_are_never_used_again_when_the_file_went_back(tmp_path: Path) -> None:
    async def body() -> None:
        log = await SqliteLog.open(tmp_path)
        await log.append(ONE, b"1")
        await log.append(ONE, b"2")
        log._disconnect()
        execute(tmp_path / "log.db", "DELETE FROM record WHERE offset = 2")
        for _ in range(2):
            with pytest.raises(LogFailed, match="ends at 1 of live/0, but 2 was durable"):
                await log.append(ONE, b"other 2")
        await log.close()

    asyncio.run(body())


def test_the_wal_is_copied_and_emptied_while_commits_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checkpoint_module, "CHECKPOINT_BYTES", 64 * 1024)
    monkeypatch.setattr(checkpoint_module, "TRUNCATE_BYTES", 512 * 1024)
    longest = 0

    async def body() -> None:
        nonlocal longest
        log = await SqliteLog.open(tmp_path)
        for _ in range(400):
            await asyncio.gather(*[log.append(Partition("live", shard), b"x" * 5000) for shard in range(4)])
            longest = max(longest, (tmp_path / "log.db-wal").stat().st_size)
        assert [await log.end(Partition("live", shard)) for shard in range(4)] == [400] * 4
        await log.close()

    asyncio.run(body())
    assert longest < 8 * 1024 * 1024 < 400 * 4 * 5000 * 2
    assert not (tmp_path / "log.db-wal").exists()
    with closing(sqlite3.connect(tmp_path / "log.db")) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchone() == ("ok",)
        assert connection.execute("SELECT count(*) FROM record").fetchone() == (1600,)


def test_small_commits_do_not_let_the_wal_grow_either(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each takes whole pages of it, however few its bytes: what there is to copy is not what was given."""
    monkeypatch.setattr(checkpoint_module, "CHECKPOINT_BYTES", 128 * 1024)
    monkeypatch.setattr(checkpoint_module, "TRUNCATE_BYTES", 256 * 1024)
    longest = 0

    async def body() -> None:
        nonlocal longest
        log = await SqliteLog.open(tmp_path)
        for _ in range(400):
            await log.append(ONE, b"x" * 100)
            longest = max(longest, (tmp_path / "log.db-wal").stat().st_size)
        await log.close()

    asyncio.run(body())
    assert longest < 1024 * 1024


def test_no_checkpoint_begins_without_a_commit_since_the_last(tmp_path: Path) -> None:
    """What keeps SQLite's WAL-reset bug away, see `checkpoint`."""

    async def body() -> None:
        log = await SqliteLog.open(tmp_path)
        modes: list[str] = []
        checkpoints: Checkpointer = log._checkpoints
        checkpoint = checkpoints._checkpoint

        def noted(mode: str) -> None:
            modes.append(mode)
            checkpoint(mode)

        checkpoints._checkpoint = noted  # type: ignore[method-assign]
        await log.append(ONE, b"x")
        for _ in range(3):
            await asyncio.to_thread(checkpoints._copy)
        assert modes == ["PASSIVE"]
        await log.append(ONE, b"x")
        await asyncio.to_thread(checkpoints._copy)
        assert modes == ["PASSIVE", "PASSIVE"]
        await log.close()

    asyncio.run(body())


def test_large_records_of_many_partitions_come_back(tmp_path: Path) -> None:
    async def body() -> None:
        log = await SqliteLog.open(tmp_path)
        bodies = [os.urandom(300_000) for _ in range(12)]
        await asyncio.gather(*[log.append(Partition("live", at % 3), body) for at, body in enumerate(bodies)])
        for shard in range(3):
            got: list[bytes] = []
            async for batch in log.read(Partition("live", shard)):
                got += [record.body for record in batch]
                if len(got) == 4:
                    break
            assert got == bodies[shard::3]
        await log.close()

    asyncio.run(body())
