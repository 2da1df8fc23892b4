"""The real clocks and the real chance of this host (Linux)."""

from __future__ import annotations

import base64
import secrets
import time
from pathlib import Path

_BOOT_ID = Path("/proc/sys/kernel/random/boot_id")


class SystemClock:
    """The `Clock` port over the kernel's clocks (clock_gettime(2), random(4))."""

    def __init__(self) -> None:
        self._boot_id = _BOOT_ID.read_text(encoding="ascii").strip()

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    def boottime_ms(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def boot_id(self) -> str:
        return self._boot_id


class SystemEntropy:
    """The `Entropy` port over the kernel's generator (getrandom(2))."""

    def token(self, size: int = 16) -> str:
        return base64.b32encode(secrets.token_bytes(size)).decode("ascii").rstrip("=").lower()

    def secret(self, size: int) -> bytes:
        return secrets.token_bytes(size)
