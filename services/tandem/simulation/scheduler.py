"""Virtual time: one heap of callbacks, and nothing else moves."""

from __future__ import annotations

import heapq
from collections.abc import Callable

from tandem.simulation.chance import Chance

Action = Callable[[], object]


class Scheduler:
    """Milliseconds since the simulation began. Callbacks of one millisecond run in a drawn order."""

    def __init__(self, chance: Chance) -> None:
        self.now_ms = 0
        self.steps = 0
        self._chance = chance
        self._heap: list[tuple[int, int, int, Action]] = []

    def at(self, at_ms: int, action: Action) -> None:
        """Run `action` then, at once if that has passed."""
        self.steps += 1
        heapq.heappush(self._heap, (max(at_ms, self.now_ms), self._chance.below(8), self.steps, action))

    def after(self, delay_ms: int, action: Action) -> None:
        """Run `action` in so many milliseconds."""
        self.at(self.now_ms + delay_ms, action)

    def run(self, until_ms: int) -> None:
        """Let everything happen up to that moment, and stop there."""
        while self._heap and self._heap[0][0] <= until_ms:
            self.now_ms, _, _, action = heapq.heappop(self._heap)
            action()
        self.now_ms = max(self.now_ms, until_ms)
