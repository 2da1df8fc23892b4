"""The demo's page: a supervisor's view over the API's live stream, and the Call button.

The page is plain HTML, CSS and ES modules that are served from memory. It may load nothing
from elsewhere, run no inline script and make no HTML out of text: the headers say so.
"""

from __future__ import annotations

import hashlib
import html
from collections.abc import Awaitable, Callable
from dataclasses import dataclass
from pathlib import Path
from string import Template

from starlette.requests import Request
from starlette.responses import JSONResponse, Response
from starlette.routing import BaseRoute, Route

from tandem.core.errors import TOO_MANY, UNKNOWN_NAME, Rejected
from tandem.gateway.demo_session import DemoSession
from tandem.gateway.problems import answer

STATIC = Path(__file__).parent / "static"
MAX_PLACING = 10
"""Robot callers that are being started at the same time; more clicks than that are no demo."""
_TYPES = {
    ".css": "text/css; charset=utf-8",
    ".js": "text/javascript; charset=utf-8",
    ".svg": "image/svg+xml",
}
_POLICY = (
    "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self'; connect-src 'self'; media-src 'self'; "
    "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'; trusted-types"
)
_HEADERS = {
    "content-security-policy": _POLICY,
    "cross-origin-opener-policy": "same-origin",
    "cross-origin-resource-policy": "same-origin",
    "referrer-policy": "no-referrer",
    "x-content-type-options": "nosniff",
}

PlaceCall = Callable[[], Awaitable[str]]
"""Starts one robot caller and returns its name. Raises `Rejected` if it cannot."""


@dataclass(frozen=True, slots=True)
class Page:
    """What the page is told when it is loaded: the tenant's id, and where softphones dial
    (`127.0.0.1:5060`)."""

    tenant: str
    sip: str


def page_routes(page: Page, session: DemoSession, place_call: PlaceCall) -> list[BaseRoute]:
    """The page, its files and `POST /demo/call`; for `Gateway(..., credential=session.credential, pages=...)`."""
    served = _Served(page, session, place_call)
    return [
        Route("/", served.index),
        Route("/static/{name}", served.file),
        Route("/demo/call", served.call, methods=["POST"]),
    ]


@dataclass(frozen=True, slots=True)
class _File:
    body: bytes
    media_type: str
    etag: str


class _Served:
    def __init__(self, page: Page, session: DemoSession, place_call: PlaceCall) -> None:
        self._page, self._session, self._place_call = page, session, place_call
        self._placing = 0
        self._index = Template((STATIC / "index.html").read_text(encoding="utf-8"))
        self._files = {path.name: _read(path) for path in sorted(STATIC.iterdir()) if path.suffix in _TYPES}

    async def index(self, request: Request) -> Response:
        begun = self._session.begin(request)
        values = {"tenant": self._page.tenant, "sip": self._page.sip, "token": begun.token}
        body = self._index.substitute({name: html.escape(value) for name, value in values.items()})
        headers = {**_HEADERS, "cache-control": "no-store"}
        if begun.set_cookie:
            headers["set-cookie"] = begun.set_cookie
        return Response(body, 200, headers, media_type="text/html")

    async def file(self, request: Request) -> Response:
        file = self._files.get(request.path_params["name"])
        if file is None:
            return answer(Rejected(UNKNOWN_NAME, "there is no such resource"))
        headers = {**_HEADERS, "cache-control": "no-cache", "etag": file.etag}
        if request.headers.get("if-none-match") == file.etag:
            return Response(status_code=304, headers=headers)
        return Response(file.body, 200, headers, media_type=file.media_type)

    async def call(self, request: Request) -> Response:
        try:
            self._session.admit(request)
            return JSONResponse({"caller": await self._placed()}, headers={"cache-control": "no-store"})
        except Rejected as error:
            return answer(error)

    async def _placed(self) -> str:
        if self._placing >= MAX_PLACING:
            raise Rejected(TOO_MANY, f"{MAX_PLACING} calls are being placed at this moment")
        self._placing += 1
        try:
            return await self._place_call()
        finally:
            self._placing -= 1


def _read(path: Path) -> _File:
    body = path.read_bytes()
    return _File(body, _TYPES[path.suffix], f'"{hashlib.sha256(body).hexdigest()[:32]}"')
