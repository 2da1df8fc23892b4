"""A node in a process of its own that records one talk, to be killed in the middle of it.

Prints its SIP port. Answers the first caller, rings `ann`, bridges and records; its rows
go to a file, one JSON line each, as an agent's journal would keep them.
"""

from __future__ import annotations

import asyncio
import json
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, TextIO

from tandem.core.ports.media import Answer, Bridge, LegAnswered, LegArrived, RecordStart
from tandem.core.seal import Secret
from tandem.media.backend import RowKind
from tests.integration.media.world import ListSink, world


class JournalSink(ListSink):
    """Writes rows through to a file."""

    def __init__(self, file: TextIO) -> None:
        super().__init__()
        self._file = file

    def remember(self, kind: RowKind, id: str, value: Mapping[str, Any] | None) -> None:
        super().remember(kind, id, value)
        self._file.write(json.dumps([kind.value, id, value]) + "\n")
        self._file.flush()


def read_rows(path: Path) -> dict[tuple[RowKind, str], Mapping[str, Any]]:
    """What a journal holds, latest only."""
    rows: dict[tuple[RowKind, str], Mapping[str, Any]] = {}
    for line in path.read_text().splitlines():
        kind, name, value = json.loads(line)
        if value is None:
            rows.pop((RowKind(kind), name), None)
        else:
            rows[RowKind(kind), name] = value
    return rows


async def main(home: Path, journal: Path, key: bytes) -> None:
    with journal.open("w") as file:
        async with world(home, sink=JournalSink(file)) as w:
            print(w.node.sip_port, flush=True)
            leg = (await w.sink.until(LegArrived)).leg
            await w.do(leg, Answer())
            await w.ring(f"{leg}.1", "ann")
            await w.sink.until(LegAnswered, leg=f"{leg}.1")
            await w.do(leg, Bridge(f"{leg}.1"))
            await w.do(leg, RecordStart("r1", Secret(key)))
            await asyncio.Event().wait()


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), bytes.fromhex(sys.argv[3])))
