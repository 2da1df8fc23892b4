"""Digits as telephone events: once each, whatever is lost, late or repeated."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.wire.dtmf import DIGITS, END_REPEATS, EventReceiver, EventSender


def packets(digit: str, timestamp: int, **options: int) -> list[tuple[int, bytes]]:
    sender, made = EventSender(digit, timestamp, **options), []
    while (packet := sender.take()) is not None:
        made.append((packet.timestamp, packet.payload))
    return made


def told(receiver: EventReceiver, arrived: list[tuple[int, bytes]], ssrc: int = 1) -> str:
    digits = (receiver.receive(ssrc, timestamp, payload) for timestamp, payload in arrived)
    return "".join(digit for digit in digits if digit)


def test_the_packets_of_a_digit():
    sender, made = EventSender("#", 1000, duration=480), []
    while (packet := sender.take()) is not None:
        made.append(packet)
    assert [packet.payload.hex() for packet in made] == [
        "0b0a00a0",
        "0b0a0140",
        "0b8a01e0",
        "0b8a01e0",
        "0b8a01e0",
    ]
    assert [packet.marker for packet in made] == [True, False, False, False, False]
    assert {packet.timestamp for packet in made} == {1000}


@given(st.text(DIGITS, min_size=1, max_size=8), st.integers(0, 2**32 - 1), st.data())
def test_each_digit_once_while_one_of_its_packets_arrives(digits: str, start: int, data: st.DataObject):
    arrived = []
    for index, digit in enumerate(digits):
        made = packets(digit, start + index * 1600)
        kept = data.draw(st.lists(st.sampled_from(made), min_size=1, max_size=12), label=f"of digit {index}")
        arrived += kept
    assert told(EventReceiver(), arrived) == digits


def test_a_packet_of_an_earlier_digit_is_no_new_one():
    one, two = packets("1", 0), packets("2", 1600)
    assert told(EventReceiver(), one + two[:1] + one[-1:] + two[1:]) == "12"


def test_a_digit_held_beyond_the_longest_duration_is_one():
    def update(timestamp: int, duration: int, end: bool = False) -> tuple[int, bytes]:
        return timestamp, bytes((5, 0x80 if end else 0)) + duration.to_bytes(2, "big")

    held = [update(0, duration) for duration in range(160, 0xFFFF, 160)]
    second = [update(0xFFFF, duration) for duration in range(160, 1600, 160)]
    ends = [update(0xFFFF, 1600, end=True)] * 3
    assert told(EventReceiver(), held + second + ends) == "5"
    assert told(EventReceiver(), held[:-3] + second[2:] + ends) == "5"
    assert told(EventReceiver(), [*held, update(0, 0xFFFF, end=True), *second]) == "55"


def test_the_same_digit_twice_with_all_ends_lost_is_two():
    one = [packet for packet in packets("5", 0) if not packet[1][1] & 0x80]
    assert told(EventReceiver(), one + packets("5", 2400)) == "55"


def test_another_sender_may_use_the_same_timestamp():
    receiver = EventReceiver()
    assert told(receiver, packets("1", 50), ssrc=1) + told(receiver, packets("1", 50), ssrc=2) == "11"


def test_the_timestamp_wraps_between_digits():
    receiver = EventReceiver()
    assert told(receiver, packets("1", 2**32 - 800) + packets("1", 800)) == "11"


@given(st.integers(0, 3), st.integers(0, 2**32 - 1), st.binary(max_size=8))
def test_garbage_is_no_digit_or_one(ssrc: int, timestamp: int, payload: bytes):
    assert EventReceiver().receive(ssrc, timestamp, payload) in {None, *DIGITS}


def test_events_that_are_no_digits_are_passed_over():
    assert EventReceiver().receive(1, 0, b"\x10\x0a\x00\xa0") is None  # 16: hook flash
    assert EventReceiver().receive(1, 0, b"\x01\x0a\x00") is None


def test_ends_are_sent_three_times():
    assert sum(1 for _, payload in packets("0", 0) if payload[1] & 0x80) == END_REPEATS


@pytest.mark.parametrize(("digit", "duration"), [("E", 800), ("", 800), ("12", 800), ("1", 100), ("1", 70000)])
def test_a_fault_of_the_caller_is_an_error(digit: str, duration: int):
    with pytest.raises(ValueError, match=r"digit|duration"):
        EventSender(digit, 0, duration=duration)
