"""Streams over HTTP: server-sent events to be resumed, and files of which a part may be asked for."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator
from typing import Any

import msgspec
from starlette.requests import Request
from starlette.responses import Response, StreamingResponse

from tandem.api.type.v1 import content_pb2
from tandem.core.errors import Rejected
from tandem.gateway.problems import body_of
from tandem.gateway.transcode import to_json

KEEPALIVE_S = 15
"""A comment this often keeps proxies from closing a quiet stream."""
RETRY_MS = 1000
"""When a browser whose stream broke comes back."""
LAST_EVENT_ID = "last-event-id"
_OUTSIDE = 2**62
_RANGE = re.compile(r"bytes=([0-9]{0,15})-([0-9]{0,15})")


def resume(request: Request, message: Any) -> None:
    """Go on where the browser's last connection ended."""
    last = request.headers.get(LAST_EVENT_ID, "")
    if last and "position" in message.DESCRIPTOR.fields_by_name and not message.position:
        message.position = last


def events(request: Request, items: AsyncGenerator[Any, None], closing: asyncio.Event) -> Response:
    """Server-sent events: one a message, its id the position to resume from. Ends with the
    stream, with the client, or when `closing` is set."""
    headers = {"cache-control": "no-store", "x-accel-buffering": "no"}
    return StreamingResponse(_events(request, items, closing), 200, headers, media_type="text/event-stream")


async def _events(request: Request, items: AsyncGenerator[Any, None], closing: asyncio.Event) -> AsyncIterator[bytes]:
    yield f"retry: {RETRY_MS}\n\n".encode()
    ends = {asyncio.create_task(closing.wait()), asyncio.create_task(_gone(request))}
    item = asyncio.create_task(_next(items))
    try:
        while True:
            done, _ = await asyncio.wait({item, *ends}, timeout=KEEPALIVE_S, return_when=asyncio.FIRST_COMPLETED)
            if done & ends:
                return
            if not done:
                yield b": \n\n"
                continue
            message = item.result()
            if message is None:
                return
            yield _event(getattr(message, "position", ""), to_json(message))
            item = asyncio.create_task(_next(items))
    except Rejected as error:
        yield b"event: error\n" + _event("", body_of(error))
    finally:
        for task in (item, *ends):
            task.cancel()
        await asyncio.gather(item, *ends, return_exceptions=True)
        await items.aclose()


async def _next(items: AsyncIterator[Any]) -> Any:
    """The next message, None at the end."""
    return await anext(items, None)


async def _gone(request: Request) -> None:
    """Until the client has closed the connection."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def _event(position: str, body: Any) -> bytes:
    """One event (WHATWG HTML, 9.2). JSON has no line breaks."""
    id_ = f"id: {position}\n".encode() if position else b""
    return id_ + b"data: " + msgspec.json.encode(body) + b"\n\n"


def ask_range(request: Request, message: Any) -> bool:
    """Put a Range header into the request (RFC 9110, 14.2). One range alone is understood;
    others, and those that are conditional, get the whole file, as the RFC allows."""
    found = _RANGE.fullmatch(request.headers.get("range", "").replace(" ", ""))
    if found is None or "if-range" in request.headers or found[0] == "bytes=-":
        return False
    first, last = found[1], found[2]
    if not first:
        # The last 0 bytes are outside of every file.
        message.read_offset, message.read_limit = -int(last) or _OUTSIDE, 0
        return True
    if last and int(last) < int(first):
        return False
    message.read_offset = int(first)
    message.read_limit = int(last) - int(first) + 1 if last else 0
    return True


async def content(items: AsyncIterator[Any], message: Any, partial: bool, name: str) -> Response:
    """A file, or the part of it that was asked for. Raises `Rejected`."""
    first: content_pb2.ContentChunk = await anext(items)
    size, start = first.size_bytes, first.offset
    stop = min(start + message.read_limit, size) if message.read_limit else size
    headers = {
        "accept-ranges": "bytes",
        "cache-control": "private, no-store",
        "content-disposition": f'inline; filename="{name}.wav"',
        "content-length": str(stop - start),
        "x-content-type-options": "nosniff",
    }
    if partial:
        headers["content-range"] = f"bytes {start}-{stop - 1}/{size}"
    return StreamingResponse(_bytes(first, items), 206 if partial else 200, headers, media_type=first.content_type)


async def _bytes(first: content_pb2.ContentChunk, items: AsyncIterator[Any]) -> AsyncIterator[bytes]:
    if first.data:
        yield first.data
    async for item in items:
        yield item.data
