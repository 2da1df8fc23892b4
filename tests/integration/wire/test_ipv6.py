"""The built-in node on IPv6: registration, a call in a bridge, hold, a digit, hang-up."""

from __future__ import annotations

import socket

import pytest

from tandem.core.ports.media import Cause, HangUp, LegEnded, LegHeld, LegResumed
from tandem.wire.sdp import Direction
from tandem.wire.sip import events as sip
from tests.integration.media.world import world

LOCAL = "::1"
CALLER_HZ, AGENT_HZ = 620.0, 1040.0


def _has_ipv6() -> bool:
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) as one:
            one.bind((LOCAL, 0))
    except OSError:
        return False
    return True


pytestmark = pytest.mark.skipif(not _has_ipv6(), reason="this host has no IPv6 loopback")


async def test_a_whole_call(tmp_path):
    async with world(tmp_path, host=LOCAL) as w:
        caller = w.phone("4917055", tone_hz=CALLER_HZ, host=LOCAL)
        agent = w.phone("ann", tone_hz=AGENT_HZ, host=LOCAL)
        first, second = await w.talk(caller, agent, "ann-secret")
        assert caller.audio.host == LOCAL
        await caller.hears(AGENT_HZ)
        await agent.hears(CALLER_HZ)
        caller.press("5")
        await agent.when(lambda: agent.digits == "5")
        agent.hold()
        await w.sink.until(LegHeld, leg=second)
        await agent.until(sip.OfferAnswered)
        agent.hold(Direction.SENDRECV)
        await w.sink.until(LegResumed, leg=second)
        agent.hang_up()
        assert (await w.sink.until(LegEnded, leg=second)).body.cause is Cause.NORMAL
        await w.do(first, HangUp())
        assert (await caller.until(sip.CallEnded)).cause is sip.EndCause.REMOTE_BYE
        assert w.node.legs() == ()


async def test_a_caller_who_gives_up_and_a_device_that_does(tmp_path):
    async with world(tmp_path, host=LOCAL) as w:
        caller = w.phone("4917055", host=LOCAL)
        caller.dial("4930100")
        await caller.until(sip.CallProgress)
        caller.hang_up()
        assert (await w.sink.until(LegEnded)).body.cause is Cause.CANCELED
        agent = w.phone("ann", host=LOCAL)
        assert await agent.register("ann-secret")
        agent.reject_status = 486
        await w.ring("c1.1", "ann")
        assert (await w.sink.until(LegEnded, leg="c1.1")).body.cause is Cause.BUSY
