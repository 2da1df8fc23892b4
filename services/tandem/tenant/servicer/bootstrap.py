"""The first credentials of a cell, made by whoever runs the process; later ones come by the API."""

from __future__ import annotations

from tandem.core.access import CELL_TENANT, Principal, Role
from tandem.core.ports.entropy import Entropy
from tandem.runtime.auth import digest_of
from tandem.runtime.host import Host
from tandem.tenant.domain.cell import CELL, CreateApiKey, CreateTenant
from tandem.tenant.servicer.cells import PREFIX, SECRET_BYTES

OPERATOR = Principal(CELL_TENANT, "operator", Role.PLATFORM)
"""Who acts before there is any key."""


async def create_tenant(host: Host, tenant: str, display_name: str, shards: int) -> str:
    """Make a tenant on one of the cell's shards; returns the position. Raises `Rejected`."""
    command = CreateTenant(tenant, display_name, shards)
    return (await host.ask(CELL_TENANT, CELL, command, principal=OPERATOR)).position


async def create_key(
    host: Host, entropy: Entropy, tenant: str, api_key: str, role: Role, agent: str = ""
) -> tuple[str, str]:
    """Make an API key of a tenant, or of the platform with the tenant `-`; returns (secret,
    position). Raises `Rejected`."""
    secret = PREFIX + entropy.token(SECRET_BYTES)
    command = CreateApiKey(tenant, api_key, "", role, agent, digest_of(secret))
    return secret, (await host.ask(CELL_TENANT, CELL, command, principal=OPERATOR)).position
