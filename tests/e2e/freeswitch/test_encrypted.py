"""TLS, SRTP and WSS of a node that was given certificates."""

from __future__ import annotations

import asyncio
import base64
import os
import ssl
import wave
from array import array
from pathlib import Path

from tandem.wire.esl import Event
from tests.e2e.foreign import Baresip, baresip, needs_baresip, needs_sipp, sipp
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.programs import PATIENCE_S

NUMBER = "4930123456"
LOUD = 1000


def trusting(node: FreeSwitch) -> ssl.SSLContext:
    """A client that trusts this node's certificate and no other."""
    return ssl.create_default_context(cafile=str(node.certificates / "cafile.pem"))


async def answered(node: FreeSwitch, phone: Baresip, port: int) -> Event:
    """Call, and hear the apology to its end: the event of the answer."""
    async with node.connect() as esl:
        await esl.subscribe("CHANNEL_ANSWER", "CHANNEL_HANGUP_COMPLETE")
        phone.command("dial", f"sip:{NUMBER}@127.0.0.1:{port};transport=tls")
        await esl.until("CHANNEL_HANGUP_COMPLETE")
        return await esl.until("CHANNEL_HANGUP_COMPLETE")


def spoke(home: Path) -> bool:
    """Whether something was heard that is no silence, in whatever rate the codec has."""
    with wave.open(str(max(home.glob("dump-*-dec.wav"))), "rb") as file:
        samples = array("h", file.readframes(file.getnframes()))
    return any(abs(sample) > LOUD for sample in samples)


@needs_baresip
async def test_a_phone_with_tls_and_srtp_hears_the_apology(secure, tmp_path, tls_port):
    home, registrar = tmp_path / "phone", f"127.0.0.1:{tls_port};transport=tls"
    options = {"modules": ("g711.so", "srtp.so"), "media": ";mediaenc=srtp-mand"}
    async with baresip(home, registrar, "ann", tone_hz=440, **options) as phone:
        end = await answered(secure, phone, tls_port)
        await asyncio.to_thread(phone.program.stop)
    assert end.get("variable_sip_via_protocol") == "tls"
    assert "AE" in (end.get("variable_rtp_has_crypto") or "")
    assert spoke(home)


@needs_baresip
async def test_a_phone_with_dtls_srtp_and_opus_hears_the_apology(secure, tmp_path, tls_port):
    home, registrar = tmp_path / "phone", f"127.0.0.1:{tls_port};transport=tls"
    options = {"modules": ("opus.so", "dtls_srtp.so"), "media": ";mediaenc=dtls_srtp"}
    async with baresip(home, registrar, "ann", tone_hz=440, **options) as phone:
        end = await answered(secure, phone, tls_port)
        await asyncio.to_thread(phone.program.stop)
    assert end.get("variable_rtp_use_codec_name") == "opus"
    assert "AE" in (end.get("variable_rtp_has_crypto") or "")
    assert spoke(home)


async def test_browsers_are_taken_in_with_the_certificate_that_was_given(secure, wss_port):
    reader, writer = await asyncio.open_connection("127.0.0.1", wss_port, ssl=trusting(secure))
    key = base64.b64encode(os.urandom(16)).decode()
    request = (
        f"GET / HTTP/1.1\r\nHost: 127.0.0.1:{wss_port}\r\nUpgrade: websocket\r\nConnection: Upgrade\r\n"
        f"Sec-WebSocket-Key: {key}\r\nSec-WebSocket-Version: 13\r\nSec-WebSocket-Protocol: sip\r\n\r\n"
    )
    writer.write(request.encode())
    async with asyncio.timeout(PATIENCE_S):
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
    writer.close()
    assert head.startswith("HTTP/1.1 101"), head
    assert "Sec-WebSocket-Protocol: sip" in head


@needs_sipp
async def test_where_encryption_is_mandatory_a_phone_without_is_refused(secure, tmp_path):
    async with secure.connect() as esl:
        await secure.configure(esl, srtp="mandatory")
        try:
            await esl.subscribe("CHANNEL_HANGUP_COMPLETE")
            async with sipp(tmp_path, "ring_until_488", secure.sip, "-s", NUMBER, caller="plain") as run:
                await run.succeeds()
            end = await esl.until("CHANNEL_HANGUP_COMPLETE")
            assert end.get("Hangup-Cause") == "INCOMPATIBLE_DESTINATION"
        finally:
            await secure.configure(esl)


async def test_a_plain_node_speaks_neither_tls_nor_wss(node):
    async with node.connect() as esl:
        status = await esl.api("sofia status profile tandem")
    assert "TLS-URL" not in status, status
    assert "WSS-BIND-URL" not in status, status
