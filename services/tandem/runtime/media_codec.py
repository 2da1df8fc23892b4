"""The one protobuf form of the `Media` port's types: in log, snapshots, link and journal (spine 7).

What is written to log or snapshot must not carry a plaintext secret, so a `Secret` is refused
there (`PlainSecret`); `secrets=True` is for the link and the node's journal alone. What is over a
limit is refused on both ways, so that nothing is written that cannot be read.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import fields
from enum import Enum
from operator import attrgetter
from typing import Any, NoReturn, TypeVar, get_args, get_origin, get_type_hints

from google.protobuf.empty_pb2 import Empty
from google.protobuf.message import DecodeError, Message

from tandem.core.ports import media
from tandem.core.seal import MAX_SECRET_BYTES, Erased, Private, Sealed, Secret, Withheld
from tandem.core.values import dataclass
from tandem.internal.link.v1 import link_pb2, media_pb2
from tandem.internal.type.v1 import private_pb2

MAX_MESSAGE_BYTES = 32 * 1024 * 1024
"""A directory with `MAX_ENTRIES` of both kinds fits; anything larger is a fault of the sender."""
MAX_ENTRIES = 50_000
"""Numbers, devices, marks or legs in one frame: a shard has 10,000 agents at most, with room to spare."""
MAX_TEXT = 256
"""Characters in a name, reason or detail."""

_LIMITS = {"leg": media.MAX_LEG, "other": media.MAX_LEG, "prompts": media.MAX_PROMPTS, "max_digits": media.MAX_DIGITS}

T = TypeVar("T")


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


@dataclass(frozen=True, slots=True)
class Close:
    """The end of one shard's channel on a shared stream; `reason` is for people."""

    reason: str = ""


@dataclass(frozen=True, slots=True)
class Ping:
    """Asks for the node's time; the sign of life of an owner's process. CLOCK_BOOTTIME, ms."""

    sent_ms: int


@dataclass(frozen=True, slots=True)
class Pong:
    """Answers `Ping`. `now_ms` is the node's CLOCK_BOOTTIME."""

    sent_ms: int
    now_ms: int


ToNodeFrame = media.ToNode | Close | Ping
FromNodeFrame = media.FromNode | Close | Pong
Channelled = tuple[int, T]
"""A frame and the channel that it belongs to."""


# ------------------------------------------------------------------------------- private values


def _encode_private(value: Private, secrets: bool) -> Message:
    match value:
        case Sealed():
            sealed = private_pb2.Sealed(key=value.key, nonce=value.nonce, aad=value.aad, data=value.data)
            return private_pb2.Private(sealed=sealed)
        case Withheld():
            return private_pb2.Private(withheld=Empty())
        case Erased():
            return private_pb2.Private(erased=Empty())
        case Secret() if not secrets:
            raise PlainSecret("a plaintext secret must not be written: seal or withhold it first")
        case Secret() if len(value.value) > MAX_SECRET_BYTES:
            raise OverLimit(f"a private value is over {MAX_SECRET_BYTES} bytes")
        case Secret(sensitive=True):
            return private_pb2.Private(sensitive=value.value)
        case Secret():
            return private_pb2.Private(plain=value.value)
    raise Unknown(f"{type(value).__name__} is no private value")


def _decode_private(message: private_pb2.Private) -> Private:
    kind = message.WhichOneof("kind")
    match kind:
        case "sealed":
            sealed = message.sealed
            return Sealed(sealed.key, sealed.nonce, sealed.aad, sealed.data)
        case "withheld":
            return Withheld()
        case "erased":
            return Erased()
        case "plain" | "sensitive":
            value: bytes = getattr(message, kind)
            if len(value) > MAX_SECRET_BYTES:
                raise OverLimit(f"a private value is over {MAX_SECRET_BYTES} bytes")
            return Secret(value, sensitive=kind == "sensitive")
    raise Unknown("a private value of a kind that this release does not know")


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
    if hint == media.Verb:
        return _VERBS.encode, _VERBS.decode
    if hint == media.MediaEvent:
        return _EVENTS.encode, _EVENTS.decode
    if isinstance(hint, type) and issubclass(hint, Enum):
        return _enum(hint)
    if get_origin(hint) is tuple:
        item = get_args(hint)[0]
        if get_origin(item) is tuple:
            return _repeated(name, _pair(name, item))
        return _repeated(name, _coders("prompt" if name == "prompts" else name, item))
    record = _Record(hint)
    return record.encode, record.decode


class _Record:
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
        return self.decode(_parse(self._message, data))


class _OneOf:
    """A union of dataclasses and the message whose oneof has a field for each."""

    def __init__(self, message: type[Message], oneof: str, union: Any) -> None:
        self._message = message
        self._oneof = oneof
        members = get_args(union)
        fields_of: Any = message.DESCRIPTOR.oneofs_by_name[oneof].fields
        names = {field.message_type.name: field.name for field in fields_of}
        self._by_type = {kind: (names[kind.__name__], _Record(kind)) for kind in members}
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


def _parse(message: type[Message], data: bytes) -> Any:
    if len(data) > MAX_MESSAGE_BYTES:
        raise OverLimit(f"{message.__name__} has {len(data)} bytes, over the limit of {MAX_MESSAGE_BYTES}")
    try:
        return message.FromString(data)
    except DecodeError as error:
        raise Malformed(f"these bytes are no {message.__name__}") from error


def _refuse_value(value: Any, error: Exception) -> NoReturn:
    # Protobuf's own text may quote the value, which may be private.
    raise Malformed(f"a field of {type(value).__name__} has the wrong kind or range") from error


def _write(encode: Callable[..., Any], value: Any, secrets: bool) -> Any:
    try:
        return encode(value, secrets)
    except MediaCodecError:
        raise
    except (TypeError, ValueError, KeyError) as error:
        _refuse_value(value, error)


_VERBS = _OneOf(media_pb2.Verb, "kind", media.Verb)
_EVENTS = _OneOf(media_pb2.MediaEvent, "kind", media.MediaEvent)
_TO_NODE = _OneOf(link_pb2.ToNode, "frame", ToNodeFrame)
_FROM_NODE = _OneOf(link_pb2.FromNode, "frame", FromNodeFrame)
_RECORDS: dict[type, _Record] = {kind: _Record(kind) for kind in (media.Command, media.Directory, media.Event)}


# ------------------------------------------------------------------------------------ log, snapshot


def encode_verb(verb: media.Verb, *, secrets: bool = False) -> media_pb2.Verb:
    """A verb as log and snapshots hold it. Raises `MediaCodecError`; `PlainSecret` unless `secrets`."""
    message: media_pb2.Verb = _write(_VERBS.message, verb, secrets)
    return message


def decode_verb(message: media_pb2.Verb) -> media.Verb:
    """Raises `MediaCodecError`."""
    verb: media.Verb = _VERBS.decode(message)
    return verb


def encode_event_body(body: media.MediaEvent, *, secrets: bool = False) -> media_pb2.MediaEvent:
    """An event as log and snapshots hold it. Raises `MediaCodecError`; `PlainSecret` unless `secrets`."""
    message: media_pb2.MediaEvent = _write(_EVENTS.message, body, secrets)
    return message


def decode_event_body(message: media_pb2.MediaEvent) -> media.MediaEvent:
    """Raises `MediaCodecError`."""
    body: media.MediaEvent = _EVENTS.decode(message)
    return body


# ------------------------------------------------------------------------------------ journal


def to_bytes(value: media.Command | media.Directory | media.Event) -> bytes:
    """For the node's sealed journal, secrets included. Raises `MediaCodecError`."""
    data: bytes = _write(_RECORDS[type(value)].message, value, True).SerializeToString()
    return data


def from_bytes(kind: type[T], data: bytes) -> T:
    """The reverse of `to_bytes`. Raises `MediaCodecError`."""
    value: T = _RECORDS[kind].parse(data)
    return value


# ------------------------------------------------------------------------------------ link


def _batch(union: _OneOf, message: type[Message], frames: Sequence[Channelled[Any]]) -> bytes:
    batch: Any = message()
    for channel, frame in frames:
        coded = _write(union.encode, frame, True)
        try:
            batch.frames.add(channel=channel, **coded)
        except (TypeError, ValueError) as error:
            _refuse_value(frame, error)
    data: bytes = batch.SerializeToString()
    if len(data) > MAX_MESSAGE_BYTES:
        raise OverLimit(f"{message.__name__} has {len(data)} bytes, over the limit of {MAX_MESSAGE_BYTES}")
    return data


def encode_to_node(frames: Sequence[Channelled[ToNodeFrame]]) -> bytes:
    """A `ConnectRequest`. Raises `MediaCodecError`."""
    return _batch(_TO_NODE, link_pb2.ConnectRequest, frames)


def decode_to_node(data: bytes) -> list[Channelled[ToNodeFrame]]:
    """Raises `MediaCodecError` for the whole message: a stream that carries such a thing is closed."""
    return [(frame.channel, _TO_NODE.decode(frame)) for frame in _parse(link_pb2.ConnectRequest, data).frames]


def encode_from_node(frames: Sequence[Channelled[FromNodeFrame]]) -> bytes:
    """A `ConnectResponse`. Raises `MediaCodecError`."""
    return _batch(_FROM_NODE, link_pb2.ConnectResponse, frames)


def decode_from_node(data: bytes) -> list[Channelled[FromNodeFrame]]:
    """Raises `MediaCodecError` for the whole message: a stream that carries such a thing is closed."""
    return [(frame.channel, _FROM_NODE.decode(frame)) for frame in _parse(link_pb2.ConnectResponse, data).frames]
