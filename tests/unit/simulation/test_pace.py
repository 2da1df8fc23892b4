"""What a long run tells of itself."""

from __future__ import annotations

from tandem.simulation.outcome import Result
from tandem.simulation.pace import Pace
from tandem.simulation.report import story


def test_speed_and_what_is_left() -> None:
    now = [100.0]
    pace = Pace(200, 30, lambda: now[0])
    for seed in range(50):
        pace.over(Result(seed, "split", 30, cpu_s=4.0, simulated_ms=9_999_999, violation="" if seed else "broken"))
    now[0] = 190.0
    assert pace.so_far() == "50 of 200 seeds, 1 failed, 1000 times real time, 4 min 30 s left"
    assert pace.at_the_end() == "took 1 min 30 s: 1000 times real time, 450 times a core"


def test_hours_are_told_without_seconds() -> None:
    now = [0.0]
    pace = Pace(10, 10, lambda: now[0])
    pace.over(Result(0, "split"))
    now[0] = 500.0
    assert pace.so_far().endswith("1 h 15 min left")


def test_a_failing_seed_is_played_again_for_as_long_as_it_was() -> None:
    """Its faults cease after so many of its minutes: with others it is another story."""
    assert list(story(Result(7, "split", 30, violation="broken")))[-1] == (
        "again: tandem simulate --seeds 1 --from 7 --minutes 30 --shape split --verbose"
    )
