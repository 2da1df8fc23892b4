"""Callers who wait, moved between two live nodes behind the door. The caller is baresip, which refuses requests with a
wrong tag or a CSeq that is too low, and hears nothing of packets that seem to be older than the last one."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

import pytest

from tandem.core.ports.media import (
    Answer,
    Bridge,
    By,
    Cause,
    Collect,
    Collected,
    DeviceRegistered,
    DigitsCollected,
    HandOut,
    HangUp,
    LegArrived,
    LegEnded,
    LegHandedOut,
    LegHeld,
    LegResumed,
    LegTakenOver,
    LetGo,
    Outcome,
    Play,
    TakeOver,
)
from tandem.core.seal import Private, secret
from tandem.media.freeswitch.ids import channel_of_caller, channel_of_moved
from tests.e2e.foreign import Baresip, baresip, needs_baresip
from tests.e2e.freeswitch.backend import PASSWORD, TENANT, Ordered, ordered
from tests.e2e.freeswitch.node import RTP_PORTS, FreeSwitch
from tests.e2e.freeswitch.talk import AGENT_HZ, CALLER_HZ, MUSIC_HZ, NUMBER, THIRD_HZ, tones
from tests.e2e.kamailio.door import Door, door
from tests.e2e.programs import free_ports

pytestmark = [pytest.mark.needs("kamailio"), needs_baresip]
CALLERS = "limit_usage hash tandem callers"
DOOR = "127.0.0.1:9"
"""Where nobody listens: the agents here register at the nodes themselves."""
SAID = {"music": MUSIC_HZ, "elsewhere": THIRD_HZ}


@pytest.fixture(scope="module")
def pair(
    freeswitch_prefix: Path, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[tuple[FreeSwitch, int], tuple[FreeSwitch, int]]]:
    """Two nodes at addresses of their own, and where each asks for accounts."""
    made = []
    first_port = 10_000 + 2 * RTP_PORTS * secrets.randbelow(50)
    for index in range(2):
        (port,) = free_ports(1)
        address, rtp = f"127.0.0.{index + 1}", first_port + RTP_PORTS * index
        node = FreeSwitch(
            freeswitch_prefix, tmp_path_factory.mktemp("node"), directory_url=f"http://127.0.0.1:{port}/directory",
            sip_ip=address, rtp_ip=address, rtp_port_min=rtp, rtp_port_max=rtp + RTP_PORTS - 2,
        )  # fmt: skip
        made.append((node, port))
    try:
        for node, _ in made:
            node.start()
        yield made[0], made[1]
    finally:
        for node, _ in made:
            node.stop()


@dataclass
class Moved:
    """A caller who waits on one node and hears music there."""

    here: Ordered
    there: Ordered
    door: Door
    phone: Baresip
    leg: str
    taken: str
    """What it is called where it is taken over."""

    async def handed_out(self, *, dies_after_s: float | None = None) -> Private:
        """What the one node says of the leg, once the phone has acknowledged that it was answered."""
        settled = await self.here.order(self.leg, HandOut(), dies_after_s=dies_after_s)
        while settled.reason == "NOT_WAITING":
            await asyncio.sleep(0.1)
            settled = await self.here.order(self.leg, HandOut())
        assert settled.outcome is Outcome.DONE, settled
        return self.here.told.of(LegHandedOut, self.leg)[-1].dialog

    async def move(self) -> None:
        """All three steps."""
        await self.there.done(self.taken, TakeOver(await self.handed_out()))
        await self.here.done(self.leg, LetGo())
        self.arrived()

    def arrived(self) -> None:
        """The caller is on the other node, and on that one alone."""
        assert self.there.told.of(LegTakenOver, self.taken) == [LegTakenOver()]
        [end] = self.here.told.of(LegEnded, self.leg)
        assert (end.cause, end.by) == (Cause.MOVED, By.TANDEM)
        assert [live.leg for live in self.there.node.legs()] == [self.taken]
        assert self.here.node.legs() == ()
        self.there.channels[self.taken] = channel_of_moved(TENANT, self.taken)

    async def closed(self) -> str:
        """Until the phone's call has ended; how."""
        event = await self.phone.until("CALL_CLOSED")
        return str(event["param"])


@asynccontextmanager
async def waiting(pair: tuple[tuple[FreeSwitch, int], ...], home: Path) -> AsyncIterator[Moved]:
    """One who was answered and hears music."""
    async with AsyncExitStack() as stack:
        own = [secrets.token_hex(3) for _ in pair]
        nodes = []
        for name, (switch, port) in zip(own, pair, strict=True):
            (home / name).mkdir()
            devices = {"agent": f"agent{name}"}
            node = ordered(switch, port, home / name, devices, door=DOOR, said=SAID)
            nodes.append(await stack.enter_async_context(node))
        places = [f"{switch.settings['sip_ip']}:{switch.sip_port}" for switch, _ in pair]
        one = await stack.enter_async_context(door(home / "door", places))
        phone = await stack.enter_async_context(baresip(home / "caller", one.sip, "cara", tone_hz=CALLER_HZ))
        phone.command("dial", f"sip:{NUMBER}@{one.sip}")

        def arrived() -> list[tuple[int, str]]:
            return [
                (index, leg)
                for index, node in enumerate(nodes)
                for leg, body in node.told.events
                if isinstance(body, LegArrived)
            ]

        looking = [asyncio.create_task(node.told.until(arrived)) for node in nodes]
        await asyncio.wait(looking, return_when=asyncio.FIRST_COMPLETED)
        for task in looking:
            task.cancel()
        await asyncio.wait(looking)
        [(index, leg)] = arrived()
        here, there = nodes[index], nodes[1 - index]
        here.caller = leg
        here.channels[leg] = channel_of_caller(leg) or ""
        await here.done(leg, Answer())
        await here.done(leg, Play(("music",), loop=True))
        await phone.until("CALL_ESTABLISHED")
        yield Moved(here, there, one, phone, leg, f"{leg}.move1")


async def test_a_moved_caller_hears_the_other_node_and_is_heard_there(pair, tmp_path):
    async with waiting(pair, tmp_path) as one:
        await asyncio.sleep(1)
        await one.move()
        assert await one.there.esl.api(CALLERS) == "1", "it counts"
        assert await one.here.esl.api(CALLERS) == "0"
        await one.there.done(one.taken, Play(("elsewhere",), loop=True))
        await asyncio.sleep(2)
        collected = asyncio.create_task(one.there.order(one.taken, Collect("menu", (), 1, 10_000)))
        await asyncio.sleep(1)
        one.phone.command("sndcode", "7")
        assert (await collected).outcome is Outcome.DONE
        [digits] = one.there.told.of(DigitsCollected, one.taken)
        assert digits == DigitsCollected("menu", secret("7"), Collected.COMPLETE)
        await one.there.done(one.taken, HangUp())
        await one.closed()
        assert await one.there.esl.api(CALLERS) == "0"
        assert tones(await one.phone.heard()) == {MUSIC_HZ, THIRD_HZ}


async def test_a_caller_is_moved_off_a_node_that_takes_no_calls(pair, tmp_path):
    async with waiting(pair, tmp_path) as one:
        place = f"{one.here.switch.settings['sip_ip']}:{one.here.switch.sip_port}"
        one.here.node.drain(True)
        try:
            await one.door.says(f"{place} takes no calls")
            await one.move()
        finally:
            one.here.node.drain(False)
        await one.door.says(f"{place} takes calls")
        assert not [event for event in one.phone.events if event["type"] == "CALL_CLOSED"]
        await one.there.done(one.taken, HangUp())
        await one.closed()


async def test_a_moved_caller_hangs_up(pair, tmp_path):
    async with waiting(pair, tmp_path) as one:
        await one.move()
        one.phone.command("hangup")
        await one.there.told.until(lambda: one.there.told.of(LegEnded, one.taken))
        [end] = one.there.told.of(LegEnded, one.taken)
        assert (end.cause, end.by) == (Cause.NORMAL, By.FAR)


async def test_a_moved_caller_whose_phone_is_dead_is_noticed_by_the_other_node(pair, tmp_path):
    async with waiting(pair, tmp_path) as one:
        await one.here.esl.api(f"uuid_setvar {one.here.channels[one.leg]} media_timeout 2000")
        await one.move()
        one.phone.program.kill()
        await one.there.told.until(lambda: one.there.told.of(LegEnded, one.taken))
        [end] = one.there.told.of(LegEnded, one.taken)
        assert end.cause is Cause.NO_MEDIA


async def test_a_moved_caller_talks_with_an_agent(pair, tmp_path):
    async with waiting(pair, tmp_path) as one:
        await one.move()
        user = one.there.devices["agent"]
        place = f"{one.there.switch.settings['sip_ip']}:{one.there.switch.sip_port}"
        async with baresip(tmp_path / "agent", place, user, PASSWORD, tone_hz=AGENT_HZ) as agent:
            one.there.phones["agent"] = agent
            await one.there.told.until(lambda: one.there.told.of(DeviceRegistered, ""))
            one.there.caller = one.leg  # the agent's leg is named after the contact
            leg = await one.there.ring("agent")
            await one.there.done(one.taken, Bridge(leg))
            assert await one.there.heard_by(leg) == {CALLER_HZ}
            assert await one.there.heard_by(one.taken) == {AGENT_HZ}
            agent.command("hangup")
            await one.there.told.until(lambda: one.there.told.of(LegEnded, leg))
        await one.there.done(one.taken, HangUp())
        await one.closed()


@pytest.mark.parametrize("after_s", [0.0, 0.01, 0.03, 0.1])
@pytest.mark.parametrize("step", [HandOut, TakeOver, LetGo])
async def test_an_agent_that_is_killed_in_a_step_loses_nobody(pair, tmp_path, step, after_s):
    async with waiting(pair, tmp_path) as one:
        when = {step: after_s}
        dialog = await one.handed_out(dies_after_s=when.get(HandOut))
        settled = await one.there.order(one.taken, TakeOver(dialog), dies_after_s=when.get(TakeOver))
        if settled.outcome is Outcome.FAILED:
            # It was killed before FreeSWITCH was asked: the caller is where they were, and nothing is lost by it.
            assert one.there.node.legs() == ()
            assert [live.leg for live in one.here.node.legs()] == [one.leg]
            await one.there.done(one.taken, TakeOver(await one.handed_out()))
        await one.here.done(one.leg, LetGo(), dies_after_s=when.get(LetGo))
        one.arrived()
        assert not [event for event in one.phone.events if event["type"] == "CALL_CLOSED"]
        await one.there.done(one.taken, HangUp())
        await one.closed()


async def test_a_moved_callers_phone_holds_and_goes_on(pair, tmp_path):
    async with waiting(pair, tmp_path) as one:
        await one.move()
        one.phone.command("hold")
        await one.there.told.until(lambda: one.there.told.of(LegHeld, one.taken))
        one.phone.command("resume")
        await one.there.told.until(lambda: one.there.told.of(LegResumed, one.taken))
        await one.there.done(one.taken, HangUp())
        await one.closed()


async def test_a_caller_whose_phone_holds_is_moved_and_goes_on(pair, tmp_path):
    """Its hold is still under way when the other node asks: 491, and asked again."""
    async with waiting(pair, tmp_path) as one:
        await one.handed_out()
        one.phone.command("hold")
        await one.here.told.until(lambda: one.here.told.of(LegHeld, one.leg))
        await one.move()
        one.phone.command("resume")
        await one.there.told.until(lambda: one.there.told.of(LegResumed, one.taken))
        await one.there.done(one.taken, Play(("elsewhere",), loop=True))
        # This phone keeps nothing of what it hears after a hold, on any node.
        assert await one.there.heard_by(one.taken) == {THIRD_HZ}
        await one.there.done(one.taken, HangUp())
        await one.closed()


async def test_a_caller_moves_there_and_back(pair, tmp_path):
    async with waiting(pair, tmp_path) as one:
        await one.move()
        one.here.told.events.clear()
        await one.there.done(one.taken, HandOut())
        dialog = one.there.told.of(LegHandedOut, one.taken)[-1].dialog
        back = f"{one.leg}.move2"
        await one.here.done(back, TakeOver(dialog))
        await one.there.done(one.taken, LetGo())
        assert [live.leg for live in one.here.node.legs()] == [back]
        one.here.channels[back] = channel_of_moved(TENANT, back)
        await one.here.done(back, Play(("elsewhere",), loop=True))
        assert await one.here.heard_by(back) == {THIRD_HZ}
        await one.here.done(back, HangUp())
        await one.closed()


async def test_a_moved_caller_is_found_by_an_agent_whose_journal_is_lost(pair, tmp_path):
    async with waiting(pair, tmp_path) as one:
        await one.move()
        await one.there.dies()
        one.there.told.rows.clear()
        await one.there.lives()
        while not one.there.node.legs():
            await asyncio.sleep(0.1)
        await one.there.done(one.taken, Play(("elsewhere",), loop=True))
        assert [live.leg for live in one.there.node.legs()] == [one.taken]
        assert await one.there.heard_by(one.taken) == {THIRD_HZ}
        await one.there.done(one.taken, HangUp())
        await one.closed()


async def test_whose_phone_is_gone_is_not_taken_over(pair, tmp_path):
    async with waiting(pair, tmp_path) as one:
        dialog = await one.handed_out()
        one.phone.command("hangup")
        await one.here.told.until(lambda: one.here.told.of(LegEnded, one.leg))
        settled = await one.there.order(one.taken, TakeOver(dialog))
        assert (settled.outcome, settled.reason) == (Outcome.FAILED, "CALL_GONE")
        assert one.there.node.legs() == ()
