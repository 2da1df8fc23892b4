"""What must not be recorded: the recording of a talk pauses and goes on by order, heard in the recording itself."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass

import httpx
import pytest

from tandem.client.call import PhoneCall
from tests.e2e import sounds
from tests.e2e.cell import Cell, Centre
from tests.e2e.crowd import PATIENCE_S, Crowd
from tests.e2e.rest import Json, Refused

SEED = 20260104
QUEUES = {"sales": ("ann",), "desk": ("dan",)}
SAID_S = 2.0
"""How long each stretch of the talk lasts, recorded or not."""
EDGE_S = 0.6
"""What each turn may take: until the order is in force, and a window of 100 ms at each end."""


@dataclass
class Talk:
    """Caller and agent ann, who hear each other."""

    cell: Cell
    centre: Centre
    crowd: Crowd
    caller: PhoneCall
    agent: PhoneCall
    name: str

    async def say(self) -> None:
        """Both speak for a while."""
        await asyncio.gather(
            self.caller.until_hears(self.agent.facts.voice_hz, SAID_S),
            self.agent.until_hears(self.caller.facts.voice_hz, SAID_S),
        )

    async def channels(self) -> list[tuple[float, float]]:
        """(seconds in all, seconds of their voice) of caller and agent on the recording."""
        async with asyncio.timeout(PATIENCE_S), self.centre.rest.watch(self.centre.tenant) as watch:
            self.crowd.hang_up(self.caller)
            await watch.event("contact.recording_ended", self.name)
        async with asyncio.timeout(PATIENCE_S):
            while not (found := (await self.centre.rest.get(self.name))["recordings"]):
                await asyncio.sleep(0.1)
        sides = sounds.channels_of(await self.centre.rest.download(found[0]))
        calls = (self.caller, self.agent)
        return [
            (len(side) / sounds.RATE, sounds.seconds_of(side, call.facts.voice_hz))
            for side, call in zip(sides, calls, strict=True)
        ]


@asynccontextmanager
async def talk(cell: Cell) -> AsyncIterator[Talk]:
    """Caller and agent talk in a tenant of their own."""
    async with AsyncExitStack() as stack, cell.centre(queues=QUEUES) as centre:
        crowd = Crowd(cell, centre, random.Random(SEED), stack)
        caller, agent = await crowd.talk_sitters("1", await crowd.agent("ann", 0))
        contact = await centre.the_contact()
        async with asyncio.timeout(PATIENCE_S):
            while (await centre.rest.get(contact["name"]))["state"] != "STATE_TALKING":
                await asyncio.sleep(0.05)
        yield Talk(cell, centre, crowd, caller, agent, contact["name"])


async def as_agent(centre: Centre, agent: str) -> str:
    """An API key of that agent."""
    body = {"role": "ROLE_AGENT", "agent": centre.agents[agent].name}
    key: str = (await centre.rest.post(f"{centre.tenant}/apiKeys", body))["secret"]
    return key


async def test_what_is_said_while_it_is_paused_is_not_on_the_recording(platform: Cell) -> None:
    """The agent themselves, and nobody else's agent; the time is kept."""
    async with talk(platform) as at:
        await at.say()
        async with (
            platform.rest(await as_agent(at.centre, "ann")) as ann,
            platform.rest(await as_agent(at.centre, "dan")) as dan,
        ):
            with pytest.raises(Refused) as refused:
                await dan.post(f"{at.name}:pauseRecording")
            assert (refused.value.status, refused.value.reason) == (403, "NOT_YOUR_CONTACT")
            assert (await ann.post(f"{at.name}:pauseRecording"))["recordingPaused"] is True
            assert (await ann.get(at.name))["recordingPaused"] is True
            await at.say()
            assert (await ann.post(f"{at.name}:resumeRecording"))["recordingPaused"] is False
        await at.say()
        for seconds, voice_s in await at.channels():
            assert seconds > 3 * SAID_S
            assert SAID_S - EDGE_S < seconds - voice_s < SAID_S + 2 * EDGE_S
        with pytest.raises(Refused) as refused:
            await at.centre.rest.post(f"{at.name}:pauseRecording")
        assert refused.value.status == 400


async def test_an_order_that_dies_with_the_control_plane_is_carried_out(own_cell: Cell) -> None:
    """Its durable order is offered again; whoever repeats the request learns that it is in force."""
    own_cell.start()
    async with talk(own_cell) as at:
        await at.say()
        own_cell.kill_control()
        own_cell.start_control(TANDEM_KILL_AT="effect_sent:1")
        asked = asking(at)
        assert own_cell.control is not None
        await asyncio.to_thread(own_cell.control.wait_end, PATIENCE_S)
        own_cell.kill_control()
        own_cell.start_control()
        await asyncio.to_thread(own_cell.wait_ready)
        assert (await asked)["recordingPaused"] is True
        await at.say()
        assert (await at.centre.rest.get(at.name))["recordingPaused"] is True
        for seconds, voice_s in await at.channels():
            assert seconds - voice_s > SAID_S - EDGE_S
            assert voice_s > SAID_S - EDGE_S


def asking(at: Talk) -> asyncio.Task[Json]:
    """A client that repeats its request until it is answered."""

    async def ask() -> Json:
        async with asyncio.timeout(PATIENCE_S):
            while True:
                with suppress(httpx.TransportError):
                    try:
                        return await at.centre.rest.post(f"{at.name}:pauseRecording", {"requestId": "pause-1"})
                    except Refused as error:
                        if error.status != 503:
                            raise
                await asyncio.sleep(0.1)

    return asyncio.create_task(ask())
