"""A thin client of the public API over gRPC: a credential, retries that cannot act twice, reasons.

async with Api("127.0.0.1:50051", key) as api:
    queue = await api.call(api.tenants.GetQueue, GetQueueRequest(name="tenants/demo/queues/sales"))
"""

from __future__ import annotations

import asyncio
import random
import secrets
import time
from collections.abc import AsyncIterator, Callable
from types import TracebackType
from typing import Any, cast

import grpc
from google.protobuf.message import Message
from google.rpc import error_details_pb2
from grpc_status import rpc_status

from tandem.api.recording.v1 import recording_service_pb2 as rec
from tandem.api.recording.v1 import recording_service_pb2_grpc
from tandem.api.routing.v1 import routing_service_pb2_grpc
from tandem.api.session.v1 import session_service_pb2 as ses
from tandem.api.session.v1 import session_service_pb2_grpc
from tandem.api.tenant.v1 import tenant_service_pb2_grpc
from tandem.core.backoff import Backoff

TIMEOUT_S = 6.0
"""For one try; a command is answered within 5 s or never."""
PATIENCE_S = 15.0
"""For all tries: more than a restart of the control plane."""
PAUSE_FIRST_S = 0.05
PAUSE_MAX_S = 1.0
_OPTIONS = (
    # gRPC waits up to two minutes between two attempts to connect; a restart takes a second.
    ("grpc.initial_reconnect_backoff_ms", 50),
    ("grpc.min_reconnect_backoff_ms", 50),
    ("grpc.max_reconnect_backoff_ms", 500),
    ("grpc.enable_retries", 0),
)
_AGAIN = (grpc.StatusCode.UNAVAILABLE, grpc.StatusCode.DEADLINE_EXCEEDED)


class ApiError(Exception):
    """The API would not. `reason` is the stable word (docs: reasons), empty if nobody answered."""

    def __init__(self, code: grpc.StatusCode, reason: str, message: str) -> None:
        super().__init__(message)
        self.code = code
        self.reason = reason


class Api:
    """One channel with one credential.

    `kept` is told of every request with a request_id that was answered, with the answer: the
    client's own record of what was acknowledged.
    """

    def __init__(self, address: str, key: str, *, kept: Callable[[Message, Message], None] | None = None) -> None:
        self._metadata = (("authorization", f"Bearer {key}"),) if key else ()
        self._kept = kept
        self._channel = grpc.aio.insecure_channel(address, options=_OPTIONS)
        self.tenants = tenant_service_pb2_grpc.TenantServiceStub(self._channel)
        self.sessions = session_service_pb2_grpc.SessionServiceStub(self._channel)
        self.routing = routing_service_pb2_grpc.RoutingServiceStub(self._channel)
        self.recordings = recording_service_pb2_grpc.RecordingServiceStub(self._channel)

    async def __aenter__(self) -> Api:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()

    async def close(self) -> None:
        """Close the channel."""
        await self._channel.close()

    async def call(self, method: Callable[..., Any], request: Any, *, patience_s: float = PATIENCE_S) -> Any:
        """The answer. A request_id is made if there is none, and every try has the same, so a
        command acts once however often it is sent. One above its rate is sent again when the
        answer says. Raises `ApiError`."""
        repeatable = "request_id" in request.DESCRIPTOR.fields_by_name
        if repeatable and not request.request_id:
            request.request_id = secrets.token_hex(10)
        give_up, backoff = time.monotonic() + patience_s, Backoff(PAUSE_FIRST_S, PAUSE_MAX_S)
        while True:
            try:
                reply = await method(request, metadata=self._metadata, timeout=TIMEOUT_S)
            except grpc.aio.AioRpcError as error:
                told_s = _retry_s(error) if error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED else 0.0
                pause = told_s + backoff.pause_s(random.random())
                if (error.code() not in _AGAIN and not told_s) or time.monotonic() + pause > give_up:
                    raise _failed(error) from None
            else:
                if repeatable and self._kept is not None:
                    self._kept(request, reply)
                return reply
            await asyncio.sleep(pause)

    async def watch(
        self, tenant: str, *, contact: str = "", position: str = "", patience_s: float = PATIENCE_S
    ) -> AsyncIterator[ses.WatchContactsResponse]:
        """What happens to a tenant's contacts, as it happens; goes on over restarts of the
        server from where it stood, nothing missing and nothing twice. Raises `ApiError`."""
        give_up, backoff = time.monotonic() + patience_s, Backoff(PAUSE_FIRST_S, PAUSE_MAX_S)
        synced = bool(position)
        told: set[str] = set()  # events since the position: those of a commit that is not whole yet
        while True:
            request = ses.WatchContactsRequest(parent=tenant, contact=contact, position=position)
            try:
                async for item in self.sessions.WatchContacts(request, metadata=self._metadata):
                    synced = synced or item.synced
                    if synced:  # before that the beginning is not whole, and is asked for again
                        position = item.position or position
                    give_up = time.monotonic() + patience_s
                    backoff.reset()
                    again = item.event.event_id in told
                    if item.position:
                        told.clear()
                    elif item.event.event_id:
                        told.add(item.event.event_id)
                    if not again:  # one that was cut off in the middle of a commit is told all of it again
                        yield item
            except grpc.aio.AioRpcError as error:
                if error.code() is not grpc.StatusCode.UNAVAILABLE or time.monotonic() > give_up:
                    raise _failed(error) from None
            await asyncio.sleep(backoff.pause_s(random.random()))

    async def download(self, recording: str) -> bytes:
        """A recording's WAV file. Raises `ApiError`."""
        request = rec.DownloadRecordingRequest(name=recording)
        body = bytearray()
        try:
            async for chunk in self.recordings.DownloadRecording(request, metadata=self._metadata):
                body += chunk.data
        except grpc.aio.AioRpcError as error:
            raise _failed(error) from None
        return bytes(body)


def _retry_s(error: grpc.aio.AioRpcError) -> float:
    """After how long the answer says to come again, 0 if it does not."""
    status = rpc_status.from_call(cast(grpc.Call, error))
    for detail in status.details if status is not None else ():
        retry = error_details_pb2.RetryInfo()
        if detail.Unpack(retry):
            return float(retry.retry_delay.ToMilliseconds()) / 1000
    return 0.0


def _failed(error: grpc.aio.AioRpcError) -> ApiError:
    reason = ""
    status = rpc_status.from_call(cast(grpc.Call, error))
    for detail in status.details if status is not None else ():
        info = error_details_pb2.ErrorInfo()
        if detail.Unpack(info):
            reason = info.reason
    return ApiError(error.code(), reason, error.details() or error.code().name)
