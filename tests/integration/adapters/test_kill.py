"""kill -9 at random moments: what was answered is there, in order, once, and what was erased is nowhere."""

from __future__ import annotations

import asyncio
import random
import signal
import subprocess
import sys
from collections import defaultdict
from collections.abc import Mapping
from pathlib import Path

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.sqlite import SqliteKeys, SqliteLog
from tandem.adapters.system import SystemEntropy
from tandem.core.ports.log import Partition, Stored
from tests.integration.adapters import appender, putter

KILLS = 10
LIFE = 10_000_000
"""Each life of a child numbers from a multiple of this on."""


def run_and_kill(program: str, directory: Path, life: int, lines: int) -> list[list[str]]:
    """Start a child, kill it after so many lines, and return all that it said."""
    command = [sys.executable, "-m", f"tests.integration.adapters.{program}", str(directory), str(life * LIFE)]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as child:
        assert child.stdout
        said = [line for line, _ in zip(child.stdout, range(lines), strict=False)]
        child.send_signal(signal.SIGKILL)
        said += child.stdout.readlines()
    assert len(said) >= lines, f"{program} ended by itself"
    # The kill may have cut the last line.
    return [line.split() for line in said if line.endswith("\n")]


async def everything(log: SqliteLog, partition: Partition) -> list[Stored]:
    """All records of a partition."""
    end = await log.end(partition)
    records: list[Stored] = []
    async for batch in log.read(partition):
        records += batch
        if records[-1].offset == end:
            break
    return records


async def check_records(directory: Path, answered: Mapping[str, list[int]]) -> None:
    """Offsets without a gap, numbers in order and once, each answered one among them."""
    log = await SqliteLog.open(directory)
    for partition in appender.PARTITIONS:
        if not answered[str(partition)]:
            continue
        records = await everything(log, partition)
        numbers = [int(record.body) for record in records]
        assert [record.offset for record in records] == list(range(1, len(records) + 1))
        assert all(len(record.body) == appender.BODY_BYTES for record in records)
        assert numbers == sorted(set(numbers))
        assert set(answered[str(partition)]) <= set(numbers)
    await log.close()


def test_answered_records_are_there_in_order_and_once(tmp_path: Path) -> None:
    chance = random.Random(20)
    answered: dict[str, list[int]] = defaultdict(list)
    for life in range(1, KILLS + 1):
        for partition, number in run_and_kill("appender", tmp_path, life, chance.randint(1, 3000)):
            answered[partition].append(int(number))
        asyncio.run(check_records(tmp_path, answered))


async def check_keys(directory: Path, allocated: list[str], destroyed: list[str], kills: int) -> set[str]:
    """Destroyed keys do not open, the others do; those whose erasure was under way may have gone.
    Those that have."""
    keys = await SqliteKeys.open(directory, entropy=SystemEntropy())
    found = await keys.get(allocated)
    await keys.close()
    assert not set(found) & set(destroyed)
    assert len(set(allocated) - set(destroyed) - set(found)) <= kills
    return set(allocated) - set(found)


def test_destroyed_keys_are_in_no_file_and_the_others_open(tmp_path: Path) -> None:
    chance = random.Random(21)
    allocated: dict[str, bytes] = {}
    destroyed: list[str] = []
    for life in range(1, KILLS + 1):
        for what, key_id, wrapped in run_and_kill("eraser", tmp_path, life, chance.randint(1, 60)):
            if what == "allocated":
                allocated[key_id] = bytes.fromhex(wrapped)
            else:
                destroyed.append(key_id)
        check_no_bytes(tmp_path, [allocated[key_id] for key_id in destroyed])
        gone = asyncio.run(check_keys(tmp_path, [*allocated], destroyed, life))
        # The restart has finished what the kill cut off.
        check_no_bytes(tmp_path, [allocated[key_id] for key_id in gone])


def check_no_bytes(directory: Path, wrapped: list[bytes]) -> None:
    """No file of the keys holds either end of any of these."""
    left = b"\n".join(path.read_bytes() for path in sorted(directory.iterdir()) if path.name.startswith("keys.db"))
    for key in wrapped:
        assert key[:8] not in left
        assert key[-8:] not in left


async def check_blobs(root: Path, answered: set[str]) -> None:
    """Each answered blob is there, and whatever is there is whole."""
    blobs = await LocalBlobs.open(root)
    # Of the killed child nothing is left but whole blobs; what is here is this process's own.
    assert len([path for path in (root / "incoming").iterdir() if path.is_dir()]) == 1
    names = await blobs.list("")
    assert answered <= set(names)
    for name in names:
        whole = b"".join([part async for part in putter.content(int(name.rpartition("/")[2]))])
        assert b"".join([chunk async for chunk in blobs.read(name)]) == whole
    await blobs.close()


def test_answered_blobs_are_whole_and_no_other_is_a_part(tmp_path: Path) -> None:
    chance = random.Random(22)
    answered: set[str] = set()
    for life in range(1, KILLS + 1):
        said = run_and_kill("putter", tmp_path, life, chance.randint(1, 40))
        answered |= {f"recordings/{int(number) % 7}/{number}" for (number,) in said}
        asyncio.run(check_blobs(tmp_path, answered))
