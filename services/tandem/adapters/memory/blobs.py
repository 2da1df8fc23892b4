"""The `Blobs` port in memory."""

from __future__ import annotations

from bisect import bisect_left, bisect_right, insort
from collections.abc import AsyncIterator, Sequence

from tandem.adapters.checks import check_name, check_page, check_range
from tandem.core.ports.blobs import BlobExists, BlobMissing

CHUNK_BYTES = 256 * 1024


class BlobTable:
    """Blobs by name. Usable without asyncio; survives a simulated crash.

    `full` makes it refuse new blobs as a full disk does.
    """

    def __init__(self) -> None:
        self.full = False
        self._blobs: dict[str, bytes] = {}
        self._names: list[str] = []

    def put(self, name: str, content: bytes) -> None:
        """See the port."""
        check_name(name)
        if name in self._blobs:
            if self._blobs[name] != content:
                raise BlobExists(f"another content stands under {name}")
            return
        if self.full:
            raise OSError(f"no room for {name}")
        self._blobs[name] = content
        insort(self._names, name)

    def get(self, name: str) -> bytes:
        """The whole blob. Raises `BlobMissing`."""
        check_name(name)
        try:
            return self._blobs[name]
        except KeyError:
            raise BlobMissing(name) from None

    def list(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[str]:
        """See the port."""
        check_page(limit)
        first = max(bisect_left(self._names, prefix), bisect_right(self._names, after))
        page = self._names[first : first + limit]
        return [name for name in page if name.startswith(prefix)]

    def delete(self, name: str) -> None:
        """See the port."""
        check_name(name)
        if self._blobs.pop(name, None) is not None:
            del self._names[bisect_left(self._names, name)]


class MemoryBlobs:
    """The asyncio face of a `BlobTable`."""

    def __init__(self, table: BlobTable) -> None:
        self._table = table
        self._closed = False

    async def put(self, name: str, content: bytes | AsyncIterator[bytes]) -> None:
        """See the port."""
        table = self._open()
        check_name(name)
        if not isinstance(content, bytes):
            content = b"".join([chunk async for chunk in content])
        table.put(name, content)

    async def size(self, name: str) -> int:
        """See the port."""
        return len(self._open().get(name))

    async def read(self, name: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """See the port."""
        check_range(start, length)
        content = self._open().get(name)
        end = len(content) if length is None else min(len(content), start + length)
        for at in range(start, end, CHUNK_BYTES):
            yield content[at : min(at + CHUNK_BYTES, end)]

    async def list(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[str]:
        """See the port."""
        return self._open().list(prefix, after, limit)

    async def delete(self, name: str) -> None:
        """See the port."""
        self._open().delete(name)

    async def close(self) -> None:
        """See the port."""
        self._closed = True

    def _open(self) -> BlobTable:
        if self._closed:
            raise RuntimeError("the blobs were closed")
        return self._table
