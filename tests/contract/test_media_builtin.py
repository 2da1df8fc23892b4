"""The media contract over the built-in node."""

from __future__ import annotations

import pytest

from tests.contract.builtin_media_world import BuiltinWorld
from tests.contract.media_contract import CLAUSES


@pytest.mark.parametrize("name", CLAUSES)
async def test_clause(name: str) -> None:
    await CLAUSES[name](BuiltinWorld())
