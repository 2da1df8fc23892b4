"""kill -9 of the media node, amid commands that it has written down and not begun.

Its calls are lost with it, and that is said: what must hold is that everybody hears it, that each
contact ends once, and that the next life takes calls as if nothing had been (spine 7).
"""

from __future__ import annotations

import asyncio
import random
import signal
from contextlib import AsyncExitStack, suppress
from pathlib import Path

from tandem.client.call import CallOver, PhoneCall
from tandem.client.facts import By
from tandem.core.points import Point
from tests.e2e import sounds
from tests.e2e.cell import SHARDS, Cell, Centre
from tests.e2e.crowd import Crowd
from tests.e2e.programs import PATIENCE_S, beside
from tests.e2e.rest import Json, Watch

SEED = 20260102
LIVES = 3
PASSES = (40, 60)
"""Commands of a life: those who sit in the five states take some thirty."""
AGENTS = ("dan", "eve", "fay")
QUEUES = {"first": ("dan",), "second": ("eve",), "third": ("fay",), "nobody": ("gus",)}
"""Digits 1 to 4; one agent each, so that it is known whose phone rings."""


async def coming_and_going(crowd: Crowd, centre: Centre) -> None:
    """Short calls, so that there are commands."""
    while True:
        phone = await crowd.caller()
        call = phone.dial(centre.number)
        try:
            with suppress(CallOver):
                await call.until_answered()
                await call.until_sound(0.2)
        finally:
            phone.hang_up(call)


async def test_kills_of_the_media_node(own_cell: Cell, tmp_path: Path) -> None:
    """Three lives that end in the middle of it; the fourth takes calls."""
    rng = random.Random(SEED)
    fates = [f"{Point.JOURNALLED}:{rng.randint(*PASSES)}" for _ in range(LIVES)]
    own_cell.start_media(TANDEM_KILL_AT=fates[0])
    own_cell.start_control()
    own_cell.wait_ready()
    async with (
        AsyncExitStack() as stack,
        own_cell.centre(queues=QUEUES, timeout="60s", tries=9) as centre,
        centre.rest.watch(centre.tenant) as watch,
    ):
        crowd = Crowd(own_cell, centre, rng, stack)
        dan, eve, fay = [await crowd.agent(name, index) for index, name in enumerate(AGENTS)]
        for life, fate in enumerate(fates, 1):
            sitting = [await crowd.menu_sitter(), await crowd.queue_sitter("4")]
            talks = [await crowd.talk_sitters("1", dan), await crowd.talk_sitters("2", eve)]
            ring = await crowd.ring_sitter("3", fay)
            assert crowd.live() == {"menu": 1, "waiting": 1, "ringing": 1, "talking": 2}
            assert own_cell.media is not None
            async with beside(coming_and_going(crowd, centre)):
                assert await asyncio.to_thread(own_cell.media.wait_end) == -signal.SIGKILL
                assert f"TANDEM_KILL_AT={fate} reached" in own_cell.media.output
                own_cell.kill_media()
                more = {"TANDEM_KILL_AT": fates[life]} if life < LIVES else {}
                assert own_cell.control is not None
                own_cell.start_media(**more)
                await asyncio.to_thread(own_cell.control.wait_line, "media node up", count=(life + 1) * SHARDS)
            await everybody_hears_it([*sitting, *ring, *(call for talk in talks for call in talk)])
            callers = [call.facts.caller for call in (*sitting, ring[0], *(talk[0] for talk in talks))]
            contacts = await all_over(centre, watch, callers)
            assert {contact["outcome"] for contact in contacts} == {"OUTCOME_MEDIA_LOST"}
            assert "enqueueTime" not in contacts[0]
            assert all("enqueueTime" in contact for contact in contacts[1:])
            await check_agents(centre)
            for talk, contact in zip(talks, contacts[3:], strict=True):
                await check_recording(centre, talk, contact)
        caller, _ = await crowd.talk_sitters("1", dan)
        assert caller.is_up
        print(f"killed at {', '.join(fates)}: everybody told, all contacts ended once")


async def everybody_hears_it(calls: list[PhoneCall]) -> None:
    """Every phone's call is ended by the next life, the ringing one too."""
    async with asyncio.timeout(PATIENCE_S):
        for call in calls:
            assert (await call.until_over()).by is By.FAR, call.facts


async def all_over(centre: Centre, watch: Watch, callers: list[str]) -> list[Json]:
    """The contacts of these callers, in their order, once they are over."""
    names = {contact["caller"]["value"]: name for name, contact in watch.contacts.items()}
    for caller in callers:
        await watch.event("contact.completed", names[caller])
    return [await centre.rest.get(names[caller]) for caller in callers]


async def check_agents(centre: Centre) -> None:
    """Those who talked and the one whose phone rang are idle again; nobody is blamed, nobody had to register."""
    states = (await centre.rest.get(f"{centre.tenant}/agentStates"))["agentStates"]
    found = {state["agent"].rpartition("/")[2]: (state["status"], state["reachable"]) for state in states}
    assert {found[agent] for agent in AGENTS} == {("STATUS_IDLE", True)}, found


async def check_recording(centre: Centre, talk: tuple[PhoneCall, PhoneCall], contact: Json) -> None:
    """Finished by the next life: both voices up to the last second before the kill; it says that its end is missing."""
    (name,) = contact["recordings"]
    assert (await centre.rest.get(name))["truncated"] is True
    left, right = sounds.channels_of(await centre.rest.download(name))
    caller, agent = talk[0].facts, talk[1].facts
    assert sounds.seconds_of(left, caller.voice_hz) >= agent.seconds(caller.voice_hz) - 1
    assert sounds.seconds_of(right, agent.voice_hz) >= caller.seconds(agent.voice_hz) - 1
