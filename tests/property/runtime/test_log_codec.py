"""Records to bytes and back, exactly; damage is refused; plaintext is never written."""

from __future__ import annotations

import dataclasses
from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.commit import Claim, Commit, Effect, Ended, Envelope, Input, Mark, Message, Part, Reply
from tandem.core.seal import Secret
from tandem.internal.log.v1 import log_pb2
from tandem.internal.type.v1 import private_pb2
from tandem.runtime.log_codec import BadRecord, decode, decode_to_fold, encode
from tests.support.budget import examples
from tests.support.values import PLAIN, WRITTEN

TEXT = st.text(st.characters(exclude_categories=("Cs",)), max_size=6)
NUMBER = st.integers(0, 2**31 - 1)
LARGE = st.integers(0, 2**48 - 1)
PRIVATE = st.lists(st.tuples(st.integers(1, 99), WRITTEN), max_size=2).map(tuple)
PART = st.builds(Part, TEXT, st.binary(max_size=6), PRIVATE)


def _many(strategy: st.SearchStrategy[object]) -> st.SearchStrategy[tuple[object, ...]]:
    return st.lists(strategy, max_size=2).map(tuple)


INPUT = st.builds(Input, TEXT, LARGE, TEXT, TEXT, LARGE, PART, TEXT, TEXT, TEXT, TEXT, TEXT)
ENVELOPE = st.builds(Envelope, TEXT, TEXT, TEXT, NUMBER, LARGE, TEXT, TEXT, TEXT, PART, _many(TEXT))
EFFECT = st.builds(Effect, TEXT, TEXT, TEXT, TEXT, TEXT, LARGE, PART)
MESSAGE = st.builds(Message, TEXT, TEXT, TEXT, TEXT, PART, st.none() | PART)
REPLY = st.builds(Reply, TEXT, TEXT, TEXT, LARGE, PART)
COMMIT = st.builds(
    Commit,
    NUMBER,
    LARGE,
    LARGE,
    TEXT,
    LARGE,
    TEXT,
    _many(INPUT),
    _many(st.builds(Mark, TEXT, TEXT, LARGE)),
    _many(ENVELOPE),
    _many(EFFECT),
    _many(MESSAGE),
    _many(REPLY),
    _many(st.builds(Ended, TEXT, TEXT)),
)


@given(st.one_of(COMMIT, st.builds(Claim, NUMBER, TEXT, TEXT)))
@examples(60)
def test_round_trip(record: Commit | Claim) -> None:
    body = encode(record)
    assert decode(body) == record
    assert encode(decode(body)) == body


@given(st.one_of(COMMIT, st.builds(Claim, NUMBER, TEXT, TEXT)))
@examples(60)
def test_a_fold_reads_all_but_messages_and_what_inputs_said(record: Commit | Claim) -> None:
    wanted = record
    if isinstance(record, Commit):
        inputs = [
            Input("", 0, i.tenant, i.stream, 0, Part("", b""), i.key, settles=i.settles)
            for i in record.inputs
            if i.key or i.settles
        ]
        wanted = dataclasses.replace(record, inputs=tuple(inputs), messages=())
    assert decode_to_fold(encode(record)) == wanted


@given(st.binary(max_size=60))
@examples(300)
def test_garbage_is_refused_in_one_way(body: bytes) -> None:
    with suppress(BadRecord):
        decode(body)


@given(COMMIT, st.integers(0, 10_000), st.integers(1, 255))
@examples(60)
def test_a_damaged_record_is_another_record_or_refused(commit: Commit, at: int, flip: int) -> None:
    body = bytearray(encode(commit))
    body[at % len(body)] ^= flip
    with suppress(BadRecord):
        decode(bytes(body))


@given(COMMIT, PART)
@examples(20)
def test_plaintext_is_never_written(commit: Commit, part: Part) -> None:
    bad = dataclasses.replace(part, private=((1, Secret(PLAIN)),))  # type: ignore[arg-type]
    with pytest.raises(TypeError):
        encode(dataclasses.replace(commit, replies=(Reply("t", "r", "d", 1, bad),)))


def test_plaintext_that_somebody_else_wrote_is_refused() -> None:
    private = log_pb2.PrivateField(field=1, value=private_pb2.Private(plain=PLAIN))
    envelope = log_pb2.Envelope(part=log_pb2.Part(type="x", private=[private]))
    record = log_pb2.Record(commit=log_pb2.Commit(epoch=1, n=1, events=[envelope]))
    with pytest.raises(BadRecord):
        decode(record.SerializeToString())


def test_a_record_with_neither_claim_nor_commit_is_refused() -> None:
    with pytest.raises(BadRecord, match="neither"):
        decode(b"")
