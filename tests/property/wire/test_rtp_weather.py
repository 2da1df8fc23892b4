"""RTP over a network that loses, doubles and reorders, in virtual time: digits once, audio in time."""

from __future__ import annotations

import heapq
import random

import pytest

from tandem.media.builtin.stream import Session, Stream
from tandem.wire import rtp
from tandem.wire.dtmf import DIGITS, END_REPEATS, EventSender
from tandem.wire.g711 import Law

SEEDS = 200
PHONE = ("192.0.2.1", 4000)
FRAME = 160
LOSS, DOUBLE, LATE, LATE_MAX_S = 0.3, 0.3, 0.3, 0.15
EVENT = 101


class Sender:
    """A phone that talks and presses digits; keeps when the first packet of each gets through."""

    def __init__(self, chance: random.Random, digits: str) -> None:
        self.chance = chance
        self.packets: list[tuple[float, int, bytes]] = []
        self.digits: list[tuple[float, str]] = []
        self._sequence = chance.randrange(2**16)
        self._start = chance.randrange(2**32)
        self._tick = 0
        self._count = 0
        for digit in digits:
            for _ in range(chance.randint(3, 20)):
                self._send(0, False, self._timestamp, bytes((self._tick % 256,)) * FRAME)
            self._press(digit)
        for _ in range(10):
            self._send(0, False, self._timestamp, bytes((self._tick % 256,)) * FRAME)

    @property
    def _timestamp(self) -> int:
        return self._start + self._tick * FRAME

    def _press(self, digit: str) -> None:
        sender = EventSender(digit, self._timestamp, duration=FRAME * self.chance.randint(2, 12))
        arrivals = []
        while (packet := sender.take()) is not None:
            arrivals += self._send(EVENT, packet.marker, packet.timestamp, packet.payload)
        self.digits += [(min(arrivals), digit)] if arrivals else []

    def heard(self) -> str:
        """What must be told: a digit all of which is overtaken by a later one comes too late."""
        told, earliest = "", float("inf")
        for at, digit in reversed(self.digits):
            told = digit + told if at < earliest else told
            earliest = min(earliest, at)
        return told

    def _send(self, kind: int, marker: bool, timestamp: int, payload: bytes) -> list[float]:
        """When copies get through."""
        self._tick += 1
        self._sequence += 1
        if self.chance.random() < LOSS:
            return []
        arrivals = []
        wire = rtp.pack(kind, marker, self._sequence, timestamp, 7, payload)
        for _ in range(1 + (self.chance.random() < DOUBLE)):
            late = self.chance.random() * LATE_MAX_S if self.chance.random() < LATE else 0.0
            self._count += 1
            arrivals.append(self._tick * 0.02 + late)
            heapq.heappush(self.packets, (arrivals[-1], self._count, wire))
        return arrivals


@pytest.mark.parametrize("block", range(4))
def test_each_digit_of_which_a_packet_arrives_is_told_once(block: int) -> None:
    for seed in range(block * SEEDS // 4, (block + 1) * SEEDS // 4):
        chance = random.Random(f"rtp {seed}")
        sender = Sender(chance, "".join(chance.choice(DIGITS) for _ in range(chance.randint(1, 12))))
        stream = Stream(bytes(10), Session(Law.MU, 0, PHONE, EVENT), 0.0)
        told = "".join(
            digit for at, _, wire in sorted(sender.packets) if (digit := stream.receive(wire, PHONE, at)) is not None
        )
        assert told == sender.heard(), f"seed {seed}"


@pytest.mark.parametrize("seed", range(20))
def test_what_is_played_is_what_was_sent_at_that_time_or_silence(seed: int) -> None:
    """Frames come out in order, none twice, each whole: no sample of one is at the place of another."""
    sender = Sender(random.Random(f"audio {seed}"), "5" * 10)
    stream = Stream(bytes(10), Session(Law.MU, 0, PHONE, EVENT), 0.0)
    packets, played = sorted(sender.packets), []
    for tick in range(400):
        while packets and packets[0][0] <= tick * 0.02:
            stream.receive(packets.pop(0)[2], PHONE, tick * 0.02)
        frame = stream.take()
        if frame is not None and frame != bytes((Law.MU.silence,)) * FRAME:
            assert len(set(frame)) == 1, "parts of two frames in one"
            played.append(frame[0])
    assert len(played) > 40
    assert played == sorted(set(played)), "out of order, or twice"


def test_the_ends_of_a_digit_are_sent_three_times() -> None:
    """What the receiver relies on (RFC 4733 2.5.1.4): the last word is heard even if two are lost."""
    sender, ends = EventSender("5", 0), 0
    while (packet := sender.take()) is not None:
        ends += packet.payload[1] >> 7
    assert ends == END_REPEATS == 3
