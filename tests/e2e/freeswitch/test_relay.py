"""A phone in a browser that cannot reach the node: its audio goes by way of coturn, and no other way."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tandem.core.relay import Relay
from tests.e2e.freeswitch.page_phone import needs_chromium, page_phone
from tests.e2e.freeswitch.test_browser import FROM_NODE_HZ, FROM_PAGE_HZ, is_encrypted_opus, taped
from tests.e2e.programs import Program, free_udp_port

pytestmark = [needs_chromium, pytest.mark.needs("turnserver")]
RELAYS = 20


class Coturn:
    """A relay on loopback. It knows a secret and no user."""

    def __init__(self) -> None:
        self.port, self.secret = free_udp_port(), secrets.token_hex(16)
        self.first = min(free_udp_port(), 65000 - RELAYS)

    @property
    def relays(self) -> range:
        """The ports that its clients get."""
        return range(self.first, self.first + RELAYS)

    def entry(self, expires_in_s: int) -> dict[str, str]:
        """An entry of iceServers, as the cell issues it."""
        url = f"turn:127.0.0.1:{self.port}?transport=udp"
        issued = Relay((url,), self.secret.encode(), expires_in_s).issue("ann.acme", int(time.time()))
        return {"urls": url, "username": issued.username, "credential": issued.password}


@asynccontextmanager
async def coturn(home: Path) -> AsyncIterator[Coturn]:
    """One that runs until the block ends."""
    relay = Coturn()
    program = Program(
        "turnserver",
        [
            "turnserver", "-n", "--no-cli", "--no-tls", "--no-dtls", "--no-tcp-relay", "--fingerprint",
            "--use-auth-secret", f"--static-auth-secret={relay.secret}", "--realm=tandem",
            "--listening-ip=127.0.0.1", f"--listening-port={relay.port}", "--relay-ip=127.0.0.1",
            f"--min-port={relay.first}", f"--max-port={relay.first + RELAYS - 1}",
            # The node is on loopback too, which a relay does not reach by default.
            "--allow-loopback-peers",
            f"--userdb={home / 'turn.db'}", f"--pidfile={home / 'turn.pid'}", "--log-file=stdout", "--verbose",
        ],
    )  # fmt: skip
    try:
        await asyncio.to_thread(program.wait_line, "IO method")
        yield relay
    finally:
        program.stop()


async def test_a_page_is_heard_by_way_of_the_relay_alone(secure, wss_port, tmp_path):
    async with coturn(tmp_path) as relay, secure.connect() as esl:
        await esl.subscribe("CHANNEL_PARK", "CHANNEL_HANGUP_COMPLETE", "RECORD_STOP")
        async with page_phone(wss_port, "web", hz=FROM_PAGE_HZ, relay=relay.entry(600)) as phone:
            await phone.call("4930123456")
            leg = (await esl.until("CHANNEL_PARK")).get("Unique-ID") or ""
            assert "Deleted: 1" in await esl.api(f"sched_del {leg}")
            await esl.api(f"uuid_answer {leg}")
            await esl.api(f"uuid_broadcast {leg} tone_stream://%(60000,0,{FROM_NODE_HZ}) aleg")
            await phone.hears(FROM_NODE_HZ)
            assert await taped(esl, leg, tmp_path / "page.wav") > 0.5
            assert set(await phone.told("candidates")) == {"relay"}
            await phone.hang_up()
            end = await esl.until("CHANNEL_HANGUP_COMPLETE")
    assert int(end.get("variable_remote_media_port") or 0) in relay.relays
    assert is_encrypted_opus(end)


@pytest.mark.parametrize("spoiled", ["expired", "forged"])
async def test_what_is_expired_or_forged_gets_no_relay(wss_port, secure, tmp_path, spoiled):
    async with coturn(tmp_path) as relay:
        entry = relay.entry(-1 if spoiled == "expired" else 600)
        if spoiled == "forged":
            entry["username"] = entry["username"].replace("ann.", "bob.")
        async with page_phone(wss_port, "web", hz=FROM_PAGE_HZ, relay=entry) as phone:
            await phone.call("4930123456")
            assert await phone.ended()
            assert await phone.told("candidates") == []
