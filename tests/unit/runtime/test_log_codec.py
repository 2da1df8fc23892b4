"""What another group reads of a record is what stands in it."""

from __future__ import annotations

import pytest

from tandem.core.commit import ENGINE, Claim, Commit, Effect, Envelope, Input, Mark, Message, Part, Reply
from tandem.core.seal import Sealed, Withheld
from tandem.runtime import log_codec

PART = Part("t.done", b"clear", ((3, Sealed("k", b"n" * 12, b"aad", b"data")), (4, Withheld())))
WHOLE = Commit(
    2,
    7,
    123,
    "boot",
    456,
    ENGINE,
    (
        Input("src/t1", 5, "t1", "desk", 120, PART, "k", "who", "trace", "why", "t1/desk/1/0"),
        Input("c", 0, "t", "s", 1, PART),
    ),
    (Mark("src/t1", "t1", 5),),
    (
        Envelope("live/0/2/7/0", "t1", "desk", 3, 121, "src/t1/5", "who", "trace", PART, ("t1/desk/1/0",)),
        Envelope("live/0/2/7/1", "t1", "desk", 4, 121, "src/t1/5", "", "", Part("t.plain", b"")),
    ),
    (Effect("t1/desk/3/0", "t1", "desk", "play", "media", 999, PART),),
    (Message("recording", "t1", "recording/r", "desk", PART, Part("gone", b"")), Message("x", "t1", "y/z", "", PART)),
    (Reply("t1", "key|m|r", "digest", 121, PART),),
)  # fmt: skip


def test_a_record_comes_back_as_it_was() -> None:
    assert log_codec.decode(log_codec.encode(WHOLE)) == WHOLE
    claim = Claim(3, "owner", "shape")
    assert log_codec.decode(log_codec.encode(claim)) == claim


def test_of_a_commit_its_place_and_messages_alone() -> None:
    found = log_codec.decode_messages(log_codec.encode(WHOLE))
    assert found == Commit(2, 7, 123, "boot", 456, ENGINE, messages=WHOLE.messages)


def test_a_claim_is_read_whole_and_damage_is_told_either_way() -> None:
    claim = Claim(3, "owner", "shape")
    assert log_codec.decode_messages(log_codec.encode(claim)) == claim
    for body in (b"", b"\xff\xff"):
        with pytest.raises(log_codec.BadRecord):
            log_codec.decode_messages(body)
