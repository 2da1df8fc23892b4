"""Connections that are too many, too slow or too large, over real sockets."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any

import pytest_asyncio
import uvicorn
import uvloop
from starlette.applications import Starlette
from starlette.requests import Request
from starlette.responses import PlainTextResponse, Response, StreamingResponse
from starlette.routing import Route

from tandem.runtime.config import Http
from tandem.targets.serving import http_settings

PATIENCE_S = 20
GET = b"GET /small HTTP/1.1\r\nHost: here\r\n\r\n"


class Served:
    """A server of three pages, in the way in which the gateway is served."""

    def __init__(self, server: uvicorn.Server) -> None:
        self._server = server
        self.disconnected = asyncio.Event()
        self.go_on = asyncio.Event()

    @property
    def port(self) -> int:
        return int(self._server.servers[0].sockets[0].getsockname()[1])

    @asynccontextmanager
    async def connection(self) -> AsyncIterator[Connection]:
        reader, writer = await asyncio.open_connection("127.0.0.1", self.port)
        try:
            yield Connection(reader, writer)
        finally:
            writer.close()

    # the pages

    def app(self) -> Starlette:
        pages = [Route("/small", self._small), Route("/live", self._live), Route("/take", self._take, methods=["POST"])]
        return Starlette(routes=[*pages, Route("/large", self._large)])

    async def _small(self, request: Request) -> Response:
        return PlainTextResponse("small")

    async def _live(self, request: Request) -> Response:
        async def said() -> AsyncIterator[bytes]:
            yield b"first "
            await self.go_on.wait()
            yield b"last"

        return StreamingResponse(said())

    async def _take(self, request: Request) -> Response:
        try:
            await request.body()
        finally:
            self.disconnected.set()
        return PlainTextResponse("taken")

    async def _large(self, request: Request) -> Response:
        async def said() -> AsyncIterator[bytes]:
            try:
                while True:
                    yield bytes(1 << 20)
                    await asyncio.sleep(0)  # who has gone takes all at once
            finally:
                self.disconnected.set()

        return StreamingResponse(said())


class Connection:
    """A client that says what it likes."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    def say(self, data: bytes) -> None:
        self.writer.write(data)

    async def answer(self) -> tuple[int, bytes]:
        """Status and body of one answer of known length."""
        async with asyncio.timeout(PATIENCE_S):
            head = (await self.reader.readuntil(b"\r\n\r\n")).decode().lower()
            length = int(head.partition("content-length: ")[2].partition("\r\n")[0])
            return int(head.split(" ", 2)[1]), await self.reader.readexactly(length)

    async def refused(self) -> tuple[int, str]:
        """Status and reason, and that the connection has ended then."""
        status, body = await self.answer()
        assert await self.ended()
        return status, json.loads(body)["error"]["details"][0]["reason"]

    async def ended(self) -> bool:
        async with asyncio.timeout(PATIENCE_S):
            try:
                return await self.reader.read() == b""
            except ConnectionResetError:
                return True


class _Gateway:
    """What `http_settings` wants of a gateway."""

    def __init__(self, app: Starlette) -> None:
        self.app: Callable[[], Any] = lambda: app


@asynccontextmanager
async def serving(**settings: float) -> AsyncIterator[Served]:
    holder: list[Served] = []
    gateway: Any = _Gateway(Starlette())
    config = http_settings(gateway, Http(port=0, **settings))  # type: ignore[arg-type]
    config.host, config.port = "127.0.0.1", 0
    server = uvicorn.Server(config)
    holder.append(Served(server))
    config.app = holder[0].app()
    running = asyncio.create_task(server._serve())
    while not server.started:
        await asyncio.sleep(0)
    try:
        yield holder[0]
    finally:
        server.should_exit = server.force_exit = True
        await running


@pytest_asyncio.fixture
async def stack() -> AsyncIterator[AsyncExitStack]:
    async with AsyncExitStack() as opened:
        yield opened


def test_the_loop_of_the_product_is_served_alike() -> None:
    async def limits() -> None:
        async with AsyncExitStack() as stack:
            await test_one_connection_too_many_is_told_so_and_has_its_turn_when_another_ends(stack)
            await test_a_head_that_comes_a_byte_at_a_time_is_answered_408(stack)
            await test_a_client_that_reads_nothing_is_let_go(stack)

    uvloop.run(limits())


async def test_one_connection_too_many_is_told_so_and_has_its_turn_when_another_ends(stack: AsyncExitStack) -> None:
    served = await stack.enter_async_context(serving(connections_max=2))
    first = await stack.enter_async_context(served.connection())
    async with served.connection() as second:
        for one in (first, second):
            one.say(GET)
            assert await one.answer() == (200, b"small")
        third = await stack.enter_async_context(served.connection())
        third.say(GET)
        assert await third.refused() == (429, "TOO_MANY_CONNECTIONS")
    first.say(GET)
    assert (await first.answer())[0] == 200, "who is in stays in"
    async with asyncio.timeout(PATIENCE_S):
        status = 429
        while status == 429:  # until the server has seen the second one's end
            async with served.connection() as fourth:
                fourth.say(GET)
                status = (await fourth.answer())[0]
    assert status == 200


async def test_one_address_leaves_room_for_others(stack: AsyncExitStack) -> None:
    served = await stack.enter_async_context(serving(connections_max=9, connections_per_address_max=1))
    first = await stack.enter_async_context(served.connection())
    first.say(GET)
    assert (await first.answer())[0] == 200
    second = await stack.enter_async_context(served.connection())
    second.say(GET)
    assert await second.refused() == (429, "TOO_MANY_CONNECTIONS")
    elsewhere = await asyncio.open_connection("127.0.0.1", served.port, local_addr=("127.0.0.2", 0))
    other = Connection(*elsewhere)
    stack.callback(other.writer.close)
    other.say(GET)
    assert (await other.answer())[0] == 200


async def test_a_head_that_comes_a_byte_at_a_time_is_answered_408(stack: AsyncExitStack) -> None:
    served = await stack.enter_async_context(serving(head_s=0.3))
    silent = await stack.enter_async_context(served.connection())
    slow = await stack.enter_async_context(served.connection())
    slow.say(b"GET /small HTTP/1.1\r\nHos")
    again = await stack.enter_async_context(served.connection())
    again.say(GET)
    assert (await again.answer())[0] == 200
    again.say(b"GET /sm")  # slow only with its second request
    for one in (silent, slow, again):
        assert await one.refused() == (408, "REQUEST_TOO_SLOW")


async def test_a_body_that_does_not_come_ends_its_connection(stack: AsyncExitStack) -> None:
    served = await stack.enter_async_context(serving(body_s=0.3))
    slow = await stack.enter_async_context(served.connection())
    slow.say(b"POST /take HTTP/1.1\r\nHost: here\r\nContent-Length: 10\r\n\r\nhalf")
    assert await slow.ended()
    async with asyncio.timeout(PATIENCE_S):
        await served.disconnected.wait()


async def test_a_client_that_reads_nothing_is_let_go(stack: AsyncExitStack) -> None:
    served = await stack.enter_async_context(serving(unread_s=0.3))
    deaf = await stack.enter_async_context(served.connection())
    deaf.say(b"GET /large HTTP/1.1\r\nHost: here\r\n\r\n")
    async with asyncio.timeout(PATIENCE_S):
        await served.disconnected.wait()


async def test_a_live_stream_outlasts_every_deadline(stack: AsyncExitStack) -> None:
    served = await stack.enter_async_context(serving(head_s=0.2, body_s=0.2, unread_s=0.2, idle_s=0))
    watcher = await stack.enter_async_context(served.connection())
    watcher.say(b"GET /live HTTP/1.1\r\nHost: here\r\n\r\n")
    slow = await stack.enter_async_context(served.connection())
    slow.say(b"GET")
    assert (await slow.refused())[0] == 408, "deadlines of the same length have passed meanwhile"
    served.go_on.set()
    async with asyncio.timeout(PATIENCE_S):
        assert b"first" in await watcher.reader.readuntil(b"last")


async def test_an_idle_connection_is_closed(stack: AsyncExitStack) -> None:
    served = await stack.enter_async_context(serving(idle_s=0))
    idle = await stack.enter_async_context(served.connection())
    idle.say(GET)
    assert (await idle.answer())[0] == 200
    assert await idle.ended()


async def test_a_head_over_the_limit_is_refused(stack: AsyncExitStack) -> None:
    served = await stack.enter_async_context(serving(head_bytes_max=1024))
    large = await stack.enter_async_context(served.connection())
    large.say(b"GET /small HTTP/1.1\r\nHost: here\r\nX: " + b"y" * 2000)
    async with asyncio.timeout(PATIENCE_S):
        assert (await large.reader.readuntil(b"\r\n")).startswith(b"HTTP/1.1 400")
