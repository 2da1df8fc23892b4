"""`/metrics` of the control plane: to this host alone, because its numbers are of all tenants."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable

from starlette.requests import Request
from starlette.responses import Response
from starlette.routing import Route

from tandem.gateway.problems import answer
from tandem.runtime.interceptors import unknown_name


def metrics_route(exposition: Callable[[], bytes], content_type: str) -> Route:
    """GET /metrics. Somebody from elsewhere gets the answer that any unknown path gets."""

    async def metrics(request: Request) -> Response:
        host = request.client.host if request.client is not None else ""
        if not _is_here(host):
            return answer(unknown_name())
        return Response(exposition(), headers={"content-type": content_type, "cache-control": "no-store"})

    return Route("/metrics", metrics)


def _is_here(host: str) -> bool:
    try:
        return ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False
