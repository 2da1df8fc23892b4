"""Digits as RTP telephone events (RFC 4733)."""

from __future__ import annotations

from typing import NamedTuple

from tandem.wire.rtp import timestamp_delta

DIGITS = "0123456789*#ABCD"
"""Events 0 to 15 (RFC 4733, section 3.2)."""
PAYLOAD_BYTES = 4
MAX_DURATION = 0xFFFF
END_REPEATS = 3
"""Copies of the last packet of an event (RFC 4733, section 2.5.1.4)."""

_LAST_UPDATES = 1600
"""Samples before the longest duration in which the last update of a segment is seen, even
if some are lost, and in which senders end it."""


class EventReceiver:
    """Tells each digit once, at its first packet, however many packets follow or are lost.

    All packets of an event carry the timestamp of its start, so an event is known by that.
    A digit that is held beyond the longest duration goes on as a new segment, at a new
    timestamp and without an end in between (section 2.5.1.3): that is no second digit.
    """

    def __init__(self) -> None:
        self._ssrc: int | None = None
        self._timestamp = 0
        self._event = -1
        self._duration = 0
        self._ended = True

    def receive(self, ssrc: int, timestamp: int, payload: bytes) -> str | None:
        """Take the payload of a telephone-event packet; a digit if a new one begins with it."""
        if len(payload) < PAYLOAD_BYTES:
            return None
        event, flags = payload[0], payload[1]
        duration = int.from_bytes(payload[2:4], "big")
        if event >= len(DIGITS):
            return None
        if ssrc == self._ssrc:
            delta = timestamp_delta(timestamp, self._timestamp)
            if delta < 0:
                return None  # of an event before this one, overtaken on its way
            if delta == 0:
                self._duration = max(self._duration, duration)
                self._ended = self._ended or bool(flags & 0x80)
                return None
            goes_on = not self._ended and event == self._event and self._is_next_segment(delta)
        else:
            goes_on = False
        self._ssrc, self._timestamp, self._event = ssrc, timestamp, event
        self._duration, self._ended = duration, bool(flags & 0x80)
        return None if goes_on else DIGITS[event]

    def _is_next_segment(self, delta: int) -> bool:
        nearly = MAX_DURATION - _LAST_UPDATES
        return self._duration >= nearly and nearly <= delta <= MAX_DURATION


class EventPacket(NamedTuple):
    """One packet of an event: the payload, and whether it is the first."""

    payload: bytes
    marker: bool
    timestamp: int


class EventSender:
    """Makes the packets of one digit: an update a tick, then the end three times.

    The caller sends one packet per 20 ms in place of audio, until there is none left.
    """

    def __init__(self, digit: str, timestamp: int, *, duration: int = 800, step: int = 160, volume: int = 10) -> None:
        """`timestamp` is the start of the digit, `duration` and `step` are samples (100 and
        20 ms), `volume` is in -dBm0 (0 to 63). Raises ValueError for what is no digit."""
        if digit not in DIGITS or len(digit) != 1:
            raise ValueError(f"{digit!r} is no telephone digit; use one of {DIGITS}")
        if not step <= duration <= MAX_DURATION:
            raise ValueError(f"a duration of {duration} samples is outside {step} to {MAX_DURATION}")
        self._event = DIGITS.index(digit)
        self._timestamp = timestamp & 0xFFFFFFFF
        self._duration = duration
        self._step = step
        self._volume = volume & 0x3F
        self._sent = 0
        self._ends = 0

    def take(self) -> EventPacket | None:
        """The next packet, or None when the event is over."""
        if self._ends == END_REPEATS:
            return None
        first = self._sent == 0
        self._sent = min(self._sent + self._step, self._duration)
        ending = self._ends > 0 or self._sent == self._duration
        self._ends += ending
        payload = bytes((self._event, 0x80 * ending | self._volume)) + self._sent.to_bytes(2, "big")
        return EventPacket(payload, first, self._timestamp)
