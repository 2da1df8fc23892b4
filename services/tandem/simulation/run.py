"""Runs seeds."""

from __future__ import annotations

import traceback
from collections.abc import Callable
from dataclasses import dataclass, field

from tandem.core.seal import fingerprint
from tandem.simulation.chance import Chance
from tandem.simulation.faults import Faults
from tandem.simulation.invariants import Violation
from tandem.simulation.workload import Workload
from tandem.simulation.world import Cell, Parts, grouped, split

COMPARE_EVERY_MS = 2_000
REST_MS = 4_500_000
"""How long a cell may take to come to rest: an ended contact waits an hour for its recording."""


@dataclass(slots=True)
class Result:
    """What became of a seed."""

    seed: int
    shape: str
    simulated_ms: int
    commits: int
    calls: int
    crashes: int = 0
    violation: str = ""
    story: list[str] = field(default_factory=list)
    branches: dict[str, int] = field(default_factory=dict)
    faults: dict[str, int] = field(default_factory=dict)
    pairs: dict[tuple[str, str], int] = field(default_factory=dict)
    outcomes: dict[str, int] = field(default_factory=dict)
    digest: str = ""


def run_seed(
    seed: int,
    shape: str = "",
    minutes: int = 10,
    *,
    faults: bool = True,
    parts: Parts | None = None,
    tell: Callable[[str], None] | None = None,
) -> Result:
    """One seed to its end, or to the first thing that does not hold."""
    shape = shape or ("split" if seed % 2 else "grouped")
    cell = Cell(seed, split() if shape == "split" else grouped(), parts, tell)
    chance = Chance(seed).fork("run")
    workload = Workload(cell, chance.fork("people"))
    breaking = Faults(cell, chance.fork("faults"))
    result = Result(seed, shape, 0, 0, 0)
    try:
        _live(cell, workload, breaking if faults else None, minutes)
    except Violation as violation:
        result.violation = str(violation)
        result.story = cell.story()
    except Exception as error:
        result.violation = f"the simulation itself: {type(error).__name__}: {error}"
        result.story = [*cell.story(), *traceback.format_exc().splitlines()]
    result.faults, result.pairs, result.crashes = breaking.counted, breaking.pairs, breaking.crashes
    result.simulated_ms = cell.scheduler.now_ms
    result.commits, result.calls = cell.watch.commits, workload.calls
    result.branches = cell.branches
    for outcome in cell.watch.outcomes.of.values():
        result.outcomes[outcome] = result.outcomes.get(outcome, 0) + 1
    bodies = [row.body for p in cell.groups for row in cell.log.partitions.records(p)]
    result.digest = fingerprint(*bodies)
    return result


def _live(cell: Cell, workload: Workload, faults: Faults | None, minutes: int) -> None:
    scheduler = cell.scheduler
    cell.start(2)
    workload.start()
    if faults is not None:
        faults.start()
    end_ms = minutes * 60_000
    for at_ms in range(COMPARE_EVERY_MS, end_ms, COMPARE_EVERY_MS):
        scheduler.run(at_ms)
        cell.watch.compare()
        if at_ms >= end_ms * 5 // 6 and not workload.calm:
            workload.calm = cell.phones.calm = True
            if faults is not None:
                faults.calm()
    _rest(cell)


def _rest(cell: Cell) -> None:
    """After the faults everything comes to rest."""
    limit_ms = cell.scheduler.now_ms + REST_MS
    while why := cell.watch.unrest():
        if cell.scheduler.now_ms >= limit_ms:
            raise Violation("everything comes to rest", why)
        cell.scheduler.run(cell.scheduler.now_ms + 5_000)
    cell.watch.compare()
    cell.watch.at_the_end()
