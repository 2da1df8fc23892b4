"""A cell with two media nodes behind a door: who waits on one that is emptied goes on waiting on the other.

Real FreeSWITCH, Kamailio, and processes of the command line. The callers' phones are the witnesses.
"""

from __future__ import annotations

import asyncio
import random
import subprocess
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from tandem.client.call import PhoneCall
from tests.e2e.cell import SHARDS, Cell, Centre
from tests.e2e.crowd import PATIENCE_S, Crowd
from tests.e2e.freeswitch.node import RTP_PORTS, FreeSwitch
from tests.e2e.kamailio.door import Door, door
from tests.e2e.kill_checks import all_contacts
from tests.e2e.programs import beside
from tests.e2e.rest import Json
from tests.e2e.test_kill import QUEUES, RING_LIMIT_S, Story, check, go_home

NODES = ("m1", "m2")
RTP_FIRST = 10_000
pytestmark = [pytest.mark.needs("kamailio"), pytest.mark.timeout(300)]


class Site:
    """The cell, its two nodes, and who calls."""

    def __init__(self, cells: dict[str, Cell], centre: Centre, crowd: Crowd, stack: AsyncExitStack) -> None:
        self.cells, self.centre, self.crowd, self.stack = cells, centre, crowd, stack

    @property
    def control(self) -> Cell:
        """The cell that has the control plane, and the first node."""
        return self.cells[NODES[0]]

    async def contact(self, call: PhoneCall) -> Json:
        """The contact of a caller."""
        [found] = [one for one in await all_contacts(self.centre) if one["caller"]["value"] == call.facts.caller]
        return found

    async def node_of(self, call: PhoneCall) -> str:
        """Where the caller is."""
        live = [leg for leg in (await self.contact(call))["legs"] if leg["party"] == "PARTY_CALLER"]
        return str(live[-1]["node"])

    async def waiting(self, digit: str = "1") -> PhoneCall:
        """A caller in line."""
        call = await self.crowd.queue_sitter(digit)
        await self.until(call, state="STATE_WAITING")
        return call

    async def until(self, call: PhoneCall, **fields: Any) -> Json:
        """The contact, once it has these fields."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                found = await self.contact(call)
                if all(found[name] == value for name, value in fields.items()):
                    return found
                await asyncio.sleep(0.1)

    async def moved(self, call: PhoneCall, node: str) -> None:
        """Until the caller is there."""
        async with asyncio.timeout(PATIENCE_S):
            while await self.node_of(call) != node:
                await asyncio.sleep(0.1)

    async def drain(self, node: str, *flags: str) -> subprocess.CompletedProcess[str]:
        """`tandem admin drain` on a node's host."""
        done = await asyncio.to_thread(self.cells[node].command, "admin", "drain", *flags)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done

    def kill(self, node: str) -> None:
        """kill -9 of a node's agent, or of the control plane, and its next life."""
        cell = self.cells[node or NODES[0]]
        if node:
            cell.kill_media()
            cell.start_media().wait_line("FreeSWITCH answers")
        else:
            cell.kill_control()
            cell.start_control().wait_line("control plane ready")

    async def emptied(self, node: str) -> None:
        """The order is given, and the control plane has heard of it: it begins to move callers at this moment."""
        control = self.control.control
        assert control is not None
        heard = sum("media node takes no new callers" in line for line in control.lines)
        await self.drain(node, "--no-wait")
        await asyncio.to_thread(control.wait_line, "media node takes no new callers", count=heard + 1)

    async def hears_on(self, call: PhoneCall) -> None:
        """The caller hears music for a second from now."""
        async with asyncio.timeout(PATIENCE_S):
            await call.until_sound(1)

    async def hears(self, call: PhoneCall) -> bool:
        """Whether the caller hears music within two seconds."""
        with suppress(TimeoutError):
            async with asyncio.timeout(2):
                await call.until_sound(1)
                return True
        return False


@asynccontextmanager
async def site(prefix: Path, home: Path, **centre: Any) -> AsyncIterator[Site]:
    """Everything runs. `centre`: see `Cell.centre`."""
    cells: dict[str, Cell] = {}
    switches = [
        FreeSwitch(
            prefix, home / f"fs{index}", sip_ip=f"127.0.0.{index + 1}", rtp_ip=f"127.0.0.{index + 1}",
            rtp_port_min=RTP_FIRST + RTP_PORTS * index, rtp_port_max=RTP_FIRST + RTP_PORTS * (index + 1) - 2,
        )
        for index in range(len(NODES))
    ]  # fmt: skip
    async with AsyncExitStack() as stack:
        places = [f"{switch.settings['sip_ip']}:{switch.sip_port}" for switch in switches]
        one: Door = await stack.enter_async_context(door(home / "door", places))
        for name, switch in zip(NODES, switches, strict=True):
            cells[name] = cell = Cell(
                home / name, switch=switch, media__node=name, media__freeswitch__door=one.sip,
                blobs_dir=home / "blobs", live__shards=SHARDS,
            )  # fmt: skip
            stack.callback(cell.stop)
        control = cells[NODES[0]]
        control.set(
            **{f"nodes__{name}__link": f"unix:{cell.data_dir / 'run' / 'media.sock'}" for name, cell in cells.items()}
        )
        for cell in cells.values():
            await asyncio.to_thread(cell.start_media)
        await asyncio.to_thread(control.start_control)
        assert control.control is not None
        await asyncio.to_thread(control.control.wait_line, "control plane ready")
        await asyncio.to_thread(control.control.wait_line, "media node up", count=SHARDS * len(NODES))
        for cell in cells.values():
            assert cell.media is not None
            await asyncio.to_thread(cell.media.wait_line, "FreeSWITCH answers")
        control.sip_port = one.port
        made = await stack.enter_async_context(control.centre(**centre))
        yield Site(cells, made, Crowd(control, made, random.Random(1), stack), stack)


async def test_who_waits_is_moved_and_served_on_the_other_node(freeswitch_prefix: Path, tmp_path: Path) -> None:
    async with site(freeswitch_prefix, tmp_path, queues={"sales": ("ann",)}) as at:
        first, second = await at.waiting(), await at.waiting()
        before = [await at.contact(call) for call in (first, second)]
        here = await at.node_of(first)
        (there,) = set(NODES) - {here}
        done = await at.drain(here)
        assert "nobody is left, it can be stopped" in done.stdout
        for call, was in zip((first, second), before, strict=True):
            await at.moved(call, there)
            assert call.is_up
            await at.hears_on(call)
            now = await at.contact(call)
            assert (now["state"], now["enqueueTime"]) == ("STATE_WAITING", was["enqueueTime"])
        ann = await at.crowd.agent("ann", 0)
        ringing = await ann.next_call(None)
        ann.answer(ringing)
        async with asyncio.timeout(PATIENCE_S):
            await first.until_hears(ann.hz)
        at.crowd.hang_up(first)
        over = await at.until(first, state="STATE_ENDED")
        assert over["outcome"] == "OUTCOME_HANDLED"
        at.crowd.hang_up(second)
        assert (await at.until(second, state="STATE_ENDED"))["outcome"] == "OUTCOME_ABANDONED"


DELAYS_S = (0.0, 0.02, 0.05, 0.08, 0.12, 0.2, 0.3, 0.45)
"""Six callers are moved within about half a second."""
CALLERS = 6


@pytest.mark.parametrize("who", ["control plane", "agent that hands out", "agent that takes over"])
async def test_nobody_is_lost_who_is_moved_while_somebody_is_killed(
    freeswitch_prefix: Path, tmp_path: Path, who: str
) -> None:
    """There and back, eight times."""
    async with site(freeswitch_prefix, tmp_path, queues={"sales": ("ann",)}) as at:
        calls = [await at.waiting() for _ in range(CALLERS)]
        places = [(await at.contact(call))["enqueueTime"] for call in calls]
        for index, delay_s in enumerate(DELAYS_S):
            here, there = NODES[index % 2], NODES[1 - index % 2]
            await at.emptied(here)
            await asyncio.sleep(delay_s)
            victim = {"control plane": "", "agent that hands out": here, "agent that takes over": there}[who]
            await asyncio.to_thread(at.kill, victim)
            for call in calls:
                await at.moved(call, there)
            await at.drain(here)
            await at.drain(here, "--undo")
        for call, place in zip(calls, places, strict=True):
            assert call.is_up, call.facts
            await at.hears_on(call)
            now = await at.contact(call)
            assert (now["state"], now["enqueueTime"]) == ("STATE_WAITING", place)
        for call in calls:
            at.crowd.hang_up(call)
            assert (await at.until(call, state="STATE_ENDED"))["outcome"] == "OUTCOME_ABANDONED"


@pytest.mark.parametrize("delay_s", [0.0, 0.05, 0.15])
@pytest.mark.parametrize("who", ["hands out", "takes over"])
async def test_when_a_node_dies_in_the_middle_its_own_callers_are_lost_and_no_others(
    freeswitch_prefix: Path, tmp_path: Path, who: str, delay_s: float
) -> None:
    """Each has an end or a place, and whoever has a place hears the music."""
    async with site(freeswitch_prefix, tmp_path, queues={"sales": ("ann",)}) as at:
        calls = [await at.waiting() for _ in range(CALLERS)]
        here, there = NODES
        dies = {"hands out": here, "takes over": there}[who]
        switch = at.cells[dies].switch
        assert switch is not None
        await at.emptied(here)
        await asyncio.sleep(delay_s)
        await asyncio.to_thread(switch.kill)
        await asyncio.to_thread(switch.start)
        served = 0
        for call in calls:
            async with asyncio.timeout(PATIENCE_S):
                while (await at.contact(call))["state"] == "STATE_WAITING" and not await at.hears(call):
                    pass
            now = await at.contact(call)
            served += now["state"] == "STATE_WAITING"
            assert now["state"] == "STATE_WAITING" or now["outcome"] in ("OUTCOME_MEDIA_LOST", "OUTCOME_ABANDONED"), now
        print(f"{served} of {CALLERS} wait on", flush=True)


TURNS, LINES = 8, 5


async def test_agents_serve_callers_while_the_nodes_are_emptied_by_turns(
    freeswitch_prefix: Path, tmp_path: Path
) -> None:
    """Offers that come in the middle of a move, moves in the middle of everything: counted as the kills are."""
    async with site(
        freeswitch_prefix, tmp_path, queues=QUEUES, ring_timeout_s=RING_LIMIT_S, timeout="60s", tries=9
    ) as at:
        crowd = at.crowd
        stirring = [await crowd.agent(name, index) for index, name in enumerate(QUEUES["sales"])]
        sitting = [await at.waiting("3") for _ in range(3)]
        for agent in stirring:
            await at.stack.enter_async_context(beside(crowd.keep_answering(agent)))
        async with beside(crowd.keep_calling("1", LINES)):
            for turn in range(TURNS):
                here, there = NODES[turn % 2], NODES[1 - turn % 2]
                await at.drain(here, "--no-wait")
                for call in sitting:
                    await at.moved(call, there)
                await asyncio.sleep(1.5)
                await at.drain(here, "--undo")
            await crowd.leave()
        story = Story(at.control, at.centre, crowd, random.Random(1), 0)
        moves = 0
        for contact in await all_contacts(at.centre):
            moves += sum(leg["leg"].endswith(tuple(f".move{n}" for n in range(1, 99))) for leg in contact["legs"])
        print(f"{moves} callers moved", flush=True)
        assert moves >= 2 * TURNS
        assert all(call.is_up for call in sitting)
        await go_home(story, sitting)
        wrong = await check(story)
        assert not any(wrong.values()), wrong
        name = (await at.contact(sitting[0]))["name"]
        shown = await asyncio.to_thread(at.control.command, "admin", "replay", "--contact", name, "--check")
        assert shown.returncode == 0, f"{shown.stdout}\n{shown.stderr}"
