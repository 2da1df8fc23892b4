"""`/metrics` of a process that serves nothing else over HTTP: a port of 127.0.0.1 for scrapers."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tandem.runtime.http_driver import HttpLimits, HttpServer, Request, Response
from tandem.runtime.telemetry.text import CONTENT_TYPE

HOST = "127.0.0.1"
LIMITS = HttpLimits(head_bytes=8_192, clients=8)
"""A scraper sends some hundred bytes, and asks once at a time."""


class AdminPortTaken(Exception):
    """Another program listens there."""

    def __init__(self, port: int) -> None:
        super().__init__(f"TCP {HOST}:{port} is taken: stop the program that has it, or change telemetry.media_port")


@asynccontextmanager
async def serve_metrics(port: int, exposition: Callable[[], bytes]) -> AsyncIterator[int]:
    """Serve while inside; gives the port. Raises `AdminPortTaken`."""

    def answer(request: Request) -> Response:
        if request.method != "GET" or request.path != "/metrics":
            return Response(404)
        return Response(200, exposition(), CONTENT_TYPE)

    server = HttpServer(HOST, port, LIMITS, answer)
    try:
        await server.open()
    except OSError as error:
        raise AdminPortTaken(port) from error
    try:
        yield server.port
    finally:
        await server.close()
