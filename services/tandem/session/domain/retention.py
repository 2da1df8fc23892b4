"""How long a tenant's contacts are kept (stream `retention`), as the tenant service told it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Action, Context, Kind
from tandem.core.values import dataclass

RETENTION = "retention"
DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class PublishRetention:
    """From the tenant service. 0 days of contacts are for ever, 0 of recordings as long as the contact."""

    version: int
    contact_days: int
    recording_days: int


@dataclass(frozen=True, slots=True)
class RetentionConfigured:
    """What holds from now on."""

    version: int
    contact_days: int
    recording_days: int


@dataclass(frozen=True, slots=True)
class Retention:
    """The policy; nothing is erased by one that was never set."""

    version: int = 0
    contact_days: int = 0
    recording_days: int = 0

    def kept_ms(self, recordings: bool) -> int | None:
        """How long after a contact's end its private values, or its recordings alone, are
        kept, ms. None: for ever, or as long as the contact."""
        days = self.recording_days if recordings else self.contact_days
        return days * DAY_MS if days else None


def decide(state: Retention, command: PublishRetention, context: Context) -> Sequence[Any]:
    """Policies are taken as they come; older versions are passed over."""
    if command.version <= state.version:
        return ()
    return (RetentionConfigured(command.version, command.contact_days, command.recording_days),)


def evolve(state: Retention, event: RetentionConfigured) -> Retention:
    """The policy after an event."""
    return Retention(event.version, event.contact_days, event.recording_days)


def react(state: Retention, event: RetentionConfigured) -> Sequence[Action]:
    """Nobody has to be told: the sweep asks."""
    return ()


KIND = Kind(
    name=RETENTION,
    start=Retention,
    starts=(PublishRetention,),
    decide=decide,
    evolve=evolve,
    react=react,
    states=(Retention,),
)
