"""The one protobuf form of the `Media` port's types: in log, snapshots, link and journal (spine 7).

What is written to log or snapshot must not carry a plaintext secret, so a `Secret` is refused
there (`PlainSecret`); `secrets=True` is for the link and the node's journal alone. How a class
is bound to its message stands in `media_binding`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, TypeVar

from google.protobuf.message import Message

from tandem.core.ports import media
from tandem.core.values import dataclass
from tandem.internal.link.v1 import link_pb2, media_pb2
from tandem.runtime.media_binding import (
    EVENTS,
    MAX_ENTRIES,
    MAX_MESSAGE_BYTES,
    MAX_TEXT,
    VERBS,
    Malformed,
    MediaCodecError,
    OneOf,
    OverLimit,
    PlainSecret,
    Record,
    Unknown,
    parse,
    refuse_value,
    write,
)

__all__ = [
    "MAX_ENTRIES",
    "MAX_MESSAGE_BYTES",
    "MAX_TEXT",
    "Channelled",
    "Close",
    "FromNodeFrame",
    "Malformed",
    "MediaCodecError",
    "OverLimit",
    "Ping",
    "PlainSecret",
    "Pong",
    "ToNodeFrame",
    "Unknown",
    "decode_event_body",
    "decode_from_node",
    "decode_to_node",
    "decode_verb",
    "encode_event_body",
    "encode_from_node",
    "encode_to_node",
    "encode_verb",
    "from_bytes",
    "to_bytes",
]

T = TypeVar("T")


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
    """Answers `Ping`. `now_ms` is the node's CLOCK_BOOTTIME. `draining`: it takes no new callers."""

    sent_ms: int
    now_ms: int
    draining: bool = False


ToNodeFrame = media.ToNode | Close | Ping
FromNodeFrame = media.FromNode | Close | Pong
Channelled = tuple[int, T]
"""A frame and the channel that it belongs to."""

_TO_NODE = OneOf(link_pb2.ToNode, "frame", ToNodeFrame)
_FROM_NODE = OneOf(link_pb2.FromNode, "frame", FromNodeFrame)
_RECORDS: dict[type, Record] = {kind: Record(kind) for kind in (media.Command, media.Directory, media.Event)}


# ------------------------------------------------------------------------------------ log, snapshot


def encode_verb(verb: media.Verb, *, secrets: bool = False) -> media_pb2.Verb:
    """A verb as log and snapshots hold it. Raises `MediaCodecError`; `PlainSecret` unless `secrets`."""
    message: media_pb2.Verb = write(VERBS.message, verb, secrets)
    return message


def decode_verb(message: media_pb2.Verb) -> media.Verb:
    """Raises `MediaCodecError`."""
    verb: media.Verb = VERBS.decode(message)
    return verb


def encode_event_body(body: media.MediaEvent, *, secrets: bool = False) -> media_pb2.MediaEvent:
    """An event as log and snapshots hold it. Raises `MediaCodecError`; `PlainSecret` unless `secrets`."""
    message: media_pb2.MediaEvent = write(EVENTS.message, body, secrets)
    return message


def decode_event_body(message: media_pb2.MediaEvent) -> media.MediaEvent:
    """Raises `MediaCodecError`."""
    body: media.MediaEvent = EVENTS.decode(message)
    return body


# ------------------------------------------------------------------------------------ journal


def to_bytes(value: media.Command | media.Directory | media.Event) -> bytes:
    """For the node's sealed journal, secrets included. Raises `MediaCodecError`."""
    data: bytes = write(_RECORDS[type(value)].message, value, True).SerializeToString()
    return data


def from_bytes(kind: type[T], data: bytes) -> T:
    """The reverse of `to_bytes`. Raises `MediaCodecError`."""
    value: T = _RECORDS[kind].parse(data)
    return value


# ------------------------------------------------------------------------------------ link


def _batch(union: OneOf, message: type[Message], frames: Sequence[Channelled[Any]]) -> bytes:
    batch: Any = message()
    for channel, frame in frames:
        coded = write(union.encode, frame, True)
        try:
            batch.frames.add(channel=channel, **coded)
        except (TypeError, ValueError) as error:
            refuse_value(frame, error)
    data: bytes = batch.SerializeToString()
    if len(data) > MAX_MESSAGE_BYTES:
        raise OverLimit(f"{message.__name__} has {len(data)} bytes, over the limit of {MAX_MESSAGE_BYTES}")
    return data


def encode_to_node(frames: Sequence[Channelled[ToNodeFrame]]) -> bytes:
    """A `ConnectRequest`. Raises `MediaCodecError`."""
    return _batch(_TO_NODE, link_pb2.ConnectRequest, frames)


def decode_to_node(data: bytes) -> list[Channelled[ToNodeFrame]]:
    """Raises `MediaCodecError` for the whole message: a stream that carries such a thing is closed."""
    return [(frame.channel, _TO_NODE.decode(frame)) for frame in parse(link_pb2.ConnectRequest, data).frames]


def encode_from_node(frames: Sequence[Channelled[FromNodeFrame]]) -> bytes:
    """A `ConnectResponse`. Raises `MediaCodecError`."""
    return _batch(_FROM_NODE, link_pb2.ConnectResponse, frames)


def decode_from_node(data: bytes) -> list[Channelled[FromNodeFrame]]:
    """Raises `MediaCodecError` for the whole message: a stream that carries such a thing is closed."""
    return [(frame.channel, _FROM_NODE.decode(frame)) for frame in parse(link_pb2.ConnectResponse, data).frames]
