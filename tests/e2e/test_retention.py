"""A real control plane over a log of years ago: what the tenants' policies make due is erased by itself."""

from __future__ import annotations

import asyncio
import sqlite3
from contextlib import closing
from pathlib import Path

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.memory import MemoryPartitions
from tandem.adapters.sqlite import SqliteKeys, SqliteLog
from tandem.adapters.system import SystemEntropy
from tandem.core.commit import Commit
from tandem.core.ports.log import Partition
from tandem.core.recording import name_of
from tandem.core.seal import AUDIO
from tandem.runtime import log_codec
from tandem.session.domain.retention import Retention
from tests.e2e.cell import Cell
from tests.e2e.programs import PATIENCE_S
from tests.support.live_host import live_host


async def the_past(data_dir: Path) -> dict[str, str]:
    """Two tenants' contacts of 2023 as a cell's files have them; the key of each. Only red has a policy."""
    keys: dict[str, str] = {}
    async with live_host() as live:
        await live._take("red", "tenant/0", "retention", Retention(1, 30, 7))
        for tenant in ("red", "green"):
            contact = f"{tenant}s"
            await live.ring(tenant, contact)
            stream = (tenant, f"contact/{contact}")
            keys[tenant] = await live.state(tenant, lambda ledger, stream=stream: ledger.aggregates[stream].key)
            await live.hang_up(tenant, contact)
        leg = await live.talk("red", "talked")
        keys["talked"] = await live.state("red", lambda ledger: ledger.aggregates["red", "contact/talked"].key)
        await live.over("red", "talked", leg)
        await copy_log(live.partitions, data_dir / "log")
    stored = await SqliteKeys.open(data_dir / "log", entropy=SystemEntropy())
    await stored.allocate([id_ for key in keys.values() for id_ in (key, key + AUDIO)])
    await stored.close()
    blobs = await LocalBlobs.open(data_dir / "blobs")
    await blobs.put(name_of("red", f"talked-{leg.partition('.')[2]}"), b"sealed audio")
    await blobs.close()
    return keys


async def copy_log(partitions: MemoryPartitions, log_dir: Path) -> None:
    """The records of `live` as they are."""
    log = await SqliteLog.open(log_dir)
    for shard in range(2):
        partition = Partition("live", shard)
        for record in partitions.records(partition):
            await log.append(partition, record.body)
    await log.close()


def erased(log_dir: Path) -> list[tuple[str, str]]:
    """(tenant, stream) of the erasures that a running cell's log says are done."""
    with closing(sqlite3.connect(f"file:{log_dir}/log.db?mode=ro", uri=True)) as log:
        bodies = [bytes(row[0]) for row in log.execute("SELECT body FROM record WHERE partition LIKE 'live/%'")]
    commits = [commit for commit in map(log_codec.decode, bodies) if isinstance(commit, Commit)]
    events = [event for commit in commits for event in commit.events if event.type == "contact.erased"]
    return sorted((event.tenant, event.stream) for event in events)


async def test_what_is_due_is_erased_by_itself_and_nobody_else_s(own_cell: Cell) -> None:
    keys = await the_past(own_cell.data_dir)
    log_dir = own_cell.data_dir / "log"
    due = [("red", "erasure/reds"), ("red", "erasure/talked"), ("red", "erasure/talked.recordings")]
    own_cell.start_control().wait_line("control plane ready")
    async with asyncio.timeout(PATIENCE_S):
        while erased(log_dir) != due:
            await asyncio.sleep(0.1)
    own_cell.kill_control()
    own_cell.start_control().wait_line("control plane ready")  # it finds nothing more to do
    own_cell.kill_control()
    assert erased(log_dir) == due
    stored = await SqliteKeys.open(log_dir, entropy=SystemEntropy())
    left = await stored.get([id_ for key in keys.values() for id_ in (key, key + AUDIO)])
    await stored.close()
    assert set(left) == {keys["green"], keys["green"] + AUDIO}
    blobs = await LocalBlobs.open(own_cell.data_dir / "blobs")
    assert await blobs.list("recordings/") == []
    await blobs.close()
