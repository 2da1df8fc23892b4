"""Row keys as bytes that sort as the `Store` port orders keys.

An int is 0x01 and eight bytes with the sign bit flipped; a string is 0x02, its UTF-8 (which
sorts by code point) with each 0x00 followed by 0xFF, and a closing 0x00. So ints come before
strings, and a key comes before the longer ones that it begins.
"""

from __future__ import annotations

MAX_KEY_BYTES = 2048
"""Longest encoded key: view keys are made of ids, so a longer one is a bug."""

_INT = b"\x01"
_STRING = b"\x02"
_INT_BYTES = 8
_BIAS = 1 << 63

Key = tuple[str | int, ...]


def encode(key: Key) -> bytes:
    """The bytes of a key whose first part is the tenant.

    Raises ValueError for a key that is empty, does not begin with a string, holds an int
    beyond 64 bits or is over `MAX_KEY_BYTES`; TypeError for a part of another type.
    """
    if not key or not isinstance(key[0], str):
        raise ValueError(f"a key begins with the tenant, a string: {key!r}")
    data = b"".join(map(_part, key))
    if len(data) > MAX_KEY_BYTES:
        raise ValueError(f"a key of {len(data)} bytes is over the limit of {MAX_KEY_BYTES}")
    return data


def _part(part: str | int) -> bytes:
    match part:
        case str():
            return _STRING + part.encode().replace(b"\x00", b"\x00\xff") + b"\x00"
        case int() if not isinstance(part, bool):
            if not -_BIAS <= part < _BIAS:
                raise ValueError(f"{part} does not fit 64 bits")
            return _INT + (part + _BIAS).to_bytes(_INT_BYTES, "big")
        case _:
            raise TypeError(f"a key is made of strings and ints, not {type(part).__name__}")


def decode(data: bytes) -> Key:
    """The key of bytes that `encode` made."""
    parts: list[str | int] = []
    at = 0
    while at < len(data):
        if data[at : at + 1] == _INT:
            end = at + 1 + _INT_BYTES
            parts.append(int.from_bytes(data[at + 1 : end], "big") - _BIAS)
        else:
            end = _closing(data, at + 1) + 1
            parts.append(data[at + 1 : end - 1].replace(b"\x00\xff", b"\x00").decode())
        at = end
    return tuple(parts)


def _closing(data: bytes, at: int) -> int:
    """Where the 0x00 stands that ends a string: the first that no 0xFF follows."""
    while True:
        at = data.index(b"\x00", at)
        if data[at + 1 : at + 2] != b"\xff":
            return at
        at += 2


def span(prefix: Key, after: Key | None, descending: bool) -> tuple[bytes, bytes]:
    """The half-open range of encoded keys that begin with `prefix` and lie beyond `after`.

    No part begins with 0xFF, but the second byte of an escaped 0x00 is one: so `+ 0xFF`
    holds all keys that go on after the prefix and none whose string goes on.
    """
    low = encode(prefix)
    high = low + b"\xff"
    if after is None:
        return low, high
    if descending:
        return low, min(high, encode(after))
    return max(low, encode(after) + b"\x00"), high
