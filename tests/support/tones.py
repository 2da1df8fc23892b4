"""Tones, and how to find them again: Goertzel on what a far phone heard or a recording holds."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence

from tandem.wire import g711
from tandem.wire.g711 import Law

RATE = 8000


def sine(hz: float, samples: int, start: int = 0, amplitude: int = 8000) -> array[int]:
    """16-bit samples of a tone; `start` goes on where an earlier piece ended."""
    step = 2 * math.pi * hz / RATE
    return array("h", (round(amplitude * math.sin(step * (start + i))) for i in range(samples)))


def tone(hz: float, samples: int, law: Law, start: int = 0) -> bytes:
    """The same in G.711."""
    return g711.encode(law, sine(hz, samples, start).tobytes())


def samples_of(audio: bytes, law: Law) -> array[int]:
    """G.711 as 16-bit samples."""
    return array("h", g711.decode(law, audio))


def share(samples: Sequence[int], hz: float) -> float:
    """How much of the energy is at that frequency, from 0 (none) to 1 (a pure tone).

    Best over 100 ms or more; two tones 50 Hz apart are told apart in 40 ms.
    """
    energy = sum(sample * sample for sample in samples)
    if energy == 0:
        return 0.0
    coefficient = 2 * math.cos(2 * math.pi * hz / RATE)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + coefficient * last - before
    power = last * last + before * before - coefficient * last * before
    return 2 * power / (len(samples) * energy)


def loudness(samples: Sequence[int]) -> float:
    """Root mean square."""
    return math.sqrt(sum(sample * sample for sample in samples) / len(samples)) if samples else 0.0


def seconds_with(samples: Sequence[int], hz: float, window: int = 800, least: float = 0.8) -> float:
    """How long the tone is there, counted in windows of 100 ms."""
    found = sum(
        share(samples[i : i + window], hz) >= least and loudness(samples[i : i + window]) > 500
        for i in range(0, len(samples) - window + 1, window)
    )
    return found * window / RATE
