"""Keeps up with one partition that another process owns, on asyncio; writes nothing."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Protocol

import structlog

from tandem.core.ports.blobs import Blobs
from tandem.core.ports.log import LogFailed, Partition, Stored
from tandem.runtime import snapshot
from tandem.runtime.following import Ahead, Following, OtherShape
from tandem.runtime.ledger import BadHistory
from tandem.runtime.log_codec import BadRecord
from tandem.runtime.retry_driver import Retry
from tandem.runtime.service import Group
from tandem.runtime.telemetry import names

_log = structlog.get_logger(__name__)

SLICE_S = 0.002
"""How long folding may hold up the loop at a time: the partition may become ours at any moment."""
AGAIN_S, AGAIN_MAX_S = 1.0, 10.0
"""Pauses before a partition that could not be read is begun anew: each time, all of it is read."""
MAX_UNTAKEN = 2_000
"""Messages of another partition that are kept until the owner's marks say that they are taken."""

GetKeys = Callable[[Sequence[str]], Awaitable[Mapping[str, bytes]]]


class LogReader(Protocol):
    """What of the `Log` port a follower needs."""

    def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        """See the port."""
        ...

    async def end(self, partition: Partition) -> int:
        """See the port."""
        ...


class Follower:
    """`run` is a task of whoever made it, and may be cancelled at any moment; then `ahead` tells what
    is known. `clock_s` reads a monotonic clock; for the others see `Following`."""

    def __init__(
        self,
        group: Group,
        partition: Partition,
        log: LogReader,
        blobs: Blobs,
        keys: GetKeys,
        clock_s: Callable[[], float],
        follows: Iterable[Partition] = (),
    ) -> None:
        self.partition = partition
        self._group, self._log, self._blobs, self._keys, self._clock_s = group, log, blobs, keys, clock_s
        self._follows = tuple(follows)
        self._following: Following | None = None
        self._folded = asyncio.Event()
        self._retry = Retry(AGAIN_S, AGAIN_MAX_S)
        self.caught_up = asyncio.Event()
        """Set once it has read all that the log had a moment ago."""

    def ahead(self) -> Ahead | None:
        """What is known now, None if nothing yet. Call it when `run` has ended."""
        return None if self._following is None else self._following.ahead()

    async def run(self) -> None:
        """Follow until cancelled. A log that cannot be read or folded is begun anew in a while: what
        is wrong with it, its owner says."""
        while True:
            try:
                await self._follow()
            except* (LogFailed, OSError, BadHistory, BadRecord, OtherShape) as errors:
                _log.warning(names.NOT_FOLLOWED, partition=str(self.partition), why=str(errors.exceptions[0]))
            self._following = None
            await self._retry.pause()

    async def _follow(self) -> None:
        end = await self._log.end(self.partition)
        found = await snapshot.load(self._blobs, self.partition, self._group, end, self._passed_over)
        self._following = following = Following(self._group, found, self._follows)
        await self._get_keys(following)
        async with asyncio.TaskGroup() as tasks:
            for sender in self._follows:
                after = found.followed[str(sender)].offset if found and str(sender) in found.followed else 0
                tasks.create_task(self._take_messages(following, sender, after))
            await self._fold(following)

    def _passed_over(self, name: str, why: str) -> None:
        _log.warning(names.SNAPSHOT_PASSED, name=name, why=why)

    async def _fold(self, following: Following) -> None:
        end: int | None = await self._end_unless_reached(following, await self._log.end(self.partition))
        async for records in self._log.read(self.partition, following.offset):
            async for stored in self._in_slices(records):
                for wrong in following.fold(stored):
                    told = {"n": wrong.n, "recorded": wrong.recorded.hex(), "computed": wrong.computed.hex()}
                    _log.error(names.HASH_DIFFERS, partition=str(self.partition), **told)
            self._folded.set()
            self._folded = asyncio.Event()
            await self._get_keys(following)
            if end is not None:
                end = await self._end_unless_reached(following, end)

    async def _end_unless_reached(self, following: Following, end: int) -> int | None:
        """The log goes on while a long one is read: what counts is where it ended a batch ago."""
        if following.offset >= end:
            self.caught_up.set()
            self._retry.reset()  # not before: what stands behind may be what cannot be read
            return None
        return await self._log.end(self.partition)

    async def _take_messages(self, following: Following, sender: Partition, after: int) -> None:
        """Keep up with what the owner has taken of another partition's messages."""
        async for records in self._log.read(sender, after):
            async for stored in self._in_slices(records):
                following.take_message(sender, stored)
            while following.forget_taken(sender) > MAX_UNTAKEN:
                await self._folded.wait()

    async def _in_slices(self, records: Sequence[Stored]) -> AsyncIterator[Stored]:
        begun = self._clock_s()
        for stored in records:
            yield stored
            if self._clock_s() - begun > SLICE_S:
                await asyncio.sleep(0)
                begun = self._clock_s()

    async def _get_keys(self, following: Following) -> None:
        if wanted := following.wanted_keys():
            following.keys_found(await self._keys(wanted))
