"""Encryption of the legs that a node makes: SIP over TLS and SRTP to baresip, and what its settings allow."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from tests.e2e.foreign import Baresip, baresip, needs_baresip
from tests.e2e.freeswitch.directory import directory
from tests.e2e.freeswitch.esl_client import Esl
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.sounds import read_wav, seconds_of

pytestmark = needs_baresip
USER = "srtp"
FROM_PHONE_HZ = 440
FROM_NODE_HZ = 600
SDES = {"modules": ("g711.so", "srtp.so"), "media": ";mediaenc=srtp-mand"}
PLAIN = {"modules": ("g711.so",), "media": ""}


def phone(node: FreeSwitch, home: Path, tls_port: int, options: dict):
    """A softphone that registers over TLS, and trusts and has the node's certificate."""
    registrar = f"127.0.0.1:{tls_port};transport=tls"
    return baresip(
        home, registrar, USER, "secret", tone_hz=FROM_PHONE_HZ, certificate=node.certificates / "agent.pem", **options
    )


async def heard_both_ways(esl: Esl, leg: str, device: Baresip, tape: Path) -> bool:
    """Whether each side hears the other's tone. Ends the phone."""
    await esl.api(f"uuid_broadcast {leg} tone_stream://%(60000,0,{FROM_NODE_HZ}) aleg")
    await esl.api(f"uuid_setvar {leg} RECORD_READ_ONLY true")
    await esl.api(f"uuid_record {leg} start {tape} 3")
    await esl.until("RECORD_STOP")
    await esl.api(f"uuid_kill {leg}")
    await device.until("CALL_CLOSED")
    return seconds_of(read_wav(tape), FROM_PHONE_HZ) > 0.5 and seconds_of(await device.heard(), FROM_NODE_HZ) > 0.5


@pytest.mark.parametrize(
    ("wanted", "has", "encrypted"),
    [("mandatory", SDES, True), ("optional", SDES, True), ("optional", PLAIN, False)],
    ids=["mandatory", "optional", "optional-to-a-plain-phone"],
)
async def test_a_phone_that_registered_over_tls_is_rung_and_heard(
    secure, tmp_path, tls_port, directory_port, unused_uuid, wanted, has, encrypted
):
    async with (
        directory(directory_port, {USER: "secret"}),
        secure.connect() as esl,
        phone(secure, tmp_path / "phone", tls_port, has) as device,
    ):
        await device.registered()
        await esl.subscribe("CHANNEL_ANSWER", "CHANNEL_HANGUP_COMPLETE", "RECORD_STOP")
        contact = await esl.api(f"sofia_contact tandem/{USER}@tandem")
        assert "transport=tls" in contact
        variables = f"origination_uuid={unused_uuid},originate_timeout=20,rtp_secure_media={wanted}"
        answer = await esl.api(f"originate {{{variables}}}{contact} &park")
        assert answer.startswith("+OK"), answer
        assert await heard_both_ways(esl, unused_uuid, device, tmp_path / "phone.wav")
        end = await esl.until("CHANNEL_HANGUP_COMPLETE")
    assert ("AE" in (end.get("variable_rtp_has_crypto") or "")) == encrypted


async def test_a_leg_that_must_be_encrypted_does_not_reach_a_plain_phone(
    secure, tmp_path, tls_port, directory_port, unused_uuid
):
    async with (
        directory(directory_port, {USER: "secret"}),
        secure.connect() as esl,
        phone(secure, tmp_path / "phone", tls_port, PLAIN) as device,
    ):
        await device.registered()
        contact = await esl.api(f"sofia_contact tandem/{USER}@tandem")
        variables = f"origination_uuid={unused_uuid},originate_timeout=20,rtp_secure_media=mandatory"
        answer = await esl.api(f"originate {{{variables}}}{contact} &park")
        await asyncio.to_thread(device.program.stop)
    assert answer.strip() == "-ERR INCOMPATIBLE_DESTINATION"


async def test_a_caller_over_tls_and_srtp_is_heard_and_hears(secure, tmp_path, tls_port, directory_port):
    async with (
        directory(directory_port, {USER: "secret"}),
        secure.connect() as esl,
        phone(secure, tmp_path / "phone", tls_port, SDES) as device,
    ):
        await device.registered()
        await esl.subscribe("CHANNEL_PARK", "CHANNEL_HANGUP_COMPLETE", "RECORD_STOP")
        device.command("dial", f"sip:4930123456@127.0.0.1:{tls_port};transport=tls")
        leg = (await esl.until("CHANNEL_PARK")).get("Unique-ID") or ""
        assert "Deleted: 1" in await esl.api(f"sched_del {leg}")
        await esl.api(f"uuid_answer {leg}")
        assert await heard_both_ways(esl, leg, device, tmp_path / "phone.wav")
        end = await esl.until("CHANNEL_HANGUP_COMPLETE")
    assert end.get("variable_sip_via_protocol") == "tls"
    assert "AE" in (end.get("variable_rtp_has_crypto") or "")
