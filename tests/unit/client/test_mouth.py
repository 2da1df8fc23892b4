"""What a phone sends."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.client.mouth import DIGITS_MAX, Mouth, tone_voice
from tandem.wire import dtmf, rtp
from tandem.wire.g711 import Law
from tandem.wire.sdp import Audio, Direction

FAR = Audio("127.0.0.1", 4000, "PCMU", 0, 101, 20, Direction.SENDRECV)
NO_DIGITS = Audio("127.0.0.1", 4000, "PCMU", 0, None, 20, Direction.SENDRECV)


@given(st.text(dtmf.DIGITS, min_size=1, max_size=20))
def test_every_digit_arrives_once_and_in_order(digits):
    mouth, ear, heard = Mouth(tone_voice(620), Law.MU, 1), dtmf.EventReceiver(), ""
    for digit in digits:
        mouth.press(digit)
    for _ in range(20 * (len(digits) + 1)):
        packet = rtp.parse(mouth.take(FAR))
        if packet.payload_type == 101:
            heard += ear.receive(packet.ssrc, packet.timestamp, packet.payload) or ""
    assert heard == digits


def test_numbers_go_up_by_one_and_the_clock_by_a_frame():
    mouth = Mouth(tone_voice(620), Law.A, 1)
    packets = [rtp.parse(mouth.take(FAR)) for _ in range(100)]
    assert [p.sequence for p in packets] == list(range(1, 101))
    assert [p.timestamp for p in packets] == list(range(0, 16000, 160))
    assert [p.marker for p in packets] == [True, *[False] * 99]


def test_a_muted_phone_sends_nothing_and_its_clock_goes_on():
    mouth = Mouth(tone_voice(620), Law.MU, 1)
    before = rtp.parse(mouth.take(FAR))
    mouth.is_muted = True
    assert [mouth.take(FAR) for _ in range(10)] == [None] * 10
    mouth.is_muted = False
    after = rtp.parse(mouth.take(FAR))
    assert (after.sequence - before.sequence, after.timestamp - before.timestamp) == (1, 11 * 160)


def test_a_far_end_without_telephone_events_gets_the_voice():
    mouth = Mouth(tone_voice(620), Law.MU, 1)
    mouth.press("1")
    assert {rtp.parse(mouth.take(NO_DIGITS)).payload_type for _ in range(20)} == {0}


@pytest.mark.parametrize("digit", ["", "12", "x", " "])
def test_what_is_no_digit_is_refused(digit):
    with pytest.raises(ValueError, match="digit"):
        Mouth(tone_voice(0), Law.MU, 1).press(digit)


def test_digits_do_not_pile_up():
    mouth = Mouth(tone_voice(0), Law.MU, 1)
    for _ in range(DIGITS_MAX):
        mouth.press("1")
    with pytest.raises(ValueError, match="wait"):
        mouth.press("1")
