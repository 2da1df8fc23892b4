"""Every type goes there and back; no bytes make the codec fail otherwise than by its own errors."""

from __future__ import annotations

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.ports import media
from tandem.runtime import media_codec as codec
from tests.property.media.strategies import TYPES, WRITTEN, values

CHANNELS = st.integers(0, 2**32 - 1)
TO_NODE = values(media.ToNode) | st.builds(codec.Close, st.text(max_size=20)) | st.builds(codec.Ping, st.integers(0))
FROM_NODE = (
    values(media.FromNode)
    | st.builds(codec.Close, st.text(max_size=20))
    | st.builds(codec.Pong, st.integers(0, 2**60), st.integers(0, 2**60))
)
TO_NODE = TO_NODE.filter(lambda frame: not isinstance(frame, codec.Ping) or frame.sent_ms < 2**63)


@pytest.mark.parametrize("kind", TYPES, ids=lambda kind: kind.__name__)
@given(st.data())
def test_each_type_goes_there_and_back(kind: type, data: st.DataObject) -> None:
    value = data.draw(values(kind))
    verbs, events = (set(union.__args__) for union in (media.Verb, media.MediaEvent))
    if kind in verbs:
        assert codec.decode_verb(codec.encode_verb(value, secrets=True)) == value
    elif kind in events:
        assert codec.decode_event_body(codec.encode_event_body(value, secrets=True)) == value
    elif kind in set(media.ToNode.__args__):
        assert codec.decode_to_node(codec.encode_to_node([(7, value)])) == [(7, value)]
    else:
        assert codec.decode_from_node(codec.encode_from_node([(7, value)])) == [(7, value)]


@given(st.lists(st.tuples(CHANNELS, TO_NODE), max_size=5), st.lists(st.tuples(CHANNELS, FROM_NODE), max_size=5))
def test_messages_of_many_frames_keep_their_order(to_node: list[Any], from_node: list[Any]) -> None:
    assert codec.decode_to_node(codec.encode_to_node(to_node)) == to_node
    assert codec.decode_from_node(codec.encode_from_node(from_node)) == from_node


@given(values(media.Command) | values(media.Event) | values(media.Directory))
def test_the_journals_form_goes_there_and_back(value: Any) -> None:
    assert codec.from_bytes(type(value), codec.to_bytes(value)) == value


@given(values(media.Verb, WRITTEN), values(media.MediaEvent, WRITTEN))
def test_what_is_sealed_can_be_written(verb: media.Verb, body: media.MediaEvent) -> None:
    assert codec.decode_verb(codec.encode_verb(verb)) == verb
    assert codec.decode_event_body(codec.encode_event_body(body)) == body


@given(st.binary(max_size=200))
def test_garbage_is_refused_or_read_but_never_more(data: bytes) -> None:
    for decode in (codec.decode_to_node, codec.decode_from_node):
        try:
            decode(data)
        except codec.MediaCodecError:
            continue


@given(st.lists(st.tuples(CHANNELS, FROM_NODE), min_size=1, max_size=3), st.integers(0), st.integers(0, 255))
def test_an_altered_byte_is_refused_or_read_but_never_more(frames: list[Any], at: int, byte: int) -> None:
    data = bytearray(codec.encode_from_node(frames))
    data[at % len(data)] = byte
    try:
        codec.decode_from_node(bytes(data))
    except codec.MediaCodecError:
        return
