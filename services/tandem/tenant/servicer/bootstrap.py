"""The first credentials of a cell, made by whoever runs the process; later ones come by the API."""

from __future__ import annotations

from tandem.core.access import CELL_TENANT, Principal, Role
from tandem.core.errors import NAME_TAKEN, Rejected
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
    secret = new_secret(entropy)
    command = CreateApiKey(tenant, api_key, "", role, agent, digest_of(secret))
    return secret, (await host.ask(CELL_TENANT, CELL, command, principal=OPERATOR)).position


async def ensure_tenant(host: Host, tenant: str, display_name: str, shards: int) -> str:
    """As `create_tenant`, for one that may be there already; then the position is "". Raises `Rejected`."""
    try:
        return await create_tenant(host, tenant, display_name, shards)
    except Rejected as error:
        if error.reason is not NAME_TAKEN:
            raise
        return ""


async def ensure_key(host: Host, tenant: str, name: str, role: Role, secret: str) -> str:
    """See to it that a secret which this process keeps is an API key; its id is `name` and a
    part of the digest, so that a repeat is the same key. The position is "" for a repeat.
    Raises `Rejected`."""
    digest = digest_of(secret)
    command = CreateApiKey(tenant, f"{name}-{digest[:8]}", "", role, "", digest)
    try:
        return (await host.ask(CELL_TENANT, CELL, command, principal=OPERATOR)).position
    except Rejected as error:
        if error.reason is not NAME_TAKEN:
            raise
        return ""


def new_secret(entropy: Entropy) -> str:
    """A secret for an API key: 256 random bits."""
    return PREFIX + entropy.token(SECRET_BYTES)
