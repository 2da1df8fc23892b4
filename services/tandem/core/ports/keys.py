"""The `Keys` port: data keys, each destroyable on its own (architecture rule 2, spine 4).

A key seals the private values of one contact, person or tenant. Destroying it is the
erasure: afterwards no byte of it is left in any file of the adapter.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

KEY_BYTES = 32
"""AES-256."""
MAX_BLOCK = 4096
"""Keys allocated in one call."""


class KeyExists(Exception):
    """A key of that id was allocated or destroyed before: ids are never used twice."""


class Keys(Protocol):
    """Adapters pass `tests/contract/keys_contract.py`. Every method raises OSError when the
    storage fails; what it was to do is then done or not, but never in part."""

    async def allocate(self, ids: Sequence[str]) -> None:
        """Make a new key for each id, all or none, durable on return.

        Raises `KeyExists` if any id was ever used or comes twice (nothing is then allocated),
        `ValueError` for an empty id, one over 200 characters or more than `MAX_BLOCK` ids.
        """
        ...

    async def get(self, ids: Sequence[str]) -> dict[str, bytes]:
        """The keys that exist; destroyed and unknown ids are missing from the answer."""
        ...

    async def destroy(self, ids: Sequence[str]) -> None:
        """Forget keys for ever; unknown and destroyed ids are no error. Durable on return, and
        then no file of the adapter holds a byte of a destroyed key, wrapped or not. Raises
        OSError when that cannot be reached in a bounded time: call again, for the same ids,
        until it returns."""
        ...

    async def close(self) -> None:
        """Idempotent."""
        ...
