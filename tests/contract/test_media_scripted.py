"""The media contract over the scripted backend, whose calls die with the agent or live on."""

from __future__ import annotations

import pytest

from tests.contract.media_contract import CLAUSES
from tests.contract.orders_contract import ORDERS
from tests.contract.scripted_media_world import ScriptedWorld

ALL = CLAUSES | ORDERS


@pytest.mark.parametrize("calls_survive", [False, True], ids=["calls_die", "calls_live"])
@pytest.mark.parametrize("name", ALL)
async def test_clause(name: str, calls_survive: bool) -> None:
    await ALL[name](ScriptedWorld(calls_survive=calls_survive))
