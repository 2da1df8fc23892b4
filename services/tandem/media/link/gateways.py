"""Reading a node's carriers again by order of its operator: over the link's own door, as a drain."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import grpc

from tandem.internal.link.v1 import link_pb2
from tandem.media.backend import GatewaysRead
from tandem.media.link.address import GATEWAYS_METHOD, LinkAddress, dial

ANSWER_S = 10.0
"""How long a node may take to read its settings and to write a file for each gateway."""

Reread = Callable[[], GatewaysRead]
"""Reads them, all or none. Raises `CannotReread`."""


class CannotReread(Exception):
    """The settings are not taken, or the node is not there: nothing has changed. The text says what to do."""


class GatewayService:
    """The agent's end."""

    def __init__(self, reread: Reread) -> None:
        self._reread = reread

    async def serve(self, _data: Any, context: grpc.aio.ServicerContext[bytes, bytes]) -> bytes:
        """The RPC."""
        try:
            read = self._reread()
        except CannotReread as error:
            await context.abort(grpc.StatusCode.FAILED_PRECONDITION, str(error))
        return link_pb2.ReadGatewaysResponse(
            added=read.added, changed=read.changed, removed=read.removed, kept=read.kept
        ).SerializeToString()


async def read_gateways(address: LinkAddress) -> GatewaysRead:
    """Give the order. Raises `CannotReread`, `UnsafeLink`."""
    try:
        async with dial(address) as channel:
            ask: Any = channel.unary_unary(GATEWAYS_METHOD)
            data = await ask(link_pb2.ReadGatewaysRequest().SerializeToString(), timeout=ANSWER_S)
    except grpc.aio.AioRpcError as error:
        raise CannotReread(_why(address, error)) from error
    response = link_pb2.ReadGatewaysResponse.FromString(data)
    return GatewaysRead(*map(tuple, (response.added, response.changed, response.removed, response.kept)))


def _why(address: LinkAddress, error: grpc.aio.AioRpcError) -> str:
    match error.code():
        case grpc.StatusCode.UNAVAILABLE:
            return f"the media node at {address.target} is not there: it reads its gateways when it is started"
        case grpc.StatusCode.UNIMPLEMENTED:
            return "the media node is older than this command: start it again, which ends no call"
        case grpc.StatusCode.DEADLINE_EXCEEDED:
            return f"the media node at {address.target} has said nothing for {ANSWER_S:.0f} s: its log says more"
        case _:
            return str(error.details() or error.code().name)
