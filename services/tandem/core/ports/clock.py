"""The `Clock` port. Only drivers read it; deciders get time as data."""

from __future__ import annotations

from typing import Protocol


class Clock(Protocol):
    """Three clocks of one host."""

    def wall_ms(self) -> int:
        """Unix time in milliseconds; may step."""
        ...

    def monotonic_s(self) -> float:
        """Seconds since some start; never steps, stops while the host sleeps."""
        ...

    def boottime_ms(self) -> int:
        """CLOCK_BOOTTIME in milliseconds: one time for all processes of a host, sleep counted."""
        ...

    def boot_id(self) -> str:
        """Changes with each boot of the host."""
        ...
