"""A journal's disk that has no room."""

from __future__ import annotations

import errno

from tandem.media.journal.file import MemoryStore


class FullStore(MemoryStore):
    """Takes nothing while it is `full`."""

    def __init__(self, data: bytes = b"", *, full: bool = True) -> None:
        super().__init__(data)
        self.full = full

    def append(self, data: bytes) -> None:
        """See `JournalStore`."""
        self._check()
        super().append(data)

    def replace(self, data: bytes) -> None:
        """See `JournalStore`."""
        self._check()
        super().replace(data)

    def _check(self) -> None:
        if self.full:
            raise OSError(errno.ENOSPC, "No space left on device")
