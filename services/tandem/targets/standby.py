"""What a control process does until the cell is its own: follow everything, write nothing."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field

import structlog

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.sqlite import CellLock, FollowedKeys, FollowedLog, LogBusy, hold
from tandem.core.ports.clock import Clock
from tandem.core.ports.log import Partition
from tandem.runtime.config import Config
from tandem.runtime.follower import Follower
from tandem.runtime.following import Ahead
from tandem.runtime.service import Group
from tandem.runtime.telemetry import names
from tandem.targets.groups import FOLLOWS

_log = structlog.get_logger(__name__)


@dataclass(frozen=True, slots=True)
class Taken:
    """The lock of the cell, and what was known of each partition when it came."""

    lock: CellLock
    ahead: Mapping[Partition, Ahead] = field(default_factory=dict)


@asynccontextmanager
async def taken_cell(
    config: Config, groups: Mapping[str, Group], blobs: LocalBlobs, clock: Clock, *, wait: bool
) -> AsyncIterator[Taken]:
    """The cell, once it is ours; open its files while inside. Raises `LogBusy` if another process
    holds it; with `wait` follows that one until its end instead."""
    try:
        lock = await hold(config.log_dir, wait=False)
    except LogBusy:
        if not wait:
            raise
    else:
        yield Taken(lock)
        return
    async with AsyncExitStack() as stack:
        # Until the owner's connections stand: without any the next one reads the whole WAL anew.
        log, keys = FollowedLog(config.log_dir), FollowedKeys(config.log_dir, config.keys.cell_key_file)
        stack.push_async_callback(log.close)
        stack.push_async_callback(keys.close)
        followers = [
            Follower(
                group,
                Partition(name, shard),
                log,
                blobs,
                keys.get,
                clock.monotonic_s,
                [Partition(sender, shard) for sender in FOLLOWS.get(name, ())],
            )
            for name, group in groups.items()
            for shard in range(config.live.shards)
        ]
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(work) for work in (log.run(), *(f.run() for f in followers), _tell(followers))]
            lock = await hold(config.log_dir, wait=True)
            for task in running:
                task.cancel()
        ahead = {follower.partition: known for follower in followers if (known := follower.ahead()) is not None}
        _log.info(names.CELL_TAKEN, followed=len(ahead), partitions=len(followers))
        yield Taken(lock, ahead)


async def _tell(followers: Sequence[Follower]) -> None:
    """Say when a takeover would be quick."""
    for follower in followers:
        await follower.caught_up.wait()
    # What was loaded lives on: the collector need not walk over it again and again.
    gc.freeze()
    _log.info(names.STANDBY_FOLLOWS, partitions=len(followers))
