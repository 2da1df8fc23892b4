"""Row 9: how much quicker than real time the simulator runs a centre of 500 agents, with its faults and
checks on.

500 agents with a handling time of 300 s take a call every 0.6 s; so many calls are made, at phones
that answer, decline, vanish and hang up, while agents pause, configuration changes, and something
breaks every few seconds. Beside it: the same centre without faults, and the ordinary seed of 12 agents.
"""

from __future__ import annotations

from typing import Any

from tandem.simulation import run, workload, world
from tests.load.figures import Cpu, Figure, Scale, figure, median, run_row, spread, tell

AGENTS = 500
CALL_EVERY_MS = 600
CAPACITY = 2_000
"""Legs at the node: nobody is turned away."""


class LargeCell(world.Cell):
    """A cell whose node has room for all."""

    def __init__(self, *given: Any) -> None:
        super().__init__(*given)
        self.node.capacity = CAPACITY


def row9(scale: Scale) -> list[Figure]:
    """See the module's text."""
    minutes, seeds = 1, scale(2, 1)
    ordinary = [_speed(seed, scale(10, 1), faults=True) for seed in range(100, 100 + seeds)]
    agents, every = world.AGENTS, workload.CALL_EVERY_MS
    run.Cell = LargeCell  # type: ignore[misc]
    world.AGENTS, workload.CALL_EVERY_MS = (AGENTS, CALL_EVERY_MS) if not scale.tiny else (30, 2_000)
    try:
        tell(f"{world.AGENTS} agents, a call every {workload.CALL_EVERY_MS} ms, {minutes} simulated minutes a seed")
        faults = [_speed(seed, minutes, faults=True) for seed in range(100, 100 + seeds)]
        quiet = [_speed(seed, minutes, faults=False) for seed in range(100, 100 + seeds)]
        size = world.AGENTS
    finally:
        world.AGENTS, workload.CALL_EVERY_MS = agents, every
        run.Cell = world.Cell  # type: ignore[misc]
    value = median([speed for speed, _ in faults])
    calls = sum(calls for _, calls in faults)
    met = value >= 1000
    why = (
        ""
        if met
        else "; not met: product code decides, seals and encodes each step, and the checks read all of it again"
    )
    return [
        figure(
            "row9.simulated_to_real", value, "x", peer="the same centre without faults",
            peer_value=median([speed for speed, _ in quiet]),
            goal=">= 1,000 times real time for a 500-agent centre with faults and checks", met=met,
            note=f"{size} agents, {calls} calls over {seeds} seeds of {minutes} min; "
            f"{spread([speed for speed, _ in faults])}{why}",
        ),
        figure(
            "row9.ordinary_seed", median([speed for speed, _ in ordinary]), "x",
            note=f"12 agents, {sum(calls for _, calls in ordinary)} calls, a fault every 4 s; "
            f"{spread([speed for speed, _ in ordinary])}",
        ),
    ]  # fmt: skip


def _speed(seed: int, minutes: int, *, faults: bool) -> tuple[float, int]:
    """Simulated seconds per processor second, and how many calls there were. Time in which the cell
    only comes to rest does not count as simulated."""
    cpu = Cpu()
    result = run.run_seed(seed, "grouped", minutes, faults=faults)
    assert not result.violation, result.violation
    return minutes * 60 / cpu.used_s, result.calls


if __name__ == "__main__":
    run_row(row9, __doc__)
