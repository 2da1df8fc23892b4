"""The file of a sealed recording: what the media node writes and the download opens (spine 8).

    header   32 bytes: magic, format, rate, channels, frames of a chunk, salt
    chunk    4 bytes of length, then that many sealed bytes
    chunk    ...

A frame is one mu-law sample per channel: left the recorded phone, right what it hears.
Each chunk holds 200 ms and is sealed by AES-256-GCM with the recording's own key; its
nonce is the salt and the chunk's number, its associated data the header and the name of
the recording, so that chunks can be neither exchanged nor moved. All chunks but the last
are full: the place of any frame follows from its number, and the length of a file from
its size, without the key.
"""

from __future__ import annotations

from dataclasses import field

from tandem.core.seal import Damaged, Erased, Sealed, Secret, Withheld, seal, unseal
from tandem.core.values import dataclass

MAGIC = b"TANDEMRC"
FORMAT = 1
RATE = 8000
"""Frames a second."""
CHANNELS = 2
CHUNK_FRAMES = 1600
"""200 ms."""
CHUNK_BYTES = CHUNK_FRAMES * CHANNELS
TAG_BYTES = 16
LENGTH_BYTES = 4
STORED_CHUNK_BYTES = LENGTH_BYTES + CHUNK_BYTES + TAG_BYTES
"""A full chunk in the file."""
SALT_BYTES = 8
HEADER_BYTES = 32
MAX_CHUNKS = 0xFFFFFFFF
"""The counter's width; 27 years."""
WAV_HEADER_BYTES = 58

_MULAW = 0x0007


class BadRecording(Exception):
    """The bytes are not a recording's file."""


@dataclass(frozen=True, slots=True)
class Header:
    """What stands before the chunks. The salt is random and new for each file: should one
    key ever seal two files, no nonce is used twice."""

    salt: bytes = field(repr=False)

    def pack(self) -> bytes:
        """The 32 bytes."""
        fixed = MAGIC + FORMAT.to_bytes(2, "big") + CHANNELS.to_bytes(2, "big")
        fixed += RATE.to_bytes(4, "big") + CHUNK_FRAMES.to_bytes(4, "big")
        return fixed + self.salt + bytes(HEADER_BYTES - len(fixed) - SALT_BYTES)

    @classmethod
    def parse(cls, data: bytes) -> Header:
        """Raises `BadRecording` for anything but a header of this format."""
        header = cls(bytes(data[20 : 20 + SALT_BYTES]))
        if len(data) < HEADER_BYTES or header.pack() != data[:HEADER_BYTES]:
            raise BadRecording("no header of a recording of format 1")
        return header


def name_of(tenant: str, recording: str) -> str:
    """The blob that holds a recording."""
    return f"recordings/{tenant}/{recording}"


class Sealer:
    """Seals the chunks of one file in order. Holds the key; lives in memory alone."""

    def __init__(self, header: Header, key: bytes, name: str) -> None:
        """`name` is the blob's name. Raises ValueError for a key that is not 32 bytes."""
        if len(key) != 32:
            raise ValueError(f"a recording's key has 32 bytes, not {len(key)}")
        self._header = header
        self._key = key
        self._aad = _associated(header, name)
        self._next = 0

    def seal(self, frames: bytes) -> bytes:
        """The next chunk as it goes to the file. Only the last may be short of `CHUNK_BYTES`."""
        if not 0 < len(frames) <= CHUNK_BYTES or len(frames) % CHANNELS:
            raise ValueError(f"a chunk has whole frames, at most {CHUNK_BYTES} bytes, not {len(frames)}")
        nonce = _nonce(self._header, self._next)
        self._next += 1
        sealed = seal(Secret(frames), "", self._key, nonce, self._aad).data
        return len(sealed).to_bytes(LENGTH_BYTES, "big") + sealed


def _associated(header: Header, name: str) -> bytes:
    return header.pack() + name.encode()


def _nonce(header: Header, chunk: int) -> bytes:
    return header.salt + chunk.to_bytes(4, "big")


# ------------------------------------------------------------------ sizes, without the key


def frames_in(size_bytes: int) -> int:
    """Frames of a whole file of that size. Raises `BadRecording` for an impossible size."""
    chunks, rest = divmod(size_bytes - HEADER_BYTES, STORED_CHUNK_BYTES)
    audio = rest - LENGTH_BYTES - TAG_BYTES
    if size_bytes < HEADER_BYTES or (rest and (audio <= 0 or audio % CHANNELS)):
        raise BadRecording(f"{size_bytes} bytes are no whole recording")
    return chunks * CHUNK_FRAMES + (audio // CHANNELS if rest else 0)


def last_chunk_at(size_bytes: int) -> int:
    """Where the last chunk of a file begins that was perhaps cut while it was written."""
    if size_bytes < HEADER_BYTES:
        return 0
    return size_bytes - (size_bytes - HEADER_BYTES) % STORED_CHUNK_BYTES


def whole_size(size_bytes: int, tail: bytes) -> int:
    """How much of a file that was cut is whole: `tail` is what stands from `last_chunk_at` on.

    0 if not even the header is there.
    """
    if size_bytes < HEADER_BYTES:
        return 0
    length = int.from_bytes(tail[:LENGTH_BYTES], "big")
    audio = length - TAG_BYTES
    complete = len(tail) == LENGTH_BYTES + length and 0 < audio <= CHUNK_BYTES and audio % CHANNELS == 0
    return size_bytes if not tail or complete else size_bytes - len(tail)


# ------------------------------------------------------------------ the WAV that is served


def wav_header(frames: int) -> bytes:
    """RIFF header of stereo mu-law at 8 kHz (fmt of 18 bytes and fact, as non-PCM formats ask)."""
    data = frames * CHANNELS
    fmt = _MULAW.to_bytes(2, "little") + CHANNELS.to_bytes(2, "little") + RATE.to_bytes(4, "little")
    fmt += (RATE * CHANNELS).to_bytes(4, "little") + CHANNELS.to_bytes(2, "little")
    fmt += (8).to_bytes(2, "little") + bytes(2)
    riff = min(WAV_HEADER_BYTES - 8 + data, 0xFFFFFFFF)
    return b"".join((
        b"RIFF", riff.to_bytes(4, "little"), b"WAVE",
        b"fmt ", len(fmt).to_bytes(4, "little"), fmt,
        b"fact", (4).to_bytes(4, "little"), min(frames, 0xFFFFFFFF).to_bytes(4, "little"),
        b"data", min(data, 0xFFFFFFFF).to_bytes(4, "little"),
    ))  # fmt: skip


def wav_size(frames: int) -> int:
    """Bytes of the WAV of a recording of that many frames."""
    return WAV_HEADER_BYTES + frames * CHANNELS


@dataclass(frozen=True, slots=True)
class Span:
    """What to read of the blob, chunk by chunk, to serve bytes `[start, stop)` of the WAV."""

    head: bytes
    """The part of the WAV's header that is asked for; sent first."""
    chunks: range
    """The chunks that follow; `at(chunk)` says where each stands."""
    skip: int
    """Bytes to drop of the first chunk's audio."""
    take: int
    """Bytes of audio to send in all."""


def span(frames: int, start: int, stop: int) -> Span:
    """The plan for a byte range of the WAV. Raises ValueError outside `0 <= start <= stop <= wav_size`."""
    if not 0 <= start <= stop <= wav_size(frames):
        raise ValueError(f"bytes {start} to {stop} are outside a file of {wav_size(frames)}")
    head = wav_header(frames)[start:stop]
    first, last = max(start - WAV_HEADER_BYTES, 0), max(stop - WAV_HEADER_BYTES, 0)
    if first == last:
        return Span(head, range(0), 0, 0)
    chunks = range(first // CHUNK_BYTES, -(-last // CHUNK_BYTES))
    return Span(head, chunks, first % CHUNK_BYTES, last - first)


def at(frames: int, chunk: int) -> tuple[int, int]:
    """Place and length of a chunk in the file, its length prefix included. Raises IndexError."""
    inside = min(frames - chunk * CHUNK_FRAMES, CHUNK_FRAMES)
    if chunk < 0 or inside <= 0:
        raise IndexError(f"chunk {chunk} is outside a recording of {frames} frames")
    return HEADER_BYTES + chunk * STORED_CHUNK_BYTES, LENGTH_BYTES + inside * CHANNELS + TAG_BYTES


class Opener:
    """Opens the chunks of one file, in any order."""

    def __init__(self, header: bytes, key: bytes | None, name: str) -> None:
        """`key` is None when it was destroyed. Raises `BadRecording`."""
        self._header = Header.parse(header)
        self._key = key
        self._aad = _associated(self._header, name)

    def open(self, chunk: int, stored: bytes) -> bytes | Erased:
        """The frames of a chunk, `stored` as `at` placed it. Raises `Damaged`."""
        if int.from_bytes(stored[:LENGTH_BYTES], "big") != len(stored) - LENGTH_BYTES:
            raise Damaged(f"chunk {chunk} of a recording has another length than its place asks")
        sealed = Sealed("", _nonce(self._header, chunk), self._aad, stored[LENGTH_BYTES:])
        opened = unseal(sealed, self._key)
        if isinstance(opened, Withheld):
            raise TypeError("a sealed chunk cannot be withheld")
        return opened
