"""A process whose release does not fit a shard's log leaves the shard alone (P2, U1)."""

from __future__ import annotations

import asyncio
from dataclasses import replace

from tandem.adapters.memory import KeyTable, MemoryKeys, MemoryLog, MemoryPartitions
from tandem.adapters.system import SystemClock
from tandem.core.points import Points
from tandem.runtime.driver import ShardDriver
from tandem.runtime.gate import Gate
from tandem.runtime.service import Group
from tandem.runtime.shared import Shared
from tandem.runtime.step import Offer
from tests.integration.runtime.toys import until
from tests.support import toy
from tests.support.mini_cell import SeededEntropy, Silent


def _older() -> Group:
    """A release that does not know what is new."""
    made = toy.service()

    def raises(state: toy.Toy, event: toy.Did) -> toy.Toy:
        if event.value == "say:new":
            raise KeyError(event.value)
        return toy.evolve(state, event)

    kinds = tuple(replace(kind, evolve=raises) if kind.name == "ward" else kind for kind in made.kinds)
    return Group("toys", (replace(made, kinds=kinds),), {"far": "far"}, "toys")


async def _written() -> MemoryPartitions:
    """A log with two aggregates that the older release cannot read."""
    partitions = MemoryPartitions()
    driver = _driver(Group("toys", (toy.service(),), {"far": "far"}, "toys"), partitions, None)
    running = asyncio.create_task(driver.run())
    await driver.live()
    for number, name in enumerate("ab", 1):
        assert driver.offer(Offer("src/t1", number, "t1", f"ward/{name}", toy.Do("say:leg-x;say:new")))
    await driver.taken("src/t1", 2, "t1")
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
    return partitions


def _driver(group: Group, partitions: MemoryPartitions, gate: Gate | None) -> ShardDriver:
    keys = MemoryKeys(KeyTable(SeededEntropy()))
    given = {"media": Silent()}
    shared = Shared("b", MemoryLog(partitions), keys, SystemClock(), Points(), gate=gate)
    return ShardDriver(group, 0, shared, receivers=given)


async def test_a_shard_that_would_mostly_be_quarantined_is_not_claimed() -> None:
    partitions = await _written()
    barred = _driver(_older(), partitions, Gate(1))
    running = asyncio.create_task(barred.run())
    before = partitions.end(barred.partition)
    await until(lambda: barred.counts.barred_now)
    assert not barred.is_live
    assert partitions.end(barred.partition) == before, "it claims nothing and quarantines nothing"
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)


async def test_up_to_the_limit_it_is_claimed_and_what_cannot_be_read_is_set_aside() -> None:
    partitions = await _written()
    gate = Gate(2)
    driver = _driver(_older(), partitions, gate)
    running = asyncio.create_task(driver.run())
    await driver.live()
    assert (driver.counts.barred_now, driver.counts.quarantines, driver.counts.quarantined_now) == (0, 2, 2)
    assert not gate.opens(1)
    running.cancel()
    await asyncio.gather(running, return_exceptions=True)
