"""The endpoint against a SIP implementation that is not ours: Debian's SIPp."""

from __future__ import annotations

import asyncio
import shutil
import socket
from collections import Counter
from pathlib import Path

import pytest

from tandem.wire.sdp import Answer, LocalAudio, Negotiation
from tandem.wire.sip.digest import Authenticator, hash_password
from tandem.wire.sip.events import (
    CallAnswered,
    CallArrived,
    CallConfirmed,
    CallEnded,
    CallProgress,
    EndCause,
    Event,
    RegisterArrived,
)
from tandem.wire.sip.registrar import Registrar, address_of_record
from tandem.wire.sip.uri import NameAddr, Uri
from tests.integration.wire.udp_driver import UdpDriver, udp_driver

pytestmark = pytest.mark.skipif(shutil.which("sipp") is None, reason="SIPp is not here: apt-get install sip-tester")

CALLS = 50
LOCAL = LocalAudio("127.0.0.1", 40_000)

CANCEL = """<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="cancel">
<send retrans="500"><![CDATA[
INVITE sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: sipp <sip:sipp@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 INVITE
Contact: sip:sipp@[local_ip]:[local_port]
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="100" optional="true"/>
<recv response="180"/>
<send retrans="500"><![CDATA[
CANCEL sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-3]
From: sipp <sip:sipp@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>
Call-ID: [call_id]
CSeq: 1 CANCEL
Max-Forwards: 70
Content-Length: 0

]]></send>
<recv response="200"/>
<recv response="487"/>
<send><![CDATA[
ACK sip:[service]@[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch-6]
From: sipp <sip:sipp@[local_ip]:[local_port]>;tag=[call_number]
To: <sip:[service]@[remote_ip]:[remote_port]>[peer_tag_param]
Call-ID: [call_id]
CSeq: 1 ACK
Max-Forwards: 70
Content-Length: 0

]]></send>
</scenario>
"""

REGISTER = """<?xml version="1.0" encoding="ISO-8859-1"?>
<scenario name="register">
<send retrans="500"><![CDATA[
REGISTER sip:[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:alice@[remote_ip]>;tag=[call_number]
To: <sip:alice@[remote_ip]>
Call-ID: [call_id]
CSeq: 1 REGISTER
Contact: sip:alice@[local_ip]:[local_port]
Max-Forwards: 70
Expires: 300
Content-Length: 0

]]></send>
<recv response="401" auth="true"/>
<send retrans="500"><![CDATA[
REGISTER sip:[remote_ip]:[remote_port] SIP/2.0
Via: SIP/2.0/[transport] [local_ip]:[local_port];branch=[branch]
From: <sip:alice@[remote_ip]>;tag=[call_number]
To: <sip:alice@[remote_ip]>
Call-ID: [call_id]
CSeq: 2 REGISTER
Contact: sip:alice@[local_ip]:[local_port]
Max-Forwards: 70
Expires: 300
[authentication username=alice password=right]
Content-Length: 0

]]></send>
<recv response="200"/>
</scenario>
"""


async def sipp(*arguments: str | int) -> tuple[int, str]:
    """Run SIPp to its end; its exit status (0: every call went as it should) and what it printed."""
    process = await asyncio.create_subprocess_exec(
        "sipp", *map(str, arguments), "-i", "127.0.0.1", "-nostdin", "-timeout", "40",
        stdin=asyncio.subprocess.DEVNULL, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT,
    )  # fmt: skip
    try:
        output, _ = await process.communicate()
    finally:
        if process.returncode is None:
            process.kill()
            await process.wait()
    assert process.returncode is not None
    return process.returncode, output.decode(errors="replace")[-3000:]


def answer_calls(driver: UdpDriver, event: Event) -> None:
    if isinstance(event, CallArrived):
        reply = Negotiation(LOCAL, 1).answer(event.offer or b"")
        assert isinstance(reply, Answer), reply
        driver.endpoint.ring(event.call, driver.now)
        driver.endpoint.answer(event.call, reply.sdp, driver.now)


def causes(driver: UdpDriver) -> Counter[EndCause]:
    return Counter(event.cause for event in driver.events if isinstance(event, CallEnded))


async def test_sipp_calls_us() -> None:
    async with udp_driver(answer_calls) as driver:
        status, output = await sipp("-sn", "uac", f"127.0.0.1:{driver.port}", "-m", CALLS, "-r", 50, "-d", 200)
        assert status == 0, output
        assert causes(driver) == {EndCause.REMOTE_BYE: CALLS}
        assert sum(isinstance(event, CallConfirmed) for event in driver.events) == CALLS


async def test_we_call_sipp() -> None:
    def react(driver: UdpDriver, event: Event) -> None:
        if isinstance(event, CallAnswered):
            driver.endpoint.hangup(event.call, driver.now)

    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as free:
        free.bind(("127.0.0.1", 0))
        port = free.getsockname()[1]
    async with udp_driver(react) as driver, asyncio.TaskGroup() as group:
        running = group.create_task(sipp("-sn", "uas", "-p", port, "-m", CALLS))
        offer = Negotiation(LOCAL, 1).offer()
        for _ in range(CALLS):
            caller = NameAddr(Uri("127.0.0.1", "robot"))
            assert driver.endpoint.invite(Uri("127.0.0.1", "sipp", port), offer, driver.now, caller=caller)
        driver.pump()
        await driver.until(lambda: causes(driver).total() == CALLS)
        assert causes(driver) == {EndCause.LOCAL_HANGUP: CALLS}
        assert {event.status for event in driver.events if isinstance(event, CallProgress)} == {180}
        status, output = await running
        assert status == 0, output


async def test_sipp_cancels(tmp_path: Path) -> None:
    def react(driver: UdpDriver, event: Event) -> None:
        if isinstance(event, CallArrived):
            driver.endpoint.ring(event.call, driver.now)

    scenario = tmp_path / "cancel.xml"
    scenario.write_text(CANCEL)
    async with udp_driver(react) as driver:
        status, output = await sipp("-sf", scenario, f"127.0.0.1:{driver.port}", "-m", 10, "-r", 50)
        assert status == 0, output
        assert causes(driver) == {EndCause.CANCELLED: 10}


@pytest.mark.parametrize(("password", "expected"), [("right", 0), ("other", 1)])
async def test_sipp_registers(tmp_path: Path, password: str, expected: int) -> None:
    gate = Authenticator("tandem", b"s" * 32, iter(map(str, range(1000))).__next__, algorithms=("MD5",))
    table = Registrar()
    kept = {"alice": hash_password("alice", "tandem", password)}

    def react(driver: UdpDriver, event: Event) -> None:
        if isinstance(event, RegisterArrived):
            verdict = gate.verify(event.request, kept.get, driver.now)
            status, headers = verdict.status, verdict.headers
            if verdict.user is not None:
                record = address_of_record(event.request)
                reply = table.register(record, event.request, event.source, driver.now)
                status, headers = reply.status, reply.headers
            driver.endpoint.respond(event.transaction, status, driver.now, headers=headers)

    scenario = tmp_path / "register.xml"
    scenario.write_text(REGISTER)
    async with udp_driver(react) as driver:
        status, output = await sipp("-sf", scenario, f"127.0.0.1:{driver.port}", "-m", 1)
        assert status == expected, output
        assert len(table.bindings("alice@127.0.0.1", driver.now)) == 1 - expected
