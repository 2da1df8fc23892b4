"""Ids made of data, so that a replay makes the same ones."""

from __future__ import annotations

import base64
import hashlib


def derived_id(*parts: str, size: int = 16) -> str:
    """`size` lower-case base32 characters (5 bits each) out of SHA-256 over the parts.

    Different parts give different ids; nobody who does not know them can guess one.
    """
    digest = hashlib.sha256("\0".join(parts).encode()).digest()
    enough = -(-size // 8) * 5  # bytes, in whole groups of 8 characters
    return base64.b32encode(digest[:enough]).decode().lower()[:size]
