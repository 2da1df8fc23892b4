"""A timer wheel: buckets of 16 ms, O(1) to arm, nothing to cancel.

Cancelling is left to the caller, who asks of each due key whether it is still pending:
most timers of a call never fire, so a key that was settled costs one look-up when its
bucket comes up.
"""

from __future__ import annotations

import heapq

BUCKET_MS = 16


class Wheel:
    """Keys by due time in milliseconds."""

    __slots__ = ("_buckets", "_order")

    def __init__(self) -> None:
        self._buckets: dict[int, list[tuple[int, str]]] = {}
        self._order: list[int] = []

    def arm(self, key: str, at_ms: int) -> None:
        """Remember a key for `at_ms`."""
        bucket = at_ms // BUCKET_MS
        row = self._buckets.get(bucket)
        if row is None:
            self._buckets[bucket] = [(at_ms, key)]
            heapq.heappush(self._order, bucket)
        else:
            row.append((at_ms, key))

    def due(self, now_ms: int) -> list[tuple[int, str]]:
        """(at, key) of all that is due, oldest first, and forget them."""
        found: list[tuple[int, str]] = []
        while self._order and self._order[0] * BUCKET_MS <= now_ms:
            bucket = self._order[0]
            row = self._buckets[bucket]
            late = [entry for entry in row if entry[0] > now_ms]
            found += [entry for entry in row if entry[0] <= now_ms]
            if late:
                self._buckets[bucket] = late
                break
            del self._buckets[bucket]
            heapq.heappop(self._order)
        found.sort()
        return found

    def next_ms(self) -> int | None:
        """When something is due at the earliest, exact; None if nothing is armed."""
        if not self._order:
            return None
        return min(at for at, _ in self._buckets[self._order[0]])

    def __len__(self) -> int:
        return sum(map(len, self._buckets.values()))
