"""`/metrics` of a process that serves nothing else over HTTP: a port of 127.0.0.1 for scrapers.

It reads one request, answers it and closes; what is no such request is closed unanswered.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tandem.runtime.telemetry.text import CONTENT_TYPE

HOST = "127.0.0.1"
REQUEST_MAX = 8_192
"""Bytes of a request; a scraper sends some hundred."""
CLIENTS_MAX = 8
"""Requests at once; one scraper has one."""
PATIENCE_S = 5.0
"""How long a client may take to ask, and to take the answer."""


class AdminPortTaken(Exception):
    """Another program listens there."""

    def __init__(self, port: int) -> None:
        super().__init__(f"TCP {HOST}:{port} is taken: stop the program that has it, or change telemetry.media_port")


@asynccontextmanager
async def serve_metrics(port: int, exposition: Callable[[], bytes]) -> AsyncIterator[int]:
    """Serve while inside; gives the port. Raises `AdminPortTaken`."""
    clients = 0

    async def client(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        nonlocal clients
        clients += 1
        try:
            async with asyncio.timeout(PATIENCE_S):
                if clients <= CLIENTS_MAX:
                    head = await reader.readuntil(b"\r\n\r\n")
                    writer.write(_answer(head, exposition))
                    await writer.drain()
        except (TimeoutError, asyncio.IncompleteReadError, asyncio.LimitOverrunError, ConnectionError):
            pass  # a client that does not ask is none
        finally:
            clients -= 1
            writer.close()

    try:
        server = await asyncio.start_server(client, HOST, port, limit=REQUEST_MAX)
    except OSError as error:
        raise AdminPortTaken(port) from error
    async with server:
        yield server.sockets[0].getsockname()[1]


def _answer(head: bytes, exposition: Callable[[], bytes]) -> bytes:
    method, _, rest = head.partition(b" ")
    path = rest.partition(b" ")[0].partition(b"?")[0]
    if method != b"GET" or path != b"/metrics":
        return b"HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"
    body = exposition()
    lines = (f"Content-Type: {CONTENT_TYPE}", f"Content-Length: {len(body)}", "Connection: close", "", "")
    return b"HTTP/1.1 200 OK\r\n" + "\r\n".join(lines).encode() + body
