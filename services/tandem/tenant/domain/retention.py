"""A tenant's retention policy (stream `retention_policy`), and what session hears of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tandem.core.decider import Action, Answer, Context, Kind, Tell
from tandem.core.values import dataclass
from tandem.tenant.domain.rules import check_etag, refuse_if

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


def decide(state: RetentionPolicy, command: UpdateRetentionPolicy, context: Context) -> Sequence[Any]:
    """One event, or `Rejected`."""
    check_etag(command.etag, state.version)
    changes = {name: getattr(command, name) for name in command.fields}
    policy = replace(state, **changes, version=state.version + 1, updated_ms=context.now_ms)
    refuse_if(_problems(policy))
    return (RetentionPolicyUpdated(policy),)


def _problems(policy: RetentionPolicy) -> dict[str, str]:
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


def evolve(state: RetentionPolicy, event: RetentionPolicyUpdated) -> RetentionPolicy:
    """The policy after an event."""
    return event.policy


def react(state: RetentionPolicy, event: RetentionPolicyUpdated) -> Sequence[Action]:
    """Session is told, and the answer."""
    told = TellRetention(state.version, state.contact_days, state.recording_days)
    return Tell(RETENTION, told), Answer(state)


KIND = Kind(
    name=RETENTION_POLICY,
    start=RetentionPolicy,
    starts=(UpdateRetentionPolicy,),
    decide=decide,
    evolve=evolve,
    react=react,
    states=(RetentionPolicy,),
)
