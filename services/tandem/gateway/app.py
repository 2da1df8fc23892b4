"""The HTTP front of the public API: routes from the protos, calls through `runtime.interceptors`."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from google.protobuf.message import Message
from starlette.applications import Starlette
from starlette.middleware import Middleware
from starlette.requests import ClientDisconnect, Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tandem.core.errors import Rejected
from tandem.core.ports.entropy import Entropy
from tandem.core.trace import TRACEPARENT
from tandem.gateway import live
from tandem.gateway.guard import Guard
from tandem.gateway.openapi import document
from tandem.gateway.problems import answer, bad
from tandem.gateway.transcode import request_of, to_json
from tandem.runtime.interceptors import (
    AUTHORIZATION,
    MAX_BODY_BYTES,
    MIN_POSITION,
    POSITION,
    Api,
    too_large,
    unknown_name,
)
from tandem.runtime.methods import Method

REQUEST_ID = "tandem-request-id"
MAX_UNREAD = 64 * 1024
"""Bytes that are read and thrown away for a client that is refused."""
_VERBS = ["GET", "POST", "PATCH", "PUT", "DELETE"]
_CONTENT = "tandem.api.type.v1.ContentChunk"


@dataclass(frozen=True, slots=True)
class Settings:
    """`hosts` are the Host headers that are ours, any if empty; `origins` the Origins of pages
    that may call."""

    hosts: tuple[str, ...] = ()
    origins: tuple[str, ...] = ()
    max_body_bytes: int = MAX_BODY_BYTES


def bearer(request: Request) -> str | None:
    """The credential of a request: its Authorization header."""
    return request.headers.get(AUTHORIZATION)


class Gateway:
    """Serves an `Api` over HTTP.

    `ready` says whether calls can be taken. `credential` finds a request's Authorization
    value, so that a page may have a session. `pages` are routes of other things to serve.
    """

    def __init__(
        self,
        api: Api,
        entropy: Entropy,
        settings: Settings,
        ready: Callable[[], bool],
        credential: Callable[[Request], str | None] = bearer,
        pages: Sequence[BaseRoute] = (),
    ) -> None:
        self._api, self._entropy, self._settings = api, entropy, settings
        self._ready, self._credential, self._pages = ready, credential, pages
        self._routes: dict[str, list[Method]] = {}
        for method in api.methods.values():
            self._routes.setdefault(method.route.verb, []).append(method)
        self._document = document(api.methods.values())
        self._closing = asyncio.Event()

    def app(self) -> Starlette:
        """The ASGI application."""
        routes: list[BaseRoute] = [
            Route("/healthz", self._health),
            Route("/readyz", self._readiness),
            Route("/openapi.json", self._openapi),
            Route("/v1/{rest:path}", self._serve, methods=_VERBS),
            *self._pages,
        ]
        guard = Middleware(Guard, hosts=self._settings.hosts, origins=self._settings.origins)
        return Starlette(routes=routes, middleware=[guard])

    def close(self) -> None:
        """End all live streams, so that the server need not wait for their clients."""
        self._closing.set()

    # ---------------------------------------------------------------- probes

    async def _health(self, request: Request) -> Response:
        return JSONResponse({"status": "alive"})

    async def _readiness(self, request: Request) -> Response:
        ready = self._ready()
        return JSONResponse({"status": "ready" if ready else "starting"}, 200 if ready else 503)

    async def _openapi(self, request: Request) -> Response:
        return JSONResponse(self._document)

    # ---------------------------------------------------------------- calls

    async def _serve(self, request: Request) -> Response:
        try:
            return await self._call(request)
        except Rejected as error:
            return answer(error)

    async def _call(self, request: Request) -> Response:
        authorization = self._credential(request)
        source = request.client.host if request.client is not None else ""
        try:
            headroom = await self._api.enter(authorization, source)  # nothing is told to a stranger
        except Rejected:
            await self._let_go(request)
            raise
        method, variables = self._matched(request)
        body = await self._body(request)
        message = request_of(method, body, request.query_params.multi_items(), variables)
        metadata = {MIN_POSITION: request.headers.get(MIN_POSITION, "")}
        metadata[TRACEPARENT] = request.headers.get(TRACEPARENT, "")
        if authorization is not None:
            metadata[AUTHORIZATION] = authorization
        if method.streams:
            return await self._stream(request, method, message, metadata)
        headers = {"cache-control": "no-store"}
        if headroom is not None:
            headers["ratelimit-limit"] = str(headroom.limit)
            headers["ratelimit-remaining"] = str(headroom.remaining)
            headers["ratelimit-reset"] = str(headroom.reset_s)
        if method.repeatable:
            headers[REQUEST_ID] = self._request_id(message)
        reply, call = await self._api.unary(method, message, metadata)
        await self._api.breathe(call)
        if call.position:
            headers[POSITION] = call.position
        if etag := getattr(reply, "etag", ""):
            headers["etag"] = etag
        return JSONResponse(to_json(reply), headers=headers)

    async def _stream(
        self, request: Request, method: Method, message: Message, metadata: Mapping[str, str]
    ) -> Response:
        if method.response.DESCRIPTOR.full_name == _CONTENT:
            partial = live.ask_range(request, message)
            items, _ = await self._api.stream(method, message, metadata)
            name = request.url.path.rsplit("/", 1)[1].partition(":")[0]
            return await live.content(items, message, partial, name)
        live.resume(request, message)
        items, _ = await self._api.stream(method, message, metadata)
        return live.events(request, items, self._closing)

    def _matched(self, request: Request) -> tuple[Method, dict[str, str]]:
        """(method, variables) of a request. A path that nothing serves is answered as an
        unknown name is: a malformed name must not look different."""
        for method in self._routes.get(request.method, ()):
            found = method.route.path.fullmatch(request.url.path)
            if found is not None:
                return method, {key.replace("__", "."): value for key, value in found.groupdict().items()}
        raise unknown_name()

    async def _body(self, request: Request) -> bytes:
        """The body, if it is not over the limit. Raises `Rejected`."""
        limit = self._settings.max_body_bytes
        length = request.headers.get("content-length", "0")
        if length.isdecimal() and int(length) > limit:
            raise too_large(limit)
        body = bytearray()
        try:
            async for part in request.stream():
                body += part
                if len(body) > limit:
                    raise too_large(limit)
        except ClientDisconnect:
            raise bad("body", "it ended before its announced length") from None
        media_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
        if body and media_type != "application/json":
            raise bad("Content-Type", "send application/json")
        return bytes(body)

    async def _let_go(self, request: Request) -> None:
        """Read what a refused client has sent already, if it is little: a connection that is closed
        with bytes unread is reset, and the client may never see the answer."""
        length = request.headers.get("content-length", "")
        if length.isdecimal() and int(length) <= MAX_UNREAD:
            try:
                async for _ in request.stream():
                    pass
            except ClientDisconnect:
                pass  # then nobody waits for the answer

    def _request_id(self, message: Any) -> str:
        """The client's request id, or one that we make and tell."""
        if not message.request_id:
            message.request_id = self._entropy.token(10)
        request_id: str = message.request_id
        return request_id if request_id.isascii() and request_id.isprintable() else ""
