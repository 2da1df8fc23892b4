"""What the memory adapters give the simulator beyond their ports."""

from __future__ import annotations

import asyncio

import pytest

from tandem.adapters.memory import BlobTable, KeyTable, MemoryLog, MemoryPartitions, RowTables
from tandem.adapters.system import SystemEntropy
from tandem.core.ports.blobs import BlobExists, BlobMissing
from tandem.core.ports.keys import KeyExists
from tandem.core.ports.log import LogFailed, Partition, Stored
from tandem.core.ports.store import Put

ONE, OTHER = Partition("live", 0), Partition("live", 1)


def test_partitions_work_without_a_loop() -> None:
    partitions = MemoryPartitions()
    told: list[Partition] = []
    partitions.watch(told.append)
    assert [partitions.store(ONE, b"a"), partitions.store(ONE, b"b"), partitions.store(OTHER, b"c")] == [1, 2, 1]
    partitions.unwatch(told.append)
    assert told == [ONE, ONE, OTHER]
    assert partitions.records(ONE) == [Stored(1, b"a"), Stored(2, b"b")]
    assert partitions.records(ONE, after=1) == [Stored(2, b"b")]
    assert partitions.records(ONE, after=0, limit=1) == [Stored(1, b"a")]
    assert partitions.records(ONE, after=9) == []
    assert (partitions.end(ONE), partitions.end(Partition("live", 9))) == (2, 0)


def test_a_full_partition_refuses() -> None:
    partitions = MemoryPartitions()
    partitions.full = True
    with pytest.raises(LogFailed):
        partitions.store(ONE, b"a")
    partitions.full = False
    assert partitions.store(ONE, b"a") == 1


def test_a_crash_loses_what_was_under_way_and_nothing_else() -> None:
    async def body() -> None:
        partitions = MemoryPartitions()
        log = MemoryLog(partitions)
        await log.append(ONE, b"safe")
        log.hold()
        doubtful = asyncio.create_task(log.append(ONE, b"lost"))
        await asyncio.sleep(0)
        log.crash()
        with pytest.raises(LogFailed):
            await doubtful
        log.release()
        await asyncio.sleep(0)
        assert partitions.records(ONE) == [Stored(1, b"safe")]

    asyncio.run(body())


def test_delayed_appends_are_pipelined() -> None:
    async def body() -> None:
        partitions = MemoryPartitions()
        log = MemoryLog(partitions, delay_s=0.2)
        appends = [log.append(ONE, b"%d" % number) for number in range(64)]
        assert partitions.end(ONE) == 0
        # A timer of the same loop that is due after one delay, and long before two.
        await asyncio.sleep(0.3)
        assert partitions.end(ONE) == 64
        await asyncio.gather(*appends)
        await log.close()

    asyncio.run(body())


def test_two_logs_over_one_store_wake_each_other_s_readers() -> None:
    async def body() -> None:
        partitions = MemoryPartitions()
        writer, tailer = MemoryLog(partitions), MemoryLog(partitions)
        batches = tailer.read(ONE)
        first = asyncio.create_task(anext(batches))
        await asyncio.sleep(0)
        await writer.append(ONE, b"a")
        assert await first == [Stored(1, b"a")]
        await batches.aclose()
        await asyncio.gather(writer.close(), tailer.close())

    asyncio.run(body())


def test_keys_blobs_and_rows_work_without_a_loop() -> None:
    keys = KeyTable(SystemEntropy())
    keys.allocate(["a"])
    keys.destroy(["a"])
    assert keys.get(["a"]) == {}
    with pytest.raises(KeyExists):
        keys.allocate(["a"])

    blobs = BlobTable()
    blobs.put("a", b"x")
    with pytest.raises(BlobExists):
        blobs.put("a", b"y")
    assert (blobs.get("a"), blobs.list("")) == (b"x", ["a"])
    blobs.delete("a")
    with pytest.raises(BlobMissing):
        blobs.get("a")

    rows = RowTables()
    assert rows.project("view", "live/0", 1, [Put("rows", ("t", 1), b"x")])
    assert not rows.project("view", "live/0", 1, [])
    assert [row.value for row in rows.scan("rows", ("t",))] == [b"x"]
