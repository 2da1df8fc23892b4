"""Tones: made, and found again."""

from __future__ import annotations

from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.client import tones
from tandem.wire.g711 import Law


@given(hz=st.floats(300, 3400), law=st.sampled_from(Law), start=st.integers(0, 8000))
def test_the_pitch_of_a_tone_is_found_through_either_law(hz, law, start):
    heard = tones.samples_of(tones.tone(hz, tones.WINDOW, law, start), law)
    found = tones.pitch(heard)
    assert found is not None
    assert abs(found - hz) < 3


@given(low=st.integers(20, 80), gap=st.integers(4, 40))
def test_two_tones_at_once_are_no_tone(low, gap):
    both = array("h", (a + b for a, b in zip(*(tones.sine(20 * n, 800) for n in (low, low + gap)), strict=True)))
    assert tones.pitch(both) is None


@given(st.binary(min_size=0, max_size=1600))
def test_any_sound_has_a_pitch_or_none(audio):
    samples = tones.samples_of(audio, Law.MU)
    found = tones.pitch(samples)
    assert found is None or 0 < found < 4000
    assert 0 <= tones.share(samples, 1000) <= 2.1


@pytest.mark.parametrize(
    "samples", [array("h"), array("h", [0] * 800), array("h", [9000] * 800), array("h", [100, -100] * 400)]
)
def test_silence_and_hum_are_no_tone(samples):
    assert tones.pitch(samples) is None


def test_seconds_with_counts_windows():
    audio = tones.sine(620, 2400) + array("h", [0] * 800) + tones.sine(1040, 800)
    assert tones.seconds_with(audio, 620) == pytest.approx(0.3)
    assert tones.seconds_with(audio, 1040) == pytest.approx(0.1)
    assert tones.loudness(audio[2400:3200]) == 0
