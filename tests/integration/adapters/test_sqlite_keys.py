"""The SQLite keys as files: the cell key, and what is left of a key that was destroyed."""

from __future__ import annotations

import asyncio
import random
import sqlite3
import stat
from contextlib import closing
from pathlib import Path

import pytest

from tandem.adapters.sqlite import SqliteKeys
from tandem.adapters.sqlite.cell_key import CellKeyExposed, CellKeyMissing, CellKeyWrong
from tandem.adapters.sqlite.database import FileMissing
from tandem.adapters.system import SystemEntropy
from tandem.core.ports.keys import KeyExists
from tandem.core.seal import Damaged


async def opened(directory: Path, key_file: Path | None = None) -> SqliteKeys:
    """The keys of a cell."""
    return await SqliteKeys.open(directory, entropy=SystemEntropy(), cell_key_file=key_file)


async def opened_once(directory: Path, key_file: Path | None = None) -> None:
    """A cell with a key, closed."""
    keys = await opened(directory, key_file)
    await keys.allocate(["a"])
    await keys.close()


def all_wrapped(directory: Path) -> list[bytes]:
    """Every row's key bytes, in the order of allocation."""
    with closing(sqlite3.connect(directory / "keys.db")) as connection:
        return [bytes(row[0]) for row in connection.execute("SELECT wrapped FROM key ORDER BY slot")]


def content(directory: Path) -> bytes:
    """All that the files of the adapter hold."""
    paths = [path for path in sorted(directory.iterdir()) if path.name.startswith("keys.db")]
    return b"\n".join(path.read_bytes() for path in paths)


def windows(*secrets: bytes) -> set[bytes]:
    """All parts of 8 bytes."""
    return {secret[at : at + 8] for secret in secrets for at in range(len(secret) - 7)}


def test_the_cell_key_is_its_owner_s_alone(tmp_path: Path) -> None:
    asyncio.run(opened_once(tmp_path))
    assert stat.S_IMODE((tmp_path / "cell.key").stat().st_mode) == 0o600
    assert len((tmp_path / "cell.key").read_bytes()) == 32
    assert stat.S_IMODE((tmp_path / "keys.db").stat().st_mode) == 0o600


@pytest.mark.parametrize("mode", [0o640, 0o604, 0o666, 0o620, 0o601])
def test_a_cell_key_that_others_may_touch_is_refused(tmp_path: Path, mode: int) -> None:
    asyncio.run(opened_once(tmp_path))
    (tmp_path / "cell.key").chmod(mode)
    with pytest.raises(CellKeyExposed, match=r"chmod 600 .*cell\.key"):
        asyncio.run(opened_once(tmp_path))


def test_a_cell_key_that_cannot_be_read_says_whose_it_must_be(tmp_path: Path) -> None:
    asyncio.run(opened_once(tmp_path))
    (tmp_path / "cell.key").unlink()
    (tmp_path / "cell.key").mkdir(mode=0o700)
    with pytest.raises(CellKeyWrong, match=r"chown, chmod 600.*keys\.cell_key_file"):
        asyncio.run(opened_once(tmp_path))


def test_a_lost_cell_key_is_not_made_anew(tmp_path: Path) -> None:
    asyncio.run(opened_once(tmp_path))
    (tmp_path / "cell.key").unlink()
    with pytest.raises(CellKeyMissing, match=r"backup.*keys\.cell_key_file"):
        asyncio.run(opened_once(tmp_path))
    assert not (tmp_path / "cell.key").exists()


@pytest.mark.parametrize("other", [bytes(32), b"short", b""])
def test_another_cell_key_is_refused(tmp_path: Path, other: bytes) -> None:
    asyncio.run(opened_once(tmp_path))
    (tmp_path / "cell.key").write_bytes(other)
    with pytest.raises(CellKeyWrong):
        asyncio.run(opened_once(tmp_path))


def test_the_cell_key_may_stand_elsewhere(tmp_path: Path) -> None:
    key_file = tmp_path / "secrets" / "cell"
    asyncio.run(opened_once(tmp_path / "cell", key_file))
    assert not (tmp_path / "cell" / "cell.key").exists()
    with pytest.raises(CellKeyMissing):
        asyncio.run(opened_once(tmp_path / "cell"))


def test_lost_keys_are_not_begun_anew(tmp_path: Path) -> None:
    asyncio.run(opened_once(tmp_path))
    (tmp_path / "keys.db").unlink()
    with pytest.raises(FileMissing, match=r"keys\.db is gone or empty"):
        asyncio.run(opened_once(tmp_path))


def test_blocks_that_come_together_fail_each_for_itself(tmp_path: Path) -> None:
    async def body() -> None:
        keys = await opened(tmp_path)
        await keys.allocate(["b2"])
        blocks = [["a1", "a2"], ["b1", "b2"], ["c1"]]
        ended = await asyncio.gather(*(keys.allocate(block) for block in blocks), return_exceptions=True)
        assert [type(error) for error in ended] == [type(None), KeyExists, type(None)]
        assert set(await keys.get(["a1", "a2", "b1", "c1"])) == {"a1", "a2", "c1"}
        await keys.close()

    asyncio.run(body())


def test_a_disk_that_fails_fails_all_that_came_together(tmp_path: Path) -> None:
    async def body() -> None:
        keys = await opened(tmp_path)
        with closing(sqlite3.connect(tmp_path / "keys.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            ended = await asyncio.gather(*(keys.allocate([f"k{n}"]) for n in range(4)), return_exceptions=True)
            assert [type(error) for error in ended] == [OSError] * 4
            other.execute("ROLLBACK")
        assert await keys.get(["k0", "k1", "k2", "k3"]) == {}
        await keys.close()

    asyncio.run(body())


def test_an_altered_key_is_an_error(tmp_path: Path) -> None:
    asyncio.run(opened_once(tmp_path))
    with closing(sqlite3.connect(tmp_path / "keys.db", isolation_level=None)) as connection:
        connection.execute("UPDATE key SET wrapped = ?", (b"\x01" * 60,))

    async def body() -> None:
        keys = await opened(tmp_path)
        with pytest.raises(Damaged):
            await keys.get(["a"])
        await keys.close()

    asyncio.run(body())


def test_ids_are_in_no_file(tmp_path: Path) -> None:
    async def body() -> None:
        keys = await opened(tmp_path)
        await keys.allocate(["contact/of/somebody"])
        assert b"somebody" not in content(tmp_path)
        await keys.close()
        assert b"somebody" not in content(tmp_path)

    asyncio.run(body())


@pytest.mark.parametrize("seed", range(3))
def test_whatever_the_order_no_byte_of_a_destroyed_key_is_left(tmp_path: Path, seed: int) -> None:
    """Blocks of all sizes, ids in any order, across reopening; tables of many pages."""

    async def body() -> None:
        chance = random.Random(seed)
        keys = await opened(tmp_path)
        living: dict[str, bytes] = {}
        for turn in range(24):
            block = [f"{chance.random()}" for _ in range(chance.choice([1, 5, 60, 300]))]
            await keys.allocate(block)
            living.update(zip(block, all_wrapped(tmp_path)[-len(block) :], strict=True))
            gone = chance.sample(sorted(living), chance.randint(0, len(living) * 2 // 3))
            await keys.destroy(gone)
            assert not windows(*[living.pop(key_id) for key_id in gone]) & windows(content(tmp_path))
            if turn % 6 == 5:
                await keys.close()
                keys = await opened(tmp_path)
        assert set(await keys.get(sorted(living))) == set(living)
        assert all(wrapped in content(tmp_path) for wrapped in living.values())
        await keys.close()

    asyncio.run(body())


def test_destroy_waits_for_a_program_that_reads_and_others_do_not(tmp_path: Path) -> None:
    async def body() -> None:
        keys = await opened(tmp_path)
        await keys.allocate(["a", "b"])
        wrapped = all_wrapped(tmp_path)[0]
        with closing(sqlite3.connect(tmp_path / "keys.db", isolation_level=None)) as backup:
            backup.execute("BEGIN")
            backup.execute("SELECT count(*) FROM key").fetchone()
            destroying = asyncio.create_task(keys.destroy(["a"]))
            await keys.allocate(["c"])
            assert set(await keys.get(["b", "c"])) == {"b", "c"}
            await asyncio.sleep(0.15)
            assert not destroying.done()
            assert wrapped in content(tmp_path)
            backup.execute("ROLLBACK")
        await destroying
        assert wrapped[:8] not in content(tmp_path)
        await keys.close()

    asyncio.run(body())


def test_a_restart_finishes_an_erasure(tmp_path: Path) -> None:
    async def body() -> None:
        keys = await opened(tmp_path)
        await keys.allocate(["a"])
        wrapped = all_wrapped(tmp_path)[0]
        keys._overwrite(["a"])
        assert wrapped in content(tmp_path)
        other = await opened(tmp_path)
        assert wrapped[:8] not in content(tmp_path)
        await other.close()
        await keys.close()

    asyncio.run(body())


def test_destroy_says_when_another_program_reads_for_too_long_and_a_repeat_finishes(tmp_path: Path) -> None:
    async def body() -> None:
        keys = await SqliteKeys.open(tmp_path, entropy=SystemEntropy(), destroy_patience_s=0.05)
        await keys.allocate(["a", "b"])
        wrapped = all_wrapped(tmp_path)[0]
        with closing(sqlite3.connect(tmp_path / "keys.db", isolation_level=None)) as backup:
            backup.execute("BEGIN")
            backup.execute("SELECT count(*) FROM key").fetchone()
            with pytest.raises(OSError, match="end that program"):
                await keys.destroy(["a"])
            assert set(await keys.get(["a", "b"])) == {"b"}
            assert wrapped in content(tmp_path)
        await keys.destroy(["a"])
        assert wrapped[:8] not in content(tmp_path)
        await keys.close()

    asyncio.run(body())


def test_the_wal_does_not_grow_with_the_keys(tmp_path: Path) -> None:
    """A start reads all of it, and each contact takes two keys."""
    longest = 0

    async def body() -> None:
        nonlocal longest
        keys = await SqliteKeys.open(tmp_path, entropy=SystemEntropy())
        for block in range(40):
            await keys.allocate([f"live/0/1/{block}.{n}" for n in range(512)])
            longest = max(longest, (tmp_path / "keys.db-wal").stat().st_size)
        await keys.close()

    asyncio.run(body())
    assert longest < 6 * 1024 * 1024
