"""Every seed and everything that fuzzing ever found, once more, without a fuzzer."""

from __future__ import annotations

import pytest

from tests.fuzz import seeds
from tests.fuzz.table import TARGETS


@pytest.mark.parametrize("name", TARGETS)
def test_what_must_hold_holds_for_every_kept_input(name: str) -> None:
    inputs = seeds.all_of(name)
    assert inputs, "nothing to begin with"
    for number, data in enumerate(inputs):
        try:
            TARGETS[name].check(data)
        except Exception as error:
            raise AssertionError(f"input {number} of {name}: {data!r}") from error
