"""Unix nanoseconds for spans: as fine as the monotonic clock, as true as the wall clock."""

from __future__ import annotations

from tandem.core.ports.clock import Clock

TOLERANCE_NS = 2_000_000
"""The wall clock counts milliseconds; apart by more than two, it was set."""


class Nanoseconds:
    """Reads a clock."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._base_ns = 0

    def now(self) -> int:
        """Unix time."""
        monotonic_ns = int(self._clock.monotonic_s() * 1e9)
        wall_ns = self._clock.wall_ms() * 1_000_000
        if abs(self._base_ns + monotonic_ns - wall_ns) > TOLERANCE_NS:
            self._base_ns = wall_ns - monotonic_ns
        return self._base_ns + monotonic_ns
