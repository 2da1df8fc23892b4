"""Faults are read only where they are allowed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys

import pytest

from tandem.core.points import BadKillAt, Point
from tandem.runtime.faults import KILL_AT, FaultsNotAllowed, points_from


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
