"""Values of a class as its protobuf message can carry them, derived from both."""

from __future__ import annotations

import dataclasses
import types
import typing
from enum import StrEnum
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from hypothesis import strategies as st

from tandem.core.seal import Erased, Private, Sealed, Secret, Withheld

PLAIN = b"+4420111-plain"
"""What every secret of these strategies holds, so that a test can look for it."""

_RANGES = {
    FieldDescriptor.TYPE_INT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_SINT32: (-(2**31), 2**31 - 1),
    FieldDescriptor.TYPE_INT64: (-(2**63), 2**63 - 1),
    FieldDescriptor.TYPE_UINT32: (0, 2**32 - 1),
    FieldDescriptor.TYPE_UINT64: (0, 2**64 - 1),
}
_TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=12)
SEALED = st.builds(Sealed, _TEXT, st.binary(max_size=12), st.binary(max_size=12), st.binary(max_size=12))
WRITTEN = st.one_of(SEALED, st.just(Withheld()))
"""A private value as it may stand in a log."""
_OPEN = st.one_of(SEALED, st.sampled_from([Withheld(), Secret(PLAIN), Secret(PLAIN, sensitive=True), Erased()]))
_PRIVATE = set(typing.get_args(Private))


def values(cls: type, message: Descriptor) -> st.SearchStrategy[Any]:
    """Any value of a class. Private values of its own stand open or closed, nested ones closed."""
    hints = typing.get_type_hints(cls)
    fields = {field.name: field for field in message.fields}
    return st.builds(
        cls, *[_field(hints[field.name], fields[field.name], nested=False) for field in dataclasses.fields(cls)]
    )


def _field(hint: Any, field: FieldDescriptor, nested: bool) -> st.SearchStrategy[Any]:
    arguments = typing.get_args(hint)
    if set(arguments) & _PRIVATE:
        return WRITTEN if nested or field.message_type is not None else _OPEN
    if typing.get_origin(hint) is tuple:
        return st.lists(_field(arguments[0], field, nested=True), max_size=3).map(tuple)
    if isinstance(hint, types.UnionType):
        rest = [argument for argument in arguments if argument is not type(None)]
        found = [_one(member, field, union=len(rest) > 1) for member in rest]
        return st.one_of(*([st.none()] if len(rest) < len(arguments) else []), *found)
    return _one(hint, field, union=False)


def _one(hint: Any, field: FieldDescriptor, *, union: bool) -> st.SearchStrategy[Any]:
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    if field.message_type is not None:
        message = field.message_type
        if union:
            message = next(f.message_type for f in message.oneofs[0].fields if f.message_type.name == hint.__name__)
        hints = typing.get_type_hints(hint)
        inner = {f.name: f for f in message.fields}
        return st.builds(hint, *[_field(hints[f.name], inner[f.name], nested=True) for f in dataclasses.fields(hint)])
    if hint is int:
        low, high = _RANGES[field.type]
        return st.integers(low, high)
    return {str: _TEXT, bytes: st.binary(max_size=12), bool: st.booleans()}[hint]


def plain(cls: type, classes: typing.Collection[type]) -> st.SearchStrategy[Any]:
    """Any value of a state class, by its annotations alone."""
    hints = typing.get_type_hints(cls)
    return st.builds(cls, *[_plain(hints[field.name], classes) for field in dataclasses.fields(cls)])


def _plain(hint: Any, classes: typing.Collection[type]) -> st.SearchStrategy[Any]:
    arguments = typing.get_args(hint)
    if set(arguments) & _PRIVATE:
        return WRITTEN
    if typing.get_origin(hint) is tuple:
        return st.lists(_plain(arguments[0], classes), max_size=2).map(tuple)
    if isinstance(hint, types.UnionType):
        return st.one_of(*[_plain(argument, classes) for argument in arguments])
    if hint is type(None):
        return st.none()
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        return st.sampled_from(list(hint))
    if dataclasses.is_dataclass(hint):
        return plain(typing.cast(type, hint), classes)
    return {int: st.integers(-(2**63), 2**63 - 1), str: _TEXT, bytes: st.binary(max_size=8), bool: st.booleans()}[hint]
