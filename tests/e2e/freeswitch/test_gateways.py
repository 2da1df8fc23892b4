"""Carriers on live FreeSWITCH: their files taken in, numbers called through them, and what the carrier sees."""

from __future__ import annotations

import asyncio
import contextlib
import re
import socket
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import replace
from itertools import count
from pathlib import Path

import pytest

from tandem.core.ports.media import (
    Bridge,
    By,
    Cause,
    Command,
    CommandSettled,
    HangUp,
    LegAnswered,
    LegBridged,
    LegEarlyMedia,
    LegEnded,
    LegRinging,
    Originate,
    Outcome,
)
from tandem.core.seal import secret
from tandem.media.backend import GatewaysRead
from tandem.media.freeswitch.driver import FreeswitchNode
from tandem.media.freeswitch.gateways import Gateway
from tandem.runtime.telemetry import names
from tests.e2e.foreign import SCENARIOS, Baresip, Sipp, baresip, needs_baresip, needs_sipp, sipp
from tests.e2e.freeswitch.backend import TENANT, Ordered, accounts, ordered, running
from tests.e2e.freeswitch.listening import listens
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.freeswitch.process import bound
from tests.e2e.freeswitch.talk import CALLER_HZ, THIRD_HZ
from tests.e2e.programs import beside, free_udp_port

pytestmark = needs_sipp
CALLED, SHOWN = "+493012345", "+4930100"
PASSWORD = "p$${sip_ip}\"'<&>%41~"
"""Whatever FreeSWITCH might take for something else, where a password stands."""


@pytest.fixture(scope="module")
def switch(
    freeswitch_prefix: Path, tmp_path_factory: pytest.TempPathFactory, directory_port: int
) -> Iterator[FreeSwitch]:
    """A node with the settings as they come."""
    url = f"http://127.0.0.1:{directory_port}/directory"
    node = FreeSwitch(freeswitch_prefix, tmp_path_factory.mktemp("gateways"), directory_url=url)
    try:
        node.start()
        yield node
    finally:
        node.stop()


def up(node: FreeswitchNode) -> dict[str, float]:
    """Gateways as the metric has them."""
    return {row.labels[0]: row.value for row in node.readings() if row.metric is names.GATEWAY_UP}


async def until_up(node: FreeswitchNode, name: str, value: int | None) -> None:
    """Until the metric of a gateway says so; nothing tells when."""
    async with asyncio.timeout(30):
        while up(node).get(name) != value:
            await asyncio.sleep(0.05)


async def test_a_carrier_where_we_register_is_taken_in_changed_and_dropped(switch, directory_port, tmp_path):
    port = free_udp_port()
    north = Gateway(
        "north", "127.0.0.1", port, "carrier.test", username="acme", password=PASSWORD, register=True, ping_s=0
    )
    async with switch.connect() as esl:
        await esl.subscribe("CUSTOM", "sofia::gateway_add", "sofia::gateway_delete")
        registrar = sipp(
            tmp_path / "one", "registrar", switch.sip, port=port, user=north.username, password=north.password
        )
        async with registrar as carrier:
            async with running(switch, directory_port, tmp_path / "first", accounts(), [north]) as (node, _, _):
                await until_up(node, "north", 1)
            # The agent is gone and the carrier is not. Started with another password, it has the old one leave first.
            other = replace(north, password="another")
            async with running(switch, directory_port, tmp_path / "second", accounts(), [other]) as (node, _, _):
                await carrier.succeeds()
                again = sipp(
                    tmp_path / "two", "registrar", switch.sip, port=port, user=north.username, password="another"
                )
                async with again as carrier:
                    await until_up(node, "north", 1)
                    async with running(switch, directory_port + 1, tmp_path / "third", accounts(), []):
                        await carrier.succeeds()
                        await esl.until("sofia::gateway_delete", lambda _: len(esl.events) == 4)
    told = [event.name for event in esl.events if event.get("Gateway") == "north"]
    assert told == [
        "sofia::gateway_add", "sofia::gateway_delete", "sofia::gateway_add", "sofia::gateway_delete",
    ]  # fmt: skip
    assert list(switch.gateways.iterdir()) == []


async def test_a_gateway_that_does_not_answer_is_down_and_one_written_by_hand_stays(switch, directory_port, tmp_path):
    by_hand = switch.gateways / "emergency.xml"
    by_hand.write_text(
        '<gateway name="emergency"><param name="proxy" value="127.0.0.1:9"/><param name="register" value="false"/>'
        "</gateway>"
    )
    silent = Gateway("silent", "127.0.0.1", free_udp_port(), ping_s=5)
    async with running(switch, directory_port, tmp_path / "first", accounts(), [silent]) as (node, _, _):
        await until_up(node, "silent", 1)
        assert up(node) == {"silent": 1, "emergency": 1}
        await until_up(node, "silent", 0)
    async with running(switch, directory_port, tmp_path / "second", accounts(), []) as (node, _, _):
        await until_up(node, "emergency", 1)
        await until_up(node, "silent", None)
        assert up(node) == {"emergency": 1}
    assert list(switch.gateways.iterdir()) == [by_hand]


@asynccontextmanager
async def orders(switch: FreeSwitch, directory_port: int, home: Path, *gateways: Gateway) -> AsyncIterator[Ordered]:
    """A node that an owner gives orders to; nobody calls yet."""
    async with ordered(switch, directory_port, home, {}, gateways) as made:
        await until_up(made.node, "north", 1)
        yield made


def north(port: int) -> Gateway:
    """A carrier that knows our address."""
    return Gateway(
        "north", "127.0.0.1", port, codecs=("PCMU",), caller_id=SHOWN, tenants=(TENANT,), destinations=("+49",),
        ping_s=0,
    )  # fmt: skip


def call(ring_timeout_ms: int = 20_000) -> Originate:
    return Originate("", ring_timeout_ms, "offers/secret", secret("mallory"), "north", secret(CALLED))


@needs_baresip
async def test_a_number_is_heard_before_it_answers_and_talked_to(switch, directory_port, tmp_path):
    port = free_udp_port()
    trace = tmp_path / "messages.log"
    async with orders(switch, directory_port, tmp_path / "node", north(port)) as made:
        carrier = sipp(
            tmp_path / "carrier", "carrier_speaks_then_answers", switch.sip, "-trace_msg", "-message_file", trace,
            tone_hz=THIRD_HZ, port=port,
        )  # fmt: skip
        caller = baresip(tmp_path / "caller", switch.sip, "cara", tone_hz=CALLER_HZ)
        async with carrier as far, caller as phone:
            made.phones["caller"] = phone
            leg = await made.take("caller")
            number, told = f"{leg}.n", made.told
            async with beside(made.done(number, call())):
                await told.until(lambda: told.of(LegEarlyMedia, number))
                await made.done(leg, Bridge(number))
                assert await made.heard_by(leg) == {THIRD_HZ}
                assert told.of(LegAnswered, number) == []
                await told.until(lambda: told.of(LegAnswered, number))
            assert await made.heard_by(number) == {CALLER_HZ}
            assert await made.heard_by(leg) == {THIRD_HZ}
            await made.done(number, HangUp())
            await far.succeeds()
        kinds = [type(body) for at, body in told.events if at == number and not hasattr(body, "key")]
        assert kinds == [LegRinging, LegEarlyMedia, LegAnswered, LegEnded]
        assert told.of(LegBridged, leg) == [LegBridged(number)]
    sent = trace.read_text()
    assert f"INVITE sip:{CALLED}@127.0.0.1:{port}" in sent
    assert re.search(rf'From: "?{re.escape(SHOWN)}"? <sip:{re.escape(SHOWN)}@127.0.0.1>', sent), sent
    for leaked in (*made.channels.values(), leg, "secret", "mallory", "cara", "X-", "UPDATE sip"):
        assert leaked not in sent, leaked


ENDS = {
    "486 Busy Here": (Cause.BUSY, By.FAR, "BUSY"),
    "603 Decline": (Cause.DECLINED, By.FAR, "DECLINED"),
    "404 Not Found": (Cause.UNREACHABLE, By.FAR, "UNALLOCATED"),
    "480 Temporarily Unavailable": (Cause.NO_ANSWER, By.FAR, "NO_ANSWER"),
    "403 Forbidden": (Cause.REFUSED, By.FAR, "REFUSED"),
    "503 Service Unavailable": (Cause.UNREACHABLE, By.FAR, "UNREACHABLE"),
}


def refusing(
    home: Path, switch: FreeSwitch, port: int, status: str, where: str = "nobody@127.0.0.1"
) -> AbstractAsyncContextManager[Sipp]:
    """A carrier that answers so. SIPp takes no status from outside."""
    home.mkdir()
    scenario = (SCENARIOS / "carrier_refuses.xml").read_text().replace("404 Not Found", status)
    (home / "refuses.xml").write_text(scenario)
    return sipp(home, str(home / "refuses"), switch.sip, port=port, where=where)


async def test_what_comes_of_a_call_to_a_number(switch, directory_port, tmp_path):
    port, legs = free_udp_port(), count()
    down = replace(north(free_udp_port()), name="down", ping_s=5)
    async with orders(switch, directory_port, tmp_path / "node", north(port), down) as made:
        for status, (cause, by, reason) in ENDS.items():
            number = f"c.{next(legs)}"
            async with refusing(tmp_path / number, switch, port, status) as carrier:
                await listens(carrier, port)
                settled = await made.order(number, call())
                await carrier.succeeds()
            assert (settled.outcome, settled.reason) == (Outcome.FAILED, reason), status
            [end] = made.told.of(LegEnded, number)
            assert (end.cause, end.by) == (cause, by), end
        answers = sipp(tmp_path / "answers", "answer_until_bye", switch.sip, tone_hz=THIRD_HZ, port=port)
        async with answers as carrier:
            await listens(carrier, port)
            await made.done("c.answers", call())
            await made.done("c.answers", HangUp())
            await carrier.succeeds()
        kinds = [type(body) for at, body in made.told.events if at == "c.answers" and not hasattr(body, "key")]
        assert kinds == [LegRinging, LegAnswered, LegEnded], "nothing was said before the answer"
        async with sipp(tmp_path / "rings", "ring_until_cancel", switch.sip, port=port) as carrier:
            await listens(carrier, port)
            settled = await made.order("c.rings", call(2000))
            await carrier.succeeds()
        assert settled.reason == "NO_ANSWER"
        assert made.told.of(LegEnded, "c.rings")[0].rang_ms >= 1900
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as elsewhere:
            elsewhere.bind(("127.0.0.1", 0))
            elsewhere.setblocking(False)
            where = f"pat@127.0.0.1:{elsewhere.getsockname()[1]}"
            async with refusing(tmp_path / "moved", switch, port, "302 Moved Temporarily", where) as carrier:
                await listens(carrier, port)
                assert (await made.order("c.moved", call())).reason == "REFUSED"
                await carrier.succeeds()
            with pytest.raises(BlockingIOError):
                elsewhere.recv(1)
        await until_up(made.node, "down", 0)
        settled = await made.order("c.down", replace(call(), gateway="down"))
        assert (settled.outcome, settled.reason) == (Outcome.FAILED, "GATEWAY_DOWN")


async def test_gateways_are_changed_while_somebody_talks_through_them(switch, directory_port, tmp_path):
    port, other = free_udp_port(), free_udp_port()
    async with orders(switch, directory_port, tmp_path / "node", north(port)) as made:
        talks = sipp(tmp_path / "one", "answer_until_bye", switch.sip, tone_hz=THIRD_HZ, port=port)
        async with talks as far:
            await listens(far, port)
            await made.done("c.talks", call())
            # Another carrier in place of that one; and one more, which is taken out again.
            changed, south = north(other), replace(north(other), name="south")
            assert made.node.change_gateways([changed, south]) == GatewaysRead(("south",), ("north",))
            await until_up(made.node, "north", 0)
            await until_up(made.node, "north", 1)
            await until_up(made.node, "south", 1)
            assert made.told.of(LegEnded, "c.talks") == []
            async with sipp(tmp_path / "two", "answer_until_bye", switch.sip, tone_hz=THIRD_HZ, port=other) as new:
                await listens(new, other)
                await made.done("c.new", call())
                assert made.node.change_gateways([changed]) == GatewaysRead((), (), ("south",), ("north",))
                await until_up(made.node, "south", None)
                settled = await made.order("c.gone", replace(call(), gateway="south"))
                assert settled.reason == "NO_SUCH_GATEWAY"
                assert made.told.of(LegEnded, "c.new") == []
                await made.done("c.new", HangUp())
                await new.succeeds()
            assert made.told.of(LegEnded, "c.talks") == []
            assert await made.heard_by("c.talks") == set()
            await made.done("c.talks", HangUp())
            await far.succeeds()


async def test_a_number_that_was_being_called_when_the_agent_died_is_not_called_again(switch, directory_port, tmp_path):
    port, trace = free_udp_port(), tmp_path / "messages.log"
    carrier = sipp(
        tmp_path / "carrier", "carrier_speaks_then_answers", switch.sip, "-trace_msg", "-message_file", trace,
        tone_hz=THIRD_HZ, port=port,
    )  # fmt: skip
    order = Command(TENANT, "the-order", "c.n", call())
    async with carrier as far:
        await listens(far, port)
        async with orders(switch, directory_port, tmp_path / "first", north(port)) as made:
            made.node.perform(order)
            await made.told.until(lambda: made.told.of(LegEarlyMedia, "c.n"))
        # Another life, whose journal has the order and nothing that came of it.
        async with running(switch, directory_port, tmp_path / "second", accounts(), [north(port)]) as (node, told, _):
            node.settle(order)
            await told.until(lambda: told.of(CommandSettled, "c.n"))
            assert told.of(CommandSettled, "c.n") == [CommandSettled("the-order", Outcome.DONE)]
            kinds = [type(body) for _, body in told.events if not isinstance(body, CommandSettled)]
            assert kinds == [LegRinging, LegEarlyMedia, LegAnswered]
            node.perform(Command(TENANT, "the-end", "c.n", HangUp()))
            await far.succeeds()
    assert trace.read_text().count("INVITE sip:") == 1


@needs_baresip
async def test_a_carrier_over_tls_hears_and_is_heard_encrypted(secure, directory_port, tmp_path):
    carrier = baresip(
        tmp_path / "carrier", "127.0.0.1:9", CALLED, tone_hz=THIRD_HZ, certificate=secure.certificates / "agent.pem",
        modules=("g711.so", "srtp.so"), media=";mediaenc=srtp-mand",
    )  # fmt: skip
    async with carrier as far, baresip(tmp_path / "caller", secure.sip, "cara", tone_hz=CALLER_HZ) as phone:
        over_tls = replace(
            north(await tls_port_of(far, secure.certificates / "cafile.pem")), transport="tls", srtp="mandatory"
        )
        async with orders(secure, directory_port, tmp_path / "node", over_tls) as made:
            made.phones["caller"] = phone
            leg = await made.take("caller")
            number = f"{leg}.n"
            await made.done(number, call())
            await made.done(leg, Bridge(number))
            assert await made.heard_by(leg) == {THIRD_HZ}
            assert await made.heard_by(number) == {CALLER_HZ}
            await made.done(number, HangUp())
            channel = made.channels[number]
            end = await made.esl.until("CHANNEL_HANGUP_COMPLETE", lambda event: event.get("Unique-ID") == channel)
    assert "AE" in (end.get("variable_rtp_has_crypto") or "")
    assert end.get("variable_sip_via_protocol") in (None, "tls")


async def tls_port_of(phone: Baresip, trusted: Path) -> int:
    """The one of its ports where it speaks TLS."""
    context = ssl.create_default_context(cafile=str(trusted))
    ports = {port for kind, _, port in bound(phone.program.pid) if kind == "tcp"} - {phone.control_port}
    for port in ports:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port, ssl=context, ssl_handshake_timeout=2)
            writer.close()
            return port
    raise AssertionError(f"none of {ports}")
