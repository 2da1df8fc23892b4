"""The owners' gRPC client: keeps one stream to one node, for as long as it runs."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from contextlib import suppress
from typing import Any

import grpc

from tandem.core.backoff import Backoff
from tandem.core.ports.media import ToNode
from tandem.media.link.address import METHOD, LinkAddress, UnsafeLink, dial
from tandem.media.link.owner_end import LinkInput, OwnerLink, OwnerStream
from tandem.media.link.stream import PING_MS, SILENT_MS, StreamFault

BACKOFF_FIRST_S = 0.05
BACKOFF_MAX_S = 2.0
"""A node that comes back is noticed in seconds; dialling a dead one this often costs nothing."""


class NodeDialer:
    """One node's stream.

    `told(inputs)` is called with what the links bring, in order; `boottime_ms` reads
    CLOCK_BOOTTIME; `chance` gives numbers in [0, 1); `wrote()` is called when all that was
    queued has been written; a node that says nothing for `silent_ms` is taken for gone.
    """

    def __init__(
        self,
        stream: OwnerStream,
        address: LinkAddress,
        told: Callable[[Sequence[tuple[OwnerLink, LinkInput]]], None],
        boottime_ms: Callable[[], int],
        chance: Callable[[], float],
        wrote: Callable[[], None] = lambda: None,
        silent_ms: int = SILENT_MS,
    ) -> None:
        self._stream = stream
        self._address = address
        self._told = told
        self._boottime_ms = boottime_ms
        self._chance = chance
        self._silent_ms = silent_ms
        self._wrote = wrote
        self._wake = asyncio.Event()
        self._attached = asyncio.Event()
        self.last_fault = ""
        self.connects = 0

    @property
    def draining(self) -> bool:
        """See `OwnerStream`."""
        return self._stream.draining

    def attach(self, link: OwnerLink) -> None:
        """See `OwnerStream.attach`."""
        self._stream.attach(link)
        self._attached.set()
        self._wake.set()

    def detach(self, link: OwnerLink, reason: str) -> None:
        """See `OwnerStream.detach`."""
        self._stream.detach(link, reason)
        self._wake.set()

    def send(self, link: OwnerLink, frame: ToNode) -> bool:
        """See `OwnerStream.send`."""
        self._wake.set()
        return self._stream.send(link, frame)

    async def run(self) -> None:
        """Dial, carry frames, dial again; until cancelled. `last_fault` says why it was last down."""
        backoff = Backoff(BACKOFF_FIRST_S, BACKOFF_MAX_S)
        while True:
            try:
                await self._carry(backoff)
                self.last_fault = f"media link {self._address.target}: the node closed the stream"
            except* (StreamFault, UnsafeLink) as faults:
                self.last_fault = str(faults.exceptions[0])
            except* TimeoutError:
                self.last_fault = f"media link {self._address.target}: no sign of life for {self._silent_ms} ms"
            except* grpc.aio.AioRpcError as errors:
                self.last_fault = f"media link {self._address.target}: {_status(errors)}"
            except* asyncio.InvalidStateError:
                # A write met a stream that had ended; its status is told by the next attempt.
                self.last_fault = f"media link {self._address.target}: the stream broke off"
            finally:
                self._told(self._stream.lost(self.last_fault))
            if _cancelled():
                raise asyncio.CancelledError
            await self._pause(backoff.pause_s(self._chance()))

    async def _pause(self, pause_s: float) -> None:
        """A shard that becomes ours meanwhile does not wait for its end."""
        self._attached.clear()
        with suppress(TimeoutError):
            async with asyncio.timeout(pause_s):
                await self._attached.wait()

    async def _carry(self, backoff: Backoff) -> None:
        async with dial(self._address) as channel:
            call: Any = channel.stream_stream(METHOD)()
            async with asyncio.timeout(self._silent_ms / 1000):
                await call.wait_for_connection()
            backoff.reset()
            self.connects += 1
            self._stream.connected(self._boottime_ms())
            self._wake.set()
            async with asyncio.TaskGroup() as group:
                helpers = (group.create_task(self._write(call)), group.create_task(self._ping()))
                await self._read(call)
                for helper in helpers:
                    helper.cancel()

    async def _read(self, call: Any) -> None:
        while True:
            async with asyncio.timeout(self._silent_ms / 1000):
                data = await call.read()
            if data is grpc.aio.EOF:
                return
            self._told(self._stream.receive(data, self._boottime_ms()))
            self._wake.set()

    async def _write(self, call: Any) -> None:
        while True:
            await self._wake.wait()
            self._wake.clear()
            for data in self._stream.take():
                await call.write(data)
            self._wrote()

    async def _ping(self) -> None:
        while True:
            await asyncio.sleep(PING_MS / 1000)
            self._stream.ping(self._boottime_ms())
            self._wake.set()


def _cancelled() -> bool:
    """Whether this task is to end. A task group that is cancelled while one of its tasks fails raises
    the failure alone (Python before 3.13): here a write that meets the stream which the cancel ended."""
    task = asyncio.current_task()
    return task is not None and task.cancelling() > 0


def _status(errors: BaseExceptionGroup[Any]) -> str:
    error: Any = errors
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return f"{error.code().name}: {error.details()}"
