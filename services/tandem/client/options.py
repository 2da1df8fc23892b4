"""Whether a SIP server takes calls: one OPTIONS (RFC 3261 section 11)."""

from __future__ import annotations

import asyncio
import secrets
from typing import cast

from tandem.client.udp import Address

WITHIN_S = 0.5
"""On this host the answer takes a millisecond; who does not answer is not there yet."""


async def takes_calls(server: Address) -> bool:
    """Whether it answers with 200 now. A server that begins, ends or is full says 503, or nothing."""
    loop = asyncio.get_running_loop()
    answer: asyncio.Future[bytes] = loop.create_future()
    try:
        transport, _ = await loop.create_datagram_endpoint(lambda: _Answer(answer), remote_addr=server)
    except OSError:
        return False
    try:
        transport.sendto(_options(server, cast("Address", transport.get_extra_info("sockname")[:2])))
        async with asyncio.timeout(WITHIN_S):
            return (await answer).startswith(b"SIP/2.0 200 ")
    except (OSError, TimeoutError):
        return False
    finally:
        transport.close()


class _Answer(asyncio.DatagramProtocol):
    def __init__(self, answer: asyncio.Future[bytes]) -> None:
        self._answer = answer

    def datagram_received(self, data: bytes, addr: object) -> None:
        if not self._answer.done():
            self._answer.set_result(data)

    def error_received(self, exc: Exception) -> None:
        if not self._answer.done():
            self._answer.set_exception(exc)


def _options(server: Address, ours: Address) -> bytes:
    token = secrets.token_hex(8)
    there, here = (f"[{host}]:{port}" if ":" in host else f"{host}:{port}" for host, port in (server, ours))
    lines = (
        f"OPTIONS sip:{there} SIP/2.0", f"Via: SIP/2.0/UDP {here};rport;branch=z9hG4bK{token}", "Max-Forwards: 70",
        f"From: <sip:tandem@{here}>;tag={token}", f"To: <sip:{there}>", f"Call-ID: {token}", "CSeq: 1 OPTIONS",
        f"Contact: <sip:tandem@{here}>", "Accept: application/sdp", "Content-Length: 0",
    )  # fmt: skip
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()
