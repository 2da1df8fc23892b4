"""G.711 against the ITU's values and, where Python still has it, audioop."""

from __future__ import annotations

import sys
import warnings
from array import array

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.wire import g711
from tandem.wire.g711 import Law

ALL_SAMPLES = array("h", range(-0x8000, 0x8000)).tobytes()
ALL_CODES = bytes(range(256))


def values(pcm: bytes) -> list[int]:
    return list(array("h", pcm))


@pytest.mark.skipif(sys.version_info >= (3, 13), reason="Python 3.13 has no audioop")
def test_both_laws_equal_audioop_for_every_sample_and_code():
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DeprecationWarning)
        import audioop

    assert g711.encode(Law.MU, ALL_SAMPLES) == audioop.lin2ulaw(ALL_SAMPLES, 2)
    assert g711.encode(Law.A, ALL_SAMPLES) == audioop.lin2alaw(ALL_SAMPLES, 2)
    assert g711.decode(Law.MU, ALL_CODES) == audioop.ulaw2lin(ALL_CODES, 2)
    assert g711.decode(Law.A, ALL_CODES) == audioop.alaw2lin(ALL_CODES, 2)


def test_decoded_values_of_the_mu_law_table():
    # G.711 table 2a/2b: 14-bit output values of the first code of each segment, here times 4.
    firsts = [g711_value * 4 for g711_value in (8031, 3999, 1983, 975, 471, 219, 93, 30)]
    assert [values(g711.decode(Law.MU, bytes([code])))[0] for code in range(0x80, 0x100, 16)] == firsts
    assert values(g711.decode(Law.MU, b"\x00\x80\xff\x7f")) == [-32124, 32124, 0, 0]


def test_decoded_values_of_the_a_law_table():
    # G.711 table 1a/1b: 13-bit output values (even bits inverted on the wire), here times 8.
    highest = [4032, 2016, 1008, 504, 252, 126, 63, 31]
    codes = bytes((0xFF - 16 * segment) ^ 0x55 for segment in range(8))
    assert [value // 8 for value in values(g711.decode(Law.A, codes))] == highest
    assert values(g711.decode(Law.A, b"\xd5\x55")) == [8, -8]


def test_the_milliwatt_sequence():
    # G.711 tables 5 and 6: the periodic character sequences of 1 kHz at 0 dBm0 (sign-free peak values agree).
    a = bytes.fromhex("342121 34b4a1a1b4")
    mu = bytes.fromhex("1e0b0b1e9e8b8b9e")
    expected = [-8828, -20860, -20860, -8828, 8828, 20860, 20860, 8828]
    assert values(g711.decode(Law.MU, mu)) == expected
    assert g711.transcode(Law.MU, Law.A, mu) == a
    assert g711.transcode(Law.A, Law.MU, a) == mu


@pytest.mark.parametrize("law", list(Law))
def test_encoding_a_decoded_code_gives_it_back(law: Law):
    again = g711.encode(law, g711.decode(law, ALL_CODES))
    # Mu-law has two zeros; the positive one is sent.
    assert [code for code in range(256) if again[code] != code] == ([0x7F] if law is Law.MU else [])


@given(st.integers(-32635, 32635), st.sampled_from(list(Law)))
def test_error_is_within_half_a_step(sample: int, law: Law):
    pcm = array("h", [sample]).tobytes()
    (back,) = values(g711.decode(law, g711.encode(law, pcm)))
    assert abs(back - sample) <= max(8, abs(sample) // 16 / 2 + 8)


def test_silence_is_zero_and_survives_transcoding():
    assert values(g711.decode(Law.MU, g711.silence(Law.MU, 3))) == [0, 0, 0]
    assert values(g711.decode(Law.A, g711.silence(Law.A, 2))) == [8, 8]
    assert g711.transcode(Law.MU, Law.A, g711.silence(Law.MU, 4)) == g711.silence(Law.A, 4)
    assert g711.transcode(Law.A, Law.A, b"abc") == b"abc"


def test_half_a_sample_is_refused():
    with pytest.raises(ValueError, match="half a sample"):
        g711.encode(Law.MU, b"\0")
