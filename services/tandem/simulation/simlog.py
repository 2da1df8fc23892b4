"""The memory log on virtual time: appends under way, in doubt or refused, and late read-back."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from enum import Enum

from tandem.adapters.memory.log import MemoryPartitions
from tandem.core.ports.log import LogFailed, Partition, Stored
from tandem.simulation.chance import Chance
from tandem.simulation.reading import Records
from tandem.simulation.scheduler import Scheduler

BATCH = 64
"""Records in one delivery."""


class Doubt(Enum):
    """What becomes of the record whose append fails."""

    STORED = "stored"
    LOST = "lost"


@dataclass(slots=True)
class _UnderWay:
    body: bytes
    failed: Callable[[str], None]


class SimLog:
    """`partitions` is what survives everything, `decode` reads it. `outage`: every append fails."""

    def __init__(self, scheduler: Scheduler, chance: Chance) -> None:
        self.partitions = MemoryPartitions()
        self.decode = Records().decode
        self.scheduler = scheduler
        self.chance = chance
        self.outage = False
        self.late_ms = 0  # added to every read-back
        self.slow_ms = 0  # added to every append
        self.readers: list[Reader] = []
        self.partitions.watch(self._stored)

    def append_ms(self) -> int:
        """How long the next record takes to the store."""
        return self.slow_ms + self.chance.between(0, 3)

    def read_ms(self) -> int:
        """How long the next record takes from the store to a reader."""
        return self.late_ms + self.chance.between(0, 3)

    def _stored(self, partition: Partition) -> None:
        for reader in self.readers:
            if reader.partition == partition:
                reader.more()


@dataclass(slots=True)
class Writer:
    """One process's appends to one partition: pipelined, in order. A dead writer's appends under way
    are lost."""

    log: SimLog
    partition: Partition
    dead: bool = False
    doubt: Doubt | None = None
    _under_way: deque[_UnderWay] = field(default_factory=deque)
    _last_ms: int = 0
    _survivors: int = 0

    def append(self, body: bytes, failed: Callable[[str], None], extra_ms: int = 0) -> None:
        """Hand a record over. `failed` is told when its append is in doubt."""
        self._under_way.append(_UnderWay(body, failed))
        scheduler = self.log.scheduler
        self._last_ms = max(self._last_ms, scheduler.now_ms + self.log.append_ms() + extra_ms)
        scheduler.at(self._last_ms, self._land)

    @property
    def under_way(self) -> int:
        """Records that are not stored yet."""
        return len(self._under_way)

    def die(self) -> None:
        """The process was killed: of what it had handed over, the first few may still arrive."""
        self._survivors = self.log.chance.below(len(self._under_way) + 1)
        self.dead = True

    def _land(self) -> None:
        if self.dead:
            if not self._survivors:
                return
            self._survivors -= 1
        record = self._under_way.popleft()
        doubt, self.doubt = self.doubt, None
        if doubt is Doubt.LOST or self.log.outage:
            record.failed("the append timed out")
            return
        try:
            self.log.partitions.store(self.partition, record.body)
        except LogFailed as error:
            record.failed(str(error))
            return
        if doubt is Doubt.STORED:
            record.failed("the append timed out")


class Reader:
    """Delivers a partition's records from an offset on, in order, each a little after it was stored."""

    def __init__(
        self, log: SimLog, partition: Partition, after: int, deliver: Callable[[Sequence[Stored]], None]
    ) -> None:
        self.partition = partition
        self._log, self._after, self._deliver = log, after, deliver
        self._visible: deque[tuple[int, int]] = deque()  # (when, up to which offset)
        self._last_ms = 0
        self._closed = False
        self.extra_ms = 0
        log.readers.append(self)
        self.more()

    def more(self) -> None:
        """A record was stored."""
        end = self._log.partitions.end(self.partition)
        if end <= self._after or self._closed:
            return
        scheduler = self._log.scheduler
        self._last_ms = max(self._last_ms, scheduler.now_ms + self._log.read_ms() + self.extra_ms)
        self._visible.append((self._last_ms, end))
        scheduler.at(self._last_ms, self._due)

    def close(self) -> None:
        """Deliver nothing more."""
        self._closed = True
        if self in self._log.readers:
            self._log.readers.remove(self)

    def _due(self) -> None:
        now, end = self._log.scheduler.now_ms, 0
        while self._visible and self._visible[0][0] <= now:
            end = self._visible.popleft()[1]
        while self._after < end and not self._closed:
            batch = self._log.partitions.records(self.partition, self._after, min(BATCH, end - self._after))
            self._after = batch[-1].offset
            self._deliver(batch)
