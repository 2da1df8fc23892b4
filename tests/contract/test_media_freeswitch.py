"""The media contract over the FreeSWITCH backend before a scripted switch, whose calls live on."""

from __future__ import annotations

import pytest

from tandem.core.ports.media import Cause, LegEnded
from tests.contract.freeswitch_media_world import FreeswitchWorld
from tests.contract.media_contract import CLAUSES


@pytest.mark.parametrize("name", CLAUSES)
async def test_clause(name: str) -> None:
    await CLAUSES[name](FreeswitchWorld())


@pytest.mark.parametrize("name", [name for name in CLAUSES if "drain" in name])
async def test_clause_behind_a_door(name: str) -> None:
    await CLAUSES[name](FreeswitchWorld(behind_door=True))


@pytest.mark.parametrize("behind_door", [False, True])
async def test_a_drain_outlives_the_switch(behind_door: bool) -> None:
    world = FreeswitchWorld(behind_door=behind_door)
    owner = await world.greeted()
    leg = await world.answered(owner)
    await world.drain()
    await world.restart_switch()
    assert [end.cause for end in owner.of(LegEnded, leg)] == [Cause.MEDIA_LOST]
    await world.refused(owner)
    await world.drain(False)
    await world.restart_switch()
    await world.arrive(owner)


async def test_a_switch_that_takes_calls_again_before_it_is_told_is_not_believed() -> None:
    world = FreeswitchWorld()
    owner = await world.greeted()
    await world.drain()
    world.switch.globals.clear()
    await world.refused(owner)


async def test_what_was_never_drained_is_told_nothing() -> None:
    world = FreeswitchWorld(behind_door=True)
    world.switch.paused = True  # by somebody's hand
    await world.restart()
    assert world.switch.paused
