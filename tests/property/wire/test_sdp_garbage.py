"""Whatever description arrives: no exception, and two sides that negotiate agree."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.wire.sdp import Answer, Audio, Description, Direction, LocalAudio, Negotiation, SdpError, parse
from tests.unit.wire.test_sdp import PHONE

US = LocalAudio("127.0.0.1", 4000)


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A description with a few pieces cut, doubled or replaced."""
    data = PHONE.encode()
    for _ in range(draw(st.integers(1, 5))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 20)))
        piece = draw(st.one_of(st.sampled_from([b"\n", b"\r", b" ", b"=", b":"]), st.binary(max_size=6)))
        data = data[:start] + piece + data[end:]
    return data


@settings(max_examples=400)
@given(st.one_of(st.binary(max_size=500), mutated()))
def test_any_bytes(data: bytes) -> None:
    description = parse(data)
    if isinstance(description, Description):
        assert isinstance(parse(description.to_bytes()), Description)
    negotiation = Negotiation(US, 1)
    for result in (negotiation.answer(data), negotiation.accept(data)):
        assert isinstance(result, SdpError | Answer | Audio)
    assert isinstance(Negotiation(US, 2).answer(negotiation.offer()), Answer | SdpError)


codecs = st.sampled_from([("PCMU",), ("PCMA",), ("PCMU", "PCMA"), ("PCMA", "PCMU")])
sides = st.builds(LocalAudio, st.just("127.0.0.1"), st.integers(1024, 65534), codecs, st.booleans())


@given(sides, sides, st.lists(st.tuples(st.booleans(), *[st.sampled_from(Direction)] * 2), min_size=1, max_size=6))
def test_two_sides_agree(alice: LocalAudio, bob: LocalAudio, rounds: list[tuple[bool, Direction, Direction]]) -> None:
    ends = Negotiation(alice, 1), Negotiation(bob, 2)
    locals_ = (alice, bob)
    for turn, offered, wanted in rounds:
        one, other = (ends[0], ends[1]) if turn else (ends[1], ends[0])
        answer = other.answer(one.offer(offered), wanted)
        if isinstance(answer, SdpError):
            assert not set(alice.codecs) & set(bob.codecs)
            continue
        ours, theirs = one.accept(answer.sdp), answer.audio
        assert isinstance(ours, Audio), ours
        assert (ours.codec, ours.payload_type) == (theirs.codec, theirs.payload_type)
        assert ours.port == locals_[turn].port
        assert theirs.port == locals_[not turn].port
        assert ours.digits_payload_type == theirs.digits_payload_type
        assert (ours.digits_payload_type is not None) == (alice.digits and bob.digits)
        assert (ours.direction.sends, ours.direction.receives) == (theirs.direction.receives, theirs.direction.sends)
        assert ours.direction.sends <= offered.sends
        assert theirs.direction.sends <= wanted.sends
