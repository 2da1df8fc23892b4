"""The `Log` port in memory."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import AsyncIterator, Callable, Coroutine, Sequence

from tandem.adapters.checks import check_body
from tandem.adapters.threads import Bell
from tandem.core.ports.log import LogClosed, LogFailed, Partition, Stored

MAX_BATCH_RECORDS = 512
"""Records in one delivery."""


class MemoryPartitions:
    """What a log has stored. Usable without asyncio; several `MemoryLog`s may share it.

    `full` makes it refuse records as a full disk does.
    """

    def __init__(self) -> None:
        self.full = False
        self._records: dict[Partition, list[Stored]] = {}
        self._watchers: list[Callable[[Partition], None]] = []

    def store(self, partition: Partition, body: bytes) -> int:
        """Store a record and return its offset. Raises `LogFailed` when full, ValueError as the port says."""
        check_body(body)
        if self.full:
            raise LogFailed(f"no room for a record of {partition}")
        records = self._records.setdefault(partition, [])
        records.append(Stored(len(records) + 1, body))
        for watcher in list(self._watchers):
            watcher(partition)
        return len(records)

    def records(self, partition: Partition, after: int = 0, limit: int | None = None) -> list[Stored]:
        """Records above `after`, in order, at most `limit`."""
        stop = None if limit is None else after + limit
        return self._records.get(partition, [])[after:stop]

    def end(self, partition: Partition) -> int:
        """Offset of the last record, 0 for none."""
        return len(self._records.get(partition, ()))

    def watch(self, watcher: Callable[[Partition], None]) -> None:
        """Call `watcher` after each record that is stored, until `unwatch`."""
        self._watchers.append(watcher)

    def unwatch(self, watcher: Callable[[Partition], None]) -> None:
        """Undo `watch`; an unknown watcher is no error."""
        if watcher in self._watchers:
            self._watchers.remove(watcher)


class MemoryLog:
    """One process's way to `MemoryPartitions`, on one asyncio loop.

    An append reaches the store `delay_s` after its call, pipelined: any number may be under
    way. Between `hold` and `release` nothing reaches the store, and nothing is answered.
    `crash` is the death of the process: what was under way is lost.
    """

    def __init__(self, partitions: MemoryPartitions, *, delay_s: float = 0.0) -> None:
        self._partitions = partitions
        self._delay_s = delay_s
        self._bell = Bell()
        self._pending: deque[tuple[Partition, bytes, asyncio.Future[None]]] = deque()
        self._due = 0
        self._held = False
        self._closing = False
        self._ended = False
        self._idle = asyncio.Event()
        self._idle.set()
        self.round_trips = 0
        """How often records reached the store; those held together go together."""
        partitions.watch(self._stored)

    def append(self, partition: Partition, body: bytes) -> Coroutine[None, None, None]:
        """See the port. The record takes its place in the order when this is called, not when it is awaited."""
        check_body(body)
        if self._closing:
            raise LogClosed
        loop = asyncio.get_running_loop()
        answer: asyncio.Future[None] = loop.create_future()
        self._pending.append((partition, body, answer))
        self._idle.clear()
        loop.call_later(self._delay_s, self._arrive)
        return _answered(answer)

    async def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        """See the port."""
        if self._closing:
            raise LogClosed
        while not self._ended:
            if batch := self._partitions.records(partition, after, MAX_BATCH_RECORDS):
                after = batch[-1].offset
                yield batch
                continue
            waiter = self._bell.listen(partition)
            try:
                await waiter
            finally:
                self._bell.leave(partition, waiter)

    async def end(self, partition: Partition) -> int:
        """See the port."""
        if self._closing:
            raise LogClosed
        return self._partitions.end(partition)

    async def close(self) -> None:
        """See the port."""
        self._closing = True
        await self._idle.wait()
        self._end()

    def hold(self) -> None:
        """Let nothing reach the store until `release`."""
        self._held = True

    def release(self) -> None:
        """Undo `hold`: what is due reaches the store at once."""
        self._held = False
        self._land()

    def crash(self) -> None:
        """The process dies: appends under way are in doubt and never stored, readers end."""
        self._closing = True
        for _, _, answer in self._pending:
            if not answer.done():
                answer.set_exception(LogFailed("the process died"))
        self._pending.clear()
        self._due = 0
        self._idle.set()
        self._end()

    def _arrive(self) -> None:
        self._due += 1
        if not self._held:
            self._land()

    def _land(self) -> None:
        if self._due:
            self.round_trips += 1
        while self._due and self._pending:
            self._due -= 1
            partition, body, answer = self._pending.popleft()
            try:
                self._partitions.store(partition, body)
            except LogFailed as error:
                if not answer.done():
                    answer.set_exception(error)
            else:
                if not answer.done():
                    answer.set_result(None)
        if not self._pending:
            self._idle.set()

    def _stored(self, partition: Partition) -> None:
        self._bell.ring([partition])

    def _end(self) -> None:
        self._ended = True
        self._partitions.unwatch(self._stored)
        self._bell.ring_all()


async def _answered(answer: asyncio.Future[None]) -> None:
    await answer
