"""Bad adapters of the `Log` port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence
from contextlib import suppress

from tandem.adapters.memory import (
    MemoryLog,
    MemoryPartitions,
)
from tandem.core.ports.log import LogFailed, Partition, Stored
from tests.contract.log_contract import LogContract
from tests.contract.planted.defect import PATIENCE_S, Planted
from tests.contract.worlds import MemoryLogWorld


def log_world(log: type[MemoryLog], partitions: type[MemoryPartitions] = MemoryPartitions) -> Callable[[], object]:
    """A world of a bad log."""

    class PlantedLogWorld(MemoryLogWorld):
        patience_s = PATIENCE_S

        def __init__(self) -> None:
            self.partitions = partitions()

        async def open(self) -> MemoryLog:
            return log(self.partitions)

    PlantedLogWorld.__name__ = (log if log is not MemoryLog else partitions).__name__
    return PlantedLogWorld


async def _done() -> None:
    """A success at once."""


class CutsTexts(MemoryPartitions):
    def store(self, partition: Partition, body: bytes) -> int:
        return super().store(partition, body.split(b"\x00")[0] or b"?")


class SwapsNeighbours(MemoryLog):
    """A retry overtakes: each second record is stored before the one that came first."""

    def _arrive(self) -> None:
        if len(self._pending) > 1:
            self._pending.append(self._pending.popleft())
        super()._arrive()


class QueuesWhenAwaited(MemoryLog):
    """A record takes its place when its call is awaited."""

    async def append(self, partition: Partition, body: bytes) -> None:
        await super().append(partition, body)


class OnePartition(MemoryPartitions):
    def store(self, partition: Partition, body: bytes) -> int:
        return super().store(Partition("live", 0), body)


class BeginsOffsetsAnew(MemoryLog):
    """Each process counts from 1."""

    async def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        async for batch in super().read(partition, after):
            yield [Stored((record.offset - 1) % 5 + 1, record.body) for record in batch]


class AnswersBeforeStoring(MemoryLog):
    def __init__(self, partitions: MemoryPartitions) -> None:
        super().__init__(partitions, delay_s=0.05)

    def append(self, partition: Partition, body: bytes) -> Coroutine[None, None, None]:
        answer = super().append(partition, body)
        answer.close()
        return _done()


class DeliversFromMemory(MemoryLog):
    """Shows records to its readers that only its own process has."""

    def __init__(self, partitions: MemoryPartitions) -> None:
        super().__init__(partitions)
        self._own: dict[Partition, list[Stored]] = {}

    def append(self, partition: Partition, body: bytes) -> Coroutine[None, None, None]:
        own = self._own.setdefault(partition, [])
        own.append(Stored(len(own) + 1, body))
        self._bell.ring([partition])
        return super().append(partition, body)

    async def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        while not self._ended:
            if batch := self._own.get(partition, [])[after:]:
                after = batch[-1].offset
                yield batch
            else:
                await self._bell.listen(partition)


class ForgetsAtClose(MemoryLog):
    async def close(self) -> None:
        await super().close()
        self._partitions._records.clear()


class DeliversTwice(MemoryLog):
    """Reads from the last record on, not from the one after it."""

    async def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        last = after
        async for batch in super().read(partition, after):
            if last > after:
                yield self._partitions.records(partition, last - 1, 1)
            last = batch[-1].offset
            yield batch


class DropsForSecondReader(MemoryLog):
    """Readers take records from each other."""

    def __init__(self, partitions: MemoryPartitions) -> None:
        super().__init__(partitions)
        self._taken = 0

    async def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        async for batch in super().read(partition, after):
            fresh = [record for record in batch if record.offset > self._taken]
            self._taken = max(self._taken, batch[-1].offset)
            yield fresh


class BeginsAtItsOffset(MemoryLog):
    def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        return super().read(partition, max(after - 1, 0))


class GapBeforeLive(MemoryLog):
    """Reads history, then listens, and what is stored in between is nobody's."""

    async def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        while batch := self._partitions.records(partition, after, 100):
            after = batch[-1].offset
            yield batch
        await asyncio.sleep(0.01)
        async for batch in super().read(partition, self._partitions.end(partition)):
            yield batch


class RepeatsBeforeLive(MemoryLog):
    """Listens, then reads history, and what is stored in between comes twice."""

    async def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        end = self._partitions.end(partition)
        await asyncio.sleep(0.01)
        yield self._partitions.records(partition, after)
        async for batch in super().read(partition, end):
            yield batch


class DropsSlowReaders(MemoryLog):
    """Keeps 1,000 records for each reader and forgets older ones."""

    async def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        async for batch in super().read(partition, after):
            if self._partitions.end(partition) - batch[0].offset < 1000:
                yield batch


class WakesNobody(MemoryLog):
    def _stored(self, partition: Partition) -> None:
        if self._partitions.end(partition) > 1:
            super()._stored(partition)


class Polls(MemoryLog):
    async def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        while not self._ended:
            if batch := self._partitions.records(partition, after):
                after = batch[-1].offset
                yield batch
            await asyncio.sleep(0.01)


class PollsInAThread(MemoryLog):
    async def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        while not self._ended:
            if batch := await asyncio.to_thread(self._partitions.records, partition, after):
                after = batch[-1].offset
                yield batch


class EndCountsPending(MemoryLog):
    async def end(self, partition: Partition) -> int:
        return await super().end(partition) + len(self._pending)


class OneAtATime(MemoryLog):
    """Each append waits for the one before it."""

    def __init__(self, partitions: MemoryPartitions) -> None:
        super().__init__(partitions)
        self._turn = asyncio.Lock()

    async def append(self, partition: Partition, body: bytes) -> None:
        async with self._turn:
            await super().append(partition, body)


class EndCountsAllPartitions(MemoryLog):
    async def end(self, partition: Partition) -> int:
        return sum(map(len, self._partitions._records.values()))


class TakesAnything(MemoryLog):
    def append(self, partition: Partition, body: bytes) -> Coroutine[None, None, None]:
        return super().append(partition, body[:1000] or b"?")


class HidesFailures(MemoryLog):
    async def append(self, partition: Partition, body: bytes) -> None:
        with suppress(LogFailed):
            await super().append(partition, body)


class FailsForEver(MemoryLog):
    async def append(self, partition: Partition, body: bytes) -> None:
        try:
            await super().append(partition, body)
        except LogFailed:
            self.hold()
            raise


class RepeatsFailures(MemoryLog):
    """Stores in doubt, and once more when the disk is well again."""

    async def append(self, partition: Partition, body: bytes) -> None:
        try:
            await super().append(partition, body)
        except LogFailed:
            self._doubtful = body
            raise
        if doubtful := getattr(self, "_doubtful", b""):
            self._doubtful = b""
            self._partitions.store(partition, doubtful)


class DropsAtClose(MemoryLog):
    async def close(self) -> None:
        self.crash()


class ReadersHangAtClose(MemoryLog):
    async def close(self) -> None:
        self._closing = True
        await self._idle.wait()
        self._partitions.unwatch(self._stored)


class OpenAfterClose(MemoryLog):
    async def close(self) -> None:
        """Nothing is closed."""


class ReadsAfterClose(MemoryLog):
    async def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        yield self._partitions.records(partition, after)


class ClosesOnce(MemoryLog):
    async def close(self) -> None:
        assert not self._closing, "closed twice"
        await super().close()


class LocksForEver(MemoryLog):
    """The second process finds a lock that the first has not given back."""

    def append(self, partition: Partition, body: bytes) -> Coroutine[None, None, None]:
        assert len(self._partitions._watchers) < 2, "still locked"
        return super().append(partition, body)

    async def close(self) -> None:
        self._closing = True


LOGS = [
    Planted(LogContract, "test_a_record_comes_back_byte_for_byte", log_world(MemoryLog, CutsTexts)),
    Planted(LogContract, "test_calls_on_one_partition_are_stored_in_their_order", log_world(SwapsNeighbours)),
    Planted(LogContract, "test_calls_on_one_partition_are_stored_in_their_order", log_world(QueuesWhenAwaited)),
    Planted(LogContract, "test_partitions_are_apart", log_world(MemoryLog, OnePartition)),
    Planted(LogContract, "test_offsets_begin_at_one_or_later_and_grow_across_a_crash", log_world(BeginsOffsetsAnew)),
    Planted(LogContract, "test_what_was_answered_survives_a_crash", log_world(AnswersBeforeStoring)),
    Planted(LogContract, "test_what_was_delivered_survives_a_crash", log_world(DeliversFromMemory)),
    Planted(LogContract, "test_it_is_reopened_after_a_close_as_it_was", log_world(ForgetsAtClose)),
    Planted(LogContract, "test_each_reader_gets_each_record_once", log_world(DeliversTwice)),
    Planted(LogContract, "test_each_reader_gets_each_record_once", log_world(DropsForSecondReader)),
    Planted(LogContract, "test_a_reader_begins_after_its_offset", log_world(BeginsAtItsOffset)),
    Planted(LogContract, "test_history_passes_into_live_without_gap_or_repeat", log_world(GapBeforeLive)),
    Planted(LogContract, "test_history_passes_into_live_without_gap_or_repeat", log_world(RepeatsBeforeLive)),
    Planted(LogContract, "test_a_slow_reader_misses_nothing", log_world(DropsSlowReaders)),
    Planted(LogContract, "test_an_idle_reader_is_woken", log_world(WakesNobody)),
    Planted(LogContract, "test_an_idle_reader_never_polls", log_world(Polls)),
    Planted(LogContract, "test_an_idle_reader_never_polls", log_world(PollsInAThread)),
    Planted(LogContract, "test_nothing_leaves_before_it_is_durable", log_world(AnswersBeforeStoring)),
    Planted(LogContract, "test_nothing_leaves_before_it_is_durable", log_world(DeliversFromMemory)),
    Planted(LogContract, "test_nothing_leaves_before_it_is_durable", log_world(EndCountsPending)),
    Planted(LogContract, "test_sixteen_appends_are_under_way_at_once", log_world(OneAtATime)),
    Planted(LogContract, "test_end_is_the_last_durable_offset", log_world(EndCountsAllPartitions)),
    Planted(LogContract, "test_empty_and_oversized_records_are_refused", log_world(TakesAnything)),
    Planted(LogContract, "test_a_failed_append_says_so_and_later_ones_work", log_world(HidesFailures)),
    Planted(LogContract, "test_a_failed_append_says_so_and_later_ones_work", log_world(RepeatsFailures)),
    Planted(LogContract, "test_a_failed_append_says_so_and_later_ones_work", log_world(FailsForEver)),
    Planted(LogContract, "test_close_waits_for_appends_under_way", log_world(DropsAtClose)),
    Planted(LogContract, "test_close_ends_readers", log_world(ReadersHangAtClose)),
    Planted(LogContract, "test_a_closed_log_refuses", log_world(OpenAfterClose)),
    Planted(LogContract, "test_a_closed_log_refuses", log_world(ReadsAfterClose)),
    Planted(LogContract, "test_close_is_idempotent", log_world(ClosesOnce)),
    Planted(LogContract, "test_close_is_idempotent", log_world(LocksForEver)),
]
