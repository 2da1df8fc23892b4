"""The `Blobs` port: named immutable byte strings (recordings, snapshots, prompts)."""

from __future__ import annotations

import hashlib
from collections.abc import AsyncIterator, Sequence
from typing import Protocol

MAX_NAME = 512
"""Characters in a blob's name. Names are `/`-separated segments of 1 to 200 characters
`[A-Za-z0-9._~-]`; `.` and `..` are refused as segments. Bad names raise ValueError."""


class BlobExists(Exception):
    """Another content stands under that name: blobs are never overwritten."""


class BlobMissing(Exception):
    """No blob of that name."""


class Blobs(Protocol):
    """Adapters pass `tests/contract/blobs_contract.py`. Every method raises OSError when the
    storage fails; what it was to do is then done or not, but never in part."""

    async def put(self, name: str, content: bytes | AsyncIterator[bytes]) -> None:
        """Store whole or not at all, durable on return; a reader never sees a part.

        The same content again is a success; another one raises `BlobExists`.
        """
        ...

    async def size(self, name: str) -> int:
        """Bytes. Raises `BlobMissing`."""
        ...

    def read(self, name: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """Bytes from `start`, at most `length`, in chunks of at most 256 KiB. Raises `BlobMissing`."""
        ...

    async def list(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[str]:
        """Names beginning with `prefix` and greater than `after`, in order (by code
        point), at most `limit` (1 to 1000)."""
        ...

    async def delete(self, name: str) -> None:
        """Durable on return; a missing blob is no error."""
        ...

    async def close(self) -> None:
        """Idempotent."""
        ...


async def sum_of(blobs: Blobs, name: str) -> tuple[int, str]:
    """Size and SHA-256, in hex, of a whole blob. Raises `BlobMissing`, OSError."""
    digest, size = hashlib.sha256(), 0
    async for part in blobs.read(name):
        digest.update(part)
        size += len(part)
    return size, digest.hexdigest()
