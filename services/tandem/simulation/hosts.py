"""Hosts and their clocks."""

from __future__ import annotations

from dataclasses import dataclass

from tandem.runtime.shardtime import Instant
from tandem.simulation.scheduler import Scheduler

EPOCH_MS = 1_760_000_000_000
"""Unix time at which every simulation begins."""


@dataclass(slots=True)
class Host:
    """A machine. `boot` changes with each of its boots, `uptime_ms` is what it had been up when the
    simulation began, `wall_off_ms` how far its wall clock is off."""

    name: str
    scheduler: Scheduler
    uptime_ms: int
    boot: int = 1
    wall_off_ms: int = 0

    @property
    def boot_id(self) -> str:
        """Of this boot."""
        return f"{self.name}-boot{self.boot}"

    @property
    def boottime_ms(self) -> int:
        """CLOCK_BOOTTIME."""
        return self.scheduler.now_ms + self.uptime_ms

    def now(self) -> Instant:
        """All clocks of the host."""
        return Instant(self.boottime_ms, EPOCH_MS + self.scheduler.now_ms + self.wall_off_ms, self.boot_id)

    def reboot(self) -> None:
        """Another boot: CLOCK_BOOTTIME starts over."""
        self.boot += 1
        self.uptime_ms = -self.scheduler.now_ms
