"""The gRPC front of the public API: bytes in, bytes out; everything else is `runtime.interceptors`."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any, NoReturn
from urllib.parse import unquote

import grpc
from google.protobuf.message import DecodeError, Message
from grpc_health.v1 import health, health_pb2, health_pb2_grpc
from grpc_reflection.v1alpha import reflection

from tandem.core.errors import BAD_FIELD, Rejected
from tandem.runtime.interceptors import AUTHORIZATION, MAX_BODY_BYTES, POSITION, Api, too_large
from tandem.runtime.methods import Method
from tandem.runtime.status import to_status

STATUS_DETAILS = "grpc-status-details-bin"
MAX_STREAMS = 1000
"""Calls at once on one connection, of which most wait for their turn."""
MAX_CALLS = 4000
"""Calls at once on all of them; one more is answered RESOURCE_EXHAUSTED by gRPC itself. Some 10 KB each."""
MAX_METADATA_BYTES = 16 * 1024
"""Metadata of a call: a key, a trace, a position."""
IDLE_MS = 300_000
"""A connection without a call is closed after so long."""
PING_MS, PING_ANSWER_MS = 60_000, 20_000
"""How often a client is asked for a sign of life, and how long it has: of a host that has gone nothing
else is heard, and its live streams would stay open."""
CLIENT_PING_MS = 10_000
"""A client that asks us more often has its connection closed (ENHANCE_YOUR_CALM), after two strikes."""
_OPTIONS = (
    # Somewhat above our own limit, which answers with a reason; beyond this gRPC itself refuses.
    ("grpc.max_receive_message_length", 4 * MAX_BODY_BYTES),
    ("grpc.max_concurrent_streams", MAX_STREAMS),
    ("grpc.max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.absolute_max_metadata_size", MAX_METADATA_BYTES),
    ("grpc.max_connection_idle_ms", IDLE_MS),
    ("grpc.keepalive_time_ms", PING_MS),
    ("grpc.keepalive_timeout_ms", PING_ANSWER_MS),
    ("grpc.http2.min_ping_interval_without_data_ms", CLIENT_PING_MS),
    ("grpc.http2.max_ping_strikes", 2),
    # A second process must not share our port unnoticed.
    ("grpc.so_reuseport", 0),
)


class GrpcServer:
    """Serves an `Api`, with health and reflection."""

    def __init__(self, api: Api) -> None:
        self._api = api
        self._server = grpc.aio.server(options=_OPTIONS, maximum_concurrent_rpcs=MAX_CALLS)
        self._health = health.aio.HealthServicer()
        services: dict[str, dict[str, Any]] = {}
        for method in api.methods.values():
            services.setdefault(method.service, {})[method.name] = self._handler(method)
        for name, handlers in services.items():
            self._server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(name, handlers),))
        health_pb2_grpc.add_HealthServicer_to_server(self._health, self._server)
        reflection.enable_server_reflection((*services, reflection.SERVICE_NAME, health.SERVICE_NAME), self._server)

    async def start(self, address: str) -> int:
        """Listen on `host:port` and return the port. Raises RuntimeError if it is taken."""
        port = self._server.add_insecure_port(address)
        await self._server.start()
        return port

    async def set_ready(self, ready: bool) -> None:
        """What grpc.health.v1 answers."""
        status = health_pb2.HealthCheckResponse.SERVING if ready else health_pb2.HealthCheckResponse.NOT_SERVING
        await self._health.set("", status)

    async def stop(self, grace_s: float) -> None:
        """Take no more calls; those under way get `grace_s` seconds."""
        await self._health.enter_graceful_shutdown()
        await self._server.stop(grace_s)

    async def _enter(self, context: Any) -> dict[str, str]:
        """The call's metadata, once it may go on."""
        metadata = _metadata(context)
        await self._api.enter(metadata.get(AUTHORIZATION), _source(context))
        return metadata

    def _handler(self, method: Method) -> Any:
        if method.streams:

            async def stream(body: bytes, context: Any) -> AsyncIterator[bytes]:
                try:
                    metadata = await self._enter(context)
                    items, call = await self._api.stream(method, parse(method, body), metadata)
                    async for item in items:
                        yield item.SerializeToString()
                    _trail(context, call.position)
                except Rejected as error:
                    await _abort(context, error)

            return grpc.unary_stream_rpc_method_handler(stream)

        async def unary(body: bytes, context: Any) -> bytes:
            try:
                metadata = await self._enter(context)
                answer, call = await self._api.unary(method, parse(method, body), metadata)
            except Rejected as error:
                await _abort(context, error)
            _trail(context, call.position)
            return answer.SerializeToString()

        return grpc.unary_unary_rpc_method_handler(unary)


def _source(context: Any) -> str:
    """The address of the other end: `ipv4:127.0.0.1:50000`, `ipv6:%5B::1%5D:50000`, `unix:`."""
    kind, _, rest = unquote(context.peer()).partition(":")
    return rest.rpartition(":")[0].strip("[]") if kind in ("ipv4", "ipv6") else ""


def parse(method: Method, body: bytes) -> Message:
    """The request. Raises `Rejected`."""
    if len(body) > MAX_BODY_BYTES:
        raise too_large(MAX_BODY_BYTES)
    try:
        return method.request.FromString(body)
    except DecodeError as error:
        name = method.request.DESCRIPTOR.name
        raise Rejected(BAD_FIELD, f"the message is no {name}") from error


def _metadata(context: Any) -> dict[str, str]:
    pairs = context.invocation_metadata() or ()
    return {key.lower(): value for key, value in pairs if isinstance(value, str)}


def _trail(context: Any, position: str) -> None:
    if position:
        context.set_trailing_metadata(((POSITION, position),))


async def _abort(context: Any, error: Rejected) -> NoReturn:
    status = to_status(error)
    code = grpc.StatusCode[error.reason.code.name]
    await context.abort(code, status.message, ((STATUS_DETAILS, status.SerializeToString()),))
    raise AssertionError("abort raises")
