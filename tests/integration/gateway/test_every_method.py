"""Every public method, found in the descriptors: no key, a foreign name, an unknown one, a
malformed one, a body too large, a role too small. Over HTTP and over gRPC."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import grpc
import httpx
import pytest
from google.rpc import error_details_pb2, status_pb2

from tandem.api.recording.v1 import recording_service_pb2
from tandem.api.routing.v1 import routing_service_pb2
from tandem.api.session.v1 import session_service_pb2
from tandem.api.tenant.v1 import retention_service_pb2, tenant_service_pb2
from tandem.core.access import Role
from tandem.gateway import Settings
from tandem.runtime.grpc_server import STATUS_DETAILS, GrpcServer
from tandem.runtime.interceptors import MAX_BODY_BYTES
from tandem.runtime.methods import Method, methods_of
from tests.integration.gateway.conftest import NUMBERS, reason
from tests.support.mini_cell import MiniCell

METHODS = [
    method
    for file in (
        tenant_service_pb2,
        retention_service_pb2,
        session_service_pb2,
        routing_service_pb2,
        recording_service_pb2,
    )
    for service in file.DESCRIPTOR.services_by_name.values()
    for method in methods_of(service)
]
IDS = [method.attribute for method in METHODS]
NAMED = [method for method in METHODS if method.route.variables and method.roles != (Role.PLATFORM,)]
"""Those that a tenant's own key may call."""
ENDING = [method for method in NAMED if method.name != "WatchContacts"]
"""All but the live stream, which has tests of its own."""
every = pytest.mark.parametrize("method", METHODS, ids=IDS)
every_named = pytest.mark.parametrize("method", NAMED, ids=[method.attribute for method in NAMED])

THINGS = {
    "queues": "sales",
    "agents": "ann",
    "agentStates": "ann",
    "flows": "main",
    "apiKeys": "analyst",
}


def named(method: Method, tenant: str, thing: str = "") -> str:
    """A name as the method takes it: of something that exists, or with the id `thing`."""
    ((_, pattern),) = method.route.variables
    ids = {
        **THINGS,
        "numbers": NUMBERS.get(tenant, "3000"),
        "contacts": f"call-{tenant}",
        "recordings": f"rec-{tenant}",
    }
    name = re.sub(r"\[\^/:\]\+", "*", pattern.pattern.replace("\\", ""))
    parts = name.split("/")
    parts[1] = tenant
    for at in range(3, len(parts), 2):
        parts[at] = thing or ids[parts[at - 1]]
    return "/".join(parts)


def url(method: Method, name: str) -> str:
    """The URL of a call about that name."""
    return re.sub(r"\{[^}]+\}", name, method.route.template)


def body(method: Method) -> Any:
    """The least body of a call."""
    return {"presence": "PRESENCE_AWAY"} if method.name == "SetPresence" else {} if method.route.body else None


async def send(client: httpx.AsyncClient, method: Method, name: str) -> httpx.Response:
    """The call over HTTP."""
    return await client.request(method.route.verb, url(method, name), json=body(method))


def key_for(method: Method) -> str:
    """A role of a tenant that may call the method."""
    names = [role.name for role in method.roles if role is not Role.PLATFORM]
    return "ADMIN" if "ADMIN" in names else names[0] if names else ""


# ------------------------------------------------------------------- HTTP


@every
async def test_without_a_key_nobody_is_heard(cell: MiniCell, method: Method) -> None:
    name = named(method, "red") if method.route.variables else ""
    for headers in ({}, {"authorization": "Bearer wrong"}, {"authorization": "Basic cmVkOnJlZA=="}):
        async with cell.client(role="") as client:
            answer = await client.request(method.route.verb, url(method, name), json=body(method), headers=headers)
        assert answer.status_code == 401
        assert reason(answer) in ("NO_CREDENTIAL", "BAD_CREDENTIAL")
        assert answer.headers["www-authenticate"] == "Bearer"


@every_named
async def test_a_foreign_name_is_answered_as_one_that_does_not_exist(cell: MiniCell, method: Method) -> None:
    async with cell.client("blue", key_for(method)) as client:
        foreign = await send(client, method, named(method, "red"))
        nobody_s = await send(client, method, named(method, "nobody"))
        answers = [foreign, nobody_s]
        if len(named(method, "blue").split("/")) > 3:  # others have one of it, without an id
            answers.append(await send(client, method, named(method, "blue", "nope")))
            answers.append(await send(client, method, named(method, "blue", "No_Pe!")))
            answers.append(await send(client, method, named(method, "red", "%2e%2e")))
    assert [answer.status_code for answer in answers] == [404] * len(answers)
    assert {answer.content for answer in answers} == {foreign.content}
    assert {tuple(sorted(answer.headers.items())) for answer in answers} == {tuple(sorted(foreign.headers.items()))}
    assert reason(foreign) == "UNKNOWN_NAME"


@pytest.mark.parametrize("method", ENDING, ids=[method.attribute for method in ENDING])
async def test_the_same_name_is_right_for_its_tenant(cell: MiniCell, method: Method) -> None:
    """Else the test above would prove nothing."""
    async with cell.client("red", key_for(method)) as client:
        answer = await send(client, method, named(method, "red"))
    assert answer.status_code != 404, answer.text


@every
async def test_a_body_over_the_limit_is_refused(cell: MiniCell, method: Method) -> None:
    name = named(method, "red") if method.route.variables else ""
    role, tenant = ("PLATFORM", "-") if not key_for(method) else (key_for(method), "red")
    async with cell.client(tenant, role) as client:
        answer = await client.request(method.route.verb, url(method, name), content=b" " * (MAX_BODY_BYTES + 1))
        assert (answer.status_code, reason(answer)) == (413, "BODY_TOO_LARGE")

        async def unannounced() -> AsyncIterator[bytes]:
            for _ in range(17):
                yield b" " * 65536

        answer = await client.request(method.route.verb, url(method, name), content=unannounced())
        assert (answer.status_code, reason(answer)) == (413, "BODY_TOO_LARGE")


@every
async def test_a_role_that_may_not_is_told_which_may(cell: MiniCell, method: Method) -> None:
    name = named(method, "red") if method.route.variables else ""
    for role in (Role.AGENT, Role.SUPERVISOR, Role.ANALYST, Role.ADMIN):
        if role in method.roles:
            continue
        async with cell.client("red", role.name) as client:
            answer = await send(client, method, name)
        assert (answer.status_code, reason(answer)) == (403, "ROLE_REQUIRED")


async def test_the_platform_reads_nothing_of_its_tenants(cell: MiniCell) -> None:
    async with cell.client("-", "PLATFORM") as client:
        for method in NAMED:
            if method.for_platform:
                continue
            answer = await send(client, method, named(method, "red"))
            assert (answer.status_code, reason(answer)) == (403, "ROLE_REQUIRED"), method.name


@pytest.mark.parametrize("path", ["/v1/", "/v1/tenants/red/nothing", "/v1/tenants/red/queues/sales:explode", "/v1/x"])
async def test_a_path_that_nothing_serves_is_an_unknown_name(cell: MiniCell, path: str) -> None:
    async with cell.client("red") as client:
        expected = await client.get("/v1/tenants/red/queues/nope")
        for verb in ("GET", "POST", "PUT", "DELETE"):
            assert (await client.request(verb, path)).content == expected.content
    async with cell.client(role="") as client:
        assert (await client.get(path)).status_code == 401


# ------------------------------------------------------------------- gRPC


@asynccontextmanager
async def channel(cell: MiniCell) -> AsyncIterator[grpc.aio.Channel]:
    """A connection to a gRPC server of the cell."""
    server = GrpcServer(cell.api)
    port = await server.start("127.0.0.1:0")
    try:
        async with grpc.aio.insecure_channel(f"127.0.0.1:{port}") as made:
            yield made
    finally:
        await server.stop(0)


async def call(made: grpc.aio.Channel, method: Method, request: bytes, secret: str) -> tuple[Any, Any]:
    """(status code, its google.rpc.Status) of a call that must fail, (None, answer) of one that does not."""
    metadata = (("authorization", f"Bearer {secret}"),) if secret else ()
    kind = made.unary_stream if method.streams else made.unary_unary
    try:
        if method.streams:
            return None, await anext(aiter(kind(method.full_name)(request, metadata=metadata)))
        return None, await kind(method.full_name)(request, metadata=metadata)
    except grpc.aio.AioRpcError as error:
        trailing = dict(error.trailing_metadata() or ())
        return error.code(), status_pb2.Status.FromString(trailing[STATUS_DETAILS])


def about(method: Method, name: str) -> bytes:
    """A request about that name."""
    request: Any = method.request()
    if method.route.variables:
        *outer, last = method.route.variables[0][0].split(".")
        inner = request
        for part in outer:
            inner = getattr(inner, part)
        setattr(inner, last, name)
    encoded: bytes = request.SerializeToString()
    return encoded


def reason_of(status: status_pb2.Status) -> str:
    """The ErrorInfo's reason."""
    info = error_details_pb2.ErrorInfo()
    assert status.details[0].Unpack(info)
    assert info.domain == "tandem.dev"
    return str(info.reason)


async def test_grpc_admits_as_http_does(cell: MiniCell) -> None:
    async with channel(cell) as made:
        for method in METHODS:
            code, status = await call(made, method, about(method, named_or(method, "red")), "")
            assert (code, reason_of(status)) == (grpc.StatusCode.UNAUTHENTICATED, "NO_CREDENTIAL")
            if method not in NAMED:
                continue
            secret = cell.secrets["blue", key_for(method)]
            answers = [
                await call(made, method, about(method, name), secret)
                for name in (named(method, "red"), named(method, "nobody"), "", "tenants/blue/../red", "tenants/-", "x")
            ]
            assert [code for code, _ in answers] == [grpc.StatusCode.NOT_FOUND] * len(answers), method.name
            assert {status.SerializeToString() for _, status in answers} == {answers[0][1].SerializeToString()}


def named_or(method: Method, tenant: str) -> str:
    """A name, "" for a method that takes none."""
    return named(method, tenant) if method.route.variables else ""


async def test_grpc_refuses_what_is_no_message_and_what_is_too_large(cell: MiniCell) -> None:
    by_name = {method.attribute: method for method in METHODS}
    secret = cell.secrets["red", "ADMIN"]
    async with channel(cell) as made:
        code, status = await call(made, by_name["get_queue"], b"\xff\xff\xff", secret)
        assert (code, reason_of(status)) == (grpc.StatusCode.INVALID_ARGUMENT, "BAD_FIELD")
        big = tenant_service_pb2.GetQueueRequest(name="x" * (MAX_BODY_BYTES + 1)).SerializeToString()
        code, status = await call(made, by_name["get_queue"], big, secret)
        assert (code, reason_of(status)) == (grpc.StatusCode.INVALID_ARGUMENT, "BODY_TOO_LARGE")


async def test_grpc_answers_with_a_position(cell: MiniCell) -> None:
    method = {method.attribute: method for method in METHODS}["get_queue"]
    async with channel(cell) as made:
        metadata = (("authorization", f"Bearer {cell.secrets['red', 'ADMIN']}"),)
        made_call = made.unary_unary(method.full_name)(about(method, named(method, "red")), metadata=metadata)
        answer: Any = method.response.FromString(await made_call)
        assert answer.display_name == "Sales"
        assert dict(await made_call.trailing_metadata())["tandem-position"]


# ------------------------------------------------------------------- probes and guards


async def test_probes_need_no_key(cell: MiniCell) -> None:
    async with cell.client(role="") as client:
        assert (await client.get("/healthz")).status_code == 200
        assert (await client.get("/readyz")).status_code == 200


async def test_a_foreign_host_or_origin_is_turned_away(cell: MiniCell) -> None:
    settings = Settings(hosts=("cell.test",), origins=("http://cell.test",))
    transport = httpx.ASGITransport(app=cell.gateway(settings).app())
    secret = {"authorization": f"Bearer {cell.secrets['red', 'ADMIN']}"}
    async with httpx.AsyncClient(transport=transport, base_url="http://cell.test", headers=secret) as client:
        path = "/v1/tenants/red/queues/sales"
        assert (await client.get(path)).status_code == 200
        assert (await client.get(path, headers={"origin": "http://cell.test"})).status_code == 200
        for headers in ({"host": "evil.test"}, {"origin": "http://evil.test"}, {"origin": "null"}):
            answer = await client.get(path, headers=headers)
            assert (answer.status_code, reason(answer)) == (403, "BAD_ORIGIN")
        assert (await client.get("/readyz", headers={"host": "10.0.0.7:8080"})).status_code == 200
