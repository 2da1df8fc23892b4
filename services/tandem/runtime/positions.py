"""Positions: how far somebody has seen a partition, as opaque tokens (rule 13, spine 3).

A client gets one with each reply (`tandem-position`), presents it to a reader
(`tandem-min-position`), and goes on with a live stream from it. A token tells nothing that
its holder may not know, so it needs no seal; it opens nothing either.
"""

from __future__ import annotations

import base64
import binascii
import re
from dataclasses import dataclass

from tandem.core.errors import BAD_FIELD, Rejected

_FORM = re.compile(r"([a-z_]{1,32})/([0-9]{1,4})/([0-9]{1,15})")
MAX_TOKEN = 96
"""Characters; a longer one is none of ours."""


@dataclass(frozen=True, slots=True)
class Position:
    """Commit `n` of a partition has been seen."""

    group: str
    shard: int
    n: int


def encode(position: Position) -> str:
    """The token."""
    text = f"{position.group}/{position.shard}/{position.n}"
    return base64.urlsafe_b64encode(text.encode("ascii")).decode("ascii").rstrip("=")


def decode(token: str, field: str = "position") -> Position:
    """The position. Raises `Rejected` that names `field` for anything but a token of ours."""
    found = _FORM.fullmatch(_text(token)) if len(token) <= MAX_TOKEN else None
    if found is None:
        problem = "it is no position; send one that an answer gave, or none"
        raise Rejected(BAD_FIELD, f"{field}: {problem}", **{field: problem})
    return Position(found[1], int(found[2]), int(found[3]))


def _text(token: str) -> str:
    """What the token encodes, "" for what is no token."""
    try:
        return base64.b64decode(token + "=" * (-len(token) % 4), altchars=b"-_", validate=True).decode("ascii")
    except (ValueError, binascii.Error):
        return ""
