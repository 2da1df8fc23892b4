"""Tones, and how to find them again: on what a far phone heard, or in a recording. Pure."""

from __future__ import annotations

import math
from array import array
from collections.abc import Sequence
from operator import mul

from tandem.wire import g711
from tandem.wire.g711 import Law

RATE = g711.SAMPLE_RATE
WINDOW = RATE // 10
"""Samples of 100 ms: long enough to tell two tones 20 Hz apart."""
LOUD = 500.0
"""Root mean square from which a window is sound; a telephone's own noise stays below 50."""
PURE = 0.8
"""Share of the energy from which a window is one tone."""


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
    """How much of the energy is at that frequency, from 0 (none) to 1 (a pure tone), by Goertzel.

    Best over 100 ms or more; two tones 50 Hz apart are told apart in 40 ms.
    """
    energy: float = sum(map(mul, samples, samples))
    if energy == 0:
        return 0.0
    coefficient = 2 * math.cos(2 * math.pi * hz / RATE)
    before = last = 0.0
    for sample in samples:
        before, last = last, sample + coefficient * last - before
    power: float = last * last + before * before - coefficient * last * before
    return 2 * power / (len(samples) * energy)


def pitch(samples: Sequence[int]) -> float | None:
    """The frequency of a pure tone in Hz, to about 2 Hz over 100 ms; None for any other sound.

    A sine obeys x[n+1] + x[n-1] = 2 cos(w) x[n], so the least squares over a window give its
    frequency without a search. Goertzel then says whether it was one.
    """
    if len(samples) < 3 or loudness(samples) < LOUD:
        return None
    neighbours = sum(map(mul, samples, samples[1:]))
    both = 2 * neighbours - samples[0] * samples[1] - samples[-1] * samples[-2]
    inner = sum(map(mul, samples, samples)) - samples[0] ** 2 - samples[-1] ** 2
    cosine = both / (2 * inner) if inner else 2.0
    if not -1 < cosine < 1:
        return None
    hz = math.acos(cosine) * RATE / (2 * math.pi)
    return hz if share(samples, hz) >= PURE else None


def loudness(samples: Sequence[int]) -> float:
    """Root mean square."""
    return math.sqrt(sum(map(mul, samples, samples)) / len(samples)) if samples else 0.0


def seconds_with(samples: Sequence[int], hz: float, window: int = WINDOW, least: float = PURE) -> float:
    """How long the tone is there, counted in windows of 100 ms."""
    found = sum(
        share(samples[i : i + window], hz) >= least and loudness(samples[i : i + window]) > LOUD
        for i in range(0, len(samples) - window + 1, window)
    )
    return found * window / RATE
