"""Faults are read only where they are allowed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tandem.core.points import BadKillAt, Point
from tandem.runtime.faults import CLOCK, KILL_AT, BadClock, FaultsNotAllowed, clock_from, points_from


def test_without_the_variable_points_only_count() -> None:
    points = points_from({}, allow_faults=True)
    points.reach(Point.APPENDED)
    assert points.passes(Point.APPENDED) == 1


def test_a_fault_that_is_not_allowed_stops_the_start() -> None:
    with pytest.raises(FaultsNotAllowed, match="--allow-faults"):
        points_from({KILL_AT: "appended:1"}, allow_faults=False)


def test_a_bad_value_stops_the_start() -> None:
    with pytest.raises(BadKillAt):
        points_from({KILL_AT: "soon"}, allow_faults=True)


class Still:
    """A clock that stands."""

    def wall_ms(self) -> int:
        return 1_000_000

    def monotonic_s(self) -> float:
        return 7.0

    def boottime_ms(self) -> int:
        return 500_000

    def boot_id(self) -> str:
        return "boot-1"


def test_clocks_that_are_not_the_hosts() -> None:
    still = Still()
    assert clock_from(still, {}, allow_faults=False) is still
    wall = clock_from(still, {CLOCK: "wall=-30000"}, allow_faults=True)
    assert (wall.wall_ms(), wall.boottime_ms(), wall.boot_id()) == (970_000, 500_000, "boot-1")
    boot = clock_from(still, {CLOCK: "boot=5000,wall=7"}, allow_faults=True)
    assert (boot.wall_ms(), boot.boottime_ms()) == (1_000_007, 5_000)
    assert boot.boot_id() != "boot-1"
    assert boot.monotonic_s() == 7.0


def test_a_clock_that_is_not_allowed_or_none_stops_the_start() -> None:
    with pytest.raises(FaultsNotAllowed, match="--allow-faults"):
        clock_from(Still(), {CLOCK: "wall=1"}, allow_faults=False)
    for text in ("noon", "wall=soon", "sun=3"):
        with pytest.raises(BadClock, match="wall=MS"):
            clock_from(Still(), {CLOCK: text}, allow_faults=True)


def test_the_process_dies_at_the_point_without_a_last_word_of_its_own() -> None:
    program = (
        "import os, sys\n"
        "from tandem.runtime.faults import points_from\n"
        "points = points_from(os.environ, allow_faults=True)\n"
        "try:\n"
        "    for _ in range(5): print(_, flush=True); points.reach('read_back')\n"
        "finally:\n"
        "    print('finally', flush=True)\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, env=os.environ | {KILL_AT: "read_back:3"}
    )
    assert done.returncode == -signal.SIGKILL
    assert done.stdout == "0\n1\n2\n"
    assert done.stderr == "TANDEM_KILL_AT=read_back:3 reached\n"
