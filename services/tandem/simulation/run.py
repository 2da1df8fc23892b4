"""Runs seeds: one to its end, or many over several processes."""

from __future__ import annotations

import gc
import multiprocessing
import os
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial

from tandem.core.seal import fingerprint
from tandem.simulation.chance import Chance
from tandem.simulation.faults import Faults
from tandem.simulation.invariants import Violation
from tandem.simulation.outcome import Result
from tandem.simulation.pace import Pace
from tandem.simulation.report import Report, story
from tandem.simulation.workload import Workload
from tandem.simulation.world import Cell, Parts, grouped, split

LOOK_EVERY_MS = 4_000
"""How often owners' states are compared with their logs."""
REST_MS = 4_500_000
"""How long a cell may take to come to rest: an ended contact waits an hour for its recording."""

Tell = Callable[[str], None]


def shape_of(seed: int) -> str:
    """Half of the seeds run split."""
    return "split" if seed % 2 else "grouped"


def run_seed(
    seed: int,
    shape: str = "",
    minutes: int = 10,
    *,
    faults: bool = True,
    parts: Parts | None = None,
    tell: Tell | None = None,
) -> Result:
    """One seed to its end, or to the first thing that does not hold. `tell` gets every fact."""
    result = Result(seed, shape or shape_of(seed), minutes)
    before = os.times()
    with _no_search_for_cycles():
        _run(result, parts, faults=faults, tell=tell)
    after = os.times()
    result.cpu_s = after.user - before.user + after.system - before.system
    return result


@contextmanager
def _no_search_for_cycles() -> Iterator[None]:
    """A seed makes few cycles besides its cell, which lives to its end: they are let go then."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()
        gc.collect()


def _run(result: Result, parts: Parts | None, *, faults: bool, tell: Tell | None) -> None:
    seed, shape = result.seed, result.shape
    cell = Cell(seed, split() if shape == "split" else grouped(), parts, tell)
    chance = Chance(seed).fork("run")
    workload = Workload(cell, chance.fork("people"))
    breaking = Faults(cell, chance.fork("faults"))
    try:
        _live(cell, workload, breaking if faults else None, result.minutes * 60_000)
        _rest(cell)
    except Violation as violation:
        result.violation, result.story = str(violation), cell.story()
    except Exception as error:  # noqa: BLE001
        # Raised by the production objects or by the simulator: a finding either way.
        result.violation = f"raised: {type(error).__name__}: {error}"
        result.story = [*cell.story(), *traceback.format_exc().splitlines()]
    _fill(result, cell, workload, breaking)


def _fill(result: Result, cell: Cell, workload: Workload, faults: Faults) -> None:
    result.simulated_ms = cell.scheduler.now_ms
    result.commits, result.calls = cell.watch.commits, workload.calls
    result.faults, result.pairs, result.crashes = faults.counted, faults.pairs, faults.crashes
    if cell.node.incarnations > 1:
        cell.reached("a new incarnation")
    cell.count()
    result.branches = cell.branches
    result.ended = {contact: outcome for (_, contact), outcome in cell.watch.outcomes.of.items()}
    for outcome in result.ended.values():
        result.outcomes[outcome] = result.outcomes.get(outcome, 0) + 1
    result.digest = fingerprint(*(row.body for p in cell.groups for row in cell.log.partitions.records(p)))


def _live(cell: Cell, workload: Workload, faults: Faults | None, end_ms: int) -> None:
    cell.start(2)
    workload.start()
    cell.erasures.start()
    if faults is not None:
        faults.start()
    for at_ms in range(LOOK_EVERY_MS, end_ms + 1, LOOK_EVERY_MS):
        cell.scheduler.run(at_ms)
        cell.watch.compare()
        if at_ms >= end_ms * 5 // 6 and not workload.calm:
            workload.calm = cell.phones.calm = cell.erasures.calm = True
            if faults is not None:
                faults.calm()


def _rest(cell: Cell) -> None:
    """After the faults everything comes to rest."""
    limit_ms = cell.scheduler.now_ms + REST_MS
    while why := cell.watch.unrest():
        if cell.scheduler.now_ms >= limit_ms:
            raise Violation("everything comes to rest", why)
        cell.scheduler.run(cell.scheduler.now_ms + 5_000)
    cell.watch.compare(anew=True)
    cell.watch.at_the_end()
    cell.erasures.at_the_end()


def run_many(seeds: int, from_: int, shape: str, minutes: int, processes: int) -> Iterator[Result]:
    """Results in the order of the seeds."""
    run = partial(run_seed, shape=shape, minutes=minutes)
    wanted = range(from_, from_ + seeds)
    if processes == 1:
        yield from map(run, wanted)
        return
    with multiprocessing.get_context("spawn").Pool(processes) as pool:
        yield from pool.imap(run, wanted)


def simulate(
    seeds: int = 1,
    from_: int = 0,
    *,
    split: bool = False,
    grouped: bool = False,
    minutes: int = 10,
    verbose: bool = False,
    log_hash: bool = False,
    processes: int = 1,
    tell: Tell = lambda line: None,
    note: Tell = lambda line: None,
) -> Report:
    """The command `tandem simulate`: run seeds, tell what happens, and return what was shown.

    Without `split` or `grouped` half of the seeds run in either shape. `verbose` tells every
    fact of every seed, in one process. `log_hash` tells what each seed's logs hash to, and
    nothing else of those that held. `note` is told after each seed how far the run has come.
    """
    shape = "split" if split else "grouped" if grouped else ""
    report, pace = Report(), Pace(seeds, minutes, lambda: os.times().elapsed)
    told = partial(run_seed, shape=shape, minutes=minutes, tell=tell)
    wanted = range(from_, from_ + seeds)
    for result in map(told, wanted) if verbose else run_many(seeds, from_, shape, minutes, processes):
        report.add(result)
        pace.over(result)
        if result.violation:
            for line in story(result):
                tell(line)
        elif log_hash:
            tell(f"seed {result.seed} {result.shape}: logs {result.digest}")
        elif not verbose:
            tell(f"seed {result.seed} {result.shape}: {result.calls} calls, {result.crashes} crashes, held")
        note(pace.so_far())
    for line in () if log_hash else (*report.lines(), pace.at_the_end()):
        tell(line)
    return report
