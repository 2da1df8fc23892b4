"""Our configuration on real FreeSWITCH, with no Tandem process alive."""

from __future__ import annotations

import asyncio
import ipaddress
import json
import re
import secrets
import socket
from array import array
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.e2e.foreign import Sipp, needs_sipp, register, sipp
from tests.e2e.freeswitch.directory import directory
from tests.e2e.freeswitch.esl_client import Esl, Refused, connected
from tests.e2e.freeswitch.listening import listens
from tests.e2e.freeswitch.node import CONFIG, PROMPTS, FreeSwitch
from tests.e2e.freeswitch.process import bound, written_by
from tests.e2e.programs import PATIENCE_S, free_ports, free_udp_port
from tests.e2e.sounds import RATE, read_wav

GATEWAY = """\
<gateway name="{name}">
  <param name="proxy" value="127.0.0.1:{port}"/>
  <param name="register" value="false"/>
  <param name="username" value="none"/>
  <param name="password" value="none"/>
</gateway>
"""


def intended() -> set[str]:
    """The modules that the configuration names."""
    file = CONFIG / "autoload_configs/modules.conf.xml"
    return {load.attrib["module"] for load in ElementTree.parse(file).iter("load")}


async def options(node: FreeSwitch) -> int:
    """The status with which the node answers OPTIONS."""
    loop = asyncio.get_running_loop()
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as own:
        own.setblocking(False)
        own.bind(("127.0.0.1", 0))
        here = f"127.0.0.1:{own.getsockname()[1]}"
        request = (
            f"OPTIONS sip:{node.sip} SIP/2.0\r\nVia: SIP/2.0/UDP {here};rport;branch=z9hG4bK{secrets.token_hex(8)}\r\n"
            f"From: <sip:proxy@{here}>;tag={secrets.token_hex(4)}\r\nTo: <sip:{node.sip}>\r\n"
            f"Call-ID: {secrets.token_hex(8)}\r\nCSeq: 1 OPTIONS\r\nMax-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
        await loop.sock_sendto(own, request.encode(), ("127.0.0.1", node.sip_port))
        async with asyncio.timeout(PATIENCE_S):
            answer = await loop.sock_recv(own, 65536)
        return int(answer.split()[1])


def call(node: FreeSwitch, home: Path, scenario: str, number: str = "4930123456"):
    """A caller."""
    return sipp(home, scenario, node.sip, "-s", number, caller=f"c{secrets.token_hex(4)}")


async def parked(esl: Esl) -> str:
    """Until a caller is parked; its uuid."""
    event = await esl.until("CHANNEL_PARK")
    return event.get("Unique-ID") or ""


def test_only_the_modules_that_are_named_are_loaded(node):
    # `show modules` reads a table that is written behind: the log is what happened.
    loaded = {match[1] for line in node.lines if (match := re.search(r"Successfully Loaded \[(\w+)\]", line))}
    assert {name for name in loaded if not name.startswith("CORE_")} == intended()


def test_every_socket_is_on_loopback(node):
    sockets = bound(node.pid)
    assert {("udp", "127.0.0.1", node.sip_port), ("tcp", "127.0.0.1", node.esl_port)} <= sockets
    assert [one for one in sockets if not ipaddress.ip_address(one[1]).is_loopback] == []


def test_the_node_writes_in_its_own_directory_only(node):
    written = [file for file in written_by(node.pid) if file.is_file() and not file.is_relative_to(node.home)]
    assert written == []


def test_nothing_went_wrong_while_it_started(node):
    begun = next(at for at, line in enumerate(node.lines) if "FreeSWITCH Started" in line)
    assert [line for line in node.lines[:begun] if re.search(r"\[(ERR|CRIT|ALERT)\]", line)] == []


async def test_a_wrong_password_is_refused(node):
    for wrong in ("ClueCon", "", node.esl_password[:-1]):
        with pytest.raises(Refused):
            async with connected(node.esl_port, wrong):
                pass


async def test_a_node_without_a_password_lets_nobody_in(freeswitch_prefix, tmp_path):
    node = FreeSwitch(freeswitch_prefix, tmp_path / "node")
    del node.settings["esl_password"]
    node.start()
    try:
        for wrong in ("ClueCon", ""):
            with pytest.raises(Refused):
                async with connected(node.esl_port, wrong):
                    pass
    finally:
        node.stop()


async def test_options_steer_new_calls(node):
    assert await options(node) == 200
    async with node.connect() as esl:
        await esl.api("fsctl pause inbound")
        try:
            assert await options(node) == 503
        finally:
            await esl.api("fsctl resume inbound")
    assert await options(node) == 200


@needs_sipp
async def test_a_caller_rings_is_parked_and_hears_the_apology(node, tmp_path):
    async with node.connect() as esl, call(node, tmp_path, "ring_and_listen") as run:
        await esl.subscribe("CHANNEL_PARK", "CHANNEL_HANGUP_COMPLETE", "CHANNEL_DESTROY")
        leg = await parked(esl)
        assert await esl.api(f"uuid_getvar {leg} endpoint_disposition") != "ANSWER"
        await run.succeeds()
        end = await esl.until("CHANNEL_HANGUP_COMPLETE", lambda event: event.get("Unique-ID") == leg)
        assert end.get("Hangup-Cause") == "NORMAL_TEMPORARY_FAILURE"
        await esl.until("CHANNEL_DESTROY", lambda event: event.get("Unique-ID") == leg)
    record = json.loads((node.cdrs / f"{leg}.cdr.json").read_text())
    assert record["variables"]["hangup_cause"] == "NORMAL_TEMPORARY_FAILURE"
    spoken = len(read_wav(PROMPTS / "apology.wav"))
    assert abs(loud(run) - spoken) < RATE, (loud(run), spoken)


def loud(run: Sipp) -> int:
    """Samples from the first to the last that a caller can hear."""
    heard: array[int] = run.ear.heard
    audible = [at for at, sample in enumerate(heard) if abs(sample) > 100]
    return audible[-1] - audible[0] if audible else 0


@needs_sipp
async def test_the_fallback_can_be_a_code(node, tmp_path):
    async with node.connect() as esl:
        await node.configure(esl, fallback="refuse")
        try:
            async with call(node, tmp_path, "ring_until_refused") as run:
                await run.succeeds()
        finally:
            await node.configure(esl)


@needs_sipp
async def test_an_owner_cancels_the_fallback(node, tmp_path):
    async with node.connect() as esl, call(node, tmp_path, "ring_and_listen") as run:
        await esl.subscribe("CHANNEL_PARK", "CHANNEL_ANSWER", "DEL_SCHEDULE", "HEARTBEAT")
        leg = await parked(esl)
        answer = await esl.api(f"sched_del {leg}")
        assert answer.startswith("+OK"), answer
        await esl.api(f"uuid_answer {leg}")
        # Two heartbeats are 4 s: the fallback's time is over.
        for _ in range(2):
            esl.events.clear()
            await esl.until("HEARTBEAT")
        assert leg in await esl.api("show channels")
        assert "park" in await esl.api(f"uuid_dump {leg}")
        await esl.api(f"uuid_kill {leg}")
        await run.succeeds()
    assert loud(run) == 0


@needs_sipp
async def test_an_emergency_call_goes_out_even_when_the_node_is_full(node, tmp_path):
    port = free_udp_port()
    async with node.connect() as esl:
        (node.gateways / "emergency.xml").write_text(GATEWAY.format(name="emergency", port=port))
        await node.configure(esl, max_callers=0)
        try:
            answer = await esl.api("sofia profile tandem rescan")
            assert "+OK" in answer or "Reload" in answer, answer
            await esl.subscribe("CHANNEL_BRIDGE")
            async with call(node, tmp_path / "other", "refused_when_full") as refused:
                await refused.succeeds()
            uas = sipp(tmp_path / "gateway", "answer_and_hang_up", node.sip, "-d", "500", tone_hz=440, port=port)
            async with uas as gateway:
                await listens(gateway, port)
                async with call(node, tmp_path / "caller", "ring_and_listen", "112") as caller:
                    await caller.succeeds()
                    await gateway.succeeds()
            bridge = await esl.until("CHANNEL_BRIDGE")
            assert bridge.get("variable_sip_gateway_name") is None
            assert bridge.get("Other-Leg-Destination-Number") == "112"
        finally:
            await node.configure(esl)
    assert loud(caller) > 0


async def listed(esl: Esl, user: str) -> None:
    """Until a registration is in the node's table, which is written behind; nothing tells when."""
    async with asyncio.timeout(PATIENCE_S):
        while user not in await esl.api("sofia status profile tandem reg"):
            await asyncio.sleep(0.05)


@needs_sipp
async def test_a_phone_registers_again_while_nobody_answers_for_accounts(node, tmp_path):
    (port,) = free_ports(1)
    async with node.connect() as esl:
        await node.configure(esl, directory_url=f"http://127.0.0.1:{port}/directory")
        await esl.api("reload mod_xml_curl")
        phone = free_udp_port()
        async with directory(port, {"ann": "secret"}) as asked:
            await register(tmp_path / "first", node.sip, "ann", "secret", phone)
            assert {form["user"] for form in asked.asked} == {"ann"}
            # Two registrations of one place at almost the same time can end as none.
            await listed(esl, "ann")
        await register(tmp_path / "again", node.sip, "ann", "secret", phone)
        await listed(esl, "ann")
        await esl.api("xml_flush_cache")
