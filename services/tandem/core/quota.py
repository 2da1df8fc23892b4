"""What a tenant may use at most, as one set of numbers."""

from __future__ import annotations

from dataclasses import fields

from tandem.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Limits:
    """A tenant's limits; 0 where nothing is said. A rate is an average per second, its burst
    what may come at once above it."""

    live_contacts: int = 0
    setups_per_s: int = 0
    setup_burst: int = 0
    api_requests_per_s: int = 0
    api_burst: int = 0
    credential_requests_per_s: int = 0
    credential_burst: int = 0
    streams: int = 0
    queues: int = 0
    agents: int = 0
    numbers: int = 0
    flows: int = 0

    def over(self, defaults: Limits) -> Limits:
        """These, and the defaults where nothing is said."""
        return Limits(*(getattr(self, name) or getattr(defaults, name) for name in NAMES))


NAMES = tuple(field.name for field in fields(Limits))
"""The names of all limits."""
MOST = Limits(1_000_000, 100_000, 100_000, 100_000, 100_000, 100_000, 100_000, 10_000, 1000, 10_000, 10_000, 500)
"""The largest that can be asked for. Above the last four a configuration has not been tried."""
