"""Whether a SIP server takes calls: one OPTIONS (RFC 3261 section 11)."""

from __future__ import annotations

import asyncio
import secrets

from tandem.client.udp import Address, UdpSocket
from tandem.wire.sip.layer import bracketed

WITHIN_S = 0.5
"""On this host the answer takes a millisecond; who does not answer is not there yet."""


async def takes_calls(server: Address) -> bool:
    """Whether it, on this host, answers with 200 now. A server that begins, ends or is full says 503, or nothing."""
    answer: asyncio.Future[bytes] = asyncio.get_running_loop().create_future()

    def received(data: bytes, _source: Address) -> None:
        if not answer.done():
            answer.set_result(data)

    socket = UdpSocket(server[0], received)
    try:
        socket.send(_options(server, socket.port), server)
        async with asyncio.timeout(WITHIN_S):
            return (await answer).startswith(b"SIP/2.0 200 ")
    except TimeoutError:
        return False
    finally:
        socket.close()


def _options(server: Address, port: int) -> bytes:
    token, host = secrets.token_hex(8), bracketed(server[0])
    there, here = f"{host}:{server[1]}", f"{host}:{port}"
    lines = (
        f"OPTIONS sip:{there} SIP/2.0", f"Via: SIP/2.0/UDP {here};rport;branch=z9hG4bK{token}", "Max-Forwards: 70",
        f"From: <sip:tandem@{here}>;tag={token}", f"To: <sip:{there}>", f"Call-ID: {token}", "CSeq: 1 OPTIONS",
        f"Contact: <sip:tandem@{here}>", "Accept: application/sdp", "Content-Length: 0",
    )  # fmt: skip
    return "".join(f"{line}\r\n" for line in (*lines, "")).encode()
