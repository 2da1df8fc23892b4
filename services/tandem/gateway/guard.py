"""Who may address us at all: the Host and Origin that the configuration names (DNS rebinding, foreign pages)."""

from __future__ import annotations

from starlette.datastructures import Headers
from starlette.types import ASGIApp, Receive, Scope, Send

from tandem.core.errors import BAD_ORIGIN, Rejected
from tandem.gateway.problems import answer

PROBES = ("/healthz", "/readyz")
"""Asked by machines that know an address alone."""


class Guard:
    """ASGI middleware. Empty `hosts` allow any Host; an Origin must be one of `origins` if there is one."""

    def __init__(self, app: ASGIApp, hosts: tuple[str, ...], origins: tuple[str, ...]) -> None:
        self._app, self._hosts, self._origins = app, hosts, origins

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] == "http" and scope["path"] not in PROBES:
            problem = self._problem(Headers(scope=scope))
            if problem:
                await answer(Rejected(BAD_ORIGIN, problem))(scope, receive, send)
                return
        await self._app(scope, receive, send)

    def _problem(self, headers: Headers) -> str:
        if self._hosts and headers.get("host", "") not in self._hosts:
            return "this Host is not one of ours"
        origin = headers.get("origin")
        if origin is not None and origin not in self._origins:
            return "pages of this Origin may not call us"
        return ""
