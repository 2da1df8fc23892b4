"""Pauses between attempts at what fails, for whoever tries again. Pure: chance is the caller's."""

from __future__ import annotations


class Backoff:
    """Doubling pauses up to a limit, each cut by chance to between half and all of it, so that
    those that lost something together do not come back together."""

    def __init__(self, first_s: float, max_s: float) -> None:
        self._first_s, self._max_s = first_s, max_s
        self._next_s = first_s

    def pause_s(self, chance: float) -> float:
        """The next pause, in seconds; `chance` is in [0, 1], 1 for all of it. Whoever tries
        again in a loop of asyncio takes `runtime.retry_driver`."""
        pause = self._next_s
        self._next_s = min(2 * pause, self._max_s)
        return pause * (1 + chance) / 2

    def reset(self) -> None:
        """An attempt succeeded."""
        self._next_s = self._first_s
