"""The newest records of a partition, in memory."""

from __future__ import annotations

from collections.abc import Sequence

from tandem.core.ports.log import Stored

MAX_TAIL_RECORDS = 1024
MAX_TAIL_BYTES = 1024 * 1024


class Tail:
    """The last durable records, which all readers that keep up share.

    A reader is but a position. Behind the tail it reads the file, so a slow one costs no
    memory, and since both hold the same offsets nothing is missed or repeated in between.
    """

    def __init__(self, last: int) -> None:
        self.last = last
        """Offset of the last durable record, 0 for none."""
        self._records: list[Stored] = []
        self._bytes = 0

    def extend(self, records: Sequence[Stored]) -> None:
        """Add records that have become durable; they follow `last` without a gap."""
        self._records.extend(records)
        self._bytes += sum(len(record.body) for record in records)
        self.last = records[-1].offset
        if len(self._records) > MAX_TAIL_RECORDS or self._bytes > MAX_TAIL_BYTES:
            self._shorten()

    def restart(self, last: int) -> None:
        """The file holds more than was known here."""
        self.last = last
        self._records = []
        self._bytes = 0

    def after(self, position: int) -> Sequence[Stored] | None:
        """All records above `position`, or None if the oldest of them is in the file alone."""
        first = self.last - len(self._records) + 1
        if position + 1 < first:
            return None
        return self._records[position + 1 - first :]

    def _shorten(self) -> None:
        """Keep the newest half of what is allowed, so that this happens seldom."""
        kept: list[Stored] = []
        size = 0
        for record in reversed(self._records):
            size += len(record.body)
            if len(kept) >= MAX_TAIL_RECORDS // 2 or size > MAX_TAIL_BYTES // 2:
                break
            kept.append(record)
        self._records = kept[::-1]
        self._bytes = sum(len(record.body) for record in self._records)
