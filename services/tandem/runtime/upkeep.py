"""What a driver does for its shard beside the turns, a little at a time: state hash and snapshots (rules 7, 11)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterator, Mapping
from itertools import chain

import structlog

from tandem.core.arbiter import Place
from tandem.core.points import Point
from tandem.core.ports.blobs import BlobExists, Blobs
from tandem.core.ports.log import Partition
from tandem.internal.log.v1 import log_pb2
from tandem.runtime import snapshot
from tandem.runtime.canonical import NotCanonical
from tandem.runtime.ledger import SNAPSHOT_TAKEN
from tandem.runtime.places import Places
from tandem.runtime.service import Group
from tandem.runtime.shard import Phase, Shard
from tandem.runtime.shared import Shared

_log = structlog.get_logger(__name__)

SLICE_S = 0.002
"""How long packing a snapshot or digesting a state may hold up the loop at a time."""

Announce = Callable[[str, bytes], Awaitable[None]]
"""Commits an event of the runtime; returns once that is durable."""


async def in_slices(shared: Shared, work: Iterator[None]) -> None:
    """Do the work, with a pause whenever it has held up the loop for its time."""
    async with shared.heavy:
        begun = shared.clock.monotonic_s()
        for _ in work:
            if shared.clock.monotonic_s() - begun > SLICE_S:
                await asyncio.sleep(0)
                begun = shared.clock.monotonic_s()


class Snapshots:
    """The snapshots of one shard, through all its lives in this process."""

    def __init__(self, group: Group, partition: Partition, shared: Shared, places: Places) -> None:
        self._group, self._partition, self._shared, self._places = group, partition, shared, places
        self._blobs = shared.blobs
        self._n = 0  # the last commit that is in one

    async def load(self, end: int) -> snapshot.Loaded | None:
        """The newest whole one of a log that ends at offset `end`, if there is one."""
        if self._blobs is None:
            return None
        return await snapshot.load(self._blobs, self._partition, self._group, end, self._passed_over)

    def begin(self, n: int) -> None:
        """A life begins with commit `n`."""
        self._n = n

    def due(self, shard: Shard) -> bool:
        """Whether it is time for another one."""
        enough = shard.n - self._n >= self._shared.snapshot_commits
        return enough and self._blobs is not None and shard.phase is Phase.LIVE and not shard.ledger.torn

    async def take(
        self, shard: Shard, followed: Mapping[str, Place], durable: Callable[[int], Awaitable[None]], announce: Announce
    ) -> None:
        """Pack the state of this moment between turns, and finish once it is durable (spine 6).
        `followed`: up to where the messages of other partitions are taken."""
        assert self._blobs is not None, "one is due"
        n, ledger = shard.n, shard.ledger
        self._n = n
        shard.offsets[n] = shard.offset if shard.durable == n else 0
        aside = snapshot.beside(self._places.newest, followed)
        writer = snapshot.Writer(self._group, chain((ledger.head(),), ledger.rows_at(ledger.moment()), aside))
        name = f"{snapshot.prefix(self._partition)}{n:020d}"
        try:
            if not await snapshot.clear(self._blobs, self._partition, n):
                return  # an earlier life made it, and did not come to announce it
            await self._write(self._blobs, name, writer)
            await durable(n)
            await self._blobs.put(f"{name}/manifest", writer.manifest(n, shard.offsets[n], self._group.shape))
            await announce(SNAPSHOT_TAKEN, log_pb2.SnapshotTaken(n=n).SerializeToString())
            self._n = n + 1  # the announcement does not count
            await snapshot.tidy(self._blobs, self._partition)
        except (OSError, BlobExists, NotCanonical) as error:
            # The log has everything; the next one is tried after as many commits again.
            _log.error("snapshot failed", partition=str(self._partition), error=str(error))
        finally:
            del shard.offsets[n]

    async def _write(self, blobs: Blobs, name: str, writer: snapshot.Writer) -> None:
        async with self._shared.heavy:
            for block in writer.blocks(self._shared.clock.monotonic_s, SLICE_S):
                if block is not None:
                    await blobs.put(f"{name}/part-{len(writer.checksums) - 1:04d}", block)
                    self._shared.points.reach(Point.IN_SNAPSHOT)
                await asyncio.sleep(0)

    def _passed_over(self, name: str, why: str) -> None:
        _log.warning("snapshot passed over", name=name, why=why)
