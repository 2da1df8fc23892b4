"""A process that appends numbered records and says which ones were answered, until it is killed."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from tandem.adapters.sqlite import SqliteLog
from tandem.core.ports.log import Partition

PARTITIONS = (Partition("live", 0), Partition("live", 1), Partition("tenant", 0))
UNDER_WAY = 32
BODY_BYTES = 2000


async def append_for_ever(log: SqliteLog, partition: Partition, number: int) -> None:
    """Keep some appends under way, and print each number once it is answered."""
    answers: asyncio.Queue[tuple[int, asyncio.Task[None]]] = asyncio.Queue(UNDER_WAY)

    async def report() -> None:
        while True:
            answered, append = await answers.get()
            await append
            print(partition, answered, flush=True)

    async with asyncio.TaskGroup() as group:
        group.create_task(report())
        while True:
            body = str(number).encode().rjust(BODY_BYTES, b"0")
            await answers.put((number, group.create_task(log.append(partition, body))))
            number += 1


async def main(directory: Path, first: int) -> None:
    """Append to all partitions, from this number on."""
    log = await SqliteLog.open(directory)
    async with asyncio.TaskGroup() as group:
        for partition in PARTITIONS:
            group.create_task(append_for_ever(log, partition, first))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
