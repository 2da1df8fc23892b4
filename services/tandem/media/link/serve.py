"""The agent's gRPC server: bytes between streams and `AgentStream`s, nothing more."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from contextlib import suppress
from typing import Any, Protocol

import grpc

from tandem.core.ports.media import FromNode, ToNode
from tandem.media.link.address import DRAIN_METHOD, GATEWAYS_METHOD, METHOD, LinkAddress, listen, new_server
from tandem.media.link.agent_end import AgentStream
from tandem.media.link.drains import Drains, DrainService
from tandem.media.link.gateways import GatewayService, Reread
from tandem.media.link.stream import SILENT_MS, StreamFault
from tandem.runtime.media_codec import Close

STREAMS_MAX = 256
"""Owners' processes connected at once; a cell has some dozens."""
GRACE_S = 0.5
"""How long a server that stops lets streams end by themselves."""


_Context = grpc.aio.ServicerContext[bytes, bytes]


class Listener(Protocol):
    """What hears the links."""

    def heard(self, frames: list[tuple[str, ToNode | Close]]) -> None:
        """Frames of links, in order; `Close` ends its link."""
        ...

    def lost(self, links: tuple[str, ...], reason: str) -> None:
        """The stream of these links is gone."""
        ...


class LinkServer:
    """Owns the server and its streams. `boottime_ms` reads CLOCK_BOOTTIME; `drains` is what an operator drains,
    `reread` reads its carriers again."""

    def __init__(
        self,
        address: LinkAddress,
        listener: Listener,
        boottime_ms: Callable[[], int],
        drains: Drains | None = None,
        reread: Reread | None = None,
        silent_ms: int = SILENT_MS,
    ) -> None:
        self._address = address
        self._drains = drains
        self._watched = None if drains is None else DrainService(drains)
        self._gateways = None if reread is None else GatewayService(reread)
        self._listener = listener
        self._boottime_ms = boottime_ms
        self._silent_ms = silent_ms
        self._server: grpc.aio.Server | None = None
        self._streams: dict[str, tuple[AgentStream, asyncio.Event]] = {}
        self._count = 0
        self.port = 0

    async def start(self) -> None:
        """Listen. Raises `UnsafeLink`."""
        server = self._server = new_server()
        service, _, method = METHOD[1:].partition("/")
        handlers: dict[str, Any] = {method: grpc.stream_stream_rpc_method_handler(self._connect)}
        if self._watched is not None:
            drain: Any = grpc.unary_stream_rpc_method_handler(self._watched.serve)
            handlers[DRAIN_METHOD.rpartition("/")[2]] = drain
        if self._gateways is not None:
            gateways: Any = grpc.unary_unary_rpc_method_handler(self._gateways.serve)
            handlers[GATEWAYS_METHOD.rpartition("/")[2]] = gateways
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        self.port = listen(server, self._address)
        await server.start()

    async def stop(self) -> None:
        """Idempotent; also for one that could not start."""
        if self._server is not None:
            await self._server.stop(GRACE_S)

    def send(self, link: str, frame: FromNode) -> None:
        """Queue a frame; `flush` lets it go."""
        at = self._streams.get(link.rpartition(".")[0])
        if at is not None:
            at[0].send(link, frame)

    def close(self, link: str, reason: str) -> None:
        """End a link, behind what was sent over it."""
        at = self._streams.get(link.rpartition(".")[0])
        if at is not None:
            at[0].close(link, reason)

    def flush(self) -> None:
        """Wake the writers of streams that have something to send, and who looks on."""
        if self._watched is not None:
            self._watched.turned()
        for stream, wake in self._streams.values():
            if stream.waiting:
                wake.set()

    async def _connect(self, _requests: Any, context: _Context) -> None:
        if len(self._streams) >= STREAMS_MAX:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{STREAMS_MAX} streams are open")
        self._count += 1
        stream, wake = AgentStream(f"s{self._count}"), asyncio.Event()
        self._streams[stream.name] = stream, wake
        reason = "the owners' process closed the stream"
        try:
            async with asyncio.TaskGroup() as group:
                writer = group.create_task(self._write(stream, wake, context))
                await self._read(stream, wake, context)
                writer.cancel()
        except* (StreamFault, TimeoutError) as faults:
            fault = faults.exceptions[0]
            reason = str(fault) or f"the owners' process said or took nothing for {self._silent_ms} ms"
        except* grpc.aio.BaseError:
            # Of a write: `InternalError` if the stream was reset under it (the other process was killed),
            # `UsageError` if it had been reset before.
            reason = "the owners' process was gone when it was written to"
        finally:
            del self._streams[stream.name]
            self._listener.lost(stream.links, reason)
        with suppress(grpc.aio.InternalError):
            # Nobody is there, or a message still waits for one who takes nothing: then no status can follow it.
            await context.abort(grpc.StatusCode.ABORTED, reason)

    async def _read(self, stream: AgentStream, wake: asyncio.Event, context: _Context) -> None:
        while True:
            async with asyncio.timeout(self._silent_ms / 1000):
                data: Any = await context.read()
            if data is grpc.aio.EOF:
                return
            self._listener.heard(stream.receive(data, self._boottime_ms(), draining=self._is_draining))
            wake.set()

    @property
    def _is_draining(self) -> bool:
        return self._drains is not None and self._drains.draining

    async def _write(self, stream: AgentStream, wake: asyncio.Event, context: _Context) -> None:
        """A process that pings and reads nothing would have us keep frames without limit."""
        while True:
            await wake.wait()
            wake.clear()
            for data in stream.take():
                async with asyncio.timeout(self._silent_ms / 1000):
                    await context.write(data)
