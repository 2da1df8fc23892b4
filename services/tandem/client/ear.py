"""What a phone hears, window by window. Sans I/O."""

from __future__ import annotations

from tandem.client import tones
from tandem.client.facts import TOLERANCE_HZ, Heard, Sound
from tandem.wire import rtp
from tandem.wire.g711 import Law

FRAME = 160
"""Samples of 20 ms, one turn of the phone's ticker."""
STRETCHES_MAX = 20_000
"""Stretches kept of one call: more than half an hour of speech. Older ones are forgotten."""


class Ear:
    """Plays what arrives as a phone does, and notes what kind of sound it was.

    Told of each packet and, every 20 ms, of the time. A window is 100 ms of played audio; what
    is missing when its turn comes is silence, as it is to a person.
    """

    def __init__(self, law: Law, start: float) -> None:
        self._law = law
        self._buffer = rtp.ReceiveBuffer(law.silence)
        self._start = start
        self._played = bytearray()
        self._closed: list[Heard] = []
        self._open: Heard | None = None

    def put(self, packet: rtp.RtpPacket) -> None:
        """A packet with audio."""
        self._buffer.put(packet)

    def tick(self, now: float) -> bool:
        """Play the next 20 ms. True when a window is full and `heard` has changed."""
        self._played += self._buffer.take(FRAME) or bytes((self._law.silence,)) * FRAME
        if len(self._played) < tones.WINDOW:
            return False
        window, self._played = bytes(self._played), bytearray()
        self._note(*_kind(window, self._law), now)
        return True

    def stalled(self, now: float) -> None:
        """The phone did not run until `now`: what it would have heard is not known."""
        self._played.clear()
        self._note(Sound.STALL, 0.0, now)

    def heard(self) -> tuple[Heard, ...]:
        """All stretches, the one that goes on included."""
        return (*self._closed, self._open) if self._open else tuple(self._closed)

    @property
    def now(self) -> Heard | None:
        """The stretch that goes on."""
        return self._open

    def _note(self, sound: Sound, hz: float, now: float) -> None:
        start, self._start = self._start, now
        last = self._open
        if last is not None and last.sound is sound and abs(last.hz - hz) <= TOLERANCE_HZ:
            self._open = Heard(sound, last.start, now, last.hz)
            return
        if last is not None:
            self._closed.append(last)
            if len(self._closed) > STRETCHES_MAX:
                del self._closed[0]
        self._open = Heard(sound, start, now, hz)


def _kind(window: bytes, law: Law) -> tuple[Sound, float]:
    samples = tones.samples_of(window, law)
    if tones.loudness(samples) < tones.LOUD:
        return Sound.SILENCE, 0.0
    hz = tones.pitch(samples)
    return (Sound.OTHER, 0.0) if hz is None else (Sound.TONE, round(hz, 1))
