"""Clocks that step, and another boot, between owners of a cell with calls in it (spine 5).

The media node lives on; each control plane finds other clocks than the one before it. Calls go on,
places are kept, nothing runs back, and what takes seconds takes those seconds.
"""

from __future__ import annotations

import asyncio
import random
import time
from contextlib import AsyncExitStack
from datetime import datetime

from tandem.client import count
from tandem.client.phone import Phone
from tests.e2e.cell import Cell, Centre
from tests.e2e.crowd import PATIENCE_S, Crowd
from tests.e2e.kill_checks import all_contacts
from tests.e2e.rest import Json

QUEUES = {"sales": ("ann",), "desk": ("bob",), "nobody": ("cid",)}
RING_LIMIT_S = 3
WRAP_UP_S = 3
LATE_S = 6.0
"""How late a timer may be seen on a busy machine; a step would make it minutes."""
CLOCKS = (
    "wall=30000",
    "wall=-30000",
    "wall=7200000",
    "wall=-7200000",
    "boot=4000",
    "boot=9000,wall=-3600000",
    "",
)
"""Each is another owner's, in this order; the empty one is the host's own again, and so another boot."""


def seconds(time_text: str) -> float:
    """A timestamp of the API as Unix time."""
    return datetime.fromisoformat(time_text).timestamp()


async def waiting(centre: Centre) -> Json:
    """The contact that waits for nobody."""
    (found,) = [c for c in await all_contacts(centre, "LIFE_LIVE") if c["queue"].endswith("/nobody")]
    return found


async def test_clocks_step_between_owners(own_cell: Cell) -> None:
    """A talk and a caller in line see all of them."""
    own_cell.start()
    async with (
        AsyncExitStack() as stack,
        own_cell.centre(
            queues=QUEUES, ring_timeout_s=RING_LIMIT_S, wrap_up_s=WRAP_UP_S, timeout="60s", tries=9
        ) as centre,
    ):
        crowd = Crowd(own_cell, centre, random.Random(1), stack)
        ann, bob = await crowd.agent("ann", 0), await crowd.agent("bob", 1)
        waits = await crowd.queue_sitter("3")
        talk = await crowd.talk_sitters("1", ann)
        place = (await waiting(centre))["enqueueTime"]
        latest = seconds(place)
        for clock in CLOCKS:
            own_cell.kill_control()
            own_cell.start_control(TANDEM_CLOCK=clock)
            await asyncio.to_thread(own_cell.wait_ready)
            assert (await waiting(centre))["enqueueTime"] == place, clock
            called = await one_talk(crowd, centre, bob, clock)
            assert seconds(called["enqueueTime"]) >= latest, f"{clock}: time ran back"
            latest = seconds(called["enqueueTime"])
        await rings_out(crowd, centre, bob)
        assert waits.is_up
        assert all(call.is_up for call in talk)
        crowd.hang_up(waits)
        crowd.hang_up(talk[0])
        await talk[1].until_over()
        assert count.dropped(crowd.facts()) == []
        assert count.rung_twice(crowd.facts()) == []


async def one_talk(crowd: Crowd, centre: Centre, bob: Phone, clock: str) -> Json:
    """A call from its menu to the end of its wrap-up, which lasts as long as it should."""
    call, _ = await crowd.talk_sitters("2", bob)
    (contact,) = [c for c in await all_contacts(centre, "LIFE_LIVE") if c["caller"]["value"] == call.facts.caller]
    crowd.hang_up(call)
    over = (await call.until_over()).ended
    assert over is not None
    await until_status(centre, "STATUS_IDLE")
    wrapped_s = time.monotonic() - over
    assert WRAP_UP_S - 0.2 <= wrapped_s <= WRAP_UP_S + LATE_S, f"{clock}: a wrap-up of {wrapped_s:.1f} s"
    return contact


async def rings_out(crowd: Crowd, centre: Centre, bob: Phone) -> None:
    """A phone that nobody picks up rings for its limit."""
    call, ringing = await crowd.ring_sitter("2", bob)
    facts = await ringing.until_over()
    assert facts.rang is not None
    assert facts.ended is not None
    assert RING_LIMIT_S - 0.2 <= facts.ended - facts.rang <= RING_LIMIT_S + LATE_S
    await until_status(centre, "STATUS_NOT_RESPONDING")
    crowd.hang_up(call)


async def until_status(centre: Centre, status: str) -> None:
    """Until bob has it."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            states = (await centre.rest.get(f"{centre.tenant}/agentStates"))["agentStates"]
            if any(s["agent"].endswith("/bob") and s["status"] == status for s in states):
                return
            await asyncio.sleep(0.1)
