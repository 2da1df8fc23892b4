"""The pauses of a loop that tries again what failed."""

from __future__ import annotations

import asyncio
import random

from tandem.core.backoff import Backoff


class Retry:
    """`core.backoff` with this process's own chance. One per loop: what failed everywhere at the
    same time, as a disk does, is not tried again everywhere at the same time."""

    def __init__(self, first_s: float, max_s: float) -> None:
        """Doubling from `first_s` up to `max_s`, seconds, each cut by chance to between half and all."""
        self._backoff = Backoff(first_s, max_s)

    def next_s(self) -> float:
        """The next pause, in seconds, for who says how long it will be."""
        return self._backoff.pause_s(random.random())

    async def pause(self) -> None:
        """Wait until the next attempt."""
        await asyncio.sleep(self.next_s())

    def reset(self) -> None:
        """An attempt succeeded."""
        self._backoff.reset()
