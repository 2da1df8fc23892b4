"""What one service publishes and another keeps: the newest version stands, however messages come."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import permutations

import pytest

from tandem.core.published import is_news, kept
from tests.support.given import Given


@dataclass(frozen=True, slots=True)
class Hours:
    """A resource as its keeper has it."""

    version: int = 0
    open_until_ms: int = 0


KIND = kept("hours", Hours)


@pytest.mark.parametrize("order", list(permutations((1, 2, 3))))
def test_in_whichever_order_versions_come_the_newest_is_kept(order: tuple[int, ...]) -> None:
    hours = Given(KIND, "hours")
    for version in order:
        hours.when(Hours(version, 100 * version))
    assert hours.state == Hours(3, 300)


def test_a_version_that_is_known_changes_nothing() -> None:
    Given(KIND, "hours", [Hours(2, 7)]).when(Hours(2, 9)).nothing()


def test_another_command_changes_nothing() -> None:
    Given(KIND, "hours").when(object()).nothing()


def test_the_first_version_is_news_to_who_knows_none() -> None:
    assert is_news(None, Hours(1))
    assert is_news(Hours(), Hours(1))
    assert not is_news(Hours(1), Hours(1))
