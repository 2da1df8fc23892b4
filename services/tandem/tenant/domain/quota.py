"""What a tenant may use at most (stream `quota`): the platform's numbers for it over the cell's defaults.

The defaults are settings of the process. They are told to each tenant's quota and recorded
there, so that what decides on calls and resources lives of the log alone (rule 7).
"""

from __future__ import annotations

from collections.abc import Collection, Sequence
from dataclasses import replace
from typing import Any

from tandem.core.decider import Action, Answer, Context, Kind, Tell, dispatch
from tandem.core.errors import RESOURCE_QUOTA_EXCEEDED, Rejected
from tandem.core.quota import MOST, Limits
from tandem.core.values import dataclass
from tandem.tenant.domain.rules import check_etag, refuse_if

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


def _update(quota: Quota, command: UpdateQuota, context: Context) -> Sequence[Any]:
    check_etag(command.etag, quota.version)
    given = {name: getattr(command.limits, name) for name in command.fields}
    refuse_if(
        {
            f"overrides.{name}": f"a limit is 1 to {getattr(MOST, name)}, or 0 for the cell's default"
            for name, value in given.items()
            if not 0 <= value <= getattr(MOST, name)
        }
    )
    overrides = replace(quota.overrides, **given)
    return (QuotaConfigured(quota.version + 1, overrides, quota.defaults, context.now_ms),)


def _defaults(quota: Quota, command: TakeDefaults, context: Context) -> Sequence[Any]:
    return (QuotaConfigured(quota.version + 1, quota.overrides, command.defaults, context.now_ms),)


_HANDLERS: dict[tuple[type, type], Any] = {(Quota, UpdateQuota): _update, (Quota, TakeDefaults): _defaults}


def decide(quota: Quota, command: Any, context: Context) -> Sequence[Any]:
    """Events of a command. Raises `Rejected`."""
    return dispatch(_HANDLERS, quota, command, context)


def evolve(quota: Quota, event: QuotaConfigured) -> Quota:
    """The quota after an event."""
    return event


def react(quota: Quota, event: QuotaConfigured) -> Sequence[Action]:
    """The gate hears what concerns calls. Numbers that nobody has said yet are no limit."""
    most = effective(event).over(MOST)
    told = TellQuota(event.version, most.live_contacts, most.setups_per_s, most.setup_burst)
    return (Tell(GATE, told), Answer(event))


KIND = Kind(
    name=QUOTA,
    start=lambda: NONE,
    starts=(UpdateQuota, TakeDefaults),
    decide=decide,
    evolve=evolve,
    react=react,
    states=(Quota, Limits),
)
