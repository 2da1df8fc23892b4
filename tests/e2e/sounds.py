"""Tones for phones that we did not write, and how to find them again. Nothing here is Tandem's:
what the product encodes is judged by other code."""

from __future__ import annotations

import math
import struct
import wave
from array import array
from collections.abc import Sequence
from pathlib import Path

RATE = 8000
FRAME = 160
"""Samples of 20 ms."""
WINDOW = 800
"""100 ms: tones 20 Hz apart are told apart."""


def sine(hz: float, seconds: float, amplitude: int = 8000) -> array[int]:
    """16-bit samples of a tone."""
    step = 2 * math.pi * hz / RATE
    return array("h", (round(amplitude * math.sin(step * i)) for i in range(int(seconds * RATE))))


def _mu_law_value(code: int) -> int:
    """ITU-T G.711, table 2b, scaled to 16 bits."""
    code = ~code & 0xFF
    magnitude = ((((code & 0x0F) << 3) + 0x84) << (code >> 4 & 7)) - 0x84
    return -magnitude if code & 0x80 else magnitude


_VALUES = [_mu_law_value(code) for code in range(256)]
_CODES = {value: code for code, value in reversed(list(enumerate(_VALUES)))}
_STEPS = sorted(_CODES)


def from_mu_law(data: bytes) -> array[int]:
    """G.711 mu-law as 16-bit samples."""
    return array("h", (_VALUES[code] for code in data))


def to_mu_law(samples: Sequence[int]) -> bytes:
    """16-bit samples as G.711 mu-law: the nearest value that it has."""
    return bytes(_CODES[min(_STEPS, key=lambda step: abs(step - sample))] for sample in samples)


def mu_law_tone(hz: int, seconds: float) -> bytes:
    """A tone in mu-law; `hz` is a multiple of 5, so that 200 ms hold whole periods."""
    period = to_mu_law(sine(hz, 0.2))
    return (period * (int(seconds * 5) + 1))[: int(seconds * RATE)]


def share(samples: Sequence[int], hz: float) -> float:
    """How much of the energy is at that frequency, 0 to 1 (Goertzel)."""
    energy = sum(sample * sample for sample in samples)
    if energy == 0:
        return 0.0
    twice_cosine = 2 * math.cos(2 * math.pi * hz / RATE)
    older = newer = 0.0
    for sample in samples:
        older, newer = newer, sample + twice_cosine * newer - older
    return 2 * (newer**2 + older**2 - twice_cosine * newer * older) / (len(samples) * energy)


def loudness(samples: Sequence[int]) -> float:
    """Root mean square."""
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples)) if samples else 0.0


def has_tone(window: Sequence[int], hz: float) -> bool:
    """Whether a window is that tone and hardly anything else."""
    return loudness(window) > 500 and share(window, hz) > 0.8


def seconds_of(samples: Sequence[int], hz: float) -> float:
    """How long the tone is there, counted in windows of 100 ms."""
    windows = range(0, len(samples) - WINDOW + 1, WINDOW)
    return sum(has_tone(samples[i : i + WINDOW], hz) for i in windows) * WINDOW / RATE


def write_wav(path: Path, samples: array[int]) -> None:
    """Mono, 8 kHz, 16 bit: what baresip plays."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(RATE)
        file.writeframes(samples.tobytes())


def read_wav(path: Path) -> array[int]:
    """A mono file of 8 kHz and 16 bit: what baresip heard."""
    with wave.open(str(path), "rb") as file:
        assert (file.getnchannels(), file.getsampwidth(), file.getframerate()) == (1, 2, RATE)
        return array("h", file.readframes(file.getnframes()))


def channels_of(wav: bytes) -> tuple[array[int], array[int]]:
    """Left and right of a downloaded recording: RIFF, format 7 (mu-law) or 1 (16-bit PCM), two channels."""
    assert (wav[:4], wav[8:12]) == (b"RIFF", b"WAVE"), wav[:12]
    chunks: dict[bytes, bytes] = {}
    at = 12
    while at + 8 <= len(wav):
        name, size = struct.unpack_from("<4sI", wav, at)
        chunks[name] = wav[at + 8 : at + 8 + size]
        at += 8 + size + size % 2
    kind, channels, rate = struct.unpack_from("<HHI", chunks[b"fmt "])
    assert (channels, rate) == (2, RATE)
    assert kind in (1, 7), kind
    samples = from_mu_law(chunks[b"data"]) if kind == 7 else array("h", chunks[b"data"])
    return samples[::2], samples[1::2]


def write_tone(path: Path, hz: int, seconds: float) -> None:
    """RTP packets of a mu-law tone as a capture of an Ethernet: what SIPp plays."""
    voice = mu_law_tone(hz, 0.2)
    packets = []
    for n in range(int(seconds * 50)):
        at = n * FRAME % len(voice)
        packets.append(struct.pack("!BBHII", 0x80, 0x80 * (n == 0), n, n * FRAME, 0x7E57) + voice[at : at + FRAME])
    _write_pcap(path, packets)


def write_digit(path: Path, digit: str) -> None:
    """A key held for 160 ms, by RFC 4733 as payload type 96, likewise: its end is told three times."""
    event = "0123456789*#ABCD".index(digit)
    told = [(n * FRAME, False) for n in range(1, 9)] + [(8 * FRAME, True)] * 3
    packets = [
        struct.pack("!BBHIIBBH", 0x80, 96 | 0x80 * (n == 0), n, 800, 0x7E57, event, 0x80 * end | 10, duration)
        for n, (duration, end) in enumerate(told)
    ]
    _write_pcap(path, packets)


def _write_pcap(path: Path, packets: list[bytes]) -> None:
    with path.open("wb") as file:
        file.write(struct.pack("<IHHiIII", 0xA1B2C3D4, 2, 4, 0, 0, 65535, 1))
        for n, rtp in enumerate(packets):
            udp = struct.pack("!HHHH", 6000, 6000, 8 + len(rtp), 0) + rtp
            home = bytes((127, 0, 0, 1))
            ip = struct.pack("!BBHHHBBH4s4s", 0x45, 0, 20 + len(udp), n, 0, 64, 17, 0, home, home) + udp
            frame = bytes(12) + b"\x08\x00" + ip
            seconds_in, micros = divmod(n * 20_000, 1_000_000)
            file.write(struct.pack("<IIII", seconds_in, micros, len(frame), len(frame)) + frame)
