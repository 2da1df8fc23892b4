"""Whether this process may claim another shard (pitfalls, P2).

One aggregate in quarantine is one contact or one desk. Many are a release that does not fit
its log, or broken hardware: then the shard is better left to another process, or to nobody
until somebody has looked, than to be quarantined as a whole.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tandem.runtime.counts import Counts


@dataclass(slots=True)
class Gate:
    """One per process; `counts` are those of all its shards."""

    most: int
    counts: list[Counts] = field(default_factory=list)

    def opens(self, unread: int) -> bool:
        """Whether to claim a shard in which this process would have to quarantine `unread` more."""
        return sum(one.quarantines for one in self.counts) + unread <= self.most
