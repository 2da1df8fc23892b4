"""Makes what a contact centre needs through the API, as often as one likes with one outcome."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Any

import grpc
from google.protobuf.duration_pb2 import Duration

from tandem.api.tenant.v1 import agent_pb2, flow_pb2, number_pb2, queue_pb2, tenant_pb2
from tandem.api.tenant.v1 import tenant_service_pb2 as ten
from tandem.api.type.v1 import access_pb2
from tandem.client.api import Api, ApiError

KEY_PREFIX = "setup-"


@dataclass(frozen=True, slots=True)
class Device:
    """An agent's account at the registrar. The password is empty if it was not told."""

    sip_user: str
    sip_password: str = field(repr=False)


class TenantMaker:
    """One tenant. What exists already is left as it is: people may have changed it.

    Every request has a fixed id, so that one whose answer was lost is answered again; what is
    older than that is met as NAME_TAKEN.
    """

    def __init__(self, api: Api, tenant: str) -> None:
        """`api` has a key of the tenant's role admin; `tenant` is its id."""
        self._api = api
        self.id = tenant
        self.name = f"tenants/{tenant}"

    async def queue(self, id_: str, title: str, *, ring_s: int = 15, wrap_up_s: int = 0) -> str:
        """A queue; its name."""
        queue = queue_pb2.Queue(
            display_name=title, ring_timeout=Duration(seconds=ring_s), wrap_up=Duration(seconds=wrap_up_s)
        )
        request = ten.CreateQueueRequest(
            parent=self.name, queue_id=id_, queue=queue, request_id=self._once("queue", id_), wait_live=True
        )
        await self._made(self._api.tenants.CreateQueue, request)
        return f"{self.name}/queues/{id_}"

    async def flow(self, id_: str, title: str, steps: Sequence[flow_pb2.FlowStep]) -> str:
        """A published flow; its name."""
        name = f"{self.name}/flows/{id_}"
        flow = flow_pb2.Flow(display_name=title, steps=steps)
        request = ten.CreateFlowRequest(
            parent=self.name, flow_id=id_, flow=flow, request_id=self._once("flow", id_), wait_live=True
        )
        await self._made(self._api.tenants.CreateFlow, request)
        found = await self._api.call(self._api.tenants.GetFlow, ten.GetFlowRequest(name=name))
        if not found.published_version:
            publish = ten.PublishFlowRequest(name=name, request_id=self._once("publish", id_), wait_live=True)
            await self._api.call(self._api.tenants.PublishFlow, publish)
        return name

    async def number(self, number: str, title: str, flow: str) -> None:
        """A number that leads to a flow."""
        request = ten.CreateNumberRequest(
            parent=self.name,
            number_id=number,
            number=number_pb2.Number(display_name=title, flow=flow),
            request_id=self._once("number", number),
            wait_live=True,
        )
        await self._made(self._api.tenants.CreateNumber, request)

    async def agent(self, id_: str, title: str, queues: Sequence[str], known_password: str = "") -> Device:
        """An agent with a device. A password that nobody knows any more is replaced."""
        request = ten.CreateAgentRequest(
            parent=self.name,
            agent_id=id_,
            agent=agent_pb2.Agent(display_name=title, queues=queues),
            request_id=self._once("agent", id_),
            wait_live=True,
        )
        made = await self._made(self._api.tenants.CreateAgent, request)
        if made is not None and made.secret_shown:
            return Device(made.sip_user, made.sip_password)
        name = f"{self.name}/agents/{id_}"
        if known_password:
            found = await self._api.call(self._api.tenants.GetAgent, ten.GetAgentRequest(name=name))
            return Device(found.sip_user, known_password)
        password = secrets.token_urlsafe(18)  # ours, so that an answer that is lost loses nothing
        reset = ten.ResetSipPasswordRequest(name=name, sip_password=password, wait_live=True)
        changed = await self._api.call(self._api.tenants.ResetSipPassword, reset)
        return Device(changed.sip_user, password)

    async def _made(self, method: Callable[..., Any], request: Any) -> Any:
        """The new resource; None if there is one of that id."""
        try:
            return await self._api.call(method, request)
        except ApiError as error:
            if error.reason == "NAME_TAKEN":
                return None
            raise

    def _once(self, kind: str, id_: str) -> str:
        return f"make-{self.id}-{kind}-{id_}"


async def make_tenant(platform: Api, tenant: str, title: str) -> None:
    """A tenant, if there is none of that id. Needs the role platform."""
    request = ten.CreateTenantRequest(
        tenant_id=tenant, tenant=tenant_pb2.Tenant(display_name=title), request_id=f"make-{tenant}"
    )
    try:
        await platform.call(platform.tenants.CreateTenant, request)
    except ApiError as error:
        if error.reason != "NAME_TAKEN":
            raise


async def works(address: str, tenant: str, key: str) -> bool:
    """Whether a key is one of that tenant."""
    if not key:
        return False
    async with Api(address, key) as api:
        try:
            await api.call(api.tenants.GetTenant, ten.GetTenantRequest(name=f"tenants/{tenant}"))
        except ApiError as error:
            if error.code in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.NOT_FOUND):
                return False
            raise
    return True


async def new_key(platform: Api, tenant: str) -> str:
    """A new key of the role admin; earlier ones that were made here are deleted, because whoever
    had them lost them."""
    parent = f"tenants/{tenant}"
    listed = await platform.call(platform.tenants.ListApiKeys, ten.ListApiKeysRequest(parent=parent, page_size=1000))
    for old in listed.api_keys:
        if old.name.rpartition("/")[2].startswith(KEY_PREFIX):
            await platform.call(platform.tenants.DeleteApiKey, ten.DeleteApiKeyRequest(name=old.name))
    request = ten.CreateApiKeyRequest(
        parent=parent,
        api_key_id=KEY_PREFIX + secrets.token_hex(5),
        api_key=tenant_pb2.ApiKey(display_name="Made by tandem's own commands", role=access_pb2.ROLE_ADMIN),
    )
    made = await platform.call(platform.tenants.CreateApiKey, request)
    if not made.secret_shown:  # the first answer was lost on its way, and the secret with it
        return await new_key(platform, tenant)
    return str(made.secret)
