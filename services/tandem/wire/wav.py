"""RIFF/WAVE files with telephone audio: 8 kHz, mono, as 16-bit PCM, mu-law or A-law.

Only reading: the WAV of a recording is composed in `core.recording`.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from tandem.wire import g711
from tandem.wire.g711 import Law

MAX_WAV_BYTES = 64 * 1024 * 1024
"""Largest file read: more than an hour of PCM, so more is a mistake."""

_PCM, _ALAW, _MULAW, _EXTENSIBLE = 0x0001, 0x0006, 0x0007, 0xFFFE
_HOW = "convert it with: sox IN.wav -r 8000 -c 1 -b 16 OUT.wav"


class BadWav(Exception):
    """The file is not telephone audio; the text says why and what to do."""


@dataclass(frozen=True, slots=True)
class _Format:
    code: int
    channels: int
    rate: int
    bits: int


@dataclass(frozen=True, slots=True)
class Audio:
    """A clip in both laws, encoded once so that playing costs a slice. Equal lengths."""

    mu: bytes = field(repr=False)
    a: bytes = field(repr=False)

    def of(self, law: Law) -> bytes:
        """The clip in that law, one byte a sample."""
        return self.mu if law is Law.MU else self.a

    @property
    def samples(self) -> int:
        """Length at 8 kHz."""
        return len(self.mu)


def read_wav(data: bytes) -> Audio:
    """The audio of a file. Raises `BadWav`; chunks it does not know are passed over."""
    if len(data) > MAX_WAV_BYTES:
        raise BadWav(f"{len(data)} bytes are over the limit of {MAX_WAV_BYTES}; shorten the clip")
    if len(data) < 12 or data[:4] != b"RIFF" or data[8:12] != b"WAVE":
        raise BadWav(f"no RIFF/WAVE header; {_HOW}")
    chunks = _chunks(data)
    if b"fmt " not in chunks:
        raise BadWav(f"no fmt chunk; {_HOW}")
    if b"data" not in chunks:
        raise BadWav(f"no data chunk; {_HOW}")
    return _audio(_format(chunks[b"fmt "]), chunks[b"data"])


def _chunks(data: bytes) -> dict[bytes, bytes]:
    """The first chunk of each name. A data chunk that claims more than the file has, as
    written by a program that was streaming, reaches to the end of the file."""
    found: dict[bytes, bytes] = {}
    position = 12
    while position + 8 <= len(data):
        name = data[position : position + 4]
        size = int.from_bytes(data[position + 4 : position + 8], "little")
        if name in (b"fmt ", b"data"):
            found.setdefault(name, data[position + 8 : position + 8 + size])
        position += 8 + size + size % 2
    return found


def _format(body: bytes) -> _Format:
    if len(body) < 16:
        raise BadWav(f"the fmt chunk has {len(body)} bytes, at least 16 are needed; {_HOW}")
    code = int.from_bytes(body[0:2], "little")
    if code == _EXTENSIBLE and len(body) >= 26:
        code = int.from_bytes(body[24:26], "little")
    return _Format(
        code,
        channels=int.from_bytes(body[2:4], "little"),
        rate=int.from_bytes(body[4:8], "little"),
        bits=int.from_bytes(body[14:16], "little"),
    )


def _audio(form: _Format, body: bytes) -> Audio:
    if form.channels != 1 or form.rate != g711.SAMPLE_RATE:
        raise BadWav(f"{form.channels} channels at {form.rate} Hz, need 1 at 8000 Hz; {_HOW}")
    match form.code, form.bits:
        case (code, 16) if code == _PCM:
            pcm = body[: len(body) // 2 * 2]
            return Audio(g711.encode(Law.MU, pcm), g711.encode(Law.A, pcm))
        case (code, 8) if code == _MULAW:
            return Audio(body, g711.transcode(Law.MU, Law.A, body))
        case (code, 8) if code == _ALAW:
            return Audio(g711.transcode(Law.A, Law.MU, body), body)
    raise BadWav(f"format {form.code:#06x} with {form.bits} bits is not 16-bit PCM, mu-law or A-law; {_HOW}")
