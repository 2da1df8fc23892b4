"""The media contract over the built-in node."""

from __future__ import annotations

import pytest

from tests.contract.builtin_media_world import BuiltinWorld
from tests.contract.media_contract import CLAUSES
from tests.contract.orders_contract import ORDERS

ALL = CLAUSES | ORDERS


@pytest.mark.parametrize("name", ALL)
async def test_clause(name: str) -> None:
    await ALL[name](BuiltinWorld())
