"""The `Keys` port in memory."""

from __future__ import annotations

from collections.abc import Sequence

from tandem.adapters.checks import check_block
from tandem.core.ports.entropy import Entropy
from tandem.core.ports.keys import KEY_BYTES, KeyExists


class KeyTable:
    """Keys and the ids of destroyed ones. Usable without asyncio; survives a simulated crash.

    `full` makes it refuse new keys as a full disk does.
    """

    def __init__(self, entropy: Entropy) -> None:
        self.full = False
        self._entropy = entropy
        self._keys: dict[str, bytes | None] = {}

    def allocate(self, ids: Sequence[str]) -> None:
        """See the port."""
        check_block(ids)
        if self.full:
            raise OSError("no room for keys")
        seen: dict[str, None] = {}
        for key_id in ids:
            if key_id in self._keys or key_id in seen:
                raise KeyExists(f"key {key_id} was allocated before")
            seen[key_id] = None
        for key_id in ids:
            self._keys[key_id] = self._entropy.secret(KEY_BYTES)

    def get(self, ids: Sequence[str]) -> dict[str, bytes]:
        """See the port."""
        return {key_id: key for key_id in ids if (key := self._keys.get(key_id)) is not None}

    def destroy(self, ids: Sequence[str]) -> None:
        """See the port."""
        for key_id in ids:
            if key_id in self._keys:
                self._keys[key_id] = None


class MemoryKeys:
    """The asyncio face of a `KeyTable`."""

    def __init__(self, table: KeyTable) -> None:
        self._table = table
        self._closed = False

    async def allocate(self, ids: Sequence[str]) -> None:
        """See the port."""
        self._open().allocate(ids)

    async def get(self, ids: Sequence[str]) -> dict[str, bytes]:
        """See the port."""
        return self._open().get(ids)

    async def destroy(self, ids: Sequence[str]) -> None:
        """See the port."""
        self._open().destroy(ids)

    async def close(self) -> None:
        """See the port."""
        self._closed = True

    def _open(self) -> KeyTable:
        if self._closed:
            raise RuntimeError("the keys were closed")
        return self._table
