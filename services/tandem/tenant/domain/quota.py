"""What a tenant may use at most (stream `quota`): the platform's numbers for it over the cell's defaults.

The defaults are settings of the process. They are told to each tenant's quota and recorded
there, so that what decides on calls and resources lives of the log alone (rule 7).
"""

from __future__ import annotations

from collections.abc import Collection, Mapping
from dataclasses import replace
from typing import Any

from tandem.core.decider import Tell
from tandem.core.errors import RESOURCE_QUOTA_EXCEEDED, Rejected
from tandem.core.quota import MOST, NAMES, Limits
from tandem.core.values import dataclass
from tandem.tenant.domain.rules import Problems
from tandem.tenant.domain.singleton import singleton

QUOTA = "quota"
GATE = "gate"
"""Session's aggregate of a tenant that lets calls in."""


@dataclass(frozen=True, slots=True)
class UpdateQuota:
    """From the platform: the limits named in `fields` are the tenant's own; 0 gives one back."""

    etag: str
    fields: tuple[str, ...]
    limits: Limits


@dataclass(frozen=True, slots=True)
class TakeDefaults:
    """From a process that starts: the cell's defaults are these."""

    defaults: Limits


@dataclass(frozen=True, slots=True)
class QuotaConfigured:
    """The tenant's limits are these from now on."""

    version: int
    overrides: Limits
    defaults: Limits
    updated_ms: int


@dataclass(frozen=True, slots=True)
class TellQuota:
    """To session's gate."""

    version: int
    live_contacts: int
    setups_per_s: int
    setup_burst: int


Quota = QuotaConfigured
"""The state is the last event, as for a resource that is replaced whole."""
NONE = Quota(0, Limits(), Limits(), 0)
"""Before any process has told its defaults."""


def effective(quota: Quota) -> Limits:
    """What holds."""
    return quota.overrides.over(quota.defaults)


def refuse_over(quota: Quota | None, there: Collection[object], what: str) -> None:
    """Raises `Rejected` if the tenant may not have another one of `what`."""
    most = getattr(effective(quota), what) if quota else 0
    if most and len(there) >= most:
        raise Rejected(RESOURCE_QUOTA_EXCEEDED, f"the tenant's quota is {most} {what}", limit=str(most), quota=what)


def _overrides(quota: Quota, command: UpdateQuota) -> Mapping[str, Any]:
    given = {name: getattr(command.limits, name) for name in command.fields}
    return {"overrides": replace(quota.overrides, **given)}


def _defaults(quota: Quota, command: TakeDefaults) -> Mapping[str, Any]:
    return {"defaults": command.defaults}


def _problems(quota: Quota) -> Problems:
    return {
        f"overrides.{name}": f"a limit is 1 to {getattr(MOST, name)}, or 0 for the cell's default"
        for name in NAMES
        if not 0 <= getattr(quota.overrides, name) <= getattr(MOST, name)
    }


def _told(quota: Quota) -> Tell:
    """The gate hears what concerns calls. Numbers that nobody has said yet are no limit."""
    most = effective(quota).over(MOST)
    return Tell(GATE, TellQuota(quota.version, most.live_contacts, most.setups_per_s, most.setup_burst))


KIND = singleton(
    QUOTA,
    lambda: NONE,
    {UpdateQuota: _overrides, TakeDefaults: _defaults},
    _problems,
    _told,
    states=(Quota, Limits),
)
