"""Row 5: replay. Whole contacts out of the log, decoded and folded, beside decoding alone; and the
time until 100,000 contacts live again from a snapshot and a tail.

Events are those of the first-call scenario, written by the product's own steps. Rates are per
processor second; start-up is by the clock, from files that were just written.
"""

from __future__ import annotations

import gc
import time
from pathlib import Path

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.sqlite import SqliteLog
from tandem.core.commit import Commit
from tandem.core.ports.log import Stored
from tandem.runtime import log_codec, snapshot
from tandem.runtime.ledger import Ledger
from tandem.runtime.service import kind_of
from tests.load.figures import (
    CONTACTS,
    FULL,
    Cpu,
    Figure,
    Scale,
    fewer,
    figure,
    home_in,
    median,
    run_row,
    scratch,
    spread,
    tell,
)
from tests.load.filler import LIVE, Filler
from tests.load.plane import live_group


async def row5(scale: Scale) -> list[Figure]:
    """See the module's text."""
    contacts, rounds = scale(2000, 50), scale(5, 1)
    tell(f"writing the log of {contacts} contacts")
    filler = Filler()
    filler.configure(300)
    told = filler.call(contacts).told
    assert told.over == told.talked == contacts
    events = sum(
        len(r.events) for r in map(log_codec.decode, (s.body for s in filler.records)) if isinstance(r, Commit)
    )
    decoded, folded = [], []
    for _ in range(rounds):
        decoded.append(events / _decode(filler.records))
        folded.append(events / _fold(filler.records))
    rate, limit = median(folded), median(decoded)
    met = rate >= 150_000 and rate >= 0.5 * limit
    why = "" if met else "; not met: each event is a frozen object with protobuf's fields copied into it, in Python"
    figures = [
        figure(
            "row5.replay_events_per_core_s", rate, "1/s", peer="decoding the same events alone", peer_value=limit,
            goal=">= 150,000/s a core and >= 0.5 of decode-only", met=met,
            note=f"{events} events of {contacts} contacts; {spread(folded)}{why}",
        )
    ]  # fmt: skip
    del filler
    gc.collect()
    figures.append(await _live_again(scale))
    return figures


def _decode(records: list[Stored]) -> float:
    """Processor seconds to read all records and all their events, every field."""
    group, cpu = live_group(), Cpu()
    for stored in records:
        record = log_codec.decode_to_fold(stored.body)
        if isinstance(record, Commit):
            for envelope in record.events:
                group.service_of[kind_of(envelope.stream)].events.decode(envelope.part)
    return cpu.used_s


def _fold(records: list[Stored]) -> float:
    ledger, cpu = Ledger(live_group()), Cpu()
    for stored in records:
        assert ledger.fold(log_codec.decode_to_fold(stored.body))
    return cpu.used_s


async def _live_again(scale: Scale) -> Figure:
    contacts, tail, rounds = scale(CONTACTS, 300), scale(500, 20), scale(3, 1)
    tell(f"{contacts} contacts in line")
    filler = Filler()
    filler.configure(300)
    filler.call(contacts, digit="2")
    with scratch() as directory:
        home = home_in(directory, "again")
        blobs = await LocalBlobs.open(home / "blobs")
        await filler.snapshot(blobs)
        filler.call(tail)
        await filler.store(home)
        live, end = len(filler.shard.ledger.aggregates), filler.records[-1].offset
        parts = None if scale.tiny is False else list(filler.shard.ledger.parts())
        commits = len(filler.records)
        del filler
        gc.collect()
        tell(f"{live} aggregates live again from snapshot and tail")
        whole = [await _restored(home, blobs, end, live, parts) for _ in range(rounds)]
        await blobs.close()
    value = median([load + fold for load, fold in whole])
    loads = median([load for load, _ in whole])
    why = "; not met: the state of each contact is made of a dozen Python objects, one by one" if value > 1 else ""
    return figure(
        "row5.live_again_s", value, "s", peer="loading the snapshot alone", peer_value=loads,
        goal=f"<= 1 s for {FULL:,} contacts", met=value <= 1 and contacts >= FULL,
        note=f"{live} aggregates, log of {commits} commits; {spread([a + b for a, b in whole])}"
        f"{why or fewer(contacts)}",
    )  # fmt: skip


async def _restored(
    home: Path, blobs: LocalBlobs, end: int, live: int, parts: list[bytes] | None
) -> tuple[float, float]:
    """Seconds to load the snapshot, and to fold the tail of the log onto it."""
    gc.collect()
    begun = time.perf_counter()
    found = await snapshot.load(blobs, LIVE, live_group(), end, _passed_over)
    assert found is not None
    loaded = time.perf_counter() - begun
    log = await SqliteLog.open(home / "log")
    begun = time.perf_counter()
    async for batch in log.read(LIVE, found.offset):
        for stored in batch:
            assert found.ledger.fold(log_codec.decode_to_fold(stored.body))
        if batch[-1].offset >= end:
            break
    folded = time.perf_counter() - begun
    await log.close()
    assert len(found.ledger.aggregates) == live
    assert parts is None or list(found.ledger.parts()) == parts
    return loaded, folded


def _passed_over(name: str, why: str) -> None:
    raise AssertionError(f"snapshot {name} cannot be used: {why}")


if __name__ == "__main__":
    run_row(row5, __doc__)
