"""Each fault of `planted.md` is caught by an invariant within a few seeds."""

from __future__ import annotations

import multiprocessing
from collections.abc import Iterator
from functools import partial
from multiprocessing.pool import Pool

import pytest

from tandem.simulation.run import run_seed
from tests.simulation.plants import PLANTS, Plant
from tests.support.budget import PROCESSES

MINUTES = 6


@pytest.fixture(scope="module")
def pool() -> Iterator[Pool]:
    with multiprocessing.get_context("spawn").Pool(PROCESSES) as pool:
        yield pool


def _violation(seed: int, number: int) -> str:
    """What the seed finds with that plant in. Runs in a process of the pool."""
    plant = next(plant for plant in PLANTS if plant.number == number)
    with plant.planted() as parts:
        return run_seed(seed, minutes=MINUTES, parts=parts).violation


@pytest.mark.timeout(900)  # a rare one's seeds, on a busy machine
@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: f"{plant.number} {plant.name}")
def test_a_planted_fault_is_caught(plant: Plant, pool: Pool) -> None:
    find = partial(_violation, number=plant.number)
    caught = any(any(pool.map(find, range(seed, seed + PROCESSES))) for seed in range(0, plant.seeds, PROCESSES))
    assert caught, f"{plant.seeds} seeds saw nothing of it"


@pytest.mark.parametrize("seed", [0, 1, 2])
def test_the_same_seeds_hold_without_a_plant(seed: int) -> None:
    assert run_seed(seed, minutes=MINUTES).violation == ""
