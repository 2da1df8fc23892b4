"""Deadlines of many objects, one each, in a heap."""

from __future__ import annotations

import heapq
from typing import Protocol


class Wakeable(Protocol):
    """Something with at most one next deadline."""

    def next_wakeup(self) -> float | None:
        """When `wake` is wanted, or None."""

    def wake(self, now: float) -> None:
        """Its deadline has come."""


class Timers:
    """Who wants to be woken when. Ties go by order of arming, so that a run can be repeated."""

    def __init__(self) -> None:
        self._armed: dict[Wakeable, int] = {}
        self._heap: list[tuple[float, int, Wakeable]] = []
        self._count = 0

    def arm(self, target: Wakeable) -> None:
        """Take over the target's present deadline; call it whenever that may have changed."""
        at = target.next_wakeup()
        if at is None:
            self._armed.pop(target, None)
            return
        self._count += 1
        self._armed[target] = self._count
        heapq.heappush(self._heap, (at, self._count, target))
        if len(self._heap) > 2 * len(self._armed) + 64:
            self._heap = [entry for entry in self._heap if self._armed.get(entry[2]) == entry[1]]
            heapq.heapify(self._heap)

    def disarm(self, target: Wakeable) -> None:
        """Forget the target."""
        self._armed.pop(target, None)

    def next_wakeup(self) -> float | None:
        """The earliest deadline, or None."""
        while self._heap and self._armed.get(self._heap[0][2]) != self._heap[0][1]:
            heapq.heappop(self._heap)
        return self._heap[0][0] if self._heap else None

    def wake_due(self, now: float) -> None:
        """Wake everyone whose deadline is at or before `now`, in order."""
        while (at := self.next_wakeup()) is not None and at <= now:
            target = heapq.heappop(self._heap)[2]
            del self._armed[target]
            target.wake(now)
