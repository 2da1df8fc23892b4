"""kill -9 of the media agent and of FreeSWITCH, with callers in the menu, waiting, ringing and talking."""

from __future__ import annotations

import asyncio
import random
from collections.abc import AsyncIterator, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from tandem.client import count
from tandem.client.call import PhoneCall
from tandem.client.phone import Phone
from tests.e2e import sounds
from tests.e2e.cell import SHARDS, Cell, Centre
from tests.e2e.crowd import PATIENCE_S, Crowd
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.kill_checks import all_contacts, whole_story
from tests.e2e.rest import Json

SEED = 20260103
QUEUES = {"sales": ("ann",), "desk": ("dan",), "nobody": ("gus",)}
"""Digit 1: who talks. Digit 2: whose phone rings. Digit 3: waiting for nobody."""
RING_LIMIT_S = 120
RENEWED_EVERY = 3
"""So many lives of the agent a phone rings before it is picked up, while nobody is there to know it."""
AWAY_S = (0.0, 0.1, 1.5)
"""How long nobody is there before the agent is started again."""


@pytest.fixture
def cell(freeswitch_prefix: Path, tmp_path: Path) -> Iterator[Cell]:
    """A cell on a FreeSWITCH of its own."""
    cell = Cell(tmp_path / "cell", switch=FreeSwitch(freeswitch_prefix, tmp_path / "switch"))
    try:
        cell.start()
        yield cell
    finally:
        cell.stop()


@dataclass
class Scene:
    """Who is where: one in each state."""

    cell: Cell
    centre: Centre
    crowd: Crowd
    talk: tuple[PhoneCall, PhoneCall]
    ring: tuple[PhoneCall, PhoneCall]
    waits: PhoneCall
    dan: Phone

    async def contact(self, call: PhoneCall, ready: Callable[[Json], bool]) -> Json:
        """The contact of a caller, once it is as it should be."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = [one for one in await all_contacts(self.centre) if one["caller"]["value"] == call.facts.caller]
                if found and ready(found[0]):
                    return found[0]
                await asyncio.sleep(0.1)

    async def in_state(self, call: PhoneCall, state: str) -> Json:
        """The contact of a caller, once it is in that state."""
        return await self.contact(call, lambda contact: contact["state"] == state)

    async def states(self) -> dict[PhoneCall, Json]:
        """The contacts of the three, each where it belongs."""
        where = {self.waits: "STATE_WAITING", self.ring[0]: "STATE_RINGING", self.talk[0]: "STATE_TALKING"}
        return {call: await self.in_state(call, state) for call, state in where.items()}

    def restart_agent(self) -> None:
        """A new agent, until the owners have it."""
        assert self.cell.control is not None
        ups = sum("media node up" in line for line in self.cell.control.lines)
        agent = self.cell.start_media()
        self.cell.control.wait_line("media node up", count=ups + SHARDS)
        agent.wait_line("FreeSWITCH answers")


@asynccontextmanager
async def scene(cell: Cell) -> AsyncIterator[Scene]:
    """One who talks, one for whom it rings, one who waits."""
    async with (
        AsyncExitStack() as stack,
        cell.centre(queues=QUEUES, ring_timeout_s=RING_LIMIT_S, timeout="60s", tries=9) as centre,
    ):
        crowd = Crowd(cell, centre, random.Random(SEED), stack)
        ann, dan = await crowd.agent("ann", 0), await crowd.agent("dan", 1)
        talk = await crowd.talk_sitters("1", ann)
        ring = await crowd.ring_sitter("2", dan)
        yield Scene(cell, centre, crowd, talk, ring, await crowd.queue_sitter("3"), dan)


@pytest.mark.timeout(3600)
async def test_the_agent_dies_and_nobody_on_the_phone_notices(cell: Cell, kills: int) -> None:
    """Digits of a running menu step and hang-ups with their cause come through the gap."""
    rng = random.Random(SEED)
    async with scene(cell) as at:
        before = await at.contact(at.waits, lambda contact: "enqueueTime" in contact)
        for n in range(kills):
            picked_up = n % RENEWED_EVERY == RENEWED_EVERY - 1
            chooses, leaves = await at.crowd.menu_sitter(), await at.crowd.menu_sitter()
            cell.kill_media()
            chooses.press("3")
            at.crowd.hang_up(leaves)
            if picked_up:
                at.dan.answer(at.ring[1])
            await asyncio.sleep(rng.choice(AWAY_S))
            await asyncio.to_thread(at.restart_agent)
            await at.contact(chooses, lambda contact: contact["state"] == "STATE_WAITING")
            left = await at.contact(leaves, lambda contact: contact["state"] == "STATE_ENDED")
            assert (left["outcome"], left["endedBy"]) == ("OUTCOME_LEFT_IN_FLOW", "ENDED_BY_CALLER")
            assert [call.is_up for call in (*at.talk, at.ring[0], at.waits, chooses)] == [True] * 5
            at.crowd.hang_up(chooses)
            await at.contact(chooses, lambda contact: contact["state"] == "STATE_ENDED")
            if picked_up:
                await at.crowd.end_talk(at.ring[0], at.dan)
                at.ring = await at.crowd.ring_sitter("2", at.dan)
        # What was under way goes on as if nothing had been.
        assert await at.contact(at.waits, lambda contact: contact["state"] == "STATE_WAITING") == before
        at.dan.answer(at.ring[1])
        await at.crowd.end_talk(at.ring[0], at.dan)
        caller, agent = at.talk
        at.crowd.hang_up(caller)
        over = await at.contact(caller, lambda contact: contact["state"] == "STATE_ENDED")
        assert over["outcome"] == "OUTCOME_HANDLED"
        calls = at.crowd.facts()
        assert count.dropped(calls) == []
        assert count.rung_twice(calls) == []
        await check_recording(at, over, caller, agent)
        assert list(cell.plain_recordings.iterdir()) == []


async def test_phones_register_while_no_agent_lives_and_also_after_the_next_one_died(cell: Cell) -> None:
    """FreeSWITCH knows their accounts: those that an agent had it forget it has looked up again at once."""
    async with scene(cell) as at:
        for _ in range(2):
            cell.kill_media()
            await at.dan.register()  # raises if it is refused
            assert at.dan.is_registered
            await asyncio.to_thread(at.restart_agent)
            state = await at.centre.rest.get(f"{at.centre.tenant}/agentStates/dan")
            assert state["reachable"] is True


async def check_recording(at: Scene, contact: Json, caller: PhoneCall, agent: PhoneCall) -> None:
    """FreeSWITCH went on recording while nobody was there."""
    async with asyncio.timeout(PATIENCE_S):
        while not (found := (await at.centre.rest.get(contact["name"]))["recordings"]):
            await asyncio.sleep(0.1)
    assert (await at.centre.rest.get(found[0])).get("truncated", False) is False
    left, right = sounds.channels_of(await at.centre.rest.download(found[0]))
    seconds = caller.facts.seconds(agent.facts.voice_hz)
    assert sounds.seconds_of(left, caller.facts.voice_hz) > 0.95 * seconds
    assert sounds.seconds_of(right, agent.facts.voice_hz) > 0.95 * seconds


@pytest.mark.timeout(600)
async def test_freeswitch_dies_and_every_contact_ends_truthfully(cell: Cell) -> None:
    """Its calls are lost, and that is said; places stand in the history; the next life takes calls."""
    async with scene(cell) as at:
        menu = await at.crowd.menu_sitter()
        before = await at.states() | {menu: await at.in_state(menu, "STATE_IN_FLOW")}
        assert cell.switch is not None
        killed = datetime.now(UTC)
        cell.switch.kill()
        await asyncio.to_thread(cell.switch.start)
        for call, then in before.items():
            over = await at.in_state(call, "STATE_ENDED")
            check_lost(over, then, killed)
            await whole_story(at.centre, over["name"])
        (name,) = (await at.contact(at.talk[0], lambda contact: bool(contact["recordings"])))["recordings"]
        assert (await at.centre.rest.get(name))["truncated"] is True
        left, _ = sounds.channels_of(await at.centre.rest.download(name))
        assert sounds.seconds_of(left, at.talk[0].facts.voice_hz) > 0
        # The registrations are there again, and a call is taken.
        assert (await at.crowd.menu_sitter()).is_up
        assert count.rung_twice(at.crowd.facts()) == []


async def test_a_freeswitch_that_stays_dead_has_lost_its_calls(cell: Cell) -> None:
    """Nobody starts it again: its contacts end all the same, and its agents are free."""
    async with scene(cell) as at:
        before = await at.states()
        assert cell.switch is not None
        killed = datetime.now(UTC)
        cell.switch.kill()
        for call, then in before.items():
            over = await at.in_state(call, "STATE_ENDED")
            check_lost(over, then, killed)
        for agent in ("ann", "dan"):
            state = await at.centre.rest.get(f"{at.centre.tenant}/agentStates/{agent}")
            assert (state["status"], state.get("contact", "")) == ("STATUS_IDLE", ""), state


def check_lost(over: Json, before: Json, killed: datetime) -> None:
    """It ended with its node and when that died; whose place it was, and since when, stands there for a call back."""
    assert (over["outcome"], over["endedBy"]) == ("OUTCOME_MEDIA_LOST", "ENDED_BY_NODE"), over
    for place in ("queue", "enqueueTime", "createTime", "connectTime"):
        assert over.get(place) == before.get(place)
    # Not when that was found out: a FreeSWITCH needs some seconds to begin anew, and is waited for 10 s.
    assert abs(datetime.fromisoformat(over["endTime"]) - killed) < timedelta(seconds=4), (over, killed)
