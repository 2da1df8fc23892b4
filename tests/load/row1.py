"""Row 1: from the moment at which a caller is in line and an agent is free to the order to ring, durable
first, over the real link.

Measured at the node's end (`media_stub`): from the event that makes the later of the two free, the digit
or the end of a talk, to the `Originate` that comes back. Link, decision, commit and read-back are in it.

Peers in the same run: the same without durability (memory log) plus one write and fdatasync; and, with
1,000 callers in line, mod_callcenter's statements replayed on SQLite (`callcenter`). Figures of the real
module from another run stand beside them as an anchor.
"""

from __future__ import annotations

import os
import random
import time
from pathlib import Path

from tandem.adapters.blobs import LocalBlobs
from tests.load.callcenter import CallCenter
from tests.load.calls import Calls, away, calls
from tests.load.figures import (
    CONTACTS,
    FULL,
    Figure,
    Scale,
    fewer,
    figure,
    home_in,
    median,
    run_row,
    scratch,
    share,
    spread,
    tell,
)
from tests.load.filler import Filler
from tests.load.media_stub import Plan, StubProcess
from tests.load.plane import NUMBER, link_of, plane

RATE = 500.0
"""Offers a second."""
QUIET_RATE = 50.0
"""Where no offer waits for another: the latency itself."""
CALLCENTER_AGENTS, CALLCENTER_WAITING = 200, 1000
ANCHOR = "the real module, measured on another day: 1,368-1,806 ms p50 with 1,000 in line, 60 ms idle"


async def row1(scale: Scale) -> list[Figure]:
    """See the module's text."""
    rounds = scale(3, 1)
    durable: list[Calls] = []
    undurable: list[Calls] = []
    disk: list[float] = []
    with scratch() as directory:
        for turn in range(rounds):
            tell(f"round {turn + 1} of {rounds}: {QUIET_RATE:g} offers a second")
            disk.append(fdatasync_ms(directory, scale(400, 20)))
            for log, found in (("sqlite", durable), ("memory", undurable)):
                home = home_in(directory, f"{log}{turn}")
                found.append(await _offers(home, log, scale(200, 5), QUIET_RATE, scale(400, 10)))
        figures = [_quiet(durable, undurable, disk)]
        figures.append(await _loaded(directory, scale))
        figures.append(await _in_line(directory, scale))
    return figures


def _quiet(durable: list[Calls], undurable: list[Calls], disk: list[float]) -> Figure:
    ours, theirs = ([share(one.offer_ms, 0.5) for one in found] for found in (durable, undurable))
    missed = away(*durable, *undurable)
    value, peer = median(ours), median(theirs) + median(disk)
    met = value <= 2 * peer and not missed
    return figure(
        "row1.offer_p50_ms", value, "ms", peer="undurable p50 + one fdatasync", peer_value=peer,
        goal="<= 2 times", met=met,
        note=f"{QUIET_RATE:g} offers/s, both ways over the link; undurable {median(theirs):.2f} ms, fdatasync "
        f"{median(disk):.3f} ms; {spread(ours)}{missed}",
    )  # fmt: skip


def fdatasync_ms(directory: Path, times: int) -> float:
    """Median of a write of 4 KiB and its fdatasync."""
    descriptor = os.open(directory / "disk", os.O_WRONLY | os.O_CREAT, 0o600)
    found = []
    for _ in range(times):
        begun = time.perf_counter()
        os.write(descriptor, bytes(4096))
        os.fdatasync(descriptor)
        found.append(1000 * (time.perf_counter() - begun))
    os.close(descriptor)
    return median(found)


async def _offers(home: Path, log: str, agents: int, rate: float, count: int, first: int = 0) -> Calls:
    """So many calls at that rate, after a warm-up."""
    async with StubProcess(link_of(home), home / "media") as stub, plane(home, log=log) as control:
        await control.configure(agents, first=first)
        await control.idle(agents)
        await calls(stub, control, Plan(NUMBER, max(5, count // 4), rate=rate, talk_ms=50))
        return await calls(stub, control, Plan(NUMBER, count, rate=rate, talk_ms=50))


async def _loaded(directory: Path, scale: Scale) -> Figure:
    waiting, agents = scale(CONTACTS, 100), scale(10_000, 20)
    home = home_in(directory, "loaded")
    tell(f"{waiting} callers in line that nobody serves")
    filler = Filler()
    filler.configure(0)
    filler.call(waiting, digit="2")
    blobs = await LocalBlobs.open(home / "blobs")
    await filler.snapshot(blobs)
    await blobs.close()
    await filler.store(home)
    await filler.keep_keys(home)
    del filler
    tell(f"{agents} agents, {RATE:g} offers a second")
    found = await _offers(home, "sqlite", agents, RATE, scale(5000, 20), first=0)
    times, reached = found.offer_ms, found.talked / found.seconds
    value = share(times, 0.99)
    quick = value <= 5 and reached >= 0.98 * RATE
    met = quick and waiting >= FULL and not found.turned_away
    why = "" if quick else f"; not met: {RATE:g} contacts a second are more than this core gave, so inputs wait"
    return figure(
        "row1.offer_p99_ms", value, "ms", peer="p50 of the same run", peer_value=share(times, 0.5),
        goal="p99 <= 5 ms at 500 offers/s a core, 10,000 agents, 100,000 waiting", met=met,
        note=f"{waiting} waiting, {agents} agents, {len(times)} offers, {reached:.0f} contacts/s reached to their "
        f"end; p99.9 {share(times, 0.999):.1f} ms{away(found)}{why or fewer(waiting)}",
    )  # fmt: skip


async def _in_line(directory: Path, scale: Scale) -> Figure:
    """An agent becomes free while 1,000 wait: ours, and the replayed statements, in turn."""
    agents, waiting = scale(CALLCENTER_AGENTS, 5), scale(CALLCENTER_WAITING, 20)
    tell(f"{agents} agents, {waiting} callers in line for them")
    home = home_in(directory, "line")
    async with StubProcess(link_of(home), home / "media") as stub, plane(home) as control:
        await control.configure(agents)
        await control.idle(agents)
        count = waiting + scale(3000, 30)
        plan = Plan(NUMBER, count, at_once=waiting + agents, talk_ms=scale(2000, 20))
        found = await calls(stub, control, plan)
    # The first talks began when all were free, the last when nobody waited any more.
    ours = found.offer_ms[2 * agents : found.talked - waiting]
    tell("mod_callcenter's statements on SQLite")
    peer = CallCenter(directory / "callcenter.db", agents, waiting)
    theirs = peer.offers(random.Random(7), scale(8, 1))
    sweep = median(peer.sweeps)
    peer.close()
    value, other = share(ours, 0.5), share(theirs, 0.5)
    return figure(
        "row1.agent_free_to_offer_ms", value, "ms", peer="mod_callcenter's statements replayed", peer_value=other,
        goal=">= 100 times quicker at 1,000 in line", met=other >= 100 * value and not found.turned_away,
        note=f"{waiting} in line, {agents} agents; ours over {len(ours)} offers, theirs over {len(theirs)}, a sweep "
        f"takes {1000 * sweep:.0f} ms; {other / value:.0f} times quicker; anchor: {ANCHOR}{away(found)}",
    )  # fmt: skip


if __name__ == "__main__":
    run_row(row1, __doc__)
