"""Tenants and API keys."""

from __future__ import annotations

from google.protobuf.empty_pb2 import Empty

from tandem.api.tenant.v1 import tenant_pb2
from tandem.api.tenant.v1 import tenant_service_pb2 as pb
from tandem.core.access import Role
from tandem.runtime.auth import digest_of
from tandem.runtime.interceptors import Call
from tandem.runtime.pages import page_of
from tandem.tenant.domain.cell import ApiKey, Cell, CreateApiKey, CreateTenant, DeleteApiKey, Tenant
from tandem.tenant.domain.rules import known
from tandem.tenant.servicer import resources
from tandem.tenant.servicer.base import Base
from tandem.tenant.servicer.forms import bad, id_of, reference

SECRET_BYTES = 32
"""256 random bits: nothing to guess, so a plain SHA-256 is kept."""
PREFIX = "tandem_"
"""Begins every key, so that scanners find one that was published by mistake."""
_ROLES = {resources.role_number(role): role for role in (Role.AGENT, Role.SUPERVISOR, Role.ANALYST, Role.ADMIN)}
"""The roles of a tenant's own keys."""


class CellCalls(Base):
    """Tenants and API keys; they stand in the cell."""

    async def get_tenant(self, request: pb.GetTenantRequest, call: Call) -> tenant_pb2.Tenant:
        """A tenant."""
        return resources.tenant(await self._read_cell(call, lambda cell: known(cell.tenants, call.tenant)))

    async def list_tenants(self, request: pb.ListTenantsRequest, call: Call) -> pb.ListTenantsResponse:
        """All tenants, for the platform."""
        page = page_of(request, call.tenant)
        rows, token = await self._read_cell(call, lambda cell: page.of(cell.tenants))
        return pb.ListTenantsResponse(tenants=[resources.tenant(row) for row in rows], next_page_token=token)

    async def create_tenant(self, request: pb.CreateTenantRequest, call: Call) -> tenant_pb2.Tenant:
        """A new tenant; this process knows its place when it is answered."""
        command = CreateTenant(request.tenant_id, request.tenant.display_name, self._setting.shards)
        row: Tenant = await self._change_cell(call, command)
        await self._reached(call.position)
        return resources.tenant(row)

    async def list_api_keys(self, request: pb.ListApiKeysRequest, call: Call) -> pb.ListApiKeysResponse:
        """The tenant's keys."""
        page = page_of(request, call.tenant)
        keys, token = await self._read_cell(call, lambda cell: page.of(_keys(cell, call.tenant)))
        return pb.ListApiKeysResponse(api_keys=[resources.api_key(key) for key in keys], next_page_token=token)

    async def create_api_key(self, request: pb.CreateApiKeyRequest, call: Call) -> tenant_pb2.ApiKey:
        """A new key. A repeat gets the key that the first try made, without its secret."""
        role = _ROLES.get(request.api_key.role)
        if role is None:
            raise bad("role", "a key has one of the roles " + ", ".join(f"ROLE_{r.name}" for r in _ROLES.values()))
        agent = reference(request.api_key.agent, call.tenant, "agents")
        if agent and not await self._read(call, lambda state: agent in state.agents):
            raise bad("agent", f"there is no agent {agent!r}")
        secret = PREFIX + self._entropy.token(SECRET_BYTES)
        command = CreateApiKey(
            call.tenant,
            request.api_key_id or f"k{self._entropy.token(8)}",
            request.api_key.display_name,
            role,
            agent,
            digest_of(secret),
        )
        key = await self._change_cell(call, command)
        await self._reached(call.position)
        return resources.api_key(key, secret if key.sha256 == command.sha256 else "")

    async def delete_api_key(self, request: pb.DeleteApiKeyRequest, call: Call) -> Empty:
        """Refuse a key from now on."""
        await self._change_cell(call, DeleteApiKey(call.tenant, id_of(request.name)))
        await self._reached(call.position)
        return Empty()


def _keys(cell: Cell, tenant: str) -> dict[str, ApiKey]:
    """The tenant's keys. Raises `Rejected` for a tenant that does not exist."""
    known(cell.tenants, tenant)
    return cell.keys_of(tenant)
