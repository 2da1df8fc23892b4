"""Arguments that every adapter of a port refuses alike."""

from __future__ import annotations

import re
from collections.abc import Sequence

from tandem.core.ports.blobs import MAX_NAME
from tandem.core.ports.keys import MAX_BLOCK
from tandem.core.ports.log import MAX_RECORD_BYTES

MAX_SEGMENT = 200
"""Characters in one segment of a blob's name: file systems end at 255 bytes."""
MAX_KEY_ID = 200
"""Characters in the id of a data key."""
MAX_PAGE = 1000
"""Names or rows in one answer."""

_NAME = re.compile(rf"[A-Za-z0-9._~-]{{1,{MAX_SEGMENT}}}(/[A-Za-z0-9._~-]{{1,{MAX_SEGMENT}}})*")


def check_body(body: bytes) -> None:
    """Raises ValueError for a record that no log takes."""
    if not body:
        raise ValueError("a record of 0 bytes cannot be told from none")
    if len(body) > MAX_RECORD_BYTES:
        raise ValueError(f"a record of {len(body)} bytes is over the limit of {MAX_RECORD_BYTES}")


def check_block(ids: Sequence[str]) -> None:
    """Raises ValueError for a block of key ids that cannot be allocated."""
    if len(ids) > MAX_BLOCK:
        raise ValueError(f"{len(ids)} keys in one call; the limit is {MAX_BLOCK}")
    for key_id in ids:
        if not 0 < len(key_id) <= MAX_KEY_ID:
            raise ValueError(f"a key id has 1 to {MAX_KEY_ID} characters, not {len(key_id)}")


def check_name(name: str) -> None:
    """Raises ValueError for a blob's name outside the alphabet of the port."""
    if len(name) > MAX_NAME or not _NAME.fullmatch(name) or not {".", ".."}.isdisjoint(name.split("/")):
        raise ValueError(
            f"{name[:80]!r} is no name of a blob: at most {MAX_NAME} characters, segments of 1 to {MAX_SEGMENT} "
            "from A-Z a-z 0-9 . _ ~ - between slashes, none of them . or .."
        )


def check_range(start: int, length: int | None) -> None:
    """Raises ValueError for a range that lies before a blob."""
    if start < 0 or (length is not None and length < 0):
        raise ValueError(f"a range begins at 0 or later and has 0 bytes or more, not {start} and {length}")


def check_page(limit: int) -> None:
    """Raises ValueError for a page without an end."""
    if not 1 <= limit <= MAX_PAGE:
        raise ValueError(f"a page has 1 to {MAX_PAGE} entries, not {limit}")
