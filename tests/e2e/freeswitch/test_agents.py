"""Agents whose phones registered over TLS or from a browser: rung by the backend, encrypted, and heard both ways."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tandem.core.ports.media import (
    Bridge,
    By,
    Cause,
    CommandSettled,
    DeviceRegistered,
    DeviceUnregistered,
    HangUp,
    LegAnswered,
    LegEnded,
    LegRinging,
    Originate,
    Outcome,
)
from tandem.core.seal import secret
from tandem.media.freeswitch.ids import channel_of_device
from tests.e2e.foreign import baresip, needs_baresip, needs_sipp, register, sipp
from tests.e2e.freeswitch.backend import PASSWORD, TENANT, Ordered, ordered
from tests.e2e.freeswitch.listening import listens
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.freeswitch.page_phone import needs_chromium, page_phone
from tests.e2e.freeswitch.talk import AGENT_HZ, CALLER_HZ, THIRD_HZ
from tests.e2e.programs import PATIENCE_S, free_udp_port

pytestmark = needs_baresip
SDES = {"modules": ("g711.so", "srtp.so"), "media": ";mediaenc=srtp-mand"}
PLAIN = {"modules": ("g711.so",), "media": ""}


@asynccontextmanager
async def office(
    switch: FreeSwitch, directory_port: int, home: Path, user: str, phones_srtp: str = "optional"
) -> AsyncIterator[Ordered]:
    """A node that knows that device, and a caller who is answered."""
    async with (
        ordered(switch, directory_port, home, {"agent": user}, phones_srtp=phones_srtp) as made,
        baresip(home / "caller", switch.sip, "cara", tone_hz=CALLER_HZ) as caller,
    ):
        made.phones["caller"] = caller
        made.caller = await made.take("caller")
        yield made


def over_tls(switch: FreeSwitch, home: Path, tls_port: int, user: str, options: dict):
    """A softphone that trusts and has the node's certificate."""
    registrar = f"127.0.0.1:{tls_port};transport=tls"
    certificate = switch.certificates / "agent.pem"
    return baresip(home, registrar, user, PASSWORD, tone_hz=AGENT_HZ, certificate=certificate, **options)


async def crypto(made: Ordered, agent: str) -> str:
    """The cipher of the agent's leg, which ends with it; empty for none."""
    await made.done(agent, HangUp())
    end = await made.esl.until("CHANNEL_HANGUP_COMPLETE", lambda event: event.get("Unique-ID") == made.channels[agent])
    return end.get("variable_rtp_has_crypto") or ""


@pytest.mark.parametrize(("has", "encrypted"), [(SDES, True), (PLAIN, False)], ids=["srtp", "plain"])
async def test_an_agent_over_tls_is_rung_encrypted_where_the_phone_can(
    secure, directory_port, tls_port, tmp_path, has, encrypted
):
    user = f"ann{secrets.token_hex(3)}"
    async with (
        office(secure, directory_port, tmp_path / "office", user) as made,
        over_tls(secure, tmp_path / "phone", tls_port, user, has),
    ):
        await made.told.until(lambda: made.told.of(DeviceRegistered, ""))
        agent = await made.ring("agent")
        await made.done(made.caller, Bridge(agent))
        assert await made.heard_by(made.caller) == {AGENT_HZ}
        assert await made.heard_by(agent) == {CALLER_HZ}
        assert ("AE" in await crypto(made, agent)) == encrypted


async def test_where_it_is_mandatory_a_phone_without_is_not_rung(secure, directory_port, tls_port, tmp_path):
    user = f"ann{secrets.token_hex(3)}"
    async with (
        office(secure, directory_port, tmp_path / "office", user, "mandatory") as made,
        over_tls(secure, tmp_path / "phone", tls_port, user, PLAIN),
    ):
        await made.told.until(lambda: made.told.of(DeviceRegistered, ""))
        settled = await made.order("c.a", Originate(user, 20_000, "", secret("+4930")))
        assert (settled.outcome, settled.reason) == (Outcome.FAILED, "NO_MEDIA")
        assert [end.cause for end in made.told.of(LegEnded, "c.a")] == [Cause.NO_MEDIA]


@needs_chromium
async def test_an_agent_in_a_browser_is_rung_and_heard(secure, directory_port, wss_port, tmp_path):
    user = f"ann{secrets.token_hex(3)}"
    async with (
        office(secure, directory_port, tmp_path / "office", user) as made,
        page_phone(wss_port, user, PASSWORD, hz=AGENT_HZ) as page,
    ):
        await made.told.until(lambda: made.told.of(DeviceRegistered, ""))
        agent = await made.ring("agent")
        await made.done(made.caller, Bridge(agent))
        await page.hears(CALLER_HZ)
        assert await made.heard_by(made.caller) == {AGENT_HZ}
        assert (await crypto(made, agent)).startswith("srtp:dtls:AES")


async def test_an_agent_at_two_phones_answers_at_one_and_the_other_is_told(secure, directory_port, tls_port, tmp_path):
    user = f"ann{secrets.token_hex(3)}"
    desk = baresip(tmp_path / "desk", secure.sip, user, PASSWORD, tone_hz=THIRD_HZ, answers=False)
    async with office(secure, directory_port, tmp_path / "office", user) as made, desk as silent:
        told = made.told
        await silent.registered()
        async with over_tls(secure, tmp_path / "phone", tls_port, user, SDES) as phone:
            await phone.registered()
            await at_two_places(made, user)
            agent = await made.ring("agent")
            await silent.until("CALL_CLOSED")
            await made.done(made.caller, Bridge(agent))
            assert await made.heard_by(made.caller) == {AGENT_HZ}
            kinds = [type(body) for at, body in told.events if at == agent and not isinstance(body, CommandSettled)]
            assert kinds == [LegRinging, LegAnswered]
            other = channel_of_device(TENANT, "key/1", f"{user}@1")
            ends = {made.channels[agent], other} - {agent_channel(made, agent)}
            end = await made.esl.until("CHANNEL_HANGUP_COMPLETE", lambda event: event.get("Unique-ID") in ends)
            assert end.get("Hangup-Cause") == "LOSE_RACE"
            await made.done(agent, HangUp())
        # That phone says that it leaves; the device is there, and its desk rings.
        settled = await made.order("c.again", Originate(user, 2000, "", secret("+4930")))
        assert settled.reason == "NO_ANSWER"
        assert told.of(DeviceUnregistered, "") == []
        assert len(told.of(DeviceRegistered, "")) == len(told.of(LegRinging, "c.again")) == 1


async def at_two_places(made: Ordered, user: str) -> None:
    """Until the backend knows of both. The second one is not told to owners: the device is there already."""
    async with asyncio.timeout(PATIENCE_S):
        while len(places := made.node._node._devices._places.of(user)) < 2:
            await asyncio.sleep(0.05)
    assert len(places) == 2, places


def agent_channel(made: Ordered, agent: str) -> str:
    """The channel that answered."""
    return made.node._node._board.legs[agent].channel


@needs_sipp
async def test_who_declines_at_one_phone_declines(secure, directory_port, tmp_path):
    user, port = f"ann{secrets.token_hex(3)}", free_udp_port()
    async with (
        office(secure, directory_port, tmp_path / "office", user) as made,
        baresip(tmp_path / "home", secure.sip, user, PASSWORD, tone_hz=THIRD_HZ, answers=False) as home,
    ):
        await register(tmp_path / "desk", secure.sip, user, PASSWORD, port)
        await at_two_places(made, user)
        async with sipp(tmp_path / "desk", "decline", secure.sip, port=port) as desk:
            await listens(desk, port)
            settled = await made.order("c.a", Originate(user, 20_000, "", secret("+4930")))
            await desk.succeeds()
        await home.until("CALL_CLOSED")
        [end] = made.told.of(LegEnded, "c.a")
        assert (end.cause, end.by, settled.reason) == (Cause.DECLINED, By.FAR, "DECLINED"), end
