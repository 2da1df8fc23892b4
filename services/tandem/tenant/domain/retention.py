"""A tenant's retention policy (stream `retention_policy`), and what session hears of it."""

from __future__ import annotations

from operator import attrgetter

from tandem.core.decider import Tell
from tandem.core.values import dataclass
from tandem.tenant.domain.rules import Problems
from tandem.tenant.domain.singleton import named_fields, singleton

RETENTION_POLICY = "retention_policy"
RETENTION = "retention"
"""Session's aggregate of a tenant that the policy is told to."""
MAX_DAYS = 3650
"""Ten years, the longest term that tax law asks for; longer is for ever."""


@dataclass(frozen=True, slots=True)
class RetentionPolicy:
    """Days after a contact's end. 0 of contacts are for ever, 0 of recordings as long as the contact."""

    contact_days: int = 0
    recording_days: int = 0
    version: int = 0
    updated_ms: int = 0


@dataclass(frozen=True, slots=True)
class UpdateRetentionPolicy:
    """From a client. `etag`, if set, must be the policy's; `fields` names those that change."""

    etag: str
    fields: tuple[str, ...]
    contact_days: int
    recording_days: int


@dataclass(frozen=True, slots=True)
class RetentionPolicyUpdated:
    """The policy is another one."""

    policy: RetentionPolicy


@dataclass(frozen=True, slots=True)
class TellRetention:
    """To session."""

    version: int
    contact_days: int
    recording_days: int


def _problems(policy: RetentionPolicy) -> Problems:
    contact, recording = policy.contact_days, policy.recording_days
    term = f"a term is 1 to {MAX_DAYS} days, or 0"
    longer = 0 < contact < recording
    return {
        "contact_days": "" if 0 <= contact <= MAX_DAYS else term,
        "recording_days": term
        if not 0 <= recording <= MAX_DAYS
        else f"recordings are erased with their contact, after {contact} days: choose fewer, or 0"
        if longer
        else "",
    }


def _told(policy: RetentionPolicy) -> Tell:
    return Tell(RETENTION, TellRetention(policy.version, policy.contact_days, policy.recording_days))


KIND = singleton(
    RETENTION_POLICY,
    RetentionPolicy,
    {UpdateRetentionPolicy: named_fields},
    _problems,
    _told,
    event=RetentionPolicyUpdated,
    resource=attrgetter("policy"),
    states=(RetentionPolicy,),
)
