"""The recordings of each tenant, as rows: by id, newest first, and by contact.

Private parts stay sealed; the key of a recording stands apart and is read for a download alone.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass

from tandem.core.commit import Commit
from tandem.core.ports.store import Put, Store
from tandem.recording import events
from tandem.recording.domain import KeyKept, RecordingKept

VIEW = "recordings"
GROUP = "recording"
BY_ID = "recordings"
BY_TIME = "recordings_by_time"
BY_CONTACT = "recordings_by_contact"
KEYS = "recording_keys"
TABLES = (BY_ID, BY_TIME, BY_CONTACT, KEYS)

Key = tuple[str | int, ...]


def writes(commit: Commit) -> list[Put]:
    """Rows of a commit's events."""
    out: list[Put] = []
    for envelope in commit.events:
        tenant = envelope.tenant
        if envelope.type == events.KEPT:
            kept = events.kept(envelope.part)
            out += (
                Put(BY_ID, (tenant, kept.recording), events.row(kept)),
                Put(BY_TIME, (tenant, kept.started_ms, kept.recording), b""),
                Put(BY_CONTACT, (tenant, kept.contact, kept.started_ms, kept.recording), b""),
            )
        elif envelope.type == events.KEY:
            key = events.key_kept(envelope.part)
            out.append(Put(KEYS, (tenant, key.recording), events.row(key)))
    return out


def partition(shard: int) -> str:
    """The partition that rows of a shard come from, as the store notes its position."""
    return f"{GROUP}/{shard}"


async def follow(tail: AsyncIterator[tuple[str, Commit]], store: Store, shard: int) -> None:
    """Project a tail of the shard that begins after `store.position(VIEW, partition(shard))`, until it ends."""
    async for _, commit in tail:
        await store.project(VIEW, partition(shard), commit.n, writes(commit))


@dataclass(frozen=True, slots=True)
class Listed:
    """A recording with its place in the list that it was found in."""

    recording: RecordingKept
    place: Key


class Recordings:
    """Reads the rows."""

    def __init__(self, store: Store) -> None:
        self._store = store

    async def reached(self, shard: int, n: int, timeout_s: float) -> bool:
        """Wait until the view has seen commit `n` of the shard; False on time-out."""
        return await self._store.wait(VIEW, partition(shard), n, timeout_s)

    async def get(self, tenant: str, recording: str) -> RecordingKept | None:
        """One, or None."""
        body = await self._store.get(BY_ID, (tenant, recording))
        return None if body is None else events.kept_row(body)

    async def key(self, tenant: str, recording: str) -> KeyKept | None:
        """What opens one, or None."""
        body = await self._store.get(KEYS, (tenant, recording))
        return None if body is None else events.key_row(body)

    async def list(self, tenant: str, contact: str, after: Key | None, limit: int) -> Sequence[Listed]:
        """The newest first, of one contact if `contact` is set, beyond the place `after`."""
        prefix: Key = (tenant, contact) if contact else (tenant,)
        rows = await self._store.scan(
            BY_CONTACT if contact else BY_TIME,
            prefix,
            after=None if after is None else (*prefix, *after),
            limit=limit,
            descending=True,
        )
        found = [(row, await self.get(tenant, str(row.key[-1]))) for row in rows]
        return [Listed(kept, row.key[len(prefix) :]) for row, kept in found if kept is not None]
