"""Faults that a test plants into a process: the strike at a kill point (spine 10).

Read only with `--allow-faults`, which release images refuse.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Mapping

from tandem.core.points import KillAt, Points, parse_kill_at
from tandem.core.ports.clock import Clock

KILL_AT = "TANDEM_KILL_AT"
"""`appended:3` kills the process, as `kill -9` would, at the third pass of that point."""


CLOCK = "TANDEM_CLOCK"
"""`wall=-30000` sets this process's wall clock 30 s back; `boot=5000` has it live on another boot of the
host, whose CLOCK_BOOTTIME was 5 s when it started. Both with a comma."""


class BadClock(ValueError):
    """A text that says no clock."""


class ShiftedClock:
    """The `Clock` of a host whose clocks are not those of this one."""

    def __init__(self, clock: Clock, wall_ms: int, boottime_ms: int | None) -> None:
        """`boottime_ms`: of another boot; None for the boot of `clock`."""
        self._clock, self._wall_ms = clock, wall_ms
        self._boot_ms = 0 if boottime_ms is None else boottime_ms - clock.boottime_ms()
        self._boot_id = clock.boot_id() if boottime_ms is None else f"another-boot-{boottime_ms}"

    def wall_ms(self) -> int:
        """See `Clock`."""
        return self._clock.wall_ms() + self._wall_ms

    def monotonic_s(self) -> float:
        """See `Clock`."""
        return self._clock.monotonic_s()

    def boottime_ms(self) -> int:
        """See `Clock`."""
        return self._clock.boottime_ms() + self._boot_ms

    def boot_id(self) -> str:
        """See `Clock`."""
        return self._boot_id


def clock_from(clock: Clock, environment: Mapping[str, str], *, allow_faults: bool) -> Clock:
    """The clock of this process. Raises `FaultsNotAllowed`, `BadClock`."""
    wanted = environment.get(CLOCK, "")
    if not wanted:
        return clock
    if not allow_faults:
        raise FaultsNotAllowed(f"{CLOCK} is set: start with --allow-faults to obey it, or unset it")
    found: dict[str, int] = {}
    for part in wanted.split(","):
        name, _, value = part.partition("=")
        if name not in ("wall", "boot") or not value.lstrip("-").isdecimal():
            raise BadClock(f"{CLOCK}={wanted!r}: write wall=MS, boot=MS or both with a comma")
        found[name] = int(value)
    return ShiftedClock(clock, found.get("wall", 0), found.get("boot"))


class FaultsNotAllowed(Exception):
    """A fault was asked for in a process that does not take any."""


def points_from(environment: Mapping[str, str], *, allow_faults: bool) -> Points:
    """The points of this process.

    Raises `FaultsNotAllowed` if `TANDEM_KILL_AT` is set without `--allow-faults`: ignoring it
    would let a kill test pass that never killed. Raises `core.points.BadKillAt` for a bad value.
    """
    wanted = environment.get(KILL_AT, "")
    if not wanted:
        return Points()
    if not allow_faults:
        raise FaultsNotAllowed(f"{KILL_AT} is set: start with --allow-faults to obey it, or unset it")
    return Points(parse_kill_at(wanted), _kill_self)


def _kill_self(at: KillAt) -> None:
    """No `finally`, no flush, no exit handler: what a power cut leaves. The line is what a test
    looks for to know that the point was passed."""
    sys.stderr.write(f"{KILL_AT}={at.point}:{at.nth} reached\n")
    sys.stderr.flush()
    os.kill(os.getpid(), signal.SIGKILL)
