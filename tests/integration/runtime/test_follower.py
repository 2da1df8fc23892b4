"""A process that follows what another one owns, and goes on from there."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, ClassVar

import pytest
from structlog.testing import capture_logs

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.memory import MemoryKeys, MemoryLog, MemoryPartitions
from tandem.adapters.sqlite import FollowedKeys, FollowedLog
from tandem.adapters.system import SystemClock
from tandem.core.commit import Mark
from tandem.core.ports.log import Partition, Stored
from tandem.runtime import follower as follower_module
from tandem.runtime import ledger as ledger_module
from tandem.runtime.follower import Follower
from tandem.runtime.following import Ahead
from tandem.runtime.snapshot import prefix
from tests.integration.runtime.toys import FAR, TOYS, Disk, HandNode, MemoryDisk, SqliteDisk, groups, process, until
from tests.support.pauses import NotedRetry, grow

CLOCK = SystemClock()


class Noted(MemoryLog):
    """Notes from where it is read."""

    def __init__(self, partitions: MemoryPartitions) -> None:
        super().__init__(partitions)
        self.begun: list[tuple[Partition, int]] = []

    def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        """See the port."""
        self.begun.append((partition, after))
        return super().read(partition, after)


class Asked(MemoryKeys):
    """Notes which keys are asked for."""

    asked: set[str]

    async def get(self, ids: Sequence[str]) -> dict[str, bytes]:
        """See the port."""
        self.asked = getattr(self, "asked", set()) | set(ids)
        return await super().get(ids)


@dataclass
class Standby:
    """Both partitions of the toys, followed."""

    toys: Follower
    far: Follower
    log: Any
    running: list[asyncio.Task[None]]

    async def caught_up(self, p: Any) -> None:
        """Until it has read what the process has durably written."""
        for follower, driver in ((self.toys, p.toys), (self.far, p.far)):
            await until(lambda f=follower, d=driver: (at := f._following) and at.offset >= d._shard.offset)

    async def end(self) -> dict[Partition, Ahead]:
        """The lock has come."""
        for task in self.running:
            task.cancel()
        await asyncio.gather(*self.running, return_exceptions=True)
        return {one.partition: known for one in (self.toys, self.far) if (known := one.ahead()) is not None}


@asynccontextmanager
async def standby(disk: Disk, shape: str = "toys") -> AsyncIterator[Standby]:
    """A process that waits."""
    async with AsyncExitStack() as stack:
        running: list[asyncio.Task[None]] = []
        blobs: Any
        if isinstance(disk, SqliteDisk):
            log: Any = FollowedLog(disk.directory / "log")
            keys: Any = FollowedKeys(disk.directory / "log")
            blobs = await LocalBlobs.open(disk.directory / "blobs")
            running.append(asyncio.create_task(log.run()))
        else:
            log, keys, blobs = await disk.open()
        for one in (blobs, keys, log):
            stack.push_async_callback(one.close)
        toys, far = (
            Follower(group, Partition(group.name, 0), log, blobs, keys.get, CLOCK.monotonic_s, follows)
            for group, follows in zip(groups(shape), ((), (TOYS,)), strict=True)
        )
        running += [asyncio.create_task(one.run()) for one in (toys, far)]
        made = Standby(toys, far, log, running)
        try:
            yield made
        finally:
            await made.end()


@pytest.fixture(params=["memory", "sqlite"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    return MemoryDisk() if request.param == "memory" else SqliteDisk(tmp_path)


@pytest.fixture
def memory() -> MemoryDisk:
    return MemoryDisk()


async def _work(p: Any, first: int, count: int) -> None:
    for n in range(first, first + count):
        await p.ask(f"vault/{n % 7}", f"say:{n};tell:far/x:say:{n};answer", f"r{n}")
    position = (await p.told("toy/a", "answer")).position
    assert await p.host.taken("t1", "far", position, 20)


async def test_what_a_standby_knows_is_what_the_owner_knows(disk: Disk) -> None:
    given: dict[str, Any] = {"nodes": ("m1",), "receivers": {"media": HandNode()}, "snapshot_commits": 20}
    async with standby(disk) as waiting, process(disk, **given) as p:
        await _work(p, 0, 60)
        await until(lambda: p.toys._snapshotting is None and p.far._snapshotting is None)
        await waiting.caught_up(p)
        known = await waiting.end()
        for partition, driver in ((TOYS, p.toys), (FAR, p.far)):
            assert list(known[partition].loaded.ledger.parts()) == await p.parts(driver)
        assert known[FAR].loaded.followed[str(TOYS)].arbiter.n >= p.toys.durable - 1, "all that far has taken"


async def test_a_successor_reads_only_what_came_after(memory: MemoryDisk) -> None:
    memory.make_log = Noted
    async with standby(memory) as waiting, process(memory) as p:
        await _work(p, 0, 40)
        await waiting.caught_up(p)
        known = await waiting.end()
        at = known[TOYS].loaded.offset
        await _work(p, 40, 10)
        parts = await p.parts(p.toys)
    async with process(memory, "b", ahead=known) as p:
        assert (await p.parts(p.toys))[1:] == parts[1:], "all but the head, which names epoch and owner"
        assert min(after for partition, after in p.log.begun if partition == TOYS) >= at - 1
        await _work(p, 50, 3)
        assert (await p.words("far/x"))[-3:] == ("50", "51", "52"), "each message once"
        assert len(await p.words("far/x")) == 53


async def test_keys_that_a_standby_has_are_not_waited_for(memory: MemoryDisk) -> None:
    memory.make_keys = Asked
    async with standby(memory) as waiting, process(memory) as p:
        await _work(p, 0, 14)
        await waiting.caught_up(p)
        known = await waiting.end()
        await p.ask("vault/late", "say:x;answer")
    async with process(memory, "b", ahead=known) as p:
        shard = p.toys._shard
        assert shard is not None
        live = {row.key: stream for (_, stream), row in shard.ledger.aggregates.items() if row.key}
        assert set(live) - p.keys.asked == {key for key, stream in live.items() if stream != "vault/late"}
        assert all(shard.key(key) is not None for key in live)


async def test_the_newest_snapshot_is_counted_from(memory: MemoryDisk) -> None:
    """Or a cell whose owners die often would make none."""
    async with standby(memory) as waiting, process(memory, snapshot_commits=15) as p:
        await _work(p, 0, 40)
        await until(lambda: p.toys._snapshotting is None)
        await _work(p, 40, 3)
        await waiting.caught_up(p)
        known = await waiting.end()
    newest = [name for name in memory.blobs.list(prefix(TOYS)) if name.endswith("/manifest")][-1]
    assert known[TOYS].snapshot_n == json.loads(memory.blobs.get(newest))["n"]
    assert known[TOYS].snapshot_n < known[TOYS].loaded.ledger.arbiter.n


async def test_a_log_that_is_not_read_as_far_is_begun_anew(memory: MemoryDisk) -> None:
    """The log was put back from a backup: what a standby knew is of another past."""
    async with standby(memory) as waiting, process(memory) as p:
        await _work(p, 0, 10)
        await waiting.caught_up(p)
        known = await waiting.end()
    empty = MemoryDisk()
    async with asyncio.timeout(20), process(empty, "b", ahead=known) as p:
        assert await p.ask("toy/a", "say:1;answer") == "1"


async def test_a_log_of_another_grouping_is_the_owner_s_to_refuse(
    memory: MemoryDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(follower_module, "AGAIN_S", 3600.0)
    with capture_logs() as told:
        async with process(memory) as p, standby(memory, shape="otherwise") as waiting:
            await p.ask("toy/a", "say:1;answer")
            await until(lambda: len([line for line in told if line["event"] == "not followed"]) == 2)
            assert await waiting.end() == {}


async def test_a_log_that_cannot_be_read_is_followed_again(memory: MemoryDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(follower_module, "AGAIN_S", 0.0)
    records = MemoryPartitions.records
    fails = [3]

    def failing(self: MemoryPartitions, *where: Any) -> Sequence[Stored]:
        if fails[0] and "Follower" in str(asyncio.current_task()):
            fails[0] -= 1
            raise OSError("the disk")
        return records(self, *where)

    async with process(memory) as p:
        await p.ask("toy/a", "say:1;answer")
        monkeypatch.setattr(MemoryPartitions, "records", failing)
        async with standby(memory) as waiting:
            await until(lambda: not fails[0])
            await p.ask("toy/a", "say:2;answer")
            await waiting.caught_up(p)
            known = await waiting.end()
            assert list(known[TOYS].loaded.ledger.parts()) == await p.parts(p.toys)


async def test_a_log_that_cannot_be_read_is_tried_less_and_less_often(
    memory: MemoryDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Pauses(NotedRetry):
        pauses_s: ClassVar[list[float]] = []

    monkeypatch.setattr(follower_module, "Retry", Pauses)
    records = MemoryPartitions.records
    fails = [6]

    def failing(self: MemoryPartitions, where: Partition, *rest: Any) -> Sequence[Stored]:
        if fails[0] and where == FAR and "Follower" in str(asyncio.current_task()):
            fails[0] -= 1
            raise OSError("the disk")
        return records(self, where, *rest)

    async with process(memory) as p:
        await p.told("far/x", "say:1;answer")
        monkeypatch.setattr(MemoryPartitions, "records", failing)
        async with standby(memory) as waiting:
            await waiting.caught_up(p)
            assert len(Pauses.pauses_s) == 6
            assert grow(Pauses.pauses_s, follower_module.AGAIN_S, follower_module.AGAIN_MAX_S)
            fails[0] = 1
            await p.told("far/x", "say:2;answer")
            await until(lambda: not fails[0])
            await waiting.caught_up(p)
    assert Pauses.pauses_s[6] <= follower_module.AGAIN_S, "it had gone on meanwhile"


async def test_a_standby_tells_of_a_state_that_hashes_otherwise(
    memory: MemoryDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "HASH_EVERY_MS", 1)
    with capture_logs() as told:
        async with standby(memory) as waiting, process(memory) as p:
            await waiting.toys.caught_up.wait()
            shard = p.toys._shard
            assert shard is not None
            for n in range(20):
                await p.ask("toy/a", f"say:{n};answer")
                await asyncio.sleep(0.002)
                shard.ledger.apply_mark(Mark("nobody/t1", "t1", 8 + n))  # what no commit says
            await until(lambda: any(line["event"] == "state hash differs" for line in told))


async def test_following_changes_no_file(tmp_path: Path) -> None:
    disk = SqliteDisk(tmp_path)
    async with process(disk, snapshot_commits=10) as p:
        await _work(p, 0, 30)
        await until(lambda: p.toys._snapshotting is None and p.far._snapshotting is None)
        before = _files(tmp_path)
        async with standby(disk) as waiting:
            await waiting.caught_up(p)
            assert await waiting.end()
        assert _files(tmp_path) == before


def _files(directory: Path) -> dict[str, bytes]:
    """All but the index of the WAL, which is memory that readers share, and scratch directories."""
    files = (path for path in directory.rglob("*") if path.is_file() and not path.name.endswith("-shm"))
    return {str(path): path.read_bytes() for path in files}
