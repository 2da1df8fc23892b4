"""Each kind of kill with a bug planted that it must catch. On demand: `pytest tests/e2e/planted_kills.py`.

A bug that heals itself is no test of a kill point, and three points have only such: an effect that was
sent and comes again is answered by its key, and by its leg should the key be lost; a snapshot without a
manifest is passed over for the log; a claim whose owner died is one epoch more.
"""

from __future__ import annotations

import random
import sys
from pathlib import Path

import pytest

from tandem.core.points import Point
from tests.e2e.cell import Cell
from tests.e2e.kill_tally import BOTH, MEDIA, RANDOM, Tally
from tests.e2e.rest import Refused
from tests.e2e.test_kill import kill_control_planes
from tests.e2e.test_kill_media import Fate, kill_media_nodes

KILLS = 20
"""A bug is caught within so many kills at its point."""
CONTROL_BUGS = {
    "replies_leave_when_decided": Point.BEFORE_APPEND,
    "requests_are_not_remembered": Point.APPENDED,
    "pending_effects_are_not_offered_again": Point.READ_BACK,
}
MEDIA_BUGS = {
    "a_ring_in_doubt_is_repeated": Fate(MEDIA, f"{Point.JOURNALLED}:45"),
    "deaths_are_told_as_of_the_return": Fate(BOTH, RANDOM),
    "registrations_die_with_the_node": Fate(MEDIA, RANDOM),
    "recordings_are_buffered": Fate(MEDIA, RANDOM),
}
CAUGHT = (AssertionError, TimeoutError, Refused, ExceptionGroup)
"""A count above zero, calls that stand still, a repeat that is refused."""


def plant(cell: Cell, bug: str) -> None:
    """Processes of the cell have the bug from now on."""
    cell.tandem = (sys.executable, "-m", "tests.e2e.planted", bug)


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("bug", CONTROL_BUGS)
async def test_a_bug_of_the_control_plane_is_caught(own_cell: Cell, tmp_path: Path, bug: str) -> None:
    plant(own_cell, bug)
    with pytest.raises(CAUGHT) as caught:
        await kill_control_planes(own_cell, tmp_path / "replies", [CONTROL_BUGS[bug]] * KILLS, 0, Tally(None))
    print(f"{bug}: {type(caught.value).__name__}: {caught.value!s:.300}")


@pytest.mark.timeout(1200)
@pytest.mark.parametrize("bug", MEDIA_BUGS)
async def test_a_bug_of_the_media_node_is_caught(own_cell: Cell, tmp_path: Path, bug: str) -> None:
    plant(own_cell, bug)
    with pytest.raises(CAUGHT) as caught:
        await kill_media_nodes(own_cell, tmp_path / "replies", [MEDIA_BUGS[bug]] * 2, random.Random(1), Tally(None))
    print(f"{bug}: {type(caught.value).__name__}: {caught.value!s:.300}")
