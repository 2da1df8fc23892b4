"""The tables that history is read from, and their projection."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

from tandem.core.commit import Commit, Envelope, Part
from tandem.core.ports.store import Delete, Put, Store
from tandem.core.seal import Erased, Sealed, Withheld
from tandem.runtime.canonical import Canonical
from tandem.session.views.rows import ROWS, ContactRow, Phase, fold, read, told_of

VIEW = "contacts"
CONTACTS = "contacts"  # (tenant, contact) -> row
BY_TIME = "contacts_by_time"  # (tenant, started_ms, contact) -> nothing
TIMELINE = "contact_events"  # (tenant, contact, version) -> envelope
TABLES = (CONTACTS, BY_TIME, TIMELINE)
TOGETHER = 64
"""Commits in one transaction of the store, at most. A transaction costs two changes of thread however little
is in it: one for each commit is too slow for a view that is to keep up on a busy machine."""


class ContactView:
    """Projects one partition's contacts into the store. Rows of live contacts are at hand in
    memory; a restart reads them back."""

    def __init__(self, store: Store, partition: str) -> None:
        self._store, self._partition = store, partition
        self._rows: dict[tuple[str, str], ContactRow] = {}

    async def start(self) -> int:
        """Number of the last commit that is projected."""
        return await self._store.position(VIEW, self._partition)

    async def follow(self, batches: AsyncIterator[Sequence[Commit]]) -> None:
        """Project commits that begin after `start()`, until they end."""
        async for commits in batches:
            for first in range(0, len(commits), TOGETHER):
                await self.apply(*commits[first : first + TOGETHER])

    async def apply(self, *commits: Commit) -> None:
        """Project counted commits, in order, in one transaction; those that are projected already
        change nothing."""
        done = await self._store.position(VIEW, self._partition)
        fresh = [commit for commit in commits if commit.n > done]
        if len(fresh) < len(commits):
            self._rows.clear()  # the store's rows have more than was known here
        if not fresh:
            return
        writes: list[Put | Delete] = []
        changed: dict[tuple[str, str], None] = {}
        versions: dict[tuple[str, str], int] = {}  # the last of each contact in these commits
        for commit in fresh:
            await self._fold(commit, writes, changed, versions)
        for place in changed:
            writes.append(Put(CONTACTS, place, ROWS.encode(self._rows[place])))
        projected = await self._store.project(VIEW, self._partition, fresh[-1].n, writes)
        for place in changed:
            if not projected or self._rows[place].phase is Phase.ENDED:
                self._rows.pop(place, None)

    async def _fold(
        self,
        commit: Commit,
        writes: list[Put | Delete],
        changed: dict[tuple[str, str], None],
        versions: dict[tuple[str, str], int],
    ) -> None:
        keys = {(taken.tenant, taken.stream): taken.key for taken in commit.inputs if taken.key}
        for told in filter(None, map(told_of, commit.events)):
            contact = told.stream.partition("/")[2]
            place = (told.tenant, contact)
            before = await self._row(place) if told.version != 1 else None  # nothing is there to be read
            row = fold(before, read(told), contact)
            envelope = told
            if not told.version:  # an erasure or a late recording follows the contact's last event
                envelope = replace(told, version=1 + (versions.get(place) or await self._last_version(place)))
            versions[place] = envelope.version
            writes.append(Put(TIMELINE, (*place, envelope.version), encode_envelope(envelope)))
            if row is not None:
                if envelope.version == 1:
                    row = replace(row, key=keys.get((envelope.tenant, envelope.stream), ""))
                    writes.append(Put(BY_TIME, (envelope.tenant, row.started_ms, contact), b"\0"))
                self._rows[place] = row
                changed[place] = None

    async def _last_version(self, place: tuple[str, str]) -> int:
        rows = await self._store.scan(TIMELINE, place, limit=1, descending=True)
        return int(rows[0].key[2]) if rows else 0

    async def _row(self, place: tuple[str, str]) -> ContactRow | None:
        row = self._rows.get(place)
        if row is None:
            body = await self._store.get(CONTACTS, place)
            row = None if body is None else ROWS.decode(body)
        return row


_ENVELOPES = Canonical(Envelope, Part, Sealed, Withheld, Erased)


def encode_envelope(envelope: Envelope) -> bytes:
    """An envelope as a row."""
    return _ENVELOPES.encode(envelope)


def decode_envelope(body: bytes) -> Envelope:
    """The reverse of `encode_envelope`."""
    envelope: Envelope = _ENVELOPES.decode(body)
    return envelope
