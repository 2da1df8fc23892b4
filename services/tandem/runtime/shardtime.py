"""A shard has a time of its own (rule 9, spine 5): it never runs back behind the last
commit and does not jump with a new owner's clock.

Same boot: it goes on exactly from CLOCK_BOOTTIME, however long the gap. Another boot:
`max(last commit, own clock)`, which the caller records as a step. While it runs it is
slewed by at most 1 % towards the owner's clock.
"""

from __future__ import annotations

from tandem.core.values import dataclass

SLEW_PER_MILLE = 10
"""How fast shard time may approach the owner's clock: 10 ms a second."""


@dataclass(frozen=True, slots=True)
class Instant:
    """What the owner's clocks say at one moment, milliseconds."""

    boottime_ms: int
    wall_ms: int
    boot_id: str


@dataclass(slots=True)
class ShardTime:
    """Shard time as offset to CLOCK_BOOTTIME."""

    offset_ms: int
    boot_id: str
    last_ms: int
    slewed_at_ms: int  # boottime of the last slew
    floor_ms: int = 0  # no event is told before it

    @classmethod
    def going_on(cls, last_ms: int, boot_id: str, boottime_ms: int, now: Instant) -> tuple[ShardTime, bool]:
        """Shard time after the commit at `last_ms`, and whether it had to step."""
        if last_ms and boot_id == now.boot_id:
            return cls(last_ms - boottime_ms, now.boot_id, last_ms, now.boottime_ms), False
        start = max(last_ms, now.wall_ms)
        stepped = last_ms > 0 and start > last_ms
        return cls(start - now.boottime_ms, now.boot_id, last_ms, now.boottime_ms, last_ms), stepped

    def at(self, now: Instant) -> int:
        """Shard time of an instant of the owner, never below an earlier answer."""
        elapsed = now.boottime_ms - self.slewed_at_ms
        allowance = elapsed * SLEW_PER_MILLE // 1000
        if allowance > 0:
            error = now.wall_ms - (now.boottime_ms + self.offset_ms)
            self.offset_ms += max(-allowance, min(allowance, error))
            self.slewed_at_ms = now.boottime_ms
        self.last_ms = max(self.last_ms, now.boottime_ms + self.offset_ms)
        return self.last_ms

    def of(self, boottime_ms: int) -> int:
        """Shard time of a moment on the same boot, for media events. An event of the past
        keeps its own time; but where the predecessor's clock cannot be continued, what was
        kept since then is not told as older than what it had already taken."""
        return max(boottime_ms + self.offset_ms, self.floor_ms)
