"""The media contract over the built-in node."""

from __future__ import annotations

import pytest

from tandem.core.ports.media import HandOut, LegEnded, LetGo, Outcome, TakeOver
from tandem.core.seal import secret
from tests.contract.builtin_media_world import BuiltinWorld
from tests.contract.media_contract import CLAUSES
from tests.contract.orders_contract import ORDERS

ALL = CLAUSES | ORDERS


async def test_nobody_is_moved_and_that_is_said_by_name() -> None:
    world = BuiltinWorld()
    owner = await world.greeted()
    leg = await world.answered(owner)
    for verb in (HandOut(), TakeOver(secret("{}")), LetGo()):
        for name in (leg, "c9"):
            settled = await world.done(owner, owner.command(name, verb))
            assert (settled.outcome, settled.reason) == (Outcome.FAILED, "NOT_ON_THIS_BACKEND")
    assert owner.of(LegEnded) == []


@pytest.mark.parametrize("name", ALL)
async def test_clause(name: str) -> None:
    await ALL[name](BuiltinWorld())
