"""Every clause of every contract suite catches a bad adapter that was planted for it."""

from __future__ import annotations

import pytest

from tests.contract.planted.blobs import BLOBS
from tests.contract.planted.defect import Planted
from tests.contract.planted.keys import KEYS
from tests.contract.planted.log import LOGS
from tests.contract.planted.store import STORES

PLANTED = [*LOGS, *KEYS, *BLOBS, *STORES]


@pytest.mark.parametrize("planted", PLANTED, ids=str)
@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")
def test_the_clause_catches_the_defect(planted: Planted) -> None:
    run = getattr(planted.suite(), planted.clause)
    try:
        run(planted.defect())
    except (AssertionError, pytest.fail.Exception):
        return
    pytest.fail(f"{planted.clause} passes although the adapter is bad: {planted.defect.__name__}")


@pytest.mark.parametrize("suite", sorted({planted.suite for planted in PLANTED}, key=lambda suite: suite.__name__))
def test_every_clause_has_a_defect_to_catch(suite: type) -> None:
    clauses = {name for name in vars(suite) if name.startswith("test_")}
    assert clauses == {planted.clause for planted in PLANTED if planted.suite is suite}
