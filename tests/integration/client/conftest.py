"""A cell on memory adapters whose API is served over gRPC."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

import pytest_asyncio

from tandem.runtime.grpc_server import GrpcServer
from tests.support.mini_cell import MiniCell, mini_cell


@dataclass
class Served:
    """A cell and where its API is."""

    cell: MiniCell
    address: str


@asynccontextmanager
async def serving(cell: MiniCell, address: str = "127.0.0.1:0") -> AsyncIterator[str]:
    """The API over gRPC until the block ends; its address."""
    server = GrpcServer(cell.api)
    port = await server.start(address)
    try:
        yield f"127.0.0.1:{port}"
    finally:
        await server.stop(0)


@pytest_asyncio.fixture
async def served() -> AsyncIterator[Served]:
    async with mini_cell() as cell, serving(cell) as address:
        yield Served(cell, address)


@pytest_asyncio.fixture
async def filled_line() -> AsyncIterator[tuple[MiniCell, str]]:
    """A cell whose tenant red has a number that leads to a flow."""
    async with mini_cell() as cell:
        async with cell.client("red") as client:
            steps = [{"id": "hello", "answer": {"next": "bye"}}, {"id": "bye", "hangUp": {"prompts": ["bye"]}}]
            assert (await client.post("/v1/tenants/red/flows?flowId=main", json={"steps": steps})).is_success
            assert (await client.post("/v1/tenants/red/flows/main:publish", json={})).is_success
            number = {"flow": "tenants/red/flows/main"}
            made = await client.post("/v1/tenants/red/numbers?numberId=1000&waitLive=true", json=number)
            assert made.is_success, made.text
        yield cell, "1000"
