"""Frozen dataclasses of the `Media` port <-> the messages of the same names, checked on both ways.

A class and its message have the same fields; how one is written and read follows from its annotation.
What is over a limit is refused, so that nothing is written that cannot be read. A plaintext secret is
written with `secrets=True` alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from enum import Enum
from operator import attrgetter
from typing import Any, NoReturn, get_args, get_origin, get_type_hints

from google.protobuf.message import DecodeError, Message

from tandem.core.ports import media
from tandem.core.seal import MAX_SECRET_BYTES, Private, Secret
from tandem.internal.link.v1 import link_pb2, media_pb2
from tandem.internal.type.v1 import private_pb2
from tandem.runtime.codec import private_from_proto, private_to_proto

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""A directory with `MAX_ENTRIES` of both kinds fits; anything larger is a fault of the sender."""
MAX_ENTRIES = 50_000
"""Numbers, devices, marks or legs in one frame: a shard has 10,000 agents at most, with room to spare."""
MAX_TEXT = 256
"""Characters in a name, reason or detail."""

_LIMITS = {"leg": media.MAX_LEG, "other": media.MAX_LEG, "prompts": media.MAX_PROMPTS, "max_digits": media.MAX_DIGITS}


class MediaCodecError(ValueError):
    """What cannot be written or read. The message names type and field, never a value."""


class Unknown(MediaCodecError):
    """A type, enum value or oneof that this release does not know."""


class OverLimit(MediaCodecError):
    """A text, list or message that is too long."""


class Malformed(MediaCodecError):
    """Bytes that are no such message, or a field of the wrong kind."""


class PlainSecret(MediaCodecError):
    """A plaintext secret on its way to log or snapshot: seal or withhold it first."""


# ------------------------------------------------------------------------------- private values


def _encode_private(value: Private, secrets: bool) -> Message:
    if isinstance(value, Secret):
        if not secrets:
            raise PlainSecret("a plaintext secret must not be written: seal or withhold it first")
        _check_length(value)
    elif not isinstance(value, Private):
        raise Unknown(f"{type(value).__name__} is no private value")
    return private_to_proto(value)


def _decode_private(message: private_pb2.Private) -> Private:
    if message.WhichOneof("kind") is None:
        raise Unknown("a private value of a kind that this release does not know")
    value = private_from_proto(message)
    if isinstance(value, Secret):
        _check_length(value)
    return value


def _encode_optional(value: Private | None, secrets: bool) -> Message | None:
    return None if value is None else _encode_private(value, secrets)


def _decode_optional(message: private_pb2.Private) -> Private | None:
    return _decode_private(message) if message.ByteSize() else None


def _check_length(value: Secret) -> None:
    if len(value.value) > MAX_SECRET_BYTES:
        raise OverLimit(f"a private value is over {MAX_SECRET_BYTES} bytes")


# ----------------------------------------------------------------- fields, by their annotations

Encoder = Callable[[Any, bool], Any]
Decoder = Callable[[Any], Any]


def _same(value: Any, _secrets: bool = True) -> Any:
    return value


def _text(name: str) -> tuple[Encoder, Decoder]:
    limit = _LIMITS.get(name, MAX_TEXT)

    def check(value: str, _secrets: bool = True) -> str:
        if len(value) > limit:
            raise OverLimit(f"{name} has {len(value)} characters, over the limit of {limit}")
        return value

    return check, check


def _number(name: str) -> tuple[Encoder, Decoder]:
    limit = _LIMITS.get(name)
    if limit is None:
        return _same, _same

    def check(value: int, _secrets: bool = True) -> int:
        if value > limit:
            raise OverLimit(f"{name} is {value}, over the limit of {limit}")
        return value

    return check, check


def _enum(kind: type[Enum]) -> tuple[Encoder, Decoder]:
    numbers = getattr(media_pb2, kind.__name__)
    prefix = kind.__name__.upper()
    to_number = {member: numbers.Value(f"{prefix}_{member.name}") for member in kind}
    to_member = {number: member for member, number in to_number.items()}

    def decode(number: int) -> Enum:
        member = to_member.get(number)
        if member is None:
            raise Unknown(f"{kind.__name__} {number} is not known to this release")
        return member

    return lambda value, _secrets: to_number[value], decode


def _repeated(name: str, item: tuple[Encoder, Decoder]) -> tuple[Encoder, Decoder]:
    limit = _LIMITS.get(name, MAX_ENTRIES)
    encode_one, decode_one = item

    def check(values: Sequence[Any]) -> None:
        if len(values) > limit:
            raise OverLimit(f"{name} has {len(values)} entries, over the limit of {limit}")

    def encode(values: Sequence[Any], secrets: bool) -> list[Any]:
        check(values)
        return [encode_one(value, secrets) for value in values]

    def decode(values: Sequence[Any]) -> tuple[Any, ...]:
        check(values)
        return tuple(decode_one(value) for value in values)

    return encode, decode


_PAIRS = {"marks": ("tenant", "number"), "legs": ("tenant", "leg")}
"""Fields of messages that are pairs here: the names of their two fields there."""


def _pair(name: str, hint: Any) -> tuple[Encoder, Decoder]:
    first, second = _PAIRS[name]
    (encode_a, decode_a), (encode_b, decode_b) = (
        _coders(part, kind) for part, kind in zip((first, second), get_args(hint), strict=True)
    )

    def encode(value: tuple[Any, Any], secrets: bool) -> dict[str, Any]:
        return {first: encode_a(value[0], secrets), second: encode_b(value[1], secrets)}

    return encode, lambda value: (decode_a(getattr(value, first)), decode_b(getattr(value, second)))


def _coders(name: str, hint: Any) -> tuple[Encoder, Decoder]:
    """How a field of that annotation is written and read."""
    if hint is bool:
        return _same, _same
    if hint is int:
        return _number(name)
    if hint is str:
        return _text(name)
    if hint == Private:
        return _encode_private, _decode_private
    if hint == Private | None:
        return _encode_optional, _decode_optional
    if hint == media.Verb:
        return VERBS.encode, VERBS.decode
    if hint == media.MediaEvent:
        return EVENTS.encode, EVENTS.decode
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(hint)
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if get_origin(item) is tuple:
            return _repeated(name, _pair(name, item))
        return _repeated(name, _coders("prompt" if name == "prompts" else name, item))
    record = Record(hint)
    return record.encode, record.decode


class Record:
    """One frozen dataclass and the message of the same name and fields. Written as a dict, which the
    library sets in place; what stands at its default is left out, as on the wire."""

    def __init__(self, kind: type) -> None:
        self.kind = kind
        self._message: type[Message] = getattr(media_pb2, kind.__name__, None) or getattr(link_pb2, kind.__name__)
        hints = get_type_hints(kind)
        self._fields = tuple((field.name, *_coders(field.name, hints[field.name])) for field in fields(kind))
        self._checked = [(index, row[2]) for index, row in enumerate(self._fields) if row[2] is not _same]
        names = [name for name, *_ in self._fields]
        get = attrgetter(*names) if names else None
        self._read: Callable[[Any], tuple[Any, ...]]
        self._read = (lambda one: ()) if get is None else get if len(names) > 1 else (lambda one: (get(one),))

    def encode(self, value: Any, secrets: bool) -> dict[str, Any]:
        found = {}
        for (name, encode, _), inner in zip(self._fields, self._read(value), strict=True):
            if inner or inner is None:  # None has no place: it is told as a field of the wrong kind
                found[name] = encode(inner, secrets)
        return found

    def message(self, value: Any, secrets: bool) -> Message:
        return self._message(**self.encode(value, secrets))

    def decode(self, message: Any) -> Any:
        values = list(self._read(message))
        for index, decode in self._checked:
            values[index] = decode(values[index])
        return self.kind(*values)

    def parse(self, data: bytes) -> Any:
        return self.decode(parse(self._message, data))


class OneOf:
    """A union of dataclasses and the message whose oneof has a field for each."""

    def __init__(self, message: type[Message], oneof: str, union: Any) -> None:
        self._message = message
        self._oneof = oneof
        members = get_args(union)
        fields_of: Any = message.DESCRIPTOR.oneofs_by_name[oneof].fields
        names = {field.message_type.name: field.name for field in fields_of}
        self._by_type = {kind: (names[kind.__name__], Record(kind)) for kind in members}
        self._by_name = dict(self._by_type.values())

    def encode(self, value: Any, secrets: bool) -> dict[str, Any]:
        try:
            name, record = self._by_type[type(value)]
        except KeyError:
            raise Unknown(f"{type(value).__name__} has no place in {self._message.__name__}") from None
        return {name: record.encode(value, secrets)}

    def message(self, value: Any, secrets: bool) -> Message:
        return self._message(**self.encode(value, secrets))

    def decode(self, message: Any) -> Any:
        name = message.WhichOneof(self._oneof)
        if name is None:
            raise Unknown(f"{self._message.__name__} of a kind that this release does not know")
        return self._by_name[name].decode(getattr(message, name))


def parse(message: type[Message], data: bytes) -> Any:
    if len(data) > MAX_MESSAGE_BYTES:
        raise OverLimit(f"{message.__name__} has {len(data)} bytes, over the limit of {MAX_MESSAGE_BYTES}")
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise Malformed(f"these bytes are no {message.__name__}") from error


def refuse_value(value: Any, error: Exception) -> NoReturn:
    # Protobuf's own text may quote the value, which may be private.
    raise Malformed(f"a field of {type(value).__name__} has the wrong kind or range") from error


def write(encode: Callable[..., Any], value: Any, secrets: bool) -> Any:
    try:
        return encode(value, secrets)
    except MediaCodecError:
        raise
    except (TypeError, ValueError, KeyError) as error:
        refuse_value(value, error)


VERBS = OneOf(media_pb2.Verb, "kind", media.Verb)
EVENTS = OneOf(media_pb2.MediaEvent, "kind", media.MediaEvent)
