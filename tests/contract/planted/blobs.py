"""Bad adapters of the `Blobs` port."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence

from tandem.adapters.memory import (
    BlobTable,
    MemoryBlobs,
)
from tandem.core.ports.blobs import BlobExists, BlobMissing
from tests.contract.blobs_contract import BlobsContract
from tests.contract.planted.defect import PATIENCE_S, Planted
from tests.contract.worlds import MemoryBlobsWorld


def blobs_world(table: type[BlobTable], blobs: type[MemoryBlobs] = MemoryBlobs) -> Callable[[], object]:
    """A world of bad blobs."""

    class PlantedBlobsWorld(MemoryBlobsWorld):
        patience_s = PATIENCE_S

        def __init__(self) -> None:
            self.table = table()

        async def open(self) -> MemoryBlobs:
            return blobs(self.table)

        async def crash(self, adapter: MemoryBlobs) -> None:
            crash = getattr(self.table, "crash", None)
            if crash:
                crash()

    PlantedBlobsWorld.__name__ = (table if table is not BlobTable else blobs).__name__
    return PlantedBlobsWorld


class CutsTail(BlobTable):
    def put(self, name: str, content: bytes) -> None:
        super().put(name, content[: len(content) // 4096 * 4096])


class IgnoresRepeats(MemoryBlobs):
    """Compares names and not contents."""

    async def put(self, name: str, content: bytes | AsyncIterator[bytes]) -> None:
        if name not in self._table._blobs:
            await super().put(name, content)


class AssertsNoRepeats(MemoryBlobs):
    async def put(self, name: str, content: bytes | AsyncIterator[bytes]) -> None:
        assert name not in self._table._blobs, "the same content is refused"
        await super().put(name, content)


class Overwrites(BlobTable):
    def put(self, name: str, content: bytes) -> None:
        self.delete(name)
        super().put(name, content)


class ChecksThenWrites(MemoryBlobs):
    """Others may write between the look and the write."""

    async def put(self, name: str, content: bytes | AsyncIterator[bytes]) -> None:
        assert isinstance(content, bytes)
        taken = name in self._table._blobs
        await asyncio.sleep(0)
        if taken:
            raise BlobExists(name)
        self._table.delete(name)
        self._table.put(name, content)


class LosesBlobs(BlobTable):
    def crash(self) -> None:
        self._blobs.clear()
        self._names.clear()


class TearsWrites(MemoryBlobs):
    """Writes under the name from the first byte on."""

    async def put(self, name: str, content: bytes | AsyncIterator[bytes]) -> None:
        if isinstance(content, bytes):
            await super().put(name, content)
            return
        so_far = b""
        async for chunk in content:
            self._table.delete(name)
            so_far += chunk
            self._table.put(name, so_far)


class SizeInCharacters(MemoryBlobs):
    async def size(self, name: str) -> int:
        return len(self._table.get(name).decode(errors="ignore"))


class RangesByChunk(MemoryBlobs):
    def read(self, name: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        return super().read(name, start // 4096 * 4096, length)


class OneBigChunk(MemoryBlobs):
    async def read(self, name: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        yield self._table.get(name)


class EmptyIfMissing(MemoryBlobs):
    async def size(self, name: str) -> int:
        try:
            return await super().size(name)
        except BlobMissing:
            return 0


class DirectoryOrder(BlobTable):
    """In the order of a walk through directories."""

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[str]:
        return sorted(super().list(prefix, after, limit), key=lambda name: name.split("/"))


class PrefixIsDirectory(BlobTable):
    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[str]:
        names = super().list(prefix, after, limit)
        return [name for name in names if not prefix or name == prefix or name.startswith(prefix.rstrip("/") + "/")]


class PageAfterFilter(BlobTable):
    """Cuts the page before it looks at `after`."""

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[str]:
        return [name for name in super().list(prefix, "", limit) if name > after]


class DeletesTillCrash(BlobTable):
    def delete(self, name: str) -> None:
        self._disk = dict(self._blobs)
        super().delete(name)

    def crash(self) -> None:
        self._blobs = self._disk
        self._names = sorted(self._disk)


class DeletesBelow(BlobTable):
    def delete(self, name: str) -> None:
        for below in [other for other in self._names if other.startswith(f"{name}/")]:
            super().delete(below)
        super().delete(name)


class MendsNames(MemoryBlobs):
    async def put(self, name: str, content: bytes | AsyncIterator[bytes]) -> None:
        await super().put("".join(letter for letter in name if letter.isalnum()) or "x", content)


class KeepsPartOnFullDisk(BlobTable):
    def put(self, name: str, content: bytes) -> None:
        if not self.full:
            super().put(name, content)
            return
        self.full = False
        super().put(name, content[:1000])
        raise OSError("no room")


class BlobsCloseOnce(MemoryBlobs):
    async def close(self) -> None:
        assert not self._closed, "closed twice"
        await super().close()


BLOBS = [
    Planted(BlobsContract, "test_what_was_put_is_read_byte_for_byte", blobs_world(CutsTail)),
    Planted(BlobsContract, "test_the_same_content_again_is_a_success", blobs_world(BlobTable, AssertsNoRepeats)),
    Planted(BlobsContract, "test_another_content_is_refused_and_the_first_stands", blobs_world(Overwrites)),
    Planted(
        BlobsContract,
        "test_another_content_is_refused_and_the_first_stands",
        blobs_world(BlobTable, IgnoresRepeats),
    ),
    Planted(BlobsContract, "test_of_many_puts_at_once_one_stands", blobs_world(BlobTable, ChecksThenWrites)),
    Planted(BlobsContract, "test_what_was_put_survives_a_crash", blobs_world(LosesBlobs)),
    Planted(BlobsContract, "test_a_put_that_breaks_off_leaves_nothing", blobs_world(BlobTable, TearsWrites)),
    Planted(BlobsContract, "test_a_reader_never_sees_a_part", blobs_world(BlobTable, TearsWrites)),
    Planted(BlobsContract, "test_a_crash_in_a_put_leaves_nothing", blobs_world(BlobTable, TearsWrites)),
    Planted(BlobsContract, "test_size_is_in_bytes", blobs_world(BlobTable, SizeInCharacters)),
    Planted(BlobsContract, "test_ranges_are_cut_to_the_byte", blobs_world(BlobTable, RangesByChunk)),
    Planted(BlobsContract, "test_chunks_are_bounded", blobs_world(BlobTable, OneBigChunk)),
    Planted(BlobsContract, "test_missing_blobs_are_missing", blobs_world(BlobTable, EmptyIfMissing)),
    Planted(BlobsContract, "test_lists_are_in_order", blobs_world(DirectoryOrder)),
    Planted(BlobsContract, "test_lists_are_in_order", blobs_world(PrefixIsDirectory)),
    Planted(BlobsContract, "test_lists_have_pages", blobs_world(PageAfterFilter)),
    Planted(BlobsContract, "test_a_deleted_blob_is_gone_for_good", blobs_world(DeletesTillCrash)),
    Planted(BlobsContract, "test_deleting_a_missing_blob_is_no_error", blobs_world(DeletesBelow)),
    Planted(BlobsContract, "test_names_outside_the_alphabet_are_refused", blobs_world(BlobTable, MendsNames)),
    Planted(BlobsContract, "test_a_full_disk_stores_nothing_and_later_calls_work", blobs_world(KeepsPartOnFullDisk)),
    Planted(BlobsContract, "test_close_is_idempotent", blobs_world(BlobTable, BlobsCloseOnce)),
]
