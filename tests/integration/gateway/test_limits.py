"""Rates of the API over HTTP and gRPC: a clear answer, when to come again, and nobody else is touched."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import grpc
import httpx
import pytest
import pytest_asyncio
from google.rpc import error_details_pb2, status_pb2

from tandem.api.tenant.v1 import tenant_service_pb2 as ten
from tandem.api.tenant.v1 import tenant_service_pb2_grpc
from tandem.core.quota import Limits
from tandem.runtime import interceptors
from tandem.runtime.grpc_server import MAX_METADATA_BYTES, STATUS_DETAILS, GrpcServer
from tandem.runtime.limits import ApiLimits, Rate
from tests.integration.gateway.conftest import good, reason
from tests.support.mini_cell import MiniCell, mini_cell

LIMITS = Limits(api_requests_per_s=10, api_burst=8, credential_requests_per_s=10, credential_burst=4, streams=1)
RED = "/v1/tenants/red"


class StandingClock:
    def __init__(self) -> None:
        self.s = 0.0

    def __call__(self) -> float:
        return self.s


@pytest_asyncio.fixture
async def limited() -> AsyncIterator[tuple[MiniCell, StandingClock]]:
    """A cell with low limits, whose clock the test moves."""
    clock = StandingClock()
    async with mini_cell(ApiLimits(LIMITS, Rate(1, 2), clock)) as cell:
        yield cell, clock


def retry_info(response: httpx.Response) -> dict[str, Any]:
    (info,) = [d for d in response.json()["error"]["details"] if d["@type"].endswith("RetryInfo")]
    return info  # type: ignore[no-any-return]


async def test_a_credential_above_its_rate_is_told_when_to_come_again(limited: Any) -> None:
    cell, clock = limited
    async with cell.client("red") as client:
        left = [(await client.get(f"{RED}/queues")).headers["ratelimit-remaining"] for _ in range(4)]
        assert left == ["3", "2", "1", "0"]
        refused = await client.get(f"{RED}/queues")
        assert (refused.status_code, reason(refused)) == (429, "API_RATE_EXCEEDED")
        assert refused.headers["retry-after"] == "1"
        assert refused.headers["ratelimit-remaining"] == "0"
        assert retry_info(refused)["retryDelay"] == "0.100s"
        assert "GetQuota" in refused.json()["error"]["message"]
        body = await client.post(f"{RED}/queues?queueId=a", json={"displayName": "x" * 50})
        assert body.status_code == 429
        clock.s += 0.1
        assert (await client.get(f"{RED}/queues")).status_code == 200
    async with cell.client("red", "SUPERVISOR") as client:
        assert (await client.get(f"{RED}/queues")).status_code == 200
    async with cell.client("blue") as client:
        assert (await client.get("/v1/tenants/blue/queues")).headers["ratelimit-remaining"] == "3"


async def test_strangers_are_limited_and_nobody_with_a_key_is(limited: Any) -> None:
    cell, _ = limited
    async with cell.client(role="") as client:
        answers = [await client.get(f"{RED}/queues") for _ in range(3)]
        assert [answer.status_code for answer in answers] == [401, 401, 429]
        assert reason(answers[2]) == "API_RATE_EXCEEDED"
        assert (await client.get("/healthz")).status_code == 200
    async with cell.client("red") as client:
        good(await client.get(f"{RED}/queues"))


async def test_grpc_says_the_same(limited: Any) -> None:
    cell, _ = limited
    server = GrpcServer(cell.api)
    port = await server.start("127.0.0.1:0")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = tenant_service_pb2_grpc.TenantServiceStub(channel)
            request = ten.ListQueuesRequest(parent="tenants/red")

            async def ask(metadata: Any) -> grpc.aio.AioRpcError | None:
                try:
                    await stub.ListQueues(request, metadata=metadata)
                except grpc.aio.AioRpcError as error:
                    return error
                return None

            known = (("authorization", f"Bearer {cell.secrets['red', 'ADMIN']}"),)
            assert [await ask(known) for _ in range(4)] == [None] * 4
            for metadata, before in ((known, 0), ((), 2)):
                for _ in range(before):
                    await ask(metadata)
                error = await ask(metadata)
                assert error is not None and error.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
                status = status_pb2.Status.FromString(dict(error.trailing_metadata() or ())[STATUS_DETAILS])  # type: ignore[arg-type]
                info, retry = error_details_pb2.ErrorInfo(), error_details_pb2.RetryInfo()
                assert status.details[0].Unpack(info) and status.details[1].Unpack(retry)
                assert (info.reason, retry.retry_delay.ToMilliseconds() > 0) == ("API_RATE_EXCEEDED", True)
    finally:
        await server.stop(0)


async def test_metadata_over_the_limit_ends_its_call_alone(limited: Any) -> None:
    cell, _ = limited
    server = GrpcServer(cell.api)
    port = await server.start("127.0.0.1:0")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as channel:
            stub = tenant_service_pb2_grpc.TenantServiceStub(channel)
            request = ten.ListQueuesRequest(parent="tenants/red")
            known = (("authorization", f"Bearer {cell.secrets['red', 'ADMIN']}"),)
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await stub.ListQueues(request, metadata=(*known, ("much", "x" * MAX_METADATA_BYTES)))
            assert refused.value.code() is grpc.StatusCode.RESOURCE_EXHAUSTED
            await stub.ListQueues(request, metadata=known)
    finally:
        await server.stop(0)


async def test_a_tenant_has_so_many_streams_and_a_closed_one_makes_room(limited: Any) -> None:
    cell, _ = limited
    call = f"{RED}/contacts:watch"
    method = next(m for m in cell.api.methods.values() if m.name == "WatchContacts")
    metadata = {"authorization": f"Bearer {cell.secrets['red', 'ADMIN']}"}
    request = method.request(parent="tenants/red")
    first, _ = await cell.api.stream(method, request, metadata)
    unread, _ = await cell.api.stream(method, request, metadata)
    await anext(first)
    async with cell.client("red") as client:
        refused = await client.get(call)
        assert (refused.status_code, reason(refused)) == (429, "STREAM_QUOTA_EXCEEDED")
    with pytest.raises(interceptors.Rejected) as error:
        await anext(unread)  # begun when there was room, read when there was none
    assert error.value.reason.name == "STREAM_QUOTA_EXCEEDED"
    await first.aclose()
    again, _ = await cell.api.stream(method, request, metadata)
    await anext(again)
    await again.aclose()
