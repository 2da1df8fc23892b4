"""30 % of all datagrams lost, as many doubled, as many late: calls succeed, each exactly once."""

from __future__ import annotations

import asyncio
import shutil
from collections import Counter
from contextlib import AsyncExitStack

import pytest

from tandem.client import tones
from tandem.core.ports.media import (
    Answer,
    Bridge,
    Cause,
    Collect,
    CommandSettled,
    DigitsCollected,
    HangUp,
    LegAnswered,
    LegArrived,
    LegEnded,
    LegHeld,
    LegResumed,
    RecordingStored,
    RecordStart,
    RecordStop,
)
from tandem.core.seal import Secret
from tandem.media.backend import MergedDirectory
from tandem.wire.sdp import Direction
from tandem.wire.sip import events as sip
from tests.integration.media import phone as phones
from tests.integration.media.phone import HOST, Phone
from tests.integration.media.test_sipp import run_sipp
from tests.integration.media.world import DIRECTORY, NUMBER, World, devices, world
from tests.support.udp_proxy import UdpProxy, Weather, udp_proxy

CALLS = 8
"""At once; each has a seed of its own."""
PATIENCE_S = 60
"""Three losses in a row in each direction cost a step some 15 s."""
DIGITS = "1220"
CALLER_HZ, AGENT_HZ = 600.0, 1000.0
"""Whole periods in 20 ms: a frame lost or doubled leaves the rest in phase."""
BAD = Weather()
BAD_AUDIO = Weather(delay_max_s=0.06)
KEY = b"k" * 32


@pytest.fixture(autouse=True)
def patience(monkeypatch):
    monkeypatch.setattr(phones, "PATIENCE_S", PATIENCE_S)
    monkeypatch.setattr("tests.integration.media.world.PATIENCE_S", PATIENCE_S)


class Line:
    """A caller and an agent, each behind proxies for SIP and RTP."""

    def __init__(self, w: World, number: int, seed: int) -> None:
        self.w, self.number, self.seed = w, number, seed
        self.proxies: list[UdpProxy] = []

    async def phone(self, stack: AsyncExitStack, user: str, hz: float) -> Phone:
        name = f"{self.seed} {user}"
        sip_by = await stack.enter_async_context(udp_proxy((HOST, self.w.node.sip_port), BAD, name))
        rtp_by = await stack.enter_async_context(udp_proxy((HOST, 9), BAD_AUDIO, f"{name} rtp"))
        self.proxies += [sip_by, rtp_by]
        return self.w.phone(user, tone_hz=hz, sip_by=sip_by, rtp_by=rtp_by)

    async def play(self) -> None:
        """Register, call, digits, bridge, hold, resume, hang up."""
        w = self.w
        async with AsyncExitStack() as stack:
            caller = await self.phone(stack, f"49170{self.number}", CALLER_HZ)
            agent = await self.phone(stack, f"agent{self.number}", AGENT_HZ)
            assert await agent.register("secret")
            caller.dial(NUMBER)
            leg = (await self.arrival(caller)).leg
            await w.do(leg, Answer())
            await caller.until(sip.CallAnswered)
            await self.digits(leg, caller)
            await self.bridge(leg, agent)
            await self.hears(caller, AGENT_HZ)
            await self.hears(agent, CALLER_HZ)
            await self.hold(f"{leg}.1", agent)
            agent.hang_up()
            ended = (await w.sink.until(LegEnded, leg=f"{leg}.1")).body
            assert ended.cause is Cause.NORMAL
            await w.do(leg, HangUp())
            await caller.until(sip.CallEnded)
            await self.at_rest(caller, agent)
            self.check(leg, caller, agent)

    async def hears(self, one: Phone, hz: float) -> None:
        """Three tenths of a second in which that tone is most of what is left."""
        start = len(one.heard)
        await one.when(lambda: tones.seconds_with(one.heard[start:], hz, least=0.4) >= 0.3)

    async def arrival(self, caller: Phone):
        """This caller's leg: told by its number."""
        return await self.w.sink.when(
            lambda: next(
                (t for t in self.w.sink.told if isinstance(t.body, LegArrived) and _caller(t.body) == caller.user), None
            )
        )

    async def digits(self, leg: str, caller: Phone) -> None:
        self.w.begin(leg, Collect("menu", (), max_digits=len(DIGITS), timeout_ms=60_000))
        for digit in DIGITS:
            caller.press(digit)
            await caller.when(lambda: caller._sender is None)
        told = (await self.w.sink.until(DigitsCollected, leg=leg)).body
        assert told.digits == Secret(DIGITS.encode())

    async def bridge(self, leg: str, agent: Phone) -> None:
        agent.auto_answer = True
        await self.w.ring(f"{leg}.1", agent.user, ring_timeout_ms=PATIENCE_S * 1000)
        await self.w.sink.until(LegAnswered, leg=f"{leg}.1")
        await self.w.do(leg, Bridge(f"{leg}.1"))

    async def hold(self, leg: str, agent: Phone) -> None:
        await agent.until(sip.CallConfirmed)
        await self.change(agent, Direction.SENDONLY)
        await self.w.sink.until(LegHeld, leg=leg)
        await self.change(agent, Direction.SENDRECV)
        await self.w.sink.until(LegResumed, leg=leg)

    async def change(self, agent: Phone, direction: Direction) -> None:
        """A re-INVITE until it is taken. One that comes while our ACK to the one before is still under
        way is refused with 491, and is for later (RFC 3261 14.1)."""
        while True:
            seen = len(agent.events)
            agent.hold(direction)
            told = await agent.when(
                lambda seen=seen: next(
                    (e for e in agent.events[seen:] if isinstance(e, sip.OfferAnswered | sip.OfferRefused)), None
                )
            )
            if isinstance(told, sip.OfferAnswered):
                return
            assert told.status == 491
            await asyncio.sleep(0.5 + 0.1 * self.number)

    async def at_rest(self, *mine: Phone) -> None:
        """The goodbyes are through: nobody holds a call."""
        for one in mine:
            await one.when(lambda one=one: not (one.endpoint._calls._by_handle or one.endpoint._calls._by_dialog))

    def check(self, leg: str, caller: Phone, agent: Phone) -> None:
        """One leg, one dialog, one of each event, on each side."""
        for name in (leg, f"{leg}.1"):
            counts = Counter(type(body) for body in self.w.sink.of(name))
            assert counts[LegAnswered] == counts[LegEnded] == 1
        assert sum(isinstance(t.body, LegArrived) and _caller(t.body) == caller.user for t in self.w.sink.told) == 1
        for one in (caller, agent):
            counts = Counter(type(event) for event in one.events)
            assert counts[sip.CallEnded] == 1
            assert counts[sip.CallAnswered] + counts[sip.CallArrived] == 1
        lost = sum((proxy.count for proxy in self.proxies), Counter())
        assert lost["lost"] > lost["came"] / 5
        assert lost["doubled"] and lost["late"]


def _caller(arrived: LegArrived) -> str:
    assert isinstance(arrived.caller, Secret)
    return arrived.caller.value.decode()


@pytest.mark.parametrize("block", range(3))
async def test_calls_succeed_by_retransmission_each_exactly_once(tmp_path, block):
    agents = devices({f"agent{number}": "secret" for number in range(CALLS)})
    directory = MergedDirectory(DIRECTORY.numbers, agents)
    async with world(tmp_path, directory=directory, unreachable_after_s=PATIENCE_S) as w:
        async with asyncio.TaskGroup() as group:
            for number in range(CALLS):
                group.create_task(Line(w, number, block * CALLS + number).play())
        endpoint = w.node._node._board.endpoint
        await w.sink.when(lambda: not endpoint._calls._by_handle)
        assert w.node.legs() == ()
        assert sum(isinstance(t.body, LegArrived) for t in w.sink.told) == CALLS


async def test_a_recording_keeps_wall_time_over_a_bad_network(tmp_path):
    async with world(tmp_path) as w, udp_proxy((HOST, 9), BAD_AUDIO, "tape") as rtp_by:
        caller = w.phone("4917055", tone_hz=600.0, rtp_by=rtp_by)
        leg = await w.call(caller)
        started = w.begin(leg, RecordStart("r1", Secret(KEY)))
        await w.settled(started)
        packets = rtp_by.count["came"] + 200
        await caller.when(lambda: rtp_by.count["came"] >= packets)
        stopped = w.begin(leg, RecordStop("r1"))
        await w.settled(stopped)
        stored = (await w.sink.until(RecordingStored)).body
        at_ms = {t.body.key: t.at_ms for t in w.sink.told if isinstance(t.body, CommandSettled)}
        # By the node's own clock; 100 ms are the frames that a late ticker sends at once.
        assert abs(stored.frames / 8 - (at_ms[stopped] - at_ms[started])) < 200
        assert rtp_by.count["lost"] > 20


@pytest.mark.skipif(shutil.which("sipp") is None, reason="sipp is not installed (Debian: sip-tester)")
async def test_sipps_calls_come_through_as_well(tmp_path):
    async with world(tmp_path) as w, udp_proxy((HOST, w.node.sip_port), BAD, "sipp") as proxy:
        running = asyncio.create_task(
            run_sipp(proxy.near[1], "-sn", "uac", "-m", "10", "-l", "10", "-r", "5", "-d", "500", "-timeout", "100s")
        )
        running.add_done_callback(lambda _: w.sink.news.set())
        answered: dict[str, None] = {}

        def answer_all() -> bool:
            for told in w.sink.told[:]:
                if isinstance(told.body, LegArrived) and told.leg not in answered:
                    answered[told.leg] = None
                    w.begin(told.leg, Answer())
            return running.done()

        await w.sink.when(answer_all)
        assert running.result() == 0
        assert len(answered) == 10
        ended = [told.body.cause for told in w.sink.told if isinstance(told.body, LegEnded)]
        # SIPp takes a late 200 to its INVITE for the one to its BYE, and then does not send the BYE again.
        assert ended == [Cause.NORMAL] * (10 - len(w.node.legs()))
        assert len(w.node.legs()) <= 5
        assert proxy.count["lost"] > 10
