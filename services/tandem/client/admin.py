"""`tandem admin`: what the holder of the platform key may do."""

from __future__ import annotations

import sys

from tandem.client.api import Api
from tandem.client.place import Place
from tandem.client.tenant_maker import make_tenant, new_key
from tandem.runtime.config import Config

READY_S = 5.0


async def create_tenant(config: Config, tenant: str, title: str) -> int:
    """Make a tenant and print a key of its administrator. Raises `ApiError`, `NotRunning`."""
    place = Place(config)
    await place.until_ready(READY_S)
    address, http = place.addresses()
    async with Api(address, place.platform_key()) as platform:
        await make_tenant(platform, tenant, title)
        key = await new_key(platform, tenant)
    sys.stdout.write(
        f"tenants/{tenant} is there. A key of the role admin, shown this once:\n\n  {key}\n\n"
        f'  curl -H "Authorization: Bearer {key}" {http}/v1/tenants/{tenant}\n'
    )
    return 0
