"""Quotas: what a tenant may use at most. The platform sets them, the tenant's administrator reads them."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tandem.api.event.v1.tenant_pb2 import TenantPlaced
from tandem.api.tenant.v1 import quota_pb2 as pb
from tandem.core.commit import Commit
from tandem.core.errors import NO_OWNER, Rejected
from tandem.core.quota import NAMES, Limits
from tandem.runtime.host import Host
from tandem.runtime.interceptors import Call
from tandem.runtime.ledger import Ledger
from tandem.runtime.times import time_of
from tandem.tenant.domain import quota as q
from tandem.tenant.domain.rules import etag_of
from tandem.tenant.servicer.base import Base, Reached
from tandem.tenant.servicer.bootstrap import OPERATOR
from tandem.tenant.servicer.forms import changed

_FIELDS = {f"overrides.{name}": name for name in NAMES}


class QuotaCalls(Base):
    """The tenant's quota."""

    async def get_quota(self, request: pb.GetQuotaRequest, call: Call) -> pb.Quota:
        """What holds."""
        return _resource(call.tenant, await self._singleton(call, q.KIND))

    async def update_quota(self, request: pb.UpdateQuotaRequest, call: Call) -> pb.Quota:
        """Give the tenant limits of its own."""
        given = request.quota
        limits = Limits(*(getattr(given.overrides, name) for name in NAMES))
        fields = changed(request.update_mask, given.overrides, _FIELDS, within="overrides")
        command = q.UpdateQuota(given.etag, fields, limits)
        return _resource(call.tenant, await self._change(call, command, request.wait_live, of=q.QUOTA))


async def tell_defaults(
    host: Host, cell: AsyncIterator[tuple[str, Commit]], reached: Reached, defaults: Limits
) -> None:
    """See to it that the quota of every tenant has the defaults of this process, of those that
    are still to come, too. `cell` is the tail of the cell's partition, without an end."""
    async for position, commit in cell:
        for envelope in commit.events:
            if envelope.type == "tenant.placed":
                while not await reached(position):
                    pass  # this process does not know the tenant's place yet
                await _tell(host, TenantPlaced.FromString(envelope.part.clear).tenant, defaults)


async def _tell(host: Host, tenant: str, defaults: Limits) -> None:
    told = False
    while not told:
        await host.driver(tenant, q.QUOTA).live()
        try:
            known = await host.query(tenant, q.QUOTA, lambda ledger: _defaults(ledger, tenant))
            if known.value != defaults:
                await host.ask(tenant, q.QUOTA, q.TakeDefaults(defaults), principal=OPERATOR)
            told = True
        except Rejected as error:
            if error.reason is not NO_OWNER:
                raise
            # The shard was lost in between: again, when it is live.


def _defaults(ledger: Ledger, tenant: str) -> Limits | None:
    aggregate = ledger.aggregate(tenant, q.QUOTA)
    return None if aggregate is None else aggregate.state.defaults


def _resource(tenant: str, quota: q.Quota) -> pb.Quota:
    return pb.Quota(
        name=f"tenants/{tenant}/quota",
        overrides=_limits(quota.overrides),
        effective=_limits(q.effective(quota)),
        etag=etag_of(quota.version),
        update_time=time_of(quota.updated_ms),
    )


def _limits(limits: Limits) -> pb.QuotaLimits:
    return pb.QuotaLimits(**{name: getattr(limits, name) for name in NAMES})
