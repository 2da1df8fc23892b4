"""The media contract over the FreeSWITCH backend before a scripted switch, whose calls live on."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tandem.core.ports.media import (
    Bridge,
    Cause,
    DeviceRegistered,
    DeviceUnregistered,
    Event,
    LegEnded,
    Originate,
)
from tandem.core.seal import secret
from tests.contract.freeswitch_media_world import FreeswitchWorld
from tests.contract.media_contract import CLAUSES, DEVICES, DIRECTORY, Owner
from tests.contract.orders_contract import ORDERS, each_step_outlives_the_agent

ALL = CLAUSES | ORDERS


@pytest.mark.parametrize("name", ALL)
async def test_clause(name: str) -> None:
    await ALL[name](FreeswitchWorld())


@pytest.mark.parametrize("name", [name for name in CLAUSES if "drain" in name])
async def test_clause_behind_a_door(name: str) -> None:
    await CLAUSES[name](FreeswitchWorld(behind_door=True))


async def test_who_died_with_the_switch_ended_when_it_died() -> None:
    world = FreeswitchWorld()
    owner = await world.greeted()
    legs = [await world.answered(owner) for _ in range(2)]
    await world.done(owner, owner.command(legs[0], Bridge(legs[1])))
    await world.rest()
    died_ms = world.now_ms
    await world.restart_switch()
    assert [event.media_time_ms for event in ends(owner)] == [died_ms] * 2
    third = await world.answered(owner)
    died_ms = world.now_ms
    await world.restart_switch()
    assert [(event.leg, event.media_time_ms) for event in ends(owner)[2:]] == [(third, died_ms)]


async def test_who_died_with_switch_and_agent_ended_at_the_last_time_that_is_written() -> None:
    world = FreeswitchWorld()
    owner = await world.greeted()
    first, second = [await world.answered(owner) for _ in range(2)]
    await world.done(owner, owner.command(first, Bridge(second)))
    await world.rest()
    written_ms = world.state.time_ms
    assert written_ms < world.now_ms

    async def dies() -> None:
        world.switch.die()
        world.switch.tick(world.switch.now + 30)

    await world.restart_after(dies)
    later = await world.owner(2)
    await world.until(lambda: len(ends(later)) == 2)
    assert [event.media_time_ms for event in ends(later)] == [written_ms] * 2
    third = await world.answered(later)
    await world.restart_switch()
    assert [event.leg for event in ends(later)[2:]] == [third]
    assert ends(later)[2].media_time_ms > written_ms + 30_000, "what died then is another matter"


async def test_media_time_does_not_run_back_for_who_died_with_the_switch() -> None:
    world = FreeswitchWorld()
    owner = await world.greeted()
    await world.register("anna")
    leg = await world.answered(owner)
    died_ms = world.now_ms
    ring = Originate("anna", 15_000, "o1", secret("+4930"))
    await world.restart_switch(meanwhile=lambda: owner.command(f"{leg}.a", ring))
    assert [(event.leg, event.media_time_ms - died_ms) for event in ends(owner)] == [(f"{leg}.a", 500), (leg, 500)]
    times = [event.media_time_ms for event in owner.events()]
    assert times == sorted(times)


def ends(owner: Owner) -> list[Event]:
    return [event for event in owner.events() if isinstance(event.body, LegEnded)]


async def test_a_phone_whose_row_is_not_written_yet_stays_registered() -> None:
    world = FreeswitchWorld()
    owner = await world.greeted()
    await world.register("anna")
    owner.put(replace(DIRECTORY, version=2, devices=DIRECTORY.devices[:1]))
    await world.owner(shard=1)  # no time passes while this is handed in, and the directory with it
    await world.rest()
    assert owner.of(DeviceRegistered) == [DeviceRegistered("anna")]
    assert owner.of(DeviceUnregistered) == []
    # A row that is gone for longer counts: its event was lost.
    for _ in range(3):
        await world.rest()
    del world.switch.registered["anna"]
    await world.rest()
    owner.put(replace(DIRECTORY, version=3))
    await world.rest()
    assert owner.of(DeviceUnregistered) == [DeviceUnregistered("anna")]


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


async def test_emergency_calls_are_waited_for_also_by_the_agents_next_life() -> None:
    world = FreeswitchWorld()
    owner = await world.greeted()
    assert world.strangers() == 0
    await world.register("anna")
    caller = await world.answered(owner)
    await world.done(owner, await world.ring(owner, f"{caller}.a", "anna"))
    await world.hang_up(await world.arrive(owner))
    await world.drain()
    await world.refused(owner)
    assert world.strangers() == 0, "who has a leg, or has gone, is no stranger"
    one, other = world.switch.emergency()
    await world.rest()
    assert world.strangers() == 2
    await world.restart()
    assert world.strangers() == 2
    world.switch.hang_up(one)
    await world.rest()
    assert world.strangers() == 1
    await world.restart_after(lambda: world.end(other))
    assert world.strangers() == 0
    world.switch.emergency()
    await world.rest()
    await world.restart_switch()
    assert world.strangers() == 0


async def test_a_switch_that_takes_calls_again_before_it_is_told_is_not_believed() -> None:
    world = FreeswitchWorld()
    owner = await world.greeted()
    await world.drain()
    world.switch.globals.clear()
    await world.refused(owner)


async def test_a_phone_that_registered_by_another_node_is_rung_by_the_door() -> None:
    world = FreeswitchWorld(behind_door=True)
    owner = await world.greeted()
    leg = await world.answered(owner)
    await world.ring(owner, f"{leg}.a", DEVICES[0])
    place = f"}}sofia/tandem/{DEVICES[0]}@192.0.2.1:5060;fs_path=sip:192.0.2.1:5060 "
    await world.until(lambda: any(place in line for line in world.switch.commands))
    await world.register(DEVICES[1])
    await world.ring(owner, f"{leg}.b", DEVICES[1])
    await world.until(lambda: any(DEVICES[1] in line for line in world.switch.commands if "originate " in line))
    assert not any(f"{DEVICES[1]}@192.0.2.1" in line for line in world.switch.commands), "this node knows its place"


async def test_what_was_never_drained_is_told_nothing() -> None:
    world = FreeswitchWorld(behind_door=True)
    world.switch.paused = True  # by somebody's hand
    await world.restart()
    assert world.switch.paused


@pytest.mark.parametrize("moved_first", [False, True])
@pytest.mark.parametrize("cut", [False, True], ids=["dies", "connection lost"])
@pytest.mark.parametrize("turns", range(12))
async def test_an_order_outlives_an_agent_that_is_interrupted_in_it(turns: int, cut: bool, moved_first: bool) -> None:
    await each_step_outlives_the_agent(FreeswitchWorld(turns, cut=cut, moved_first=moved_first))
