"""Which records of a partition count: one pure judgement for every reader (rule 5).

Owner, standby, views and simulator fold the same `Arbiter` over the same records and so
agree without talking. Adapters never judge.
"""

from __future__ import annotations

from tandem.core.commit import Claim, Record
from tandem.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Arbiter:
    """The state of a partition's judgement: current epoch, its owner, the last counted n."""

    epoch: int = 0
    owner: str = ""
    n: int = 0

    def counts(self, record: Record) -> bool:
        """Whether the next record of the partition counts; anything else is void."""
        match record:
            case Claim(epoch=epoch):
                return epoch == self.epoch + 1
            case _:
                return record.epoch == self.epoch and self.epoch > 0 and record.n == self.n + 1

    def after(self, record: Record) -> Arbiter:
        """The judgement after a record that counts. n goes on across epochs, so a
        position of the shard is one number. Raises ValueError for a void record."""
        if not self.counts(record):
            raise ValueError(f"a void record cannot be applied: {record!r:.200}")
        match record:
            case Claim():
                return Arbiter(record.epoch, record.owner, self.n)
            case _:
                return Arbiter(self.epoch, self.owner, record.n)


@dataclass(frozen=True, slots=True)
class Place:
    """Somewhere in a partition: behind the record at `offset`, with the judgement there. Who
    knows a place can go on from it without reading what stands before."""

    offset: int = 0
    arbiter: Arbiter = Arbiter()
