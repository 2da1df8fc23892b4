"""Named deadlines on one heap."""

from __future__ import annotations

import heapq
from typing import NamedTuple


class TimerName(NamedTuple):
    """What is due, and of what: `("ring", leg)`."""

    what: str
    of: str


class Timers:
    """At most one deadline per name; setting it again moves it."""

    def __init__(self) -> None:
        self._due: dict[TimerName, float] = {}
        self._heap: list[tuple[float, TimerName]] = []

    def set(self, what: str, of: str, at: float) -> None:
        """Be due at `at` instead of any earlier setting."""
        name = TimerName(what, of)
        self._due[name] = at
        heapq.heappush(self._heap, (at, name))
        if len(self._heap) > 64 and len(self._heap) > 4 * len(self._due):
            self._heap = [(when, other) for other, when in self._due.items()]
            heapq.heapify(self._heap)

    def cancel(self, what: str, of: str) -> None:
        """Forget it; nothing happens if it is not set."""
        self._due.pop(TimerName(what, of), None)

    def has(self, what: str, of: str) -> bool:
        """Whether it is set."""
        return TimerName(what, of) in self._due

    def next(self) -> float | None:
        """The earliest deadline."""
        while self._heap and self._due.get(self._heap[0][1]) != self._heap[0][0]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def pop(self, now: float) -> TimerName | None:
        """The earliest that is due, taken off; None if there is none."""
        at = self.next()
        if at is None or at > now:
            return None
        name = heapq.heappop(self._heap)[1]
        del self._due[name]
        return name
