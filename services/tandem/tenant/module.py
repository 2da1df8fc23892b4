"""What the tenant service needs, and what it gives."""

from __future__ import annotations

from tandem.core.access import CELL_TENANT
from tandem.core.ports.entropy import Entropy
from tandem.core.quota import Limits
from tandem.runtime.auth import Account, Accounts
from tandem.runtime.host import Host
from tandem.runtime.ledger import Ledger
from tandem.tenant.domain.cell import CELL
from tandem.tenant.domain.quota import QUOTA, effective
from tandem.tenant.events import SERVICE
from tandem.tenant.holding import hold_erased
from tandem.tenant.servicer import (
    API,
    RETENTION_API,
    RetentionServicer,
    TenantServicer,
    create_key,
    create_tenant,
    ensure_key,
    ensure_tenant,
    new_secret,
)
from tandem.tenant.servicer.base import Live, Reached, Setting
from tandem.tenant.servicer.flow_file import flow_faults
from tandem.tenant.servicer.quotas import tell_defaults

__all__ = [
    "API",
    "RETENTION_API",
    "SERVICE",
    "Live",
    "Reached",
    "Setting",
    "accounts",
    "build",
    "build_retention",
    "create_key",
    "create_tenant",
    "ensure_key",
    "ensure_tenant",
    "flow_faults",
    "hold_erased",
    "new_secret",
    "quotas",
    "tell_defaults",
]


def accounts(ledger: Ledger) -> Accounts:
    """Who may call, as the cell's owner knows it."""
    cell = ledger.aggregate(CELL_TENANT, CELL)
    if cell is None:
        return Accounts((), {})
    keys = tuple(Account(k.tenant, k.api_key, k.sha256, k.role, k.agent) for k in cell.state.keys.values())
    return Accounts(keys, {tenant.tenant: tenant.shard for tenant in cell.state.tenants.values()})


def quotas(ledger: Ledger) -> dict[str, Limits]:
    """What each tenant of a shard may use, as its owner knows it."""
    rows = ledger.aggregates.items()
    return {tenant: effective(row.state) for (tenant, _), row in rows if row.kind.name == QUOTA and not row.quarantine}


def build(host: Host, entropy: Entropy, setting: Setting, reached: Reached, live: Live) -> TenantServicer:
    """The servicer of a process. `reached` is `Credentials.reached`; `live` waits until
    session and routing have taken a tenant's configuration."""
    return TenantServicer(host, entropy, setting, reached, live)


def build_retention(host: Host, entropy: Entropy, setting: Setting) -> RetentionServicer:
    """The servicer of retention policies."""
    return RetentionServicer(host, entropy, setting)
