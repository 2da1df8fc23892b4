"""How much of the public API a tenant, a credential and a stranger may use (architecture: quotas).

Token buckets in memory, of each process its own: what they hold is no decision and stands in no
log. The numbers are the tenant's quota, of which the effective one is told by the tenant
service's log; until it has been heard, the settings of this process.

Every table is bounded. An entry that was not used for longest makes room; its bucket is full
again by then, or its owner is one of ten thousand.
"""

from __future__ import annotations

import ipaddress
import math
from collections import OrderedDict
from collections.abc import AsyncIterator, Callable, Mapping
from dataclasses import dataclass, replace

from tandem.api.event.v1 import quota_pb2
from tandem.core.access import Principal
from tandem.core.commit import Commit
from tandem.core.errors import API_RATE_EXCEEDED, STREAM_QUOTA_EXCEEDED, Rejected
from tandem.core.quota import NAMES, Limits

MAX_BUCKETS = 10_000
"""Buckets of one table: as many as a cell has tenants; 1 MB."""
IPV6_PREFIX = 64
"""What one customer of a provider has at least: the source of a stranger with IPv6."""


@dataclass(frozen=True, slots=True)
class Rate:
    """An average per second, and what may come at once above it."""

    per_s: int
    burst: int


@dataclass(frozen=True, slots=True)
class Headroom:
    """What is left of a rate after a request: the header fields RateLimit-*."""

    limit: int
    remaining: int
    reset_s: int


@dataclass(slots=True)
class _Bucket:
    level: float
    at_s: float

    def fill(self, rate: Rate, now_s: float) -> None:
        self.level = min(rate.burst, self.level + (now_s - self.at_s) * rate.per_s)
        self.at_s = now_s


class _Buckets:
    """Those of one kind, by name."""

    def __init__(self) -> None:
        self._buckets: OrderedDict[str, _Bucket] = OrderedDict()

    def filled(self, name: str, rate: Rate, now_s: float) -> _Bucket:
        """The bucket as it is now."""
        bucket = self._buckets.get(name)
        if bucket is None:
            bucket = self._buckets[name] = _Bucket(rate.burst, now_s)
            if len(self._buckets) > MAX_BUCKETS:
                self._buckets.popitem(last=False)
        else:
            self._buckets.move_to_end(name)
            bucket.fill(rate, now_s)
        return bucket


class ApiLimits:
    """The limits of one process. `now_s` reads a monotonic clock. `refused` counts by whose limit it was."""

    def __init__(self, defaults: Limits, strangers: Rate, now_s: Callable[[], float]) -> None:
        self._defaults, self._strangers, self._now_s = defaults, strangers, now_s
        self._quotas: dict[str, Limits] = {}
        self._tenants, self._credentials, self._sources = _Buckets(), _Buckets(), _Buckets()
        self._streams: dict[str, int] = {}
        self.refused = {"tenant": 0, "credential": 0, "source": 0, "streams": 0}

    # ---------------------------------------------------------------- quotas

    def quota(self, tenant: str) -> Limits:
        """What holds for a tenant."""
        return self._quotas.get(tenant, self._defaults)

    def begin(self, quotas: Mapping[str, Limits]) -> None:
        """Know what the owner of a partition of the tenant service knows; go on from there."""
        self._quotas.update((tenant, quota.over(self._defaults)) for tenant, quota in quotas.items())

    def apply(self, commit: Commit) -> None:
        """Take a commit of a partition of the tenant service into account."""
        for envelope in commit.events:
            if envelope.type == "quota.configured":
                event = quota_pb2.QuotaConfigured.FromString(envelope.part.clear)
                told = _limits(event.overrides).over(_limits(event.defaults))
                self._quotas[envelope.tenant] = told.over(self._defaults)

    async def follow(self, tail: AsyncIterator[tuple[str, Commit]]) -> None:
        """Take in `Host.tail` of such a partition until it ends."""
        async for _, commit in tail:
            self.apply(commit)

    # ---------------------------------------------------------------- requests

    def admit(self, principal: Principal) -> Headroom:
        """Count a request; what its credential or its tenant has left, whichever is less. Raises `Rejected`."""
        now_s, quota = self._now_s(), self.quota(principal.tenant)
        own = Rate(quota.credential_requests_per_s, quota.credential_burst)
        all_ = Rate(quota.api_requests_per_s, quota.api_burst)
        credential = self._credentials.filled(principal.credential, own, now_s)
        tenant = self._tenants.filled(principal.tenant, all_, now_s)
        if credential.level < 1:
            raise self._over("credential", own, credential, "this credential sends")
        if tenant.level < 1:
            raise self._over("tenant", all_, tenant, "the tenant's credentials together send")
        credential.level -= 1
        tenant.level -= 1
        return min(_headroom(own, credential), _headroom(all_, tenant), key=lambda room: room.remaining)

    def stranger(self, source: str) -> None:
        """Count a request without a valid credential, by where it comes from. Raises `Rejected`."""
        bucket = self._sources.filled(_network(source), self._strangers, self._now_s())
        if bucket.level < 1:
            raise self._over("source", self._strangers, bucket, "your address sends, without a valid credential,")
        bucket.level -= 1

    def _over(self, whose: str, rate: Rate, bucket: _Bucket, who: str) -> Rejected:
        self.refused[whose] += 1
        return Rejected(
            API_RATE_EXCEEDED,
            f"{who} more than {rate.per_s} requests a second",
            limit=str(rate.per_s),
            of=whose,
            retry_after_s=f"{max(0.001, (1 - bucket.level) / rate.per_s):.3f}",
        )

    # ---------------------------------------------------------------- streams

    def check_stream(self, tenant: str) -> None:
        """Raises `Rejected` if the tenant may not open another stream."""
        most = self.quota(tenant).streams
        if self._streams.get(tenant, 0) >= most:
            self.refused["streams"] += 1
            raise Rejected(STREAM_QUOTA_EXCEEDED, f"the tenant has {most} streams open here", limit=str(most))

    def opened(self, tenant: str) -> None:
        """A stream began. Raises `Rejected`; then it did not."""
        self.check_stream(tenant)
        self._streams[tenant] = self._streams.get(tenant, 0) + 1

    def closed(self, tenant: str) -> None:
        """A stream that began has ended."""
        self._streams[tenant] -= 1
        if not self._streams[tenant]:
            del self._streams[tenant]


def _limits(told: quota_pb2.QuotaLimits) -> Limits:
    return replace(Limits(), **{name: getattr(told, name) for name in NAMES})


def _headroom(rate: Rate, bucket: _Bucket) -> Headroom:
    return Headroom(rate.burst, int(bucket.level), math.ceil((rate.burst - bucket.level) / rate.per_s))


def _network(source: str) -> str:
    """Whose the address is: an IPv6 customer has 2^64 of them."""
    try:
        address = ipaddress.ip_address(source)
    except ValueError:
        return ""  # no IP: a socket of this host
    if isinstance(address, ipaddress.IPv6Address):
        if address.ipv4_mapped is not None:
            return str(address.ipv4_mapped)
        return str(ipaddress.ip_network((address, IPV6_PREFIX), strict=False))
    return source
