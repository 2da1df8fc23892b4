"""The door in front of two real nodes: where calls go, who is registered, and what ends there."""

from __future__ import annotations

import asyncio
import subprocess
from collections import Counter
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from tests.e2e.cell import TANDEM, environment, on_freeswitch
from tests.e2e.foreign import baresip, needs_baresip, needs_sipp, sipp
from tests.e2e.freeswitch.directory import directory
from tests.e2e.freeswitch.talk import new_uuid
from tests.e2e.kamailio.door import Stranger, door
from tests.e2e.programs import Program
from tests.e2e.sounds import seconds_of

pytestmark = [pytest.mark.needs("kamailio"), needs_sipp]
NUMBER = "4930123456"
FROM_NODE_HZ = 600


async def called(where, home, count=1, *, scenario="ring_by_a_door"):
    """So many callers, one after another, each until the node has hung up."""
    run = sipp(home, scenario, where.sip, "-s", NUMBER, "-m", count, "-l", 2, "-r", 5, caller="cara")
    async with run as callers:
        await callers.succeeds()


def served(node) -> int:
    """Calls that a node took to their end."""
    return len(list(node.cdrs.glob("*.cdr.json")))


async def test_calls_go_to_the_nodes_in_turn_and_stay_there_by_record_route(nodes, tmp_path):
    before = [served(node) for node in nodes]
    async with door(tmp_path / "door", [node.sip_port for node in nodes]) as one:
        await called(one, tmp_path / "callers", 4)
    assert [served(node) - was for node, was in zip(nodes, before, strict=True)] == [2, 2]


async def test_a_paused_node_gets_no_calls_until_it_says_so(nodes, tmp_path):
    first, _ = nodes
    async with door(tmp_path / "door", [node.sip_port for node in nodes]) as one, first.connect() as esl:
        await esl.api("fsctl pause inbound")
        try:
            await one.says(f"127.0.0.1:{first.sip_port} takes no calls")
            before = [served(node) for node in nodes]
            await called(one, tmp_path / "callers", 2)
            assert [served(node) - was for node, was in zip(nodes, before, strict=True)] == [0, 2]
        finally:
            await esl.api("fsctl resume inbound")
        await one.says(f"127.0.0.1:{first.sip_port} takes calls")


@asynccontextmanager
async def agent(node, home):
    """The media process of a node, without a control plane; how it is commanded."""
    home.mkdir()
    before = dict(node.settings)
    settings = environment(
        home / "var", media__node_key_file=home / "node.key", media__allow_node_key_on_disk=True,
        media__freeswitch__door="127.0.0.1:9", **on_freeswitch(node, home),
    )  # fmt: skip
    node.settings = before

    async def tandem(*arguments):
        done = await asyncio.to_thread(
            subprocess.run, (*TANDEM, *arguments), env=settings, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr
        return done.stdout

    program = Program("media", (*TANDEM, "run", "media"), env=settings)
    try:
        await asyncio.to_thread(program.wait_line, "FreeSWITCH answers")
        yield tandem
    finally:
        program.stop()


async def test_a_drained_node_gets_no_calls_until_that_is_undone(nodes, tmp_path):
    first, _ = nodes
    ports = [node.sip_port for node in nodes]
    async with door(tmp_path / "door", ports) as one, agent(first, tmp_path / "agent") as tandem:
        assert "nobody is left, it can be stopped" in await tandem("admin", "drain")
        await one.says(f"127.0.0.1:{first.sip_port} takes no calls")
        before = [served(node) for node in nodes]
        await called(one, tmp_path / "callers", 2)
        assert [served(node) - was for node, was in zip(nodes, before, strict=True)] == [0, 2]
        await tandem("admin", "drain", "--undo")
        await one.says(f"127.0.0.1:{first.sip_port} takes calls")


async def test_a_call_that_meets_a_full_node_goes_to_the_next_one(nodes, tmp_path):
    first, second = nodes
    async with door(tmp_path / "door", [node.sip_port for node in nodes]) as one, first.connect() as esl:
        await first.configure(esl, max_callers=0)
        try:
            before = served(second)
            await called(one, tmp_path / "callers", 2)
            assert served(second) - before == 2
        finally:
            await first.configure(esl)


async def test_a_call_that_meets_a_dead_node_goes_to_the_next_one(nodes, tmp_path):
    first, second = nodes
    # So slow with its OPTIONS that it is the call that finds out.
    ports = [node.sip_port for node in nodes]
    async with door(tmp_path / "door", ports, PING_S=600, NODE_TIMEOUT_MS=500) as one:
        await asyncio.to_thread(first.kill)
        try:
            before = served(second)
            await called(one, tmp_path / "callers", 2)
            assert served(second) - before == 2
        finally:
            await asyncio.to_thread(first.start)


async def test_with_no_node_that_takes_calls_callers_and_carriers_are_told_so(nodes, tmp_path):
    async with AsyncExitStack() as stack:
        one = await stack.enter_async_context(door(tmp_path / "door", [node.sip_port for node in nodes]))
        stranger = Stranger("127.0.0.9", one)
        stack.callback(stranger.close)
        stranger.send("OPTIONS")
        assert await stranger.answer() == 200
        for node in nodes:
            esl = await stack.enter_async_context(node.connect())
            await esl.api("fsctl pause inbound")
            stack.push_async_callback(esl.api, "fsctl resume inbound")
        for node in nodes:
            await one.says(f"127.0.0.1:{node.sip_port} takes no calls")
        for method in ("OPTIONS", "INVITE"):
            stranger.send(method)
            assert await stranger.answer() == 503


@needs_baresip
async def test_a_phone_registers_at_the_door_and_every_node_rings_it(nodes, directory_port, tmp_path):
    async with (
        directory(directory_port, {"ann": "secret"}),
        door(tmp_path / "door", [node.sip_port for node in nodes]) as one,
        baresip(tmp_path / "phone", one.sip, "ann", "secret", tone_hz=440) as phone,
    ):
        await phone.registered()
        for count, node in enumerate(nodes, start=1):
            async with node.connect() as esl:
                await esl.subscribe("CHANNEL_ANSWER", "CHANNEL_HANGUP_COMPLETE")
                leg = new_uuid()
                target = f"sofia/tandem/ann@{one.sip};fs_path=sip:{one.sip}"
                play = f"&playback(tone_stream://%(1500,0,{FROM_NODE_HZ}))"
                answer = await esl.api(f"originate {{origination_uuid={leg},originate_timeout=20}}{target} {play}")
                assert answer.startswith("+OK"), answer
                await phone.until("CALL_CLOSED", count)
        assert seconds_of(await phone.heard(), FROM_NODE_HZ) > 0.5
    assert Counter(event["type"] for event in phone.events)["CALL_ESTABLISHED"] == 2


@needs_baresip
async def test_a_phone_with_a_wrong_password_is_not_registered(nodes, directory_port, tmp_path):
    async with (
        directory(directory_port, {"eve": "secret"}),
        door(tmp_path / "door", [node.sip_port for node in nodes]) as one,
        baresip(tmp_path / "phone", one.sip, "eve", "guessed", tone_hz=440) as phone,
    ):
        await phone.refused()
        async with nodes[0].connect() as esl:
            answer = await esl.api(f"originate sofia/tandem/eve@{one.sip};fs_path=sip:{one.sip} &park")
    assert answer.strip() == "-ERR UNALLOCATED_NUMBER", answer


async def test_a_flood_is_silenced_and_others_are_not(nodes, tmp_path):
    async with door(tmp_path / "door", [node.sip_port for node in nodes], SOURCE_RATE=20) as one:
        flood, other = Stranger("127.0.0.7", one), Stranger("127.0.0.8", one)
        try:
            for _ in range(200):
                flood.send("OPTIONS")
            await one.says("127.0.0.7 sends too many requests")
            other.send("OPTIONS")
            assert await other.answer() == 200
            assert flood.waiting() < 100
            # Who is not heard can still call an ambulance: a node has no gateway for it here and says so.
            flood.send("INVITE", "112")
            assert await flood.answer() >= 400
        finally:
            flood.close()
            other.close()


@pytest.mark.parametrize("headers", ["User-Agent: friendly-scanner\r\n", "User-Agent: sipvicious\r\n"])
async def test_a_scanner_gets_no_answer(nodes, tmp_path, headers):
    async with door(tmp_path / "door", [node.sip_port for node in nodes]) as one:
        scanner = Stranger("127.0.0.6", one)
        try:
            scanner.send("OPTIONS", headers=headers)
            scanner.send("OPTIONS")
            assert await scanner.answer() == 200
            assert scanner.waiting() == 0
        finally:
            scanner.close()


@pytest.mark.parametrize(
    ("method", "headers", "status"),
    [
        ("INVITE", "Replaces: 1234;to-tag=1;from-tag=2\r\n", 403),
        ("SUBSCRIBE", "", 405),
        ("MESSAGE", "", 405),
    ],
)
async def test_what_nobody_needs_is_refused(nodes, tmp_path, method, headers, status):
    async with door(tmp_path / "door", [node.sip_port for node in nodes]) as one:
        stranger = Stranger("127.0.0.5", one)
        try:
            stranger.send(method, headers=headers)
            assert await stranger.answer() == status
        finally:
            stranger.close()


async def test_a_stranger_does_not_keep_the_end_of_a_call_from_its_node(nodes, tmp_path):
    async with door(tmp_path / "door", [node.sip_port for node in nodes]) as one:
        stranger = Stranger("127.0.0.4", one)
        try:
            headers = f"Route: <sip:{one.sip};lr>\r\nX-Tandem-Moved: true\r\n"
            stranger.send("BYE", at=nodes[0].sip, headers=headers, to_tag=";tag=made-up")
            assert await stranger.answer() == 481, "the node's answer: it was asked, and has no such call"
        finally:
            stranger.close()


async def test_the_door_carries_nothing_between_two_others(nodes, tmp_path):
    async with door(tmp_path / "door", [node.sip_port for node in nodes]) as one:
        stranger, victim = Stranger("127.0.0.4", one), Stranger("127.0.0.3", one)
        try:
            route = f"Route: <sip:{one.sip};lr>, <sip:{victim.here};lr>\r\n"
            stranger.send("BYE", headers=route, to_tag=";tag=made-up")
            assert await stranger.answer() == 403
            assert victim.waiting() == 0
        finally:
            stranger.close()
            victim.close()
