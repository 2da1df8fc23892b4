"""What a process tells of itself: its tasks, and the time that collecting garbage took."""

from __future__ import annotations

import asyncio
import gc

from tandem.adapters.system import SystemClock
from tandem.runtime.config import Config
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.process import Telemetry


def values(telemetry: Telemetry, metric: names.Metric) -> dict[tuple[str, ...], float]:
    return next(family.values for family in telemetry.meters.read() if family.metric is metric)


async def test_collections_and_tasks_are_counted_while_it_runs() -> None:
    telemetry = Telemetry(Config(), "all", "owner", SystemClock())
    hooks = len(gc.callbacks)
    async with telemetry.running():
        await asyncio.sleep(0)  # its tasks begin
        await asyncio.sleep(0)
        full = values(telemetry, names.GC_RUNS)["2",]
        took = values(telemetry, names.GC_SECONDS)[()]
        gc.collect()
        assert values(telemetry, names.GC_RUNS)["2",] == full + 1
        assert values(telemetry, names.GC_SECONDS)[()] > took
        assert values(telemetry, names.TASKS)[()] == len(asyncio.all_tasks()) >= 3
    assert len(gc.callbacks) == hooks
