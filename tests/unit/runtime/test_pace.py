"""How long a tenant rests, and that it is waked (`runtime.pace`)."""

from __future__ import annotations

import asyncio

from tandem.runtime.pace import SHORT_S, Pace
from tandem.runtime.turns import MAX_SHARED
from tests.support.bench import Bench
from tests.support.toy import NODE

LONG_S = 2 * SHORT_S
PATIENCE_S = 20


def _two_at_work() -> Bench:
    bench = Bench(nodes=(NODE,)).live()
    for tenant, many in (("calm", 1), ("storm", 3 * MAX_SHARED)):
        for index in range(many):
            bench.do("toy/a", f"say:{index}", tenant=tenant)
    bench.one_turn()
    return bench


async def test_after_a_long_turn_a_tenant_rests_and_goes_on_by_itself() -> None:
    bench, again = _two_at_work(), asyncio.Event()
    pace = Pace(again.set)
    pace.turned(bench.shard, LONG_S)
    bench.one_turn()
    assert bench.shard.waiting == 2 * MAX_SHARED
    await asyncio.wait_for(again.wait(), PATIENCE_S)
    bench.one_turn()
    assert bench.shard.waiting == MAX_SHARED
    pace.turned(bench.shard, LONG_S)
    again.clear()
    await asyncio.wait_for(again.wait(), PATIENCE_S)


async def test_who_has_no_more_than_its_part_does_not_rest() -> None:
    bench = _two_at_work()
    for _ in range(2):
        Pace(lambda: None).turned(bench.shard, LONG_S)
        bench.do("toy/a", "say:more", tenant="calm")
        bench.one_turn()
        assert bench.shard.waiting == 2 * MAX_SHARED, "the storm rests, and the calm one's is decided"


async def test_after_a_short_turn_nobody_rests() -> None:
    bench = _two_at_work()
    Pace(lambda: None).turned(bench.shard, SHORT_S / 2)
    bench.one_turn()
    assert bench.shard.waiting == MAX_SHARED


async def test_a_shard_that_is_dropped_is_not_waked() -> None:
    bench, waked = _two_at_work(), []
    pace = Pace(lambda: waked.append(1))
    pace.turned(bench.shard, LONG_S)
    pace.stop()
    later = asyncio.Event()
    Pace(later.set).turned(bench.shard, 2 * LONG_S)
    await asyncio.wait_for(later.wait(), PATIENCE_S)
    assert waked == []
