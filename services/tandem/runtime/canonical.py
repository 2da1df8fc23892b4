"""States <-> canonical bytes, for snapshots and the state hash (rule 11, spine 6).

Equal states give equal bytes. What may stand in a state: None, bool, int, str, bytes,
tuples of these, and frozen dataclasses and enums that the table was told of. A class is
known by its name and its fields by theirs, so a field with a default may be added.
"""

from __future__ import annotations

import dataclasses
from enum import StrEnum
from typing import Any

import msgspec

from tandem.core.seal import fingerprint

_TUPLE, _ENUM = 0, 1
_PLAIN = frozenset((bool, int, str, bytes, type(None)))
_pack = msgspec.msgpack.Encoder()
_unpack = msgspec.msgpack.Decoder()


class NotCanonical(Exception):
    """A value that has no place in a state: a mistake in the code, named with its type."""


class Canonical:
    """Encoder and decoder for the classes it was told of."""

    def __init__(self, *classes: type) -> None:
        self._classes: dict[str, type] = {}
        for cls in classes:
            if self._classes.setdefault(cls.__name__, cls) is not cls:
                raise NotCanonical(f"two state classes are called {cls.__name__}")
        self._fields = {
            cls: tuple(field.name for field in dataclasses.fields(cls))
            for cls in classes
            if dataclasses.is_dataclass(cls)
        }
        self._in_order = {cls: list(self._fields.get(cls, ())) for cls in classes}

        shapes = [
            (cls.__name__, *(self._fields[cls] if cls in self._fields else getattr(cls, "__members__", ())))
            for cls in self._classes.values()
        ]
        self.schema = fingerprint(*(" ".join(shape).encode() for shape in sorted(shapes)))[:16]
        """Changes whenever the bytes of an equal state may change."""

    def encode(self, value: Any) -> bytes:
        """Canonical bytes. Raises `NotCanonical`."""
        return _pack.encode(self._lower(value))

    def decode(self, body: bytes) -> Any:
        """The value. Raises `NotCanonical` for a class or field that this release does not know,
        and for bytes that no `encode` wrote."""
        try:
            return self._raise(_unpack.decode(body))
        except (msgspec.DecodeError, LookupError, TypeError, ValueError) as error:
            raise NotCanonical(f"{len(body)} bytes that this release did not write: {error}") from error

    def _lower(self, value: Any) -> Any:
        kind = type(value)
        if kind in _PLAIN:
            return value
        if kind is tuple:
            return [_TUPLE, *[one if type(one) in _PLAIN else self._lower(one) for one in value]]
        fields = self._fields.get(kind)
        if fields is not None:
            flat: list[Any] = [kind.__name__]
            for name in fields:
                inner = getattr(value, name)
                flat.append(name)
                flat.append(inner if type(inner) in _PLAIN else self._lower(inner))
            return flat
        if isinstance(value, StrEnum) and kind.__name__ in self._classes:
            return [_ENUM, kind.__name__, value.name]
        raise NotCanonical(f"{kind.__module__}.{kind.__name__} may not stand in a state")

    def _raise(self, raw: Any) -> Any:
        if type(raw) is not list:
            return raw
        head = raw[0]
        if head == _TUPLE:
            return tuple([self._raise(one) if type(one) is list else one for one in raw[1:]])
        cls = self._classes.get(head) if type(head) is str else None
        if cls is not None and len(raw) % 2 and raw[1::2] == self._in_order[cls]:
            # Written by a release with the same fields: they stand in the order of `__init__`.
            return cls(*[self._raise(one) if type(one) is list else one for one in raw[2::2]])
        name = raw[1] if head == _ENUM else head
        cls = self._classes.get(name)
        if cls is None:
            raise NotCanonical(f"a state of the unknown class {name}: it was written by another release")
        if head == _ENUM:
            return cls[raw[2]]  # type: ignore[index]
        return cls(**{raw[i]: self._raise(raw[i + 1]) for i in range(1, len(raw), 2)})
