"""The port for scrapers: one kind of request is answered, and nobody can hold it up."""

from __future__ import annotations

import asyncio

import httpx
import pytest

from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.admin import LIMITS, AdminPortTaken, serve_metrics
from tandem.runtime.telemetry.meters import Meters
from tandem.runtime.telemetry.text import exposition


def body() -> bytes:
    """Of /metrics."""
    meters = Meters()
    meters.count(names.MEDIA_CALLS)
    return exposition(meters)


async def test_metrics_are_served_and_nothing_else():
    async with serve_metrics(0, body) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        answer = await client.get("/metrics")
        assert (answer.status_code, answer.text) == (200, body().decode())
        assert answer.headers["content-type"].startswith("text/plain; version=0.0.4")
        assert (await client.get("/")).status_code == 404
        assert (await client.post("/metrics")).status_code == 404


@pytest.mark.parametrize("request_", [b"", b"garbage", b"GET /metrics HTTP/1.1\r\n"])
async def test_what_is_no_request_gets_no_answer(request_):
    async with serve_metrics(0, body) as port:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(request_)
        writer.write_eof()
        assert await reader.read() == b""
        writer.close()


async def test_many_who_say_nothing_leave_room_when_they_go():
    async with serve_metrics(0, body) as port, httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
        silent = [await asyncio.open_connection("127.0.0.1", port) for _ in range(LIMITS.clients)]
        with pytest.raises(httpx.RemoteProtocolError):
            await client.get("/metrics")
        for _, writer in silent:
            writer.close()
            await writer.wait_closed()
        while True:  # the server hears of each in its own turn
            try:
                assert (await client.get("/metrics")).status_code == 200
                break
            except httpx.RemoteProtocolError:
                continue


async def test_a_taken_port_says_what_to_do():
    async with serve_metrics(0, body) as port:
        with pytest.raises(AdminPortTaken, match=r"telemetry\.media_port"):
            async with serve_metrics(port, body):
                pass
