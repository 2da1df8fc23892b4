"""What a phone sends: a voice, and digits. Sans I/O."""

from __future__ import annotations

from collections import deque

from tandem.client import tones
from tandem.client.ear import FRAME
from tandem.wire import dtmf, g711, rtp
from tandem.wire.g711 import Law
from tandem.wire.sdp import Audio
from tandem.wire.wav import Audio as Clip

DIGITS_MAX = 64
"""Digits that wait to be sent."""
PAUSE_FRAMES = 3
"""Frames of voice between two digits: 60 ms, more than any receiver needs."""


class Voice:
    """Something to say, over and over."""

    def __init__(self, mu: bytes) -> None:
        """`mu` is mu-law; what does not fill its last frame is filled up with silence."""
        rest = -len(mu) % FRAME
        self._mu = mu + g711.silence(Law.MU, rest)
        self._a = g711.transcode(Law.MU, Law.A, self._mu)

    def frame(self, law: Law, number: int) -> bytes:
        """20 ms of it."""
        audio = self._mu if law is Law.MU else self._a
        start = number * FRAME % len(audio)
        return audio[start : start + FRAME]


def tone_voice(hz: float) -> Voice:
    """A tone; silence for 0. Any multiple of 5 Hz goes on without a click."""
    return Voice(tones.tone(hz, 10 * FRAME, Law.MU) if hz else g711.silence(Law.MU, FRAME))


def clip_voice(clip: Clip) -> Voice:
    """A recorded prompt."""
    return Voice(clip.mu)


class Mouth:
    """Makes the RTP packets of one call, one every 20 ms."""

    def __init__(self, voice: Voice, law: Law, ssrc: int) -> None:
        self._voice, self._law, self._ssrc = voice, law, ssrc
        self._frames = 0
        self._sent = 0
        self._waiting: deque[str] = deque()
        self._digit: dtmf.EventSender | None = None
        self._pause = 0
        self.is_muted = False
        """Nothing at all is sent: a broken phone, or one on hold."""

    @property
    def sent(self) -> int:
        """Packets made so far, 20 ms each."""
        return self._sent

    def press(self, digit: str) -> None:
        """Send a digit after those that wait. Raises ValueError for what is none, or too many."""
        if len(digit) != 1 or digit not in dtmf.DIGITS:
            raise ValueError(f"{digit!r} is no telephone digit; use one of {dtmf.DIGITS}")
        if len(self._waiting) >= DIGITS_MAX:
            raise ValueError(f"{DIGITS_MAX} digits wait to be sent; wait until they are")
        self._waiting.append(digit)

    def skip(self, frames: int) -> None:
        """The phone did not run for so long: its audio goes on where the clock is."""
        self._frames += frames

    def take(self, audio: Audio) -> bytes | None:
        """The next packet; None while muted."""
        timestamp = self._frames * FRAME
        number = self._frames
        self._frames += 1
        if self.is_muted:
            return None
        self._sent += 1
        event = self._take_event(timestamp) if audio.digits_payload_type is not None else None
        if event is not None and audio.digits_payload_type is not None:
            kind = audio.digits_payload_type
            return rtp.pack(kind, event.marker, self._sent, event.timestamp, self._ssrc, event.payload)
        payload = self._voice.frame(self._law, number)
        return rtp.pack(self._law.payload_type, self._sent == 1, self._sent, timestamp, self._ssrc, payload)

    def _take_event(self, timestamp: int) -> dtmf.EventPacket | None:
        if self._pause:
            self._pause -= 1
            return None
        if self._digit is None and self._waiting:
            self._digit = dtmf.EventSender(self._waiting.popleft(), timestamp)
        packet = self._digit.take() if self._digit is not None else None
        if packet is None and self._digit is not None:
            self._digit, self._pause = None, PAUSE_FRAMES
        return packet
