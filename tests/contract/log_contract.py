"""What every `Log` must do, a test for each clause of the port's docstrings."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from itertools import pairwise
from types import TracebackType

import pytest

from tandem.core.ports.log import MAX_RECORD_BYTES, Log, LogClosed, LogFailed, Partition, Stored
from tests.contract.worlds import LogWorld, clause

ONE = Partition("live", 0)
OTHER = Partition("live", 1)
STALL_S = 0.2


class Reading:
    """A reader at work, and all that it got."""

    def __init__(self, log: Log, partition: Partition, after: int = 0) -> None:
        self._batches = log.read(partition, after)
        self.records: list[Stored] = []
        self.ended = False
        self._news = asyncio.Event()

    async def __aenter__(self) -> Reading:
        self._task = asyncio.create_task(self._run())
        return self

    async def __aexit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._task.cancel()
        await asyncio.wait([self._task])

    async def _run(self) -> None:
        try:
            async for batch in self._batches:
                self.records.extend(batch)
                self._news.set()
        finally:
            self.ended = True
            self._news.set()

    async def until(self, reached: Callable[[], bool], patience_s: float) -> None:
        """Wait until the reader has got that far, or for as long as patience lasts."""
        try:
            async with asyncio.timeout(patience_s):
                while not reached():
                    await self._news.wait()
                    self._news.clear()
        except TimeoutError:
            return

    async def bodies(self, count: int, world: LogWorld) -> list[bytes]:
        """What came until there were `count` records."""
        await self.until(lambda: len(self.records) >= count, world.patience_s)
        return [record.body for record in self.records]


async def delivered(log: Log, world: LogWorld, count: int, partition: Partition = ONE, after: int = 0) -> list[Stored]:
    """What a new reader gets, until there are `count` records."""
    async with Reading(log, partition, after) as reading:
        await reading.bodies(count, world)
    return reading.records


def numbered(count: int, size: int = 8) -> list[bytes]:
    """Bodies that can be told apart."""
    return [str(number).encode().rjust(size, b"0") for number in range(count)]


async def append_all(log: Log, bodies: list[bytes], partition: Partition = ONE) -> None:
    """Append without waiting in between."""
    await asyncio.gather(*[log.append(partition, body) for body in bodies])


class Idle(asyncio.SelectorEventLoop):
    """Counts what is put on the loop."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def call_soon(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.calls += 1
        return super().call_soon(*args, **kwargs)

    def call_at(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.calls += 1
        return super().call_at(*args, **kwargs)

    def call_soon_threadsafe(self, *args, **kwargs):  # type: ignore[no-untyped-def]
        self.calls += 1
        return super().call_soon_threadsafe(*args, **kwargs)


class LogContract:
    """Run by `test_contracts.py` in the world of each adapter."""

    @clause
    async def test_a_record_comes_back_byte_for_byte(self, world: LogWorld) -> None:
        log = await world.open()
        bodies = [b"\x00", b"\xff" * 300, bytes(range(256)), b"'); DROP TABLE record; --", b"x" * 70_000]
        await append_all(log, bodies)
        assert [record.body for record in await delivered(log, world, len(bodies))] == bodies
        await log.close()

    @clause
    async def test_calls_on_one_partition_are_stored_in_their_order(self, world: LogWorld) -> None:
        log = await world.open()
        bodies = numbered(50)
        calls = [log.append(ONE, body) for body in bodies]
        for call in reversed(calls):
            await call
        assert [record.body for record in await delivered(log, world, 50)] == bodies
        await log.close()

    @clause
    async def test_partitions_are_apart(self, world: LogWorld) -> None:
        log = await world.open()
        await append_all(log, [b"one", b"uno"], ONE)
        await append_all(log, [b"other"], OTHER)
        await append_all(log, [b"end"], ONE)
        assert [record.body for record in await delivered(log, world, 3)] == [b"one", b"uno", b"end"]
        assert [record.body for record in await delivered(log, world, 1, OTHER)] == [b"other"]
        await log.close()

    @clause
    async def test_offsets_begin_at_one_or_later_and_grow_across_a_crash(self, world: LogWorld) -> None:
        log = await world.open()
        await append_all(log, numbered(5))
        await world.crash(log)
        log = await world.open()
        await append_all(log, numbered(5))
        offsets = [record.offset for record in await delivered(log, world, 10)]
        assert len(offsets) == 10
        assert offsets[0] >= 1
        assert all(one < next_ for one, next_ in pairwise(offsets))
        await log.close()

    @clause
    async def test_what_was_answered_survives_a_crash(self, world: LogWorld) -> None:
        log = await world.open()
        bodies = numbered(20)
        await append_all(log, bodies)
        await world.crash(log)
        log = await world.open()
        assert [record.body for record in await delivered(log, world, 20)] == bodies
        await log.close()

    @clause
    async def test_what_was_delivered_survives_a_crash(self, world: LogWorld) -> None:
        log = await world.open()
        async with Reading(log, ONE) as reading:
            calls = asyncio.gather(*[log.append(ONE, body) for body in numbered(20)], return_exceptions=True)
            await reading.bodies(1, world)
            seen = list(reading.records)
        await world.crash(log)
        await calls
        log = await world.open()
        after = await delivered(log, world, len(seen))
        assert seen
        assert after[: len(seen)] == seen
        await log.close()

    @clause
    async def test_it_is_reopened_after_a_close_as_it_was(self, world: LogWorld) -> None:
        log = await world.open()
        await append_all(log, numbered(20))
        before = await delivered(log, world, 20)
        await log.close()
        log = await world.open()
        assert await delivered(log, world, 20) == before
        await log.close()

    @clause
    async def test_each_reader_gets_each_record_once(self, world: LogWorld) -> None:
        log = await world.open()
        bodies = numbered(40)
        async with Reading(log, ONE) as first, Reading(log, ONE) as second:
            await append_all(log, bodies[:20])
            await first.bodies(20, world)
            async with Reading(log, ONE) as third:
                await append_all(log, bodies[20:])
                for reading in (first, second, third):
                    assert await reading.bodies(40, world) == bodies
        await log.close()

    @clause
    async def test_a_reader_begins_after_its_offset(self, world: LogWorld) -> None:
        log = await world.open()
        await append_all(log, numbered(10))
        records = await delivered(log, world, 10)
        assert await delivered(log, world, 6, after=records[3].offset) == records[4:]
        async with Reading(log, ONE, after=records[-1].offset) as reading:
            await log.append(ONE, b"next")
            assert await reading.bodies(1, world) == [b"next"]
        await log.close()

    @clause
    async def test_history_passes_into_live_without_gap_or_repeat(self, world: LogWorld) -> None:
        log = await world.open()
        bodies = numbered(4000)
        await append_all(log, bodies[:2000])

        async def write_on() -> None:
            for at in range(2000, 4000, 4):
                await append_all(log, bodies[at : at + 4])

        async with Reading(log, ONE) as early, asyncio.TaskGroup() as group:
            group.create_task(write_on())
            await early.bodies(2500, world)
            async with Reading(log, ONE) as late:
                assert await late.bodies(4000, world) == bodies
            assert await early.bodies(4000, world) == bodies
        await log.close()

    @clause
    async def test_a_slow_reader_misses_nothing(self, world: LogWorld) -> None:
        log = await world.open()
        bodies = numbered(3000, size=1000)
        batches = log.read(ONE)
        await append_all(log, bodies[:10])
        got = list(await anext(batches))
        await append_all(log, bodies[10:])
        while len(got) < 3000 and (batch := await anext(batches, None)):
            got += batch
        assert [record.body for record in got] == bodies
        await log.close()

    @clause
    async def test_an_idle_reader_is_woken(self, world: LogWorld) -> None:
        log = await world.open()
        async with Reading(log, ONE) as reading, Reading(log, OTHER) as other:
            await asyncio.sleep(0.05)
            assert not reading.records
            await log.append(ONE, b"wake")
            assert await reading.bodies(1, world) == [b"wake"]
            assert not other.records
            await log.append(OTHER, b"you too")
            assert await other.bodies(1, world) == [b"you too"]
        await log.close()

    def test_an_idle_reader_never_polls(self, world: LogWorld) -> None:
        async def count_idle_calls() -> int:
            log = await world.open()
            loop = asyncio.get_running_loop()
            assert isinstance(loop, Idle)
            async with Reading(log, ONE) as reading:
                await log.append(ONE, b"awake")
                await reading.bodies(1, world)
                await asyncio.sleep(0.05)
                before = loop.calls
                await asyncio.sleep(STALL_S)
                calls = loop.calls - before
            await log.close()
            return calls

        with asyncio.Runner(loop_factory=Idle) as runner:
            # A timer of the sleep itself, and its end.
            assert runner.run(count_idle_calls()) <= 3

    @clause
    async def test_nothing_leaves_before_it_is_durable(self, world: LogWorld) -> None:
        log = await world.open()
        await log.append(ONE, b"before")
        end = await log.end(ONE)
        async with Reading(log, ONE) as reading, asyncio.TaskGroup() as group:
            await reading.bodies(1, world)
            with world.stalled(log):
                calls = [group.create_task(log.append(ONE, body)) for body in numbered(16)]
                await asyncio.sleep(STALL_S)
                assert not any(call.done() for call in calls)
                assert [record.body for record in reading.records] == [b"before"]
                assert await log.end(ONE) == end
            assert await reading.bodies(17, world) == [b"before", *numbered(16)]
        await log.close()

    @clause
    async def test_sixteen_appends_are_under_way_at_once(self, world: LogWorld) -> None:
        log = await world.open()
        await log.append(ONE, b"before")
        round_trips = world.round_trips(log)
        async with asyncio.TaskGroup() as group:
            with world.stalled(log):
                for body in numbered(16):
                    group.create_task(log.append(ONE, body))
                await asyncio.sleep(STALL_S)
        assert len(await delivered(log, world, 17)) == 17
        if round_trips is not None:
            after = world.round_trips(log)
            assert after is not None
            # One that had begun when the storage stalled, one for all the rest.
            assert after - round_trips <= 2
        await log.close()

    @clause
    async def test_end_is_the_last_durable_offset(self, world: LogWorld) -> None:
        log = await world.open()
        assert await log.end(ONE) == 0
        await append_all(log, numbered(7))
        records = await delivered(log, world, 7)
        assert await log.end(ONE) == records[-1].offset
        assert await log.end(OTHER) == 0
        await world.crash(log)
        log = await world.open()
        assert await log.end(ONE) == records[-1].offset
        await log.close()

    @clause
    async def test_empty_and_oversized_records_are_refused(self, world: LogWorld) -> None:
        log = await world.open()
        for body in (b"", b"x" * (MAX_RECORD_BYTES + 1)):
            with pytest.raises(ValueError):
                await log.append(ONE, body)
        largest = b"x" * MAX_RECORD_BYTES
        await log.append(ONE, largest)
        assert [record.body for record in await delivered(log, world, 1)] == [largest]
        await log.close()

    @clause
    async def test_a_failed_append_says_so_and_later_ones_work(self, world: LogWorld) -> None:
        log = await world.open()
        async with Reading(log, ONE) as reading:
            await log.append(ONE, b"before")
            big = [letter * 200_000 for letter in (b"a", b"b")]
            with world.broken():
                results = await asyncio.gather(*[log.append(ONE, body) for body in big], return_exceptions=True)
                assert [type(result) for result in results] == [LogFailed, LogFailed]
            await log.append(ONE, b"after")
            await reading.until(
                lambda: bool(reading.records) and reading.records[-1].body == b"after", world.patience_s
            )
            bodies = [record.body for record in reading.records]
        # In doubt: each of them may be stored, once and in order.
        assert bodies == [b"before", *[body for body in big if body in bodies], b"after"]
        await world.crash(log)
        log = await world.open()
        assert await delivered(log, world, len(bodies)) == reading.records
        await log.close()

    @clause
    async def test_close_waits_for_appends_under_way(self, world: LogWorld) -> None:
        log = await world.open()
        calls = [log.append(ONE, body) for body in numbered(30)]
        await log.close()
        assert await asyncio.gather(*calls, return_exceptions=True) == [None] * 30
        log = await world.open()
        assert [record.body for record in await delivered(log, world, 30)] == numbered(30)
        await log.close()

    @clause
    async def test_close_ends_readers(self, world: LogWorld) -> None:
        log = await world.open()
        await log.append(ONE, b"one")
        async with Reading(log, ONE) as reading, Reading(log, OTHER) as idle:
            await reading.bodies(1, world)
            await log.close()
            for one in (reading, idle):
                await one.until(lambda one=one: one.ended, world.patience_s)  # type: ignore[misc]
                assert one.ended

    @clause
    async def test_a_closed_log_refuses(self, world: LogWorld) -> None:
        log = await world.open()
        await log.append(ONE, b"one")
        await log.close()
        with pytest.raises(LogClosed):
            await log.append(ONE, b"two")
        with pytest.raises(LogClosed):
            await anext(log.read(ONE))
        with pytest.raises(LogClosed):
            await log.end(ONE)

    @clause
    async def test_close_is_idempotent(self, world: LogWorld) -> None:
        log = await world.open()
        await asyncio.gather(log.close(), log.close())
        await log.close()
        log = await world.open()
        await log.append(ONE, b"free again")
        await log.close()
