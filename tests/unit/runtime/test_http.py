"""The server of one small question: what it takes for a request, and what others get."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

import pytest

from tandem.runtime.http_driver import BadRequest, HttpLimits, HttpServer, Request, Response

LIMITS = HttpLimits(head_bytes=1000, body_bytes=100, clients=2)


@asynccontextmanager
async def echo() -> AsyncIterator[int]:
    """A server that says what it was asked; its port."""

    def answer(request: Request) -> Response:
        if request.path == "/bad":
            raise BadRequest("by its path")
        return Response(200, b"%s %s %s" % (request.method.encode(), request.path.encode(), request.body))

    server = HttpServer("127.0.0.1", 0, LIMITS, answer)
    await server.open()
    try:
        yield server.port
    finally:
        await server.close()


async def asked(port: int, data: bytes) -> bytes:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    writer.write(data)
    writer.write_eof()
    answer = b""
    with suppress(ConnectionResetError):  # what the server closes unread
        answer = await reader.read()
    writer.transport.abort()
    return answer


POST = b"POST /a?b=c HTTP/1.1\r\nContent-Length: %s\r\n%s\r\n"


async def test_method_path_and_body_are_read() -> None:
    async with echo() as port:
        answer = await asked(port, POST % (b"3", b"Host: x\r\n") + b"xyz and more")
        head, _, body = answer.partition(b"\r\n\r\n")
        assert head.split(b"\r\n") == [
            b"HTTP/1.1 200 OK", b"Content-Type: text/plain", b"Content-Length: 11", b"Connection: close",
        ]  # fmt: skip
        assert body == b"POST /a xyz"
        assert (await asked(port, b"GET / HTTP/1.0\r\n\r\n")).endswith(b"\r\n\r\nGET / ")


@pytest.mark.parametrize(
    "request_",
    [
        b"GET /bad HTTP/1.1\r\n\r\n",
        b"GET /\r\n\r\n",
        b"\r\n\r\n",
        b"OPTIONS sip:a SIP/2.0\r\n\r\n",
        POST % (b"x", b""),
        POST % (b"-1", b""),
        POST % ("\u00b2".encode("latin-1"), b""),
        POST % (b"101", b""),
        POST % (b"9" * 900, b""),
        POST % (b"3", b"Content-Length: 3\r\n") + b"xyz",
        POST % (b"3", b"Transfer-Encoding: chunked\r\n") + b"xyz",
    ],
)
async def test_others_are_refused(request_: bytes) -> None:
    async with echo() as port:
        assert (await asked(port, request_)).startswith(b"HTTP/1.1 400 Bad Request\r\n")


async def test_a_head_that_is_too_long_is_refused_before_it_ends() -> None:
    async with echo() as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(b"X" * 10_000)
        assert await reader.readline() == b"HTTP/1.1 400 Bad Request\r\n"
        writer.transport.abort()


@pytest.mark.parametrize("request_", [b"", b"GET / HTTP/1.1\r\n", POST % (b"3", b"") + b"xy"])
async def test_what_never_becomes_whole_gets_no_answer(request_: bytes) -> None:
    async with echo() as port:
        assert await asked(port, request_) == b""


async def test_one_more_than_it_serves_at_once_is_closed() -> None:
    async with echo() as port:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(LIMITS.clients)]
        assert await asked(port, b"GET / HTTP/1.1\r\n\r\n") == b""
    for reader, writer in silent:
        # Who has not asked yet is left, too, when the server is closed.
        with suppress(ConnectionResetError):
            assert await reader.read() == b""
        writer.transport.abort()
