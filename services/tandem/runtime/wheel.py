"""A timer wheel: buckets of 16 ms, O(1) to arm, nothing to cancel.

Cancelling is left to the caller, who asks of each due key whether it is still pending: most
timers of a call never fire. One that is due in an hour would be held for that hour, with
the contact long over, so `thin` forgets such keys a few at a time.
"""

from __future__ import annotations

import heapq
from collections.abc import Container

BUCKET_MS = 16
EMPTY_MAX = 1_000
"""Numbers of buckets that are gone, beyond as many as there are, before their order is made anew."""


class Wheel:
    """Keys by due time in milliseconds."""

    __slots__ = ("_buckets", "_next", "_order")

    def __init__(self) -> None:
        self._buckets: dict[int, list[tuple[int, str]]] = {}
        self._order: list[int] = []  # a heap; a number in it may have lost its bucket, or stand there twice
        self._next = 0  # place in `_order` from which `thin` goes on

    def arm(self, key: str, at_ms: int) -> None:
        """Remember a key for `at_ms`."""
        bucket = at_ms // BUCKET_MS
        row = self._buckets.get(bucket)
        if row is None:
            self._buckets[bucket] = [(at_ms, key)]
            heapq.heappush(self._order, bucket)
        else:
            row.append((at_ms, key))

    def thin(self, count: int, wanted: Container[str]) -> None:
        """Look at some `count` keys, going on where the last call ended, and forget those that are
        not `wanted`. Who looks at twice as many as were armed meanwhile has at most about
        twice as many keys here as there are wanted ones, and `EMPTY_MAX` more, whenever they are due."""
        for _ in range(len(self._order)):
            if count <= 0:
                break
            if self._next >= len(self._order):
                self._next = 0
            count -= self._thin(self._order[self._next], wanted)
            self._next += 1
        if len(self._order) > 2 * len(self._buckets) + EMPTY_MAX:
            self._order = sorted(self._buckets)

    def _thin(self, bucket: int, wanted: Container[str]) -> int:
        row = self._buckets.get(bucket)
        if row is None:
            return 1
        left = [entry for entry in row if entry[1] in wanted]
        if not left:
            del self._buckets[bucket]
        elif len(left) < len(row):
            self._buckets[bucket] = left
        return len(row)

    def due(self, now_ms: int) -> list[tuple[int, str]]:
        """(at, key) of all that is due, oldest first, and forget them."""
        found: list[tuple[int, str]] = []
        while self._order and self._order[0] * BUCKET_MS <= now_ms:
            bucket = self._order[0]
            row = self._buckets.get(bucket, [])
            late = [entry for entry in row if entry[0] > now_ms]
            found += [entry for entry in row if entry[0] <= now_ms]
            if late:
                self._buckets[bucket] = late
                break
            self._buckets.pop(bucket, None)
            heapq.heappop(self._order)
        found.sort()
        return found

    def next_ms(self) -> int | None:
        """When something is due at the earliest, exact; None if nothing is armed."""
        while self._order and self._order[0] not in self._buckets:
            heapq.heappop(self._order)
        if not self._order:
            return None
        return min(at for at, _ in self._buckets[self._order[0]])

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))
