"""One OPTIONS, and what its answer means."""

from __future__ import annotations

import asyncio
from typing import cast

import pytest

from tandem.client.options import takes_calls
from tandem.wire.sip.message import Request, parse, respond_to


class Server(asyncio.DatagramProtocol):
    """Answers each request with one status; 0 is no answer."""

    def __init__(self, status: int) -> None:
        self._status = status
        self.asked: list[str] = []

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.DatagramTransport", transport)

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        request = parse(data)
        assert isinstance(request, Request)
        self.asked.append(request.method)
        if self._status:
            self._transport.sendto(respond_to(request, self._status, to_tag="t").to_bytes(), addr)


@pytest.mark.parametrize(("status", "takes"), [(200, True), (503, False), (0, False)])
async def test_who_says_200_takes_calls(status: int, takes: bool) -> None:
    loop = asyncio.get_running_loop()
    transport, server = await loop.create_datagram_endpoint(lambda: Server(status), ("127.0.0.1", 0))
    try:
        assert await takes_calls(transport.get_extra_info("sockname")) is takes
        assert server.asked == ["OPTIONS"]
    finally:
        transport.close()


async def test_where_nobody_listens_nobody_takes_calls() -> None:
    loop = asyncio.get_running_loop()
    transport, _ = await loop.create_datagram_endpoint(lambda: Server(200), ("127.0.0.1", 0))
    address = transport.get_extra_info("sockname")
    transport.close()
    await asyncio.sleep(0)
    assert not await takes_calls(address)
