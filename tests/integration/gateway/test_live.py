"""The live stream over HTTP, through a real server and socket."""

from __future__ import annotations

import asyncio
import json
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import httpx
import uvicorn

from tests.integration.gateway.conftest import reason
from tests.support.mini_cell import MiniCell

WATCH = "/v1/tenants/red/contacts:watch"


@asynccontextmanager
async def served(cell: MiniCell) -> AsyncIterator[tuple[str, Any]]:
    """(base URL, gateway) of a server on a port of its own."""
    gateway = cell.gateway()
    config = uvicorn.Config(gateway.app(), host="127.0.0.1", port=0, log_config=None, lifespan="off", ws="none")
    server = uvicorn.Server(config)
    socket = config.bind_socket()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(server.serve(sockets=[socket]))
        try:
            yield f"http://127.0.0.1:{socket.getsockname()[1]}", gateway
        finally:
            gateway.close()
            server.should_exit = True
            await running
            socket.close()


async def events(response: httpx.Response) -> AsyncIterator[tuple[str, str, Any]]:
    """(id, kind, body) of each event."""
    id_, kind = "", "message"
    async for line in response.aiter_lines():
        name, _, value = line.partition(": ")
        match name:
            case "id":
                id_ = value
            case "event":
                kind = value
            case "data":
                yield id_, kind, json.loads(value)
                id_, kind = "", "message"


def key(cell: MiniCell, tenant: str = "red") -> dict[str, str]:
    """Headers with a key."""
    return {"authorization": f"Bearer {cell.secrets[tenant, 'SUPERVISOR']}"}


async def test_what_happens_is_told_as_it_happens_and_resumed_where_it_broke(cell: MiniCell) -> None:
    async with served(cell) as (base, _), httpx.AsyncClient(base_url=base, headers=key(cell)) as client:
        async with client.stream("GET", WATCH) as response:
            assert response.headers["content-type"].startswith("text/event-stream")
            stream = events(response)
            first = await anext(stream)
            assert first[2]["contact"]["name"] == "tenants/red/contacts/call-red"
            position, _, synced = await anext(stream)
            assert synced["synced"]
            assert position
            await cell.call("blue", "theirs", "2000")
            await cell.call("red", "next", "1000")
            told = await anext(stream)
            assert told[2]["event"]["contact"] == "tenants/red/contacts/next"
        headers = {"last-event-id": position}
        async with client.stream("GET", WATCH, headers=headers) as response:
            again = await anext(events(response))
            assert again[2]["event"] == told[2]["event"]


async def test_a_stream_that_cannot_begin_is_an_answer(cell: MiniCell) -> None:
    async with served(cell) as (base, _), httpx.AsyncClient(base_url=base) as client:
        assert (await client.get(WATCH)).status_code == 401
        assert (await client.get(WATCH, headers=key(cell, "blue"))).status_code == 404
        wrong = await client.get(WATCH, headers={**key(cell), "last-event-id": "nonsense"})
        assert (wrong.status_code, reason(wrong)) == (400, "BAD_FIELD")


async def test_closing_the_gateway_ends_its_streams(cell: MiniCell) -> None:
    async with (
        served(cell) as (base, gateway),
        httpx.AsyncClient(base_url=base, headers=key(cell)) as client,
        client.stream("GET", WATCH) as response,
    ):
        stream = events(response)
        await anext(stream)
        gateway.close()
        assert all(kind == "message" for _, kind, _ in [event async for event in stream])


async def test_a_client_that_goes_away_leaves_nothing_behind(cell: MiniCell) -> None:
    async with served(cell) as (base, _):
        before = len(asyncio.all_tasks())
        async with (
            httpx.AsyncClient(base_url=base, headers=key(cell)) as client,
            client.stream("GET", WATCH) as response,
        ):
            await anext(events(response))
            assert len(asyncio.all_tasks()) > before
        async with asyncio.timeout(5):
            while len(asyncio.all_tasks()) > before:
                await asyncio.sleep(0.01)
