"""Frozen dataclasses <-> protobuf, bound by field name and checked at import.

A `Codec` is one service's table of stable names. For each class it is told the message
that carries it; both must have the same fields, or the import fails. A field annotated
`Private` stands in a string or bytes field of the message, which stays unset: the value
goes to `Part.private` under the field's number (core/seal.py).

Enums travel as proto enums whose values are `<ENUM_NAME>_<MEMBER>`; tuples as repeated
fields; a nested dataclass as a message; `X | None` as an unset field; a union of
dataclasses as a message with one oneof whose fields carry them.
"""

from __future__ import annotations

import dataclasses
import re
import types
import typing
from collections.abc import Callable, Iterable, Mapping
from enum import StrEnum
from operator import attrgetter
from typing import Any

from google.protobuf.descriptor import Descriptor, FieldDescriptor
from google.protobuf.empty_pb2 import Empty
from google.protobuf.internal.enum_type_wrapper import EnumTypeWrapper
from google.protobuf.message import DecodeError, Message
from google.protobuf.message_factory import GetMessageClass

from tandem.core.changed import changed
from tandem.core.commit import Part
from tandem.core.seal import Erased, Private, Sealed, Secret, Withheld
from tandem.internal.type.v1 import private_pb2

Row = tuple[str, type, type[Message]]
Privates = list[tuple[int, Any]]
Convert = Callable[[Any], Any]

_PRIVATE = set(typing.get_args(Private))
_OPEN, _WRITTEN = (Secret, Erased), (Sealed, Withheld)
_NONE: Mapping[int, Any] = {}


class UnknownType(Exception):
    """A name that this release does not know: written by a newer one, or damage."""


class BadBinding(Exception):
    """A class and its message do not have the same fields: a mistake in the code."""


def private_to_proto(value: Private) -> private_pb2.Private:
    """A private value in whatever form it has."""
    match value:
        case Sealed(key, nonce, aad, data):
            return private_pb2.Private(sealed=private_pb2.Sealed(key=key, nonce=nonce, aad=aad, data=data))
        case Secret(text, sensitive):
            return private_pb2.Private(sensitive=text) if sensitive else private_pb2.Private(plain=text)
        case Withheld():
            return private_pb2.Private(withheld=Empty())
        case Erased():
            return private_pb2.Private(erased=Empty())


def private_from_proto(value: private_pb2.Private) -> Private:
    """The reverse of `private_to_proto`; an empty message reads as `Erased`."""
    match value.WhichOneof("kind"):
        case "sealed":
            sealed = value.sealed
            return Sealed(sealed.key, sealed.nonce, sealed.aad, sealed.data)
        case "plain":
            return Secret(value.plain)
        case "sensitive":
            return Secret(value.sensitive, sensitive=True)
        case "withheld":
            return Withheld()
        case _:
            return Erased()


def _enum_prefix(name: str) -> str:
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])", "_", name).upper() + "_"


class _Binding:
    """How one class and one message translate, worked out once: all fields are read at one go, and
    only those that translate are looked at one by one. What stands at its default is not set."""

    __slots__ = ("_back", "_parse", "_private", "_put", "_read", "cls", "message")

    def __init__(self, cls: type, message: type[Message]) -> None:
        self.cls, self.message = cls, message
        hints = typing.get_type_hints(cls)
        names = tuple(field.name for field in dataclasses.fields(cls))
        numbers: dict[str, Any] = {field.name: field for field in message.DESCRIPTOR.fields}
        if set(names) != set(numbers):
            odd = sorted(set(names) ^ set(numbers))
            raise BadBinding(f"{cls.__name__} and {message.DESCRIPTOR.full_name} differ in {', '.join(odd)}")
        if any(field.message_type and field.message_type.GetOptions().map_entry for field in numbers.values()):
            raise BadBinding(f"{message.DESCRIPTOR.full_name} has a map, whose bytes stand in no order")
        self._read = _reader(names)
        self._parse = message.FromString
        self._put: list[tuple[str, int, Convert | None, bool]] = []  # name, index, to proto, set at its default too
        self._back: list[tuple[str, int, Convert | None, bool]] = []  # name, index, from proto, None if unset
        self._private: list[tuple[str, int, int]] = []  # name, index, field number
        for index, name in enumerate(names):
            hint, descriptor = hints[name], numbers[name]
            if _is_private(hint) and descriptor.message_type is None:
                self._private.append((name, index, descriptor.number))
            else:
                to, back, kept, optional = _field(name, hint, descriptor)
                self._put.append((name, index, to, kept))
                if back is not None or optional:
                    self._back.append((name, index, back, optional))

    def fields(self, value: Any, privates: Privates) -> dict[str, Any]:
        """The message's fields; nested messages are dicts again."""
        values = self._read(value)
        found = {}
        for name, index, to, kept in self._put:
            inner = values[index]
            if inner or (kept and inner is not None):
                found[name] = inner if to is None else to(inner)
        for _, index, number in self._private:
            inner = values[index]
            if inner is not None:
                privates.append((number, inner))
        return found

    def encode(self, value: Any, privates: Privates) -> bytes:
        return self.message(**self.fields(value, privates)).SerializeToString()

    def parse(self, part: Part) -> Any:
        return self.from_message(self._parse(part.clear), dict(part.private) if part.private else _NONE)

    def from_message(self, message: Any, privates: Mapping[int, Any]) -> Any:
        if not self._back and not self._private:
            return self.cls(*self._read(message))
        values = list(self._read(message))
        for name, index, back, optional in self._back:
            if optional and not message.HasField(name):
                values[index] = None
            elif back is not None:
                values[index] = back(values[index])
        for _, index, number in self._private:
            values[index] = privates.get(number) or Erased()
        return self.cls(*values)


def _reader(names: tuple[str, ...]) -> Callable[[Any], tuple[Any, ...]]:
    """All attributes of these names at one go."""
    if not names:
        return lambda value: ()
    read = attrgetter(*names)
    return read if len(names) > 1 else lambda value: (read(value),)


_bindings: dict[tuple[type, str], _Binding] = {}


def _bind(cls: type, message: type[Message]) -> _Binding:
    key = (cls, message.DESCRIPTOR.full_name)
    if key not in _bindings:
        _bindings[key] = _Binding(cls, message)
    return _bindings[key]


def _is_private(hint: Any) -> bool:
    return bool(set(typing.get_args(hint)) & _PRIVATE)


def _message_class(descriptor: Descriptor) -> type[Message]:
    return GetMessageClass(descriptor)


def _converter(
    name: str, hint: Any, field: FieldDescriptor
) -> tuple[Callable[[Any], Any], Callable[[Any], Any]] | None:
    """(to proto value, from proto value) of one element, None where both are the same."""
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        if field.enum_type is None:
            raise BadBinding(f"{field.full_name} is no enum, {hint.__name__} is")
        wrapper = EnumTypeWrapper(field.enum_type)
        prefix = _enum_prefix(field.enum_type.name)
        to = {member: wrapper.Value(prefix + member.name) for member in hint}
        back = {number: member for member, number in to.items()}

        def member_of(number: int) -> Any:
            if number not in back:
                raise DecodeError(f"{field.full_name}: {number} is no {hint.__name__} that this release knows")
            return back[number]

        return to.__getitem__, member_of
    if _is_private(hint):
        # In place, only what may stand in a log: plaintext is a bug that must not be written.
        return (lambda value: private_to_proto(sealed_or_withheld(value))), private_from_proto
    if field.message_type is None:
        return None
    message = _message_class(field.message_type)
    if isinstance(hint, types.UnionType):
        return _union(typing.get_args(hint), message)
    if not dataclasses.is_dataclass(hint):
        raise BadBinding(f"{field.full_name} is a message, but {name} is {hint}")
    binding = _bind(typing.cast(type, hint), message)
    if binding._private:
        raise BadBinding(f"{field.full_name}: a nested private value needs a message field")
    return (lambda value: binding.fields(value, [])), (lambda value: binding.from_message(value, _NONE))


def _union(members: Iterable[type], message: type[Message]) -> tuple[Callable[[Any], Any], Callable[[Any], Any]]:
    """A union as a message with one oneof: fields are found by their message's name."""
    (oneof,) = message.DESCRIPTOR.oneofs
    by_type: dict[str, Any] = {field.message_type.name: field for field in oneof.fields}  # type: ignore[union-attr]
    to: dict[type, tuple[str, _Binding]] = {}
    back: dict[str, _Binding] = {}
    for member in members:
        field = by_type[member.__name__]
        binding = _bind(member, _message_class(field.message_type))
        to[member] = (field.name, binding)
        back[field.name] = binding

    def put(value: Any) -> Any:
        name, binding = to[type(value)]
        return {name: binding.fields(value, [])}

    def get(outer: Any) -> Any:
        name = outer.WhichOneof(oneof.name)
        if name is None:
            raise DecodeError(f"{message.DESCRIPTOR.full_name} is empty")
        return back[name].from_message(getattr(outer, name), _NONE)

    return put, get


def _field(name: str, hint: Any, field: FieldDescriptor) -> tuple[Convert | None, Convert | None, bool, bool]:
    """(to proto, from proto, whether it is set at its default too, whether it may be None)."""
    if typing.get_origin(hint) is tuple:
        return _repeated(name, typing.get_args(hint)[0], field)
    optional = isinstance(hint, types.UnionType) and type(None) in typing.get_args(hint)
    if optional and not _is_private(hint):
        rest = [arg for arg in typing.get_args(hint) if arg is not type(None)]
        hint = rest[0] if len(rest) == 1 else typing.Union[tuple(rest)]  # noqa: UP007
    convert = _converter(name, hint, field)
    to, back = convert if convert is not None else (None, None)
    return to, back, convert is not None or field.has_presence, optional


def _repeated(name: str, hint: Any, field: FieldDescriptor) -> tuple[Convert | None, Convert | None, bool, bool]:
    convert = _converter(name, hint, field)
    if convert is None:
        return None, tuple, False, False
    to, back = convert
    return (lambda value: list(map(to, value))), (lambda items: tuple(map(back, items))), False, False


class Codec:
    """A table of (stable name, class, message). A class stands under one name only."""

    def __init__(self, *rows: Row) -> None:
        self._by_type: dict[type, tuple[str, _Binding]] = {}
        self._by_name: dict[str, _Binding] = {}
        for name, cls, message in rows:
            if name in self._by_name or cls in self._by_type:
                raise BadBinding(f"{name} or {cls.__name__} stands twice in a table")
            binding = _bind(cls, message)
            self._by_type[cls] = (name, binding)
            self._by_name[name] = binding

    @property
    def names(self) -> tuple[str, ...]:
        """All stable names of the table."""
        return tuple(self._by_name)

    def shape(self, name: str) -> tuple[type[Message], frozenset[str]]:
        """The message of a row, and its private fields. Raises KeyError."""
        binding = self._by_name[name]
        return binding.message, frozenset(field for field, _, _ in binding._private)

    def classes(self) -> tuple[tuple[str, type], ...]:
        """(name, class) of each row."""
        return tuple((name, binding.cls) for name, binding in self._by_name.items())

    def name(self, value: Any) -> str:
        """The stable name of a value. Raises KeyError for a class that is not in the table."""
        return self._by_type[type(value)][0]

    def encode(self, value: Any) -> tuple[str, bytes, Privates]:
        """(name, clear bytes, private values as they stand). Bytes are canonical: equal
        values give equal bytes, because fields are written in the order of their numbers and
        no message has a map."""
        name, binding = self._by_type[type(value)]
        privates: Privates = []
        return name, binding.encode(value, privates), privates

    def close(self, value: Any, close: Callable[[str, Any], Sealed | Withheld]) -> tuple[Any, Part]:
        """The value with its private values closed, and its part. `close` gets the stable
        name and each private value that stands open."""
        name, binding = self._by_type[type(value)]
        if binding._private:
            closed = {
                field: close(name, inner)
                for field, _, _ in binding._private
                if isinstance(inner := getattr(value, field), _OPEN)
            }
            if closed:
                value = changed(value, **closed)
        privates: Privates = []
        clear = binding.encode(value, privates)
        return value, Part(name, clear, tuple(privates))

    def decode(self, part: Part) -> Any:
        """The value. Raises `UnknownType` or google.protobuf's DecodeError."""
        binding = self._by_name.get(part.type)
        if binding is None:
            raise UnknownType(part.type)
        return binding.parse(part)

    def message(self, part: Part) -> Message:
        """The part's own message with its clear fields."""
        binding = self._by_name.get(part.type)
        if binding is None:
            raise UnknownType(part.type)
        message = binding.message()
        message.ParseFromString(part.clear)
        return message

    def joined(self, *others: Codec) -> Codec:
        """One table of several."""
        codec = Codec()
        for table in (self, *others):
            for name, binding in table._by_name.items():
                if name in codec._by_name:
                    raise BadBinding(f"{name} stands in two tables")
                codec._by_name[name] = binding
            codec._by_type.update(table._by_type)
        return codec


def sealed_or_withheld(value: Private) -> Sealed | Withheld:
    """What may stand in a log. Raises TypeError for plaintext: a bug that must not be written."""
    if isinstance(value, _WRITTEN):
        return value
    if isinstance(value, Erased):
        return Withheld()
    raise TypeError(f"{type(value).__name__} may not be written to a log")
