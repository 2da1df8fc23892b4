"""How much of the loop's time one tenant's decisions may take while others are at work.

A tenant who keeps the loop busy stands in the way of others at every step of theirs, however short
its turns are: their events wait to be read, their commits to be read back, their orders to be sent.
So who has held up the loop for a turn, and lately had more than an equal part of all that was decided,
rests for some times as long, and only then has another turn. A tenant who is alone rests never, nor
do those who share equally.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable

from tandem.runtime.shard import Phase, Shard

SHORT_S = 0.001
"""A turn this short holds nobody up; one of a tenant with some calls takes half of it."""
TIMES = 6
"""Rest for so many times as long as the turn took: leaves others six sevenths of the loop. With 3, and
200 set-ups a second of a neighbour, waits for an agent's ring are 2.5 times as long as in quiet, with 6
less than twice (p99, `tests/load/bench_storm.py`)."""
LONGEST_S = 0.01
"""What counts of a turn: one that took longer was itself held up."""


class Pace:
    """Lets the tenants of one shard rest. `again()` is called when they have."""

    def __init__(self, again: Callable[[], None]) -> None:
        self._again = again
        self._timer: asyncio.TimerHandle | None = None

    def turned(self, shard: Shard, took_s: float) -> None:
        """A turn of the shard took so long, and may have decided something."""
        if took_s < SHORT_S or self._timer is not None or shard.phase is not Phase.LIVE:
            return
        if shard.rest():
            rest_s = TIMES * min(took_s, LONGEST_S)
            self._timer = asyncio.get_running_loop().call_later(rest_s, self._rested, shard)

    def _rested(self, shard: Shard) -> None:
        self._timer = None
        shard.rested()
        self._again()

    def stop(self) -> None:
        """The shard is dropped."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
