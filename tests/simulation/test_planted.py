"""Each fault of `planted.md` is caught by an invariant within a few seeds."""

from __future__ import annotations

import pytest

from tandem.simulation.run import run_seed
from tests.simulation.plants import PLANTS, Plant

MINUTES = 6


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: f"{plant.number} {plant.name}")
def test_a_planted_fault_is_caught(plant: Plant) -> None:
    with plant.planted() as parts:
        caught = any(run_seed(seed, minutes=MINUTES, parts=parts).violation for seed in range(plant.seeds))
    assert caught, f"{plant.seeds} seeds saw nothing of it"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_seeds_hold_without_a_plant(seed: int) -> None:
    assert run_seed(seed, minutes=MINUTES).violation == ""
