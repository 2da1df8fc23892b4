"""Draining a node by order of its operator: over the link's own door, so by whoever may command the node at all."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator
from contextlib import suppress
from dataclasses import dataclass
from typing import Any, Protocol

import grpc
from google.protobuf.message import DecodeError

from tandem.internal.link.v1 import link_pb2
from tandem.media.draining import Drained
from tandem.media.link.address import DRAIN_METHOD, LinkAddress, dial

WITHIN_MAX_S = 7 * 24 * 3600
"""A talk may go on for hours; who waits a week for an agent has been forgotten."""
WATCHERS_MAX = 16
"""Operators who look on at once."""
LOOK_S = 1.0
"""How often it is looked whether emergency calls go on."""
ANSWER_S = 5.0
"""How long a node may take to say that it has written an order down."""

_ACTIONS = {
    None: link_pb2.DRAIN_ACTION_UNSPECIFIED,
    True: link_pb2.DRAIN_ACTION_BEGIN,
    False: link_pb2.DRAIN_ACTION_UNDO,
}


class CannotDrain(Exception):
    """The node would not, or is not there; the text says what to do."""


class Drains(Protocol):
    """The node, as its operator sees it. Times in milliseconds."""

    @property
    def node(self) -> str:
        """Its name."""
        ...

    @property
    def draining(self) -> bool:
        """Whether it takes no new callers."""
        ...

    def drain(self, on: bool, within_ms: int | None) -> bool:
        """See `MediaAgent.drain`. False if it could not be written down yet: then it is not in force."""
        ...

    def drained(self) -> tuple[Drained, int]:
        """How far it is, and CLOCK_BOOTTIME now."""
        ...


class DrainService:
    """The agent's end. `turned` after anything happened on the node."""

    def __init__(self, node: Drains) -> None:
        self._node = node
        self._watching: set[asyncio.Event] = set()

    def turned(self) -> None:
        """Whoever looks on is to look again."""
        for wake in self._watching:
            wake.set()

    async def serve(self, data: Any, context: grpc.aio.ServicerContext[bytes, bytes]) -> None:
        """The RPC: carry out the order, then tell how far the node is, at each change."""
        request = await self._read(data, context)
        if request.action != link_pb2.DRAIN_ACTION_UNSPECIFIED:
            within_ms = request.within_ms if request.HasField("within_ms") else None
            if not self._node.drain(request.action == link_pb2.DRAIN_ACTION_BEGIN, within_ms):
                await context.abort(
                    grpc.StatusCode.UNAVAILABLE,
                    "the node's journal cannot be written: the order waits until there is room on its disk, and no "
                    "new callers are taken before",
                )
        wake, told = asyncio.Event(), None
        self._watching.add(wake)
        try:
            while True:
                drained, now_ms = self._node.drained()
                if drained != told:
                    told = drained
                    await context.write(_response(self._node.node, drained, now_ms).SerializeToString())
                with suppress(TimeoutError):
                    # What is nobody's leg ends without a word to the agent.
                    async with asyncio.timeout(LOOK_S if drained.strangers else None):
                        await wake.wait()
                wake.clear()
        finally:
            self._watching.discard(wake)

    async def _read(self, data: bytes, context: grpc.aio.ServicerContext[bytes, bytes]) -> link_pb2.DrainRequest:
        try:
            request = link_pb2.DrainRequest.FromString(data)
        except DecodeError:
            request = link_pb2.DrainRequest(action=-1)  # type: ignore[arg-type]
        if request.action not in _ACTIONS.values() or request.within_ms > WITHIN_MAX_S * 1000:
            await context.abort(grpc.StatusCode.INVALID_ARGUMENT, "this node cannot read the order: is it older?")
        if len(self._watching) >= WATCHERS_MAX:
            await context.abort(grpc.StatusCode.RESOURCE_EXHAUSTED, f"{WATCHERS_MAX} operators look on already")
        return request


def _response(node: str, drained: Drained, now_ms: int) -> link_pb2.DrainResponse:
    response = link_pb2.DrainResponse(
        node=node, draining=drained.draining, talking=drained.talking, waiting=drained.waiting, legs=drained.legs,
        strangers=drained.strangers,
    )  # fmt: skip
    if drained.draining:
        response.for_ms = max(0, now_ms - drained.since_ms)
    if drained.until_ms:
        response.left_ms = max(0, drained.until_ms - now_ms)
    return response


# ------------------------------------------------------------------------------------ the operator's end


@dataclass(frozen=True, slots=True)
class Progress:
    """What the node tells its operator. Times in milliseconds; `left_ms` is None where nobody is let go."""

    node: str
    draining: bool
    for_ms: int
    left_ms: int | None
    talking: int
    waiting: int
    legs: int
    strangers: int = 0


async def drain(address: LinkAddress, on: bool | None, within_ms: int | None = None) -> AsyncGenerator[Progress]:
    """Give the order, None for none, and follow the node. Raises `CannotDrain`, `UnsafeLink`."""
    request = link_pb2.DrainRequest(action=_ACTIONS[on], within_ms=within_ms)
    try:
        async with dial(address) as channel:
            follow: Any = channel.unary_stream(DRAIN_METHOD)
            call = follow(request.SerializeToString())
            try:
                async with asyncio.timeout(ANSWER_S):
                    data = await call.read()
                while data is not grpc.aio.EOF:
                    yield _progress(link_pb2.DrainResponse.FromString(data))
                    data = await call.read()
            finally:
                call.cancel()
    except TimeoutError:
        raise CannotDrain(f"the media node at {address.target} has said nothing for {ANSWER_S:.0f} s") from None
    except grpc.aio.AioRpcError as error:
        raise CannotDrain(_why(address, error)) from error
    raise CannotDrain(f"the media node at {address.target} has ended: a drain holds on when it is back")


def _why(address: LinkAddress, error: grpc.aio.AioRpcError) -> str:
    details = str(error.details() or "")
    if error.code() is grpc.StatusCode.UNAVAILABLE and "journal" not in details:
        return f"the media node at {address.target} is not there: is it started? A drain holds on when it is back"
    return details or error.code().name


def _progress(response: link_pb2.DrainResponse) -> Progress:
    left_ms = response.left_ms if response.HasField("left_ms") else None
    return Progress(
        response.node, response.draining, response.for_ms, left_ms, response.talking, response.waiting, response.legs,
        response.strangers,
    )  # fmt: skip
