"""What the shards of one process have in common."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass, field

from tandem.core.points import Points
from tandem.core.ports.blobs import Blobs
from tandem.core.ports.clock import Clock
from tandem.core.ports.keys import Keys
from tandem.core.ports.log import Log
from tandem.runtime.gate import Gate
from tandem.runtime.nodes import NODE_LOST_MS
from tandem.runtime.telemetry.shards import Instruments


@dataclass(frozen=True, slots=True)
class Shared:
    """`owner` is the process's name in the log. Without `blobs` there are no snapshots; one is made
    after so many commits. A media node that is away for `node_lost_ms` has lost its calls."""

    owner: str
    log: Log
    keys: Keys
    clock: Clock
    points: Points
    blobs: Blobs | None = None
    snapshot_commits: int = 10_000
    instruments: Instruments | None = None
    gate: Gate | None = None
    node_lost_ms: int = NODE_LOST_MS
    heavy: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held by who packs or digests a state: of all shards one at a time."""
