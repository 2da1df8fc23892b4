"""A phone in a browser: WSS, ICE, DTLS-SRTP, Opus, and audio both ways."""

from __future__ import annotations

from pathlib import Path

from tandem.wire.esl import Event
from tests.e2e.freeswitch.directory import directory
from tests.e2e.freeswitch.esl_client import Esl
from tests.e2e.freeswitch.page_phone import needs_chromium, page_phone
from tests.e2e.sounds import read_wav, seconds_of

pytestmark = needs_chromium
FROM_PAGE_HZ = 1000
FROM_NODE_HZ = 600


async def taped(esl: Esl, leg: str, tape: Path) -> float:
    """Tape what a leg says for some seconds: how long that was the page's tone."""
    for name, value in {"RECORD_READ_ONLY": "true", "record_sample_rate": "8000"}.items():
        await esl.api(f"uuid_setvar {leg} {name} {value}")
    await esl.api(f"uuid_record {leg} start {tape} 4")
    await esl.until("RECORD_STOP", lambda event: event.get("Unique-ID") == leg)
    return seconds_of(read_wav(tape), FROM_PAGE_HZ)


def is_encrypted_opus(end: Event) -> bool:
    """Whether the leg that ended had Opus in DTLS-SRTP."""
    cipher = end.get("variable_rtp_has_crypto") or ""
    return cipher.startswith("srtp:dtls:AES") and end.get("variable_rtp_use_codec_name") == "opus"


async def test_a_page_calls_and_both_sides_hear_each_other(secure, wss_port, tmp_path):
    async with secure.connect() as esl, page_phone(wss_port, "web", hz=FROM_PAGE_HZ) as phone:
        await esl.subscribe("CHANNEL_PARK", "CHANNEL_HANGUP_COMPLETE", "RECORD_STOP")
        await phone.call("4930123456")
        leg = (await esl.until("CHANNEL_PARK")).get("Unique-ID") or ""
        assert "Deleted: 1" in await esl.api(f"sched_del {leg}")
        await esl.api(f"uuid_answer {leg}")
        await esl.api(f"uuid_broadcast {leg} tone_stream://%(60000,0,{FROM_NODE_HZ}) aleg")
        await phone.hears(FROM_NODE_HZ)
        assert await taped(esl, leg, tmp_path / "page.wav") > 0.5
        await esl.api(f"uuid_kill {leg}")
        assert await phone.ended() == "Terminated"
        assert await phone.told("states") == ["progress", "accepted", "confirmed"]
        end = await esl.until("CHANNEL_HANGUP_COMPLETE")
    assert end.get("variable_sip_via_protocol") == "wss"
    assert is_encrypted_opus(end)


async def test_a_page_registers_is_called_and_both_sides_hear_each_other(
    secure, wss_port, directory_port, tmp_path, unused_uuid
):
    async with (
        directory(directory_port, {"ann": "secret"}),
        secure.connect() as esl,
        page_phone(wss_port, "ann", "secret", hz=FROM_PAGE_HZ) as phone,
    ):
        await esl.subscribe("CHANNEL_PROGRESS", "CHANNEL_ANSWER", "CHANNEL_HANGUP_COMPLETE", "RECORD_STOP")
        await phone.registered()
        contact = await esl.api("sofia_contact tandem/ann@tandem")
        variables = f"origination_uuid={unused_uuid},originate_timeout=20,media_webrtc=true"
        answer = await esl.api(f"originate {{{variables}}}{contact} &park")
        assert answer.startswith("+OK"), answer
        await esl.api(f"uuid_broadcast {unused_uuid} tone_stream://%(60000,0,{FROM_NODE_HZ}) aleg")
        await phone.hears(FROM_NODE_HZ)
        assert await taped(esl, unused_uuid, tmp_path / "page.wav") > 0.5
        await phone.hang_up()
        end = await esl.until("CHANNEL_HANGUP_COMPLETE")
    assert end.get("variable_sip_hangup_disposition") == "recv_bye"
    assert is_encrypted_opus(end)


async def test_a_page_with_a_wrong_password_is_refused(secure, wss_port, directory_port):
    async with directory(directory_port, {"bob": "secret"}):
        async with page_phone(wss_port, "bob", "guessed", hz=FROM_PAGE_HZ) as phone:
            assert await phone.ended() == "Rejected"
        async with secure.connect() as esl:
            assert "bob" not in await esl.api("sofia status profile tandem reg")
