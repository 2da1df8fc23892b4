"""Pauses of loops that try again, noted and not kept."""

from __future__ import annotations

import asyncio

from tandem.runtime.retry_driver import Retry


class NotedRetry(Retry):
    """As long as it says, but over at once."""

    pauses_s: list[float]
    """Put an empty list in a class of your own."""

    async def pause(self) -> None:
        """Note it."""
        self.pauses_s.append(self.next_s())
        await asyncio.sleep(0)


def grow(pauses_s: list[float], first_s: float, max_s: float) -> bool:
    """Whether they double from `first_s`, each cut to between half and all of it."""
    most = [min(first_s * 2**n, max_s) for n in range(len(pauses_s))]
    return all(limit / 2 <= pause <= limit for pause, limit in zip(pauses_s, most, strict=True))
