"""Snapshots of a shard in Blobs (rule 11, spine 6): the newest whole one wins.

    snapshots/{group}/{shard}/{n:020d}/part-0000 ...   packed parts, each with its length
    snapshots/{group}/{shard}/{n:020d}/manifest        last: format, log offset, checksums

A snapshot is only ever a short cut: the log alone says what is true, and a snapshot that is
damaged, unfinished or of another release is passed over for an older one, or for the log.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field

from tandem.core.arbiter import Arbiter, Place
from tandem.core.ports.blobs import Blobs
from tandem.core.ports.log import Partition
from tandem.runtime.ledger import Ledger
from tandem.runtime.past import Row
from tandem.runtime.restore import restore
from tandem.runtime.service import Group

FORMAT = 2
BLOCK_BYTES = 256 * 1024
"""Parts are stored in blocks of about this size."""
KEEP = 2
"""Whole snapshots kept of a shard; older ones are deleted."""
MAX_LISTED = 1000


@dataclass(frozen=True, slots=True)
class Loaded:
    """A ledger out of a snapshot, and the log's offset that it stands at. `places` are some of
    the partition, oldest first; `followed` says for each partition that it takes messages of up
    to where all of them are taken."""

    ledger: Ledger
    offset: int
    places: tuple[Place, ...] = ()
    followed: Mapping[str, Place] = field(default_factory=dict)


def beside(places: Iterable[Place], followed: Mapping[str, Place]) -> Iterator[Row]:
    """Rows for what stands in a snapshot beside the state."""
    for place in places:
        yield "place", *_row(place)
    for sender, place in sorted(followed.items()):
        yield "followed", sender, *_row(place)


def _row(place: Place) -> Row:
    return place.offset, place.arbiter.epoch, place.arbiter.owner, place.arbiter.n


def _place(offset: int, epoch: int, owner: str, n: int) -> Place:
    return Place(offset, Arbiter(epoch, owner, n))


def prefix(partition: Partition) -> str:
    """Where a shard's snapshots are."""
    return f"snapshots/{partition.group}/{partition.shard}/"


class Writer:
    """Packs rows block by block. They are drawn one at a time, so the state may go on in between."""

    def __init__(self, group: Group, rows: Iterable[Row]) -> None:
        self._pack, self._schema = group.canonical.encode, group.canonical.schema
        self._rows = rows
        self.checksums: list[str] = []

    def blocks(self, clock_s: Callable[[], float], slice_s: float) -> Iterator[bytes | None]:
        """Blocks, with None in between whenever packing has taken `slice_s` at a stretch."""
        block, begun = bytearray(), clock_s()
        for row in self._rows:
            part = self._pack(row)
            block += len(part).to_bytes(4, "big") + part
            if len(block) >= BLOCK_BYTES:
                yield self._done(block)
                block, begun = bytearray(), clock_s()
            elif clock_s() - begun > slice_s:
                yield None
                begun = clock_s()
        if block:
            yield self._done(block)

    def _done(self, block: bytearray) -> bytes:
        self.checksums.append(hashlib.sha256(block).hexdigest())
        return bytes(block)

    def manifest(self, n: int, offset: int, shape: str) -> bytes:
        """The last blob of a snapshot."""
        told = {"format": FORMAT, "n": n, "offset": offset, "shape": shape, "schema": self._schema}
        return json.dumps(told | {"blocks": self.checksums}).encode()


async def load(
    blobs: Blobs, partition: Partition, group: Group, end: int, passed_over: Callable[[str, str], None]
) -> Loaded | None:
    """The newest whole snapshot of a log that ends at offset `end`, None if there is none.
    `passed_over(name, why)` is told of each that cannot be used."""
    try:
        names = await _whole(blobs, partition)
    except OSError as error:
        passed_over(prefix(partition), f"{type(error).__name__}: {error}")
        return None
    for name in reversed(names):
        try:
            return await _read(blobs, name, group, end)
        except Exception as error:  # noqa: BLE001 - whatever is wrong with a short cut, the log has everything
            passed_over(name, f"{type(error).__name__}: {error}")
    return None


async def _whole(blobs: Blobs, partition: Partition) -> list[str]:
    """Names of the snapshots that have a manifest, oldest first."""
    found: list[str] = []
    after = ""
    while True:
        page = await blobs.list(prefix(partition), after, MAX_LISTED)
        found += (name.removesuffix("/manifest") for name in page if name.endswith("/manifest"))
        if len(page) < MAX_LISTED:
            return found
        after = page[-1]


async def _read(blobs: Blobs, name: str, group: Group, end: int) -> Loaded:
    manifest = json.loads(await _whole_blob(blobs.read(f"{name}/manifest")))
    if manifest["format"] != FORMAT or manifest["shape"] != group.shape:
        raise ValueError(f"format {manifest['format']}, services {manifest['shape']}")
    if manifest["offset"] > end:
        raise ValueError(f"it stands at {manifest['offset']} of a log that ends at {end}: the log was put back")
    parts: list[bytes] = []
    for index, checksum in enumerate(manifest["blocks"]):
        block = await _whole_blob(blobs.read(f"{name}/part-{index:04d}"))
        if hashlib.sha256(block).hexdigest() != checksum:
            raise ValueError(f"part {index} is damaged")
        parts += _split(block)
    aside: list[Row] = []
    ledger = restore(group, parts, manifest["schema"], aside)
    if ledger.arbiter.n != manifest["n"]:
        raise ValueError(f"it says commit {manifest['n']} and holds {ledger.arbiter.n}")
    own = Place(manifest["offset"], ledger.arbiter)
    places = (*(_place(*row[1:]) for row in aside if row[0] == "place"), own)
    return Loaded(ledger, own.offset, places, {row[1]: _place(*row[2:]) for row in aside if row[0] == "followed"})


async def _whole_blob(chunks: AsyncIterator[bytes]) -> bytes:
    return b"".join([chunk async for chunk in chunks])


def _split(block: bytes) -> Iterator[bytes]:
    at = 0
    while at < len(block):
        size = int.from_bytes(block[at : at + 4], "big")
        yield block[at + 4 : at + 4 + size]
        at += 4 + size


async def clear(blobs: Blobs, partition: Partition, n: int) -> bool:
    """Remove what a crash left of a snapshot at commit `n`. False if that one is whole."""
    prefix_ = f"{prefix(partition)}{n:020d}/"
    left = await blobs.list(prefix_, "", MAX_LISTED)
    if f"{prefix_}manifest" in left:
        return False
    for name in left:
        await blobs.delete(name)
    return True


async def tidy(blobs: Blobs, partition: Partition) -> None:
    """Delete all but the newest `KEEP` whole snapshots, and what crashes left unfinished below them."""
    whole = await _whole(blobs, partition)
    if len(whole) <= KEEP:
        return
    oldest_kept = whole[-KEEP]
    for name in await blobs.list(prefix(partition), "", MAX_LISTED):
        if name < oldest_kept:
            await blobs.delete(name)
