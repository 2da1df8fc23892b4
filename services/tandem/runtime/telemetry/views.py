"""How far views have come behind the log."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Sequence
from typing import TypeVar

from tandem.core.commit import Commit
from tandem.core.ports.log import Partition
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.meters import Meters, Reading

T = TypeVar("T", bound=tuple[object, Commit])


class ViewWatch:
    """Watches one view of one shard. `durable` gives the number of the shard's last durable commit."""

    def __init__(self, meters: Meters, view: str, shard: int, durable: Callable[[], int]) -> None:
        self._view, self._shard, self._durable = view, str(shard), durable
        self._stored = 0
        meters.watch(self._readings)

    async def following(self, after: int, commits: AsyncIterator[T]) -> AsyncIterator[T]:
        """The same commits; whoever asks for the next one has stored the one before."""
        self._stored = after
        async for item in commits:
            yield item
            self._stored = item[1].n

    async def following_all(
        self, after: int, batches: AsyncIterator[Sequence[Commit]]
    ) -> AsyncIterator[Sequence[Commit]]:
        """The same of a view that takes all that have come at once."""
        self._stored = after
        async for commits in batches:
            yield commits
            self._stored = commits[-1].n

    def _readings(self) -> Iterator[Reading]:
        yield Reading(names.VIEW_LAG, max(0, self._durable() - self._stored), (self._view, self._shard))


def inbox_lags(lags: Iterable[tuple[Partition, int]]) -> Iterator[Reading]:
    """What `Host.lags` says."""
    for partition, behind in lags:
        yield Reading(names.INBOX_LAG, behind, (partition.group, str(partition.shard)))
