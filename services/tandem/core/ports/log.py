"""The `Log` port: append-only partitions of opaque records.

A log stores and delivers, nothing else. Whether a record counts is judged by
`core.arbiter`, the same for every reader, so an adapter that tried to judge
would be a second opinion (architecture rule 5).
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Protocol

from tandem.core.values import dataclass

MAX_RECORD_BYTES = 8 * 1024 * 1024
"""Largest record an adapter takes: a step is cut long before this, so more is a bug."""


@dataclass(frozen=True, slots=True)
class Partition:
    """One totally ordered log: a shard of a service group, written `live/0`."""

    group: str
    shard: int

    def __str__(self) -> str:
        return f"{self.group}/{self.shard}"


@dataclass(frozen=True, slots=True)
class Stored:
    """A record as the log holds it. Offsets grow by at least 1; the first is at least 1."""

    offset: int
    body: bytes


class LogClosed(Exception):
    """The log was closed; nothing more can be appended or read."""


class LogFailed(Exception):
    """An append is in doubt: it may or may not be stored. The owner drops its state and claims anew.
    Also raised by a reader whose records cannot be read."""


class Log(Protocol):
    """Adapters pass `tests/contract/log_contract.py`."""

    async def append(self, partition: Partition, body: bytes) -> None:
        """Store one record durably. Its place in the order is taken by the call, not by the await.

        Calls made one after another on one partition, without awaiting the first, are
        stored in that order. Returning says only that the adapter believes it stored the
        record; the caller treats nothing as durable before it has read it back.
        Raises `LogFailed` when the outcome is in doubt, `LogClosed` after `close`,
        `ValueError` for a body that is empty or over `MAX_RECORD_BYTES`.
        """
        ...

    def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        """Records with an offset above `after`, in order, in batches, for ever.

        Only durable records are delivered, the writer's own among them, each exactly once.
        An idle reader waits to be woken; it never polls. Ends when the log is closed.
        """
        ...

    async def end(self, partition: Partition) -> int:
        """Offset of the last durable record, 0 for none."""
        ...

    async def close(self) -> None:
        """Wait for appends under way, then end every reader. Idempotent."""
        ...
