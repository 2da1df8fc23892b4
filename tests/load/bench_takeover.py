"""How long a successor takes over a long log: `python tests/load/bench_takeover.py [MESSAGES ...]`.

A shard that has sent so many messages to another group, on SQLite. Measured from the start of the
successor until the receiver has taken a new message; the peer is the same process that reads
its sender's log from the beginning, as without places in the snapshot.
"""

from __future__ import annotations

import asyncio
import sys
import tempfile
import time
from pathlib import Path

import structlog

from tandem.runtime.driver import ShardDriver
from tests.integration.runtime.toys import Process, SqliteDisk, process, until

BATCH = 200
EVERY = 40
"""Commits between snapshots; one has many messages here."""


async def fill(disk: SqliteDisk, messages: int) -> None:
    """A life in which so many messages are sent, with a snapshot near its end."""
    async with process(disk, snapshot_commits=EVERY) as p:
        for first in range(0, messages, BATCH):
            script = "tell:far/x{}:say:1,over;say:1;over;answer"
            await asyncio.gather(*(p.ask(f"toy/{n}", script.format(n)) for n in range(first, first + BATCH)))
        await until(lambda: p.toys._snapshotting is None and p.far._snapshotting is None)


async def takeover(disk: SqliteDisk, name: str) -> float:
    """Seconds from the start until a message sent now is taken."""
    began = time.perf_counter()
    async with process(disk, name) as p:
        await _taken(p)
        return time.perf_counter() - began


async def _taken(p: Process) -> None:
    position = (await p.told("toy/last", "tell:far/last:say:1,over;over;answer")).position
    assert await p.host.taken("t1", "far", position, 600)


async def main() -> None:
    """Print a line a size."""
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(50))
    loaded = ShardDriver._loaded

    async def without_places(self: ShardDriver, end: int) -> object:
        shard = await loaded(self, end)
        self.followed = {}
        return shard

    for messages in [int(text) for text in sys.argv[1:]] or [10_000, 50_000]:
        with tempfile.TemporaryDirectory(prefix="tandem-bench-") as home:
            disk = SqliteDisk(Path(home))
            await fill(disk, messages)
            short = min([await takeover(disk, f"a{n}") for n in range(3)]) * 1000
            ShardDriver._loaded = without_places  # type: ignore[assignment]
            long = min([await takeover(disk, f"b{n}") for n in range(3)]) * 1000
            ShardDriver._loaded = loaded  # type: ignore[method-assign]
        ratio = long / short
        print(f"{messages} messages: {short:.0f} ms; from the beginning {long:.0f} ms; ratio {ratio:.1f}")


if __name__ == "__main__":
    asyncio.run(main())
