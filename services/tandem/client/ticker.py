"""One 20 ms clock for all phones of a process: a timer each would cost more than their audio."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable

PERIOD_S = 0.02
LATE_TICKS = 3
"""Turns that are caught up; a process that was late by more did not run, and says so."""

Tick = Callable[[float, int], None]
"""Told the time (CLOCK_MONOTONIC, seconds) and how many turns before this one were lost."""


class Ticker:
    """Calls everybody every 20 ms by absolute deadlines, while there is anybody."""

    def __init__(self) -> None:
        self._listeners: dict[Tick, None] = {}
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._due = 0.0

    def add(self, tick: Tick) -> None:
        """Begin to call `tick`."""
        self._listeners[tick] = None
        if self._timer is None:
            self._due = time.monotonic() + PERIOD_S
            self._arm()

    def discard(self, tick: Tick) -> None:
        """Stop calling it."""
        self._listeners.pop(tick, None)

    def close(self) -> None:
        """Stop."""
        self._listeners.clear()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None

    def _arm(self) -> None:
        pause = max(0.0, self._due - time.monotonic())
        self._timer = self._loop.call_later(pause, self._turn)

    def _turn(self) -> None:
        self._timer = None
        now = time.monotonic()
        behind = int((now - self._due) / PERIOD_S)
        lost = behind if behind > LATE_TICKS else 0
        self._due += PERIOD_S * (lost + 1)
        try:
            for tick in list(self._listeners):
                if tick in self._listeners:  # an earlier one may have taken it away
                    tick(now, lost)
        finally:
            if self._listeners:
                self._arm()
