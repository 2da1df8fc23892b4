"""G.711: A-law and mu-law by table (ITU-T G.711).

The quantisers work on 13 bits (A-law) and 14 bits (mu-law) as the ITU's tables do; the
rounding of negative samples is the one of the widespread Sun implementation, so that the
result is equal, bit for bit, to what most phones and Python's former `audioop` give.
Audio in this code base stays in the law it came in; it is translated, never mixed.
"""

from __future__ import annotations

from array import array
from enum import StrEnum
from sys import byteorder

SAMPLE_RATE = 8000
"""Samples a second of both laws; one sample is one byte."""

_MU_BIAS = 33
_MU_CLIP = 8159
_MU_SEGMENT_ENDS = (0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF, 0x1FFF)
_A_SEGMENT_ENDS = (0x1F, 0x3F, 0x7F, 0xFF, 0x1FF, 0x3FF, 0x7FF, 0xFFF)


class Law(StrEnum):
    """The two companding laws, by their names in SDP (RFC 3551)."""

    MU = "PCMU"
    A = "PCMA"

    @property
    def payload_type(self) -> int:
        """The static RTP payload type (RFC 3551, section 6)."""
        return 0 if self is Law.MU else 8

    @property
    def silence(self) -> int:
        """The byte of a sample of value zero."""
        return 0xFF if self is Law.MU else 0xD5


def _segment(value: int, ends: tuple[int, ...]) -> int:
    return next((index for index, end in enumerate(ends) if value <= end), len(ends))


def _encode_mu(sample: int) -> int:
    value = sample >> 2
    mask = 0xFF if value >= 0 else 0x7F
    value = min(abs(value), _MU_CLIP) + _MU_BIAS
    segment = _segment(value, _MU_SEGMENT_ENDS)
    if segment >= 8:
        return 0x7F ^ mask
    return ((segment << 4) | ((value >> (segment + 1)) & 0x0F)) ^ mask


def _encode_a(sample: int) -> int:
    value = sample >> 3
    mask = 0xD5 if value >= 0 else 0x55
    if value < 0:
        value = -value - 1
    segment = _segment(value, _A_SEGMENT_ENDS)
    if segment >= 8:
        return 0x7F ^ mask
    step = (value >> 1) if segment < 2 else (value >> segment)
    return ((segment << 4) | (step & 0x0F)) ^ mask


def _decode_mu(code: int) -> int:
    code = ~code & 0xFF
    value = ((((code & 0x0F) << 3) + 0x84) << ((code & 0x70) >> 4)) - 0x84
    return -value if code & 0x80 else value


def _decode_a(code: int) -> int:
    code ^= 0x55
    value = (code & 0x0F) << 4
    segment = (code & 0x70) >> 4
    value += 8 if segment == 0 else 0x108
    if segment > 1:
        value <<= segment - 1
    return value if code & 0x80 else -value


def _signed(index: int) -> int:
    return index - 0x10000 if index >= 0x8000 else index


_ENCODE = {
    Law.MU: bytes(_encode_mu(_signed(index)) for index in range(0x10000)),
    Law.A: bytes(_encode_a(_signed(index)) for index in range(0x10000)),
}
_DECODE = {
    Law.MU: tuple(_decode_mu(code) for code in range(256)),
    Law.A: tuple(_decode_a(code) for code in range(256)),
}
_TRANSCODE = {
    (Law.MU, Law.A): bytes(_encode_a(_decode_mu(code)) for code in range(256)),
    (Law.A, Law.MU): bytes(_encode_mu(_decode_a(code)) for code in range(256)),
}


def encode(law: Law, pcm: bytes) -> bytes:
    """16-bit little-endian PCM to one byte a sample. Raises ValueError for half a sample."""
    if len(pcm) % 2:
        raise ValueError(f"16-bit PCM of {len(pcm)} bytes has half a sample at its end")
    samples = array("H", pcm)
    if byteorder == "big":
        samples.byteswap()
    table = _ENCODE[law]
    return bytes([table[sample] for sample in samples])


def decode(law: Law, audio: bytes) -> bytes:
    """One byte a sample to 16-bit little-endian PCM."""
    table = _DECODE[law]
    samples = array("h", [table[code] for code in audio])
    if byteorder == "big":
        samples.byteswap()
    return samples.tobytes()


def transcode(source: Law, target: Law, audio: bytes) -> bytes:
    """Audio of one law in the other; the same object when they are equal."""
    return audio if source is target else audio.translate(_TRANSCODE[source, target])


def silence(law: Law, samples: int) -> bytes:
    """That many samples of value zero."""
    return bytes((law.silence,)) * samples
