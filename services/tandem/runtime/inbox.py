"""Messages of another group, read from its log (rules 3 and 4, spine 2).

The sending shard is their source; a message's number is the n of its commit and its index
in it, so numbers grow with gaps and a receiver's mark makes every repeat harmless.
"""

from __future__ import annotations

from collections.abc import Iterator

from tandem.core.arbiter import Arbiter
from tandem.core.commit import Commit, Record
from tandem.core.ports.log import Partition
from tandem.runtime.step import Offer

INDEX_BITS = 16
"""Room for the index of a message in its commit; a step of 128 inputs makes far fewer."""


def message_number(n: int, index: int) -> int:
    """The number of the message at `index` of commit `n`, never 0. Raises OverflowError for
    an index that has no room."""
    if index + 1 >= 1 << INDEX_BITS:
        raise OverflowError(f"message {index} of commit {n}: a commit has room for {(1 << INDEX_BITS) - 2}")
    return (n << INDEX_BITS) | (index + 1)


class Inbox:
    """What one partition has for a group. Give it every record of `sender` from the first on:
    it judges for itself which count."""

    def __init__(self, sender: Partition, group: str) -> None:
        self._sender, self._group = sender, group
        self._judge = Arbiter()

    def take(self, record: Record) -> list[Offer]:
        """The messages of the next record that are addressed to the group, in order; none of a void one."""
        if not self._judge.counts(record):
            return []
        self._judge = self._judge.after(record)
        return list(self._offers(record)) if isinstance(record, Commit) else []

    def _offers(self, commit: Commit) -> Iterator[Offer]:
        for index, message in enumerate(commit.messages):
            if message.group == self._group:
                yield Offer(
                    source=f"{self._sender}/{message.tenant}",
                    number=message_number(commit.n, index),
                    tenant=message.tenant,
                    stream=message.stream,
                    part=message.part,
                    sender=message.sender,
                    gone=message.gone,
                    trace=message.trace,
                )
