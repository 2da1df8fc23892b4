"""The `Entropy` port: ids, keys and chance, seeded in simulation."""

from __future__ import annotations

from typing import Protocol


class Entropy(Protocol):
    """A source of unpredictable bytes."""

    def token(self, size: int = 16) -> str:
        """`size` random bytes as lower-case base32 without padding (safe in DNS names and URLs)."""
        ...

    def secret(self, size: int) -> bytes:
        """`size` random bytes."""
        ...
