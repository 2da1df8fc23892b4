"""Stable names of the recording service's events, and of the rows of its view."""

from __future__ import annotations

from tandem.api.event.v1 import recording_pb2 as event
from tandem.core.commit import Part
from tandem.internal.recording.v1 import recording_pb2 as own
from tandem.recording.domain import KeyKept, RecordingKept
from tandem.runtime.codec import Codec

KEPT = "recording.kept"
KEY = "recording.key_kept"

EVENTS = Codec(
    (KEPT, RecordingKept, event.RecordingKept),
    (KEY, KeyKept, own.KeyKept),
)


def kept(part: Part) -> RecordingKept:
    """The event of that part."""
    value: RecordingKept = EVENTS.decode(part)
    return value


def key_kept(part: Part) -> KeyKept:
    """The event of that part."""
    value: KeyKept = EVENTS.decode(part)
    return value


def row(value: RecordingKept | KeyKept) -> bytes:
    """A row of the view: an event's own bytes."""
    return EVENTS.encode(value)[1]


def kept_row(body: bytes) -> RecordingKept:
    """The reverse of `row`."""
    return kept(Part(KEPT, body))


def key_row(body: bytes) -> KeyKept:
    """The reverse of `row`."""
    return key_kept(Part(KEY, body))
