"""A process that allocates keys and destroys half of them, and says what was answered, until it is killed."""

from __future__ import annotations

import asyncio
import hashlib
import sqlite3
import sys
from contextlib import closing
from pathlib import Path

from tandem.adapters.sqlite import SqliteKeys
from tandem.adapters.system import SystemEntropy

BLOCK = 8


def wrapped(directory: Path, key_id: str) -> str:
    """A key as the file has it, in hex."""
    digest = hashlib.sha256(key_id.encode()).digest()
    with closing(sqlite3.connect(directory / "keys.db")) as connection:
        return bytes(connection.execute("SELECT wrapped FROM key WHERE digest = ?", (digest,)).fetchone()[0]).hex()


async def main(directory: Path, number: int) -> None:
    """Blocks of keys from this number on."""
    keys = await SqliteKeys.open(directory, entropy=SystemEntropy())
    while True:
        ids = [f"k{number + at}" for at in range(BLOCK)]
        await keys.allocate(ids)
        for key_id in ids:
            print("allocated", key_id, wrapped(directory, key_id), flush=True)
        for key_id in ids[::2]:
            await keys.destroy([key_id])
            print("destroyed", key_id, "-", flush=True)
        number += BLOCK


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), int(sys.argv[2])))
