"""Reading telephone audio from WAV files."""

from __future__ import annotations

import io
import wave

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.wire import g711
from tandem.wire.g711 import Law
from tandem.wire.wav import BadWav, read_wav

PCM = bytes(range(256)) * 4


def wav(pcm: bytes = PCM, rate: int = 8000, channels: int = 1, width: int = 2) -> bytes:
    out = io.BytesIO()
    with wave.open(out, "wb") as writer:
        writer.setnchannels(channels)
        writer.setsampwidth(width)
        writer.setframerate(rate)
        writer.writeframes(pcm)
    return out.getvalue()


def companded(code: int, body: bytes, *, extensible: bool = False) -> bytes:
    fmt = (0xFFFE if extensible else code).to_bytes(2, "little") + (1).to_bytes(2, "little")
    fmt += (8000).to_bytes(4, "little") * 2 + (1).to_bytes(2, "little") + (8).to_bytes(2, "little")
    if extensible:
        fmt += (22).to_bytes(2, "little") + bytes(6) + code.to_bytes(2, "little") + bytes(14)
    chunks = b"LIST" + (3).to_bytes(4, "little") + b"abc\0"
    chunks += b"fmt " + len(fmt).to_bytes(4, "little") + fmt
    chunks += b"data" + len(body).to_bytes(4, "little") + body
    return b"RIFF" + (len(chunks) + 4).to_bytes(4, "little") + b"WAVE" + chunks


def test_pcm_is_encoded_in_both_laws():
    audio = read_wav(wav())
    assert audio.of(Law.MU) == g711.encode(Law.MU, PCM)
    assert audio.of(Law.A) == g711.encode(Law.A, PCM)
    assert audio.samples == len(PCM) // 2


@pytest.mark.parametrize("extensible", [False, True])
def test_mu_law_and_a_law_are_taken_as_they_are(extensible: bool):
    body = bytes(range(256))
    assert read_wav(companded(7, body, extensible=extensible)).mu == body
    assert read_wav(companded(6, body, extensible=extensible)).a == body


def test_a_data_chunk_of_unknown_length_reaches_to_the_end():
    data = wav()
    place = data.index(b"data") + 4
    streamed = data[:place] + b"\xff\xff\xff\xff" + data[place + 4 :]
    assert read_wav(streamed).mu == g711.encode(Law.MU, PCM)


@pytest.mark.parametrize(
    ("data", "why"),
    [
        (b"ID3 an mp3", "RIFF/WAVE"),
        (wav(rate=44100), "44100 Hz"),
        (wav(channels=2), "2 channels"),
        (wav(width=1), "8 bits"),
        (wav()[:36], "no data chunk"),
        (wav()[:12], "no fmt chunk"),
    ],
)
def test_other_audio_is_refused_with_the_way_to_convert_it(data: bytes, why: str):
    with pytest.raises(BadWav, match=why) as refused:
        read_wav(data)
    assert "sox" in str(refused.value)


@given(st.binary(max_size=200), st.integers(0, 60))
def test_garbage_is_refused_and_nothing_else(garbage: bytes, keep: int):
    for data in (garbage, wav()[:keep] + garbage):
        try:
            read_wav(data)
        except BadWav:
            continue
