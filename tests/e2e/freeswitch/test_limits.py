"""What a node refuses, and what it takes all the same: limits, silence, pause and drain."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tandem.media.freeswitch.draining import VARIABLE
from tests.e2e.foreign import baresip, needs_baresip, needs_sipp, register, sipp
from tests.e2e.freeswitch.directory import directory
from tests.e2e.freeswitch.esl_client import Esl
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.freeswitch.talk import AGENT_HZ, CALLER_HZ, NUMBER, done, rung, talk
from tests.e2e.freeswitch.test_config import GATEWAY, call, options, parked
from tests.e2e.programs import free_udp_port

pytestmark = [needs_sipp, needs_baresip]


@asynccontextmanager
async def changed(esl: Esl, change: str, back: str) -> AsyncIterator[None]:
    """A node that was told something, until the block ends."""
    await done(esl, change)
    try:
        yield
    finally:
        await done(esl, back)


@asynccontextmanager
async def full(node: FreeSwitch, esl: Esl) -> AsyncIterator[None]:
    """A node that takes no callers by its settings, until the block ends."""
    await node.configure(esl, max_callers=0)
    try:
        yield
    finally:
        await node.configure(esl)


async def refused(node: FreeSwitch, home: Path, number: str = NUMBER) -> None:
    """A caller who gets 503 at once."""
    async with call(node, home / secrets.token_hex(4), "refused_when_full", number) as run:
        await run.succeeds()


async def test_a_node_with_all_sessions_taken_says_so_to_callers_and_to_the_door(node, tmp_path):
    async with node.connect() as esl, changed(esl, "fsctl max_sessions 2", "fsctl max_sessions 2000"):
        await esl.subscribe("CHANNEL_PARK", "CHANNEL_DESTROY")
        assert await options(node) == 200
        async with call(node, tmp_path / "one", "ring_and_listen") as one:
            taken = await parked(esl)
            # The last session is never a call: it is refused, and counts until it is given up after 10 s.
            await refused(node, tmp_path)
            assert await options(node) == 503
            await one.succeeds()
        await esl.until("CHANNEL_DESTROY", lambda event: event.get("Unique-ID") == taken)
        await esl.until("CHANNEL_DESTROY", lambda event: event.get("Unique-ID") != taken)
        assert await options(node) == 200


async def seconds_on(esl: Esl) -> None:
    """Until two heartbeats have come, 2 s apart: the rate of a second is in force from the next one on."""
    for _ in range(2):
        esl.events.clear()
        await esl.until("HEARTBEAT")


async def test_more_new_calls_in_a_second_than_the_limit_are_refused(node, tmp_path):
    async with node.connect() as esl:
        await esl.subscribe("HEARTBEAT")
        async with changed(esl, "fsctl sps 2", "fsctl sps 200"):
            await seconds_on(esl)
            many = ("-s", NUMBER, "-m", 40, "-r", 400)
            async with sipp(tmp_path / "storm", "refused_when_full", node.sip, *many, caller="storm") as run:
                await run.fails()  # of each second one was taken
            await asyncio.to_thread(node.wait_logged, "Throttle Error!", count=20)
        await seconds_on(esl)


async def test_a_caller_who_sends_no_audio_is_hung_up(node, tmp_path):
    async with node.connect() as esl:
        await node.configure(esl, rtp_timeout_ms=1000)
        try:
            await esl.subscribe("CHANNEL_PARK", "CHANNEL_HANGUP_COMPLETE")
            async with call(node, tmp_path, "call_and_stay") as run:
                leg = await parked(esl)
                assert "Deleted: 1" in await esl.api(f"sched_del {leg}")
                await done(esl, f"uuid_answer {leg}")
                await run.succeeds()
            end = await esl.until("CHANNEL_HANGUP_COMPLETE", lambda event: event.get("Unique-ID") == leg)
            assert end.get("Hangup-Cause") == "MEDIA_TIMEOUT"
        finally:
            await node.configure(esl)


@pytest.fixture(scope="module")
def port() -> int:
    """Where the gateway of emergency calls is: a rescan takes in new gateways, and leaves the others as they are."""
    return free_udp_port()


@pytest.mark.parametrize("how", ["by the agent", "by hand"])
async def test_a_node_that_drains_refuses_callers_and_nothing_else(secure, directory_port, tmp_path, port, how):
    async with talk(secure, directory_port, tmp_path) as one:
        (secure.gateways / "emergency.xml").write_text(GATEWAY.format(name="emergency", port=port))
        await one.esl.api("sofia profile tandem rescan")
        by_agent = changed(one.esl, f"global_setvar {VARIABLE}=true", f"global_setvar {VARIABLE}=false")
        async with by_agent if how == "by the agent" else full(secure, one.esl):
            await refused(secure, tmp_path)
            assert await one.heard_by(one.caller_leg) == {AGENT_HZ}
            async with baresip(tmp_path / "again", secure.sip, one.agent_user, "secret", tone_hz=AGENT_HZ) as again:
                await again.registered()
            await rung(one.esl, one.third_user)
            uas = sipp(tmp_path / "gateway", "answer_and_hang_up", secure.sip, "-d", "500", tone_hz=440, port=port)
            async with uas as gateway, call(secure, tmp_path / "ill", "ring_and_listen", "112") as ill:
                await ill.succeeds()
                await gateway.succeeds()
            # The door is not told: it tries another node when this one refuses the call.
            assert await options(secure) == 200
        async with call(secure, tmp_path / "after", "ring_and_listen") as after:
            await after.succeeds()


async def test_a_paused_node_refuses_everything_new_that_comes_in_and_keeps_its_talks(secure, directory_port, tmp_path):
    async with talk(secure, directory_port, tmp_path) as one:
        async with changed(one.esl, "fsctl pause inbound", "fsctl resume inbound"):
            assert await options(secure) == 503
            await refused(secure, tmp_path)
            await refused(secure, tmp_path, "112")
            async with sipp(tmp_path / "phone", "register", secure.sip, "-s", "bob", "-au", "bob", "-ap", "x") as run:
                await run.fails()
            assert await one.heard_by(one.caller_leg) == {AGENT_HZ}
            assert await one.heard_by(one.agent_leg) == {CALLER_HZ}
            await rung(one.esl, one.third_user)
            one.caller.command("hangup")
            await one.esl.until("CHANNEL_HANGUP_COMPLETE", lambda event: event.get("Unique-ID") == one.caller_leg)
        assert await options(secure) == 200


async def test_a_node_takes_registrations_again_after_a_pause(node, tmp_path, directory_port):
    async with node.connect() as esl, directory(directory_port, {"ann": "secret"}):
        await node.configure(esl, directory_url=f"http://127.0.0.1:{directory_port}/directory")
        await esl.api("reload mod_xml_curl")
        try:
            async with changed(esl, "fsctl pause inbound", "fsctl resume inbound"):
                pass
            await register(tmp_path / "phone", node.sip, "ann", "secret", free_udp_port())
        finally:
            await node.configure(esl)
            await esl.api("reload mod_xml_curl")
            await esl.api("xml_flush_cache")
