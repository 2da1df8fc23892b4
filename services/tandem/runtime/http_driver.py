"""A server of one small question over HTTP, for programs of this host: one request of a connection is read, answered,
and the connection closed. The public API is not served by it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass

PATIENCE_S = 5.0
"""How long a client may take to ask, and to take the answer."""
_DIGITS_MAX = 10
"""Of a length that is read: more bytes than any body may have."""
_REASONS = {200: "OK", 400: "Bad Request", 404: "Not Found", 503: "Service Unavailable"}


class BadRequest(Exception):
    """Not a request as it is expected."""


@dataclass(frozen=True, slots=True)
class Request:
    """What was asked. `path` is without what stands after a question mark."""

    method: str
    path: str
    body: bytes = b""


@dataclass(frozen=True, slots=True)
class Response:
    """What is answered."""

    status: int
    body: bytes = b""
    content_type: str = "text/plain"

    def __bytes__(self) -> bytes:
        lines = (
            f"HTTP/1.1 {self.status} {_REASONS[self.status]}",
            f"Content-Type: {self.content_type}",
            f"Content-Length: {len(self.body)}",
            "Connection: close",
        )
        return "\r\n".join((*lines, "", "")).encode("ascii") + self.body


@dataclass(frozen=True, slots=True)
class HttpLimits:
    """What a client may take; the memory of the server is their product."""

    head_bytes: int
    body_bytes: int = 0
    clients: int = 8
    """At once; one more is closed unanswered."""


class HttpServer:
    """Listens from `open` to `close`. `answer` may raise `BadRequest`, which is answered 400.

    A request that never becomes whole is closed unanswered.
    """

    def __init__(self, host: str, port: int, limits: HttpLimits, answer: Callable[[Request], Response]) -> None:
        self._host, self._port, self._limits = host, port, limits
        self._answer = answer
        self._server: asyncio.Server | None = None
        self._clients: dict[asyncio.StreamWriter, None] = {}

    @property
    def port(self) -> int:
        """The bound port."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def open(self) -> None:
        """Raises OSError if the port is taken."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=self._limits.head_bytes)

    async def close(self) -> None:
        """Give the port back, and leave clients that are not answered yet. Idempotent."""
        server, self._server = self._server, None
        if server is None:
            return
        server.close()
        clients = list(self._clients)
        for client in clients:
            client.transport.abort()
        for client in clients:
            with suppress(OSError):
                await client.wait_closed()
        await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._clients[writer] = None
        try:
            async with asyncio.timeout(PATIENCE_S):
                if len(self._clients) <= self._limits.clients:
                    writer.write(bytes(await self._answered(reader)))
                    await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, OSError):
            pass  # a client that does not ask is none
        finally:
            del self._clients[writer]
            writer.close()

    async def _answered(self, reader: asyncio.StreamReader) -> Response:
        try:
            return self._answer(await _request(reader, self._limits.body_bytes))
        except (BadRequest, asyncio.LimitOverrunError):
            return Response(400)


async def _request(reader: asyncio.StreamReader, body_max: int) -> Request:
    """Raises `BadRequest`, asyncio.LimitOverrunError, asyncio.IncompleteReadError, OSError."""
    head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").split("\r\n")
    words = head[0].split(" ")
    if len(words) != 3 or not words[2].startswith("HTTP/1."):
        raise BadRequest("no request of HTTP/1")
    lines = [line.partition(":") for line in head[1:]]
    fields = [(name.lower(), value.strip()) for name, _, value in lines]
    sizes = [value for name, value in fields if name == "content-length"]
    if len(sizes) > 1 or not all(size.isascii() and size.isdecimal() for size in sizes):
        raise BadRequest("no length")
    if any(name == "transfer-encoding" for name, _ in fields):
        raise BadRequest("a body without a length is not taken")
    # Python reads no number of more than 4,300 digits.
    size = int(sizes[0][:_DIGITS_MAX]) if sizes else 0
    if size > body_max:
        raise BadRequest(f"over {body_max} bytes")
    return Request(words[0], words[1].partition("?")[0], await reader.readexactly(size))
