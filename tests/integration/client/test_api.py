"""The client against the real API: reasons, repeats, servers that go and come."""

from __future__ import annotations

import asyncio
import time
from typing import Any

import grpc
import pytest

from tandem.api.session.v1 import session_service_pb2 as ses
from tandem.api.session.v1 import session_service_pb2_grpc
from tandem.api.session.v1.contact_pb2 import ContactEvent
from tandem.api.tenant.v1 import queue_pb2
from tandem.api.tenant.v1 import tenant_service_pb2 as ten
from tandem.client.api import Api, ApiError
from tandem.core.quota import Limits
from tandem.runtime.limits import ApiLimits, Rate
from tests.integration.client.conftest import Served, serving
from tests.support.mini_cell import mini_cell

PATIENCE_S = 20


def create(id_: str, request_id: str = "") -> ten.CreateQueueRequest:
    return ten.CreateQueueRequest(
        parent="tenants/red", queue_id=id_, queue=queue_pb2.Queue(display_name=id_), request_id=request_id
    )


async def test_an_answer_and_a_reason(served: Served):
    async with Api(served.address, served.cell.secrets["red", "ADMIN"]) as api:
        made = await api.call(api.tenants.CreateQueue, create("sales"))
        assert made.name == "tenants/red/queues/sales"
        with pytest.raises(ApiError) as taken:
            await api.call(api.tenants.CreateQueue, create("sales"))
        assert (taken.value.reason, taken.value.code) == ("NAME_TAKEN", grpc.StatusCode.ALREADY_EXISTS)
        with pytest.raises(ApiError) as foreign:
            await api.call(api.tenants.GetQueue, ten.GetQueueRequest(name="tenants/blue/queues/sales"))
        assert foreign.value.reason == "UNKNOWN_NAME"


async def test_without_a_key_the_reason_says_so(served: Served):
    async with Api(served.address, "") as api:
        with pytest.raises(ApiError) as nobody:
            await api.call(api.tenants.GetTenant, ten.GetTenantRequest(name="tenants/red"))
        assert nobody.value.reason == "NO_CREDENTIAL"


async def test_a_fixed_request_id_is_answered_again_and_every_answer_is_kept(served: Served):
    kept: list[tuple[str, str]] = []

    def keep(request, reply):
        kept.append((request.request_id, reply.name))

    async with Api(served.address, served.cell.secrets["red", "ADMIN"], kept=keep) as api:
        for _ in range(2):
            await api.call(api.tenants.CreateQueue, create("sales", "once"))
        await api.call(api.tenants.CreateQueue, create("support"))
        await api.call(api.tenants.GetQueue, ten.GetQueueRequest(name="tenants/red/queues/sales"))
    assert kept[:2] == [("once", "tenants/red/queues/sales")] * 2
    assert len(kept) == 3
    assert kept[2][0]


async def test_a_call_waits_for_a_server_that_comes_back():
    async with mini_cell() as cell:
        async with serving(cell) as address:
            pass
        async with Api(address, cell.secrets["red", "ADMIN"]) as api, asyncio.timeout(PATIENCE_S):
            calling = asyncio.create_task(api.call(api.tenants.CreateQueue, create("sales")))
            await asyncio.sleep(0.3)
            assert not calling.done()
            async with serving(cell, address):
                assert (await calling).name == "tenants/red/queues/sales"


async def test_patience_ends_with_unavailable():
    async with mini_cell() as cell:
        async with serving(cell) as address:
            pass
        async with Api(address, cell.secrets["red", "ADMIN"]) as api:
            with pytest.raises(ApiError) as gone:
                await api.call(api.tenants.CreateQueue, create("sales"), patience_s=0.3)
            assert gone.value.code is grpc.StatusCode.UNAVAILABLE


async def test_a_watch_goes_on_over_a_restart_with_nothing_missing_and_nothing_twice(filled_line):
    cell, number = filled_line
    seen: list[tuple[str, int, str]] = []
    synced = asyncio.Event()

    async def watch(address: str) -> None:
        async with Api(address, cell.secrets["red", "ADMIN"]) as api:
            async for item in api.watch("tenants/red"):
                if item.synced:
                    synced.set()
                if item.event.type:
                    seen.append((item.event.contact, item.event.version, item.event.type))
                    if item.event.contact.endswith("/c9") and item.event.type == "contact.started":
                        return

    async with asyncio.timeout(PATIENCE_S):
        async with serving(cell) as address:
            watching = asyncio.create_task(watch(address))
            await synced.wait()
            await cell.call("red", "c1", number)
        await cell.call("red", "c2", number)
        async with serving(cell, address):
            await cell.call("red", "c9", number)
            await watching
    started = [contact.rpartition("/")[2] for contact, _, type_ in seen if type_ == "contact.started"]
    assert started == ["c1", "c2", "c9"]
    assert len(seen) == len(set(seen))


class CutOff(session_service_pb2_grpc.SessionServiceServicer):
    """A server that ends in the middle of a commit of two events, and comes again."""

    def __init__(self) -> None:
        self.asked: list[str] = []

    async def WatchContacts(self, request: ses.WatchContactsRequest, context: grpc.aio.ServicerContext) -> Any:
        self.asked.append(request.position)
        if not request.position:
            yield ses.WatchContactsResponse(position="p1", synced=True)
        yield _told("e1")
        if len(self.asked) < 3:
            await context.abort(grpc.StatusCode.UNAVAILABLE, "it ends")
        yield _told("e2", "p2")
        yield _told("e3", "p3")


def _told(event_id: str, position: str = "") -> ses.WatchContactsResponse:
    return ses.WatchContactsResponse(event=ContactEvent(event_id=event_id), position=position)


async def test_a_watch_that_is_cut_off_in_the_middle_of_a_commit_tells_none_of_it_twice():
    server, servicer = grpc.aio.server(), CutOff()
    session_service_pb2_grpc.add_SessionServiceServicer_to_server(servicer, server)
    port = server.add_insecure_port("127.0.0.1:0")
    await server.start()
    seen: list[str] = []
    async with asyncio.timeout(PATIENCE_S), Api(f"127.0.0.1:{port}", "") as api:
        async for item in api.watch("tenants/red"):
            seen.append(item.event.event_id)
            if item.position == "p3":
                break
    await server.stop(0)
    assert servicer.asked == ["", "p1", "p1"]
    assert seen == ["", "e1", "e2", "e3"]


async def test_a_call_above_its_rate_waits_as_it_is_told():
    limits = Limits(api_requests_per_s=50, api_burst=50, credential_requests_per_s=50, credential_burst=2)
    async with mini_cell(ApiLimits(limits, Rate(1, 1), time.monotonic)) as cell, serving(cell) as address:
        async with Api(address, cell.secrets["red", "ADMIN"]) as api, asyncio.timeout(PATIENCE_S):
            request = ten.ListQueuesRequest(parent="tenants/red")
            await asyncio.gather(*(api.call(api.tenants.ListQueues, request) for _ in range(6)))
        assert cell.api._limits is not None
        assert cell.api._limits.refused["credential"] > 0
        async with Api(address, cell.secrets["red", "SUPERVISOR"]) as api:
            calls = [api.call(api.tenants.ListQueues, request, patience_s=0) for _ in range(4)]
            errors = [error for error in await asyncio.gather(*calls, return_exceptions=True) if error is not None]
        assert {error.reason for error in errors if isinstance(error, ApiError)} == {"API_RATE_EXCEEDED"}
