"""200 seeds of 10 simulated minutes with dense faults, half of them split."""

from __future__ import annotations

import pytest

from tandem.simulation.report import story
from tandem.simulation.run import simulate
from tests.support.budget import PROCESSES

SEEDS = 200


@pytest.mark.timeout(3600)
def test_every_invariant_holds_in_every_seed(capsys: pytest.CaptureFixture[str]) -> None:
    report = simulate(SEEDS, 0, processes=PROCESSES)
    with capsys.disabled():
        print("\n" + "\n".join(report.lines()))
    assert not report.failed, "\n".join(story(report.failed[0]))
    assert report.never == []
    assert report.crashes >= 5 * SEEDS and report.calls >= 40 * SEEDS
    assert sum(report.faults.values()) >= 100 * SEEDS  # one in five seconds of the first 500
