"""Agents whose phones registered over TLS or from a browser: rung by the backend, encrypted, and heard both ways."""

from __future__ import annotations

import secrets
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tandem.core.ports.media import Bridge, Cause, DeviceRegistered, HangUp, LegEnded, Originate, Outcome
from tandem.core.seal import secret
from tests.e2e.foreign import baresip, needs_baresip
from tests.e2e.freeswitch.backend import PASSWORD, Ordered, accounts, running
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.freeswitch.page_phone import needs_chromium, page_phone
from tests.e2e.freeswitch.talk import AGENT_HZ, CALLER_HZ, EVENTS

pytestmark = needs_baresip
SDES = {"modules": ("g711.so", "srtp.so"), "media": ";mediaenc=srtp-mand"}
PLAIN = {"modules": ("g711.so",), "media": ""}


@asynccontextmanager
async def office(
    switch: FreeSwitch, directory_port: int, home: Path, user: str, phones_srtp: str = "optional"
) -> AsyncIterator[Ordered]:
    """A node that knows that device, and a caller who is answered."""
    async with (
        running(switch, directory_port, home, accounts(user), phones_srtp=phones_srtp) as (node, told, blobs),
        switch.connect() as esl,
        baresip(home / "caller", switch.sip, "cara", tone_hz=CALLER_HZ) as caller,
    ):
        await esl.subscribe(*EVENTS)
        made = Ordered(switch, esl, home, node, told, blobs, {"caller": caller}, {"agent": user})
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
