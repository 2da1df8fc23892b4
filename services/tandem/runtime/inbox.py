"""Messages of another group, read from its log (rules 3 and 4, spine 2).

The sending shard is their source; a message's number is the n of its commit and its index
in it, so numbers grow with gaps and a receiver's mark makes every repeat harmless.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterator

from tandem.core.arbiter import Place
from tandem.core.commit import Commit, Record
from tandem.core.ports.log import Partition
from tandem.runtime.step import Offer

BEGINNING = Place()
INDEX_BITS = 16
"""Room for the index of a message in its commit; a step of 128 inputs makes far fewer."""


def message_number(n: int, index: int) -> int:
    """The number of the message at `index` of commit `n`, never 0. Raises OverflowError for
    an index that has no room."""
    if index + 1 >= 1 << INDEX_BITS:
        raise OverflowError(f"message {index} of commit {n}: a commit has room for {(1 << INDEX_BITS) - 2}")
    return (n << INDEX_BITS) | (index + 1)


class Inbox:
    """What one partition has for a group. Give it every record of `sender` behind `begin`: it
    judges for itself which count."""

    def __init__(self, sender: Partition, group: str, begin: Place = BEGINNING) -> None:
        self._sender, self._group = sender, group
        self._place = begin  # of the last record given
        self._untaken: deque[tuple[Place, Offer]] = deque()  # with the place before its commit

    def take(self, record: Record, offset: int = 0) -> list[Offer]:
        """The messages of the next record that are addressed to the group, in order; none of a void one."""
        before, judge = self._place, self._place.arbiter
        counts = judge.counts(record)
        self._place = Place(offset, judge.after(record) if counts else judge)
        offers = list(self._offers(record)) if counts and isinstance(record, Commit) else []
        self._untaken.extend((before, offer) for offer in offers)
        return offers

    @property
    def untaken(self) -> int:
        """Messages given out of which it is not known that they are taken."""
        return len(self._untaken)

    def taken(self, mark: Callable[[str, str], int]) -> Place:
        """The place up to which a receiver with these marks has taken everything: who goes on from
        there misses nothing. Forgets what is taken; the marks must never go back afterwards."""
        while self._untaken:
            place, offer = self._untaken[0]
            if mark(offer.source, offer.tenant) < offer.number:
                return place
            self._untaken.popleft()
        return self._place

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
