"""The media contract over the FreeSWITCH backend before a scripted switch, whose calls live on."""

from __future__ import annotations

import pytest

from tests.contract.freeswitch_media_world import FreeswitchWorld
from tests.contract.media_contract import CLAUSES
from tests.contract.orders_contract import ORDERS, each_step_outlives_the_agent

ALL = CLAUSES | ORDERS


@pytest.mark.parametrize("name", ALL)
async def test_clause(name: str) -> None:
    await ALL[name](FreeswitchWorld())


@pytest.mark.parametrize("moved_first", [False, True])
@pytest.mark.parametrize("cut", [False, True], ids=["dies", "connection lost"])
@pytest.mark.parametrize("turns", range(12))
async def test_an_order_outlives_an_agent_that_is_interrupted_in_it(turns: int, cut: bool, moved_first: bool) -> None:
    await each_step_outlives_the_agent(FreeswitchWorld(turns, cut=cut, moved_first=moved_first))
