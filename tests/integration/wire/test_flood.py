"""While scanners do their worst, calls are set up, heard, changed and ended."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tandem.core.ports.media import (
    Answer,
    Cause,
    Collect,
    DigitsCollected,
    HangUp,
    LegArrived,
    LegEnded,
    LegHeld,
    LegResumed,
)
from tandem.core.seal import Secret
from tandem.wire.sdp import Direction
from tandem.wire.sip import events as sip
from tandem.wire.sip.guard import GuardConfig
from tests.integration.media.phone import Phone
from tests.integration.media.world import NUMBER, World, world

CALLER, AGENT = "127.0.0.2", "127.0.0.4"
CALLER_HZ, AGENT_HZ = 620.0, 1040.0
STRANGERS = GuardConfig(trusted=())
RATE = 3000
FLOODED = 2000
"""Datagrams dropped before a test begins and again while it goes on."""


@asynccontextmanager
async def flood(w: World, *kinds: str, addresses: int = 1, rate: int = RATE) -> AsyncIterator[None]:
    """A scanner in a process of its own, at work when the block begins, and still when it ends."""
    arguments = [str(argument) for argument in (w.node.sip_port, rate, addresses)]
    scanner = await asyncio.create_subprocess_exec(
        sys.executable, "-m", "tests.support.flood", *arguments, *kinds, cwd=Path(__file__).parents[3]
    )
    try:
        await dropped(w, FLOODED)
        yield
        assert scanner.returncode is None
    finally:
        scanner.kill()
        await scanner.wait()


async def dropped(w: World, more: int) -> None:
    """Wait until so many more datagrams were dropped unread."""
    end = lost(w) + more
    async with asyncio.timeout(30):
        while lost(w) < end:
            await asyncio.sleep(0.01)


def lost(w: World) -> int:
    counters = w.node.counters
    return counters.dropped_source_rate + counters.dropped_total_rate + counters.dropped_failures


def kept(w: World) -> int:
    """Transactions and calls that the node keeps."""
    endpoint = w.node._node._board.endpoint
    return len(endpoint._layer.servers) + len(endpoint._layer.clients) + len(endpoint._calls._by_handle)


async def a_whole_call(w: World, caller: Phone, agent: Phone) -> None:
    """Register, call, bridge, tones both ways, a digit, hold and resume, hang up."""
    first, second = await w.talk(caller, agent, "ann-secret")
    await caller.hears(AGENT_HZ)
    await agent.hears(CALLER_HZ)
    before = len(agent.digits)
    caller.press("5")
    await agent.when(lambda: len(agent.digits) > before)
    agent.hold()
    await w.sink.until(LegHeld, leg=second)
    await agent.until(sip.OfferAnswered)
    agent.hold(Direction.SENDRECV)
    await w.sink.until(LegResumed, leg=second)
    await caller.hears(AGENT_HZ)
    await dropped(w, FLOODED)
    agent.hang_up()
    assert (await w.sink.until(LegEnded, leg=second)).body.cause is Cause.NORMAL
    await w.do(first, HangUp())
    await caller.until(sip.CallEnded)
    assert agent.digits[before:] == "5"


@pytest.mark.parametrize(
    "kinds",
    [
        ("scan",),
        ("guess",),
        ("options", "ask"),
        ("garbage", "broken", "stray", "answer"),
        ("huge",),
        ("scan", "storm", "guess", "ask", "options", "stray", "garbage", "broken", "answer"),
    ],
    ids="-".join,
)
async def test_one_scanner_takes_nothing_from_strangers_who_call(tmp_path, kinds):
    async with world(tmp_path, guard=STRANGERS) as w:
        caller = w.phone("4917055", tone_hz=CALLER_HZ, host=CALLER)
        agent = w.phone("ann", tone_hz=AGENT_HZ, host=AGENT)
        async with flood(w, *kinds, rate=RATE if kinds != ("huge",) else 500):
            await a_whole_call(w, caller, agent)
            assert w.node.counters.sources <= 3
            assert kept(w) < 1500


async def test_a_flood_from_everywhere_takes_nothing_from_the_carrier_and_the_registered(tmp_path):
    """Forged addresses use up what strangers have together; who is known has their own."""
    limits = GuardConfig(trusted=(f"{CALLER}/32",), sources_max=100)
    async with world(tmp_path, guard=limits) as w:
        caller = w.phone("4917055", tone_hz=CALLER_HZ, host=CALLER)
        agent = w.phone("ann", tone_hz=AGENT_HZ, host=AGENT)
        assert await agent.register("ann-secret")
        async with flood(w, "storm", "scan", "options", "guess", addresses=300):
            await a_whole_call(w, caller, agent)
            counters = w.node.counters
            assert counters.sources <= 100
            assert counters.dropped_total_rate > 0
            assert counters.refused_total_rate > 0


async def test_a_registered_phone_calls_while_strangers_have_used_up_what_they_have_together(tmp_path):
    """`total_rate` is theirs: here so little of it comes back that nobody whom it is charged to gets in again."""
    limits = GuardConfig(trusted=(), total_rate=0.001, total_burst=30, sources_max=100)
    async with world(tmp_path, guard=limits) as w:
        phone = w.phone("ann", tone_hz=AGENT_HZ, host=AGENT)
        assert await phone.register("ann-secret")
        async with flood(w, "storm", "scan", "options", "guess", addresses=300):
            assert w.node.counters.dropped_total_rate > 0
            arrived = callers(w)
            phone.dial(NUMBER)
            await w.sink.when(lambda: callers(w) - arrived)
            (leg,) = callers(w) - arrived
            await w.do(leg, Answer())
            await phone.until(sip.CallAnswered)
            await dropped(w, FLOODED)
            assert await phone.register("ann-secret"), "nor does it lose its place"
            phone.hang_up()
            assert (await w.sink.until(LegEnded, leg=leg)).body.cause is Cause.NORMAL


def callers(w: World) -> set[str]:
    """Legs of all calls that came."""
    return {told.leg for told in w.sink.told if isinstance(told.body, LegArrived)}


async def test_a_call_that_is_up_does_not_feel_a_storm_from_its_own_address(tmp_path):
    """Behind one address of an office there may be a scanner, too."""
    async with world(tmp_path, guard=STRANGERS) as w:
        host = "127.66.0.1"  # the scanner's
        caller = w.phone("4917055", tone_hz=CALLER_HZ, host=host)
        leg = await w.call(caller)
        async with flood(w, "scan", "guess", "garbage"):
            assert w.node.counters.silenced > 0
            w.begin(leg, Collect("menu", ("menu",), max_digits=1, timeout_ms=15_000))
            caller.press("2")
            assert (await w.sink.until(DigitsCollected)).body.digits == Secret(b"2")
            caller.hold()
            await w.sink.until(LegHeld)
            await dropped(w, FLOODED)
            caller.hang_up()
            ended = (await w.sink.until(LegEnded)).body
            assert ended.cause is Cause.NORMAL


async def test_one_stranger_does_not_take_all_places(tmp_path):
    limits = GuardConfig(trusted=(), calls_per_source=3)
    async with world(tmp_path, guard=limits, capacity=5) as w:
        async with flood(w, "storm", rate=500):
            assert len(w.node.legs()) == 3
            assert w.node.counters.refused_calls_per_source > 0
            caller = w.phone("4917055", host=CALLER)
            caller.dial(NUMBER)
            await w.sink.when(lambda: len(w.node.legs()) == 4)
        arrived = [told for told in w.sink.told if isinstance(told.body, LegArrived)]
        assert len(arrived) == 4


async def test_a_scanner_that_guesses_gets_no_answer_and_the_phones_do(tmp_path):
    async with world(tmp_path, guard=STRANGERS) as w, flood(w, "guess"):
        counters = w.node.counters
        assert counters.failures_password <= STRANGERS.failures + 5
        assert counters.dropped_failures + counters.dropped_source_rate >= FLOODED
        assert await w.phone("ann", host=AGENT).register("ann-secret")
        assert not await w.phone("ann", host="127.0.0.6").register("wrong")
