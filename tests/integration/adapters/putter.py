"""A process that stores numbered blobs and says which ones were answered, until it is killed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from pathlib import Path

from tandem.adapters.blobs import LocalBlobs

PARTS = 20


async def content(number: int) -> AsyncIterator[bytes]:
    """A blob that can be told from all others, and from its own parts."""
    for part in range(PARTS):
        yield f"{number}/{part};".encode() * 1000


async def put_for_ever(blobs: LocalBlobs, number: int, step: int) -> None:
    """Store blob after blob."""
    while True:
        await blobs.put(f"recordings/{number % 7}/{number}", content(number))
        print(number, flush=True)
        number += step


async def main(root: Path, first: int) -> None:
    """Three blobs at a time, from this number on."""
    blobs = await LocalBlobs.open(root)
    async with asyncio.TaskGroup() as group:
        for lane in range(3):
            group.create_task(put_for_ever(blobs, first + lane, 3))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
