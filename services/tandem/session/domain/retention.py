"""How long a tenant's contacts are kept (stream `retention`), as the tenant service told it."""

from __future__ import annotations

from tandem.core.published import kept
from tandem.core.values import dataclass

RETENTION = "retention"
DAY_MS = 24 * 3600 * 1000


@dataclass(frozen=True, slots=True)
class Retention:
    """The policy. 0 days of contacts are for ever, 0 of recordings as long as the contact;
    nothing is erased by one that was never set."""

    version: int = 0
    contact_days: int = 0
    recording_days: int = 0

    def kept_ms(self, recordings: bool) -> int | None:
        """How long after a contact's end its private values, or its recordings alone, are
        kept, ms. None: for ever, or as long as the contact."""
        days = self.recording_days if recordings else self.contact_days
        return days * DAY_MS if days else None


KIND = kept(RETENTION, Retention)
