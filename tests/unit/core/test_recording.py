"""The file of a sealed recording: sealing, cutting, ranged reading."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core import recording
from tandem.core.recording import CHUNK_BYTES, BadRecording, Header, Opener, Sealer
from tandem.core.seal import Damaged, Erased

KEY = bytes(range(32))
HEADER = Header(b"saltsalt")
NAME = recording.name_of("t1", "rec1")


def audio(frames: int) -> bytes:
    return bytes(i * 7 % 251 for i in range(frames * 2))


def sealed(frames: int, *, name: str = NAME) -> bytes:
    sealer, plain = Sealer(HEADER, KEY, name), audio(frames)
    chunks = [plain[i : i + CHUNK_BYTES] for i in range(0, len(plain), CHUNK_BYTES)]
    return HEADER.pack() + b"".join(sealer.seal(chunk) for chunk in chunks)


def served(file: bytes, start: int, stop: int, key: bytes | None = KEY) -> bytes:
    frames = recording.frames_in(len(file))
    opener = Opener(file[: recording.HEADER_BYTES], key, NAME)
    plan = recording.span(frames, start, stop)
    opened = b""
    for chunk in plan.chunks:
        place, length = recording.at(frames, chunk)
        part = opener.open(chunk, file[place : place + length])
        assert isinstance(part, bytes)
        opened += part
    return plan.head + opened[plan.skip : plan.skip + plan.take]


@given(st.integers(0, 5000), st.data())
def test_any_range_of_the_wav_is_the_same_as_cut_from_the_whole(frames: int, data: st.DataObject):
    whole = recording.wav_header(frames) + audio(frames)
    start = data.draw(st.integers(0, len(whole)))
    stop = data.draw(st.integers(start, len(whole)))
    file = sealed(frames)
    assert recording.frames_in(len(file)) == frames
    assert recording.wav_size(frames) == len(whole)
    assert served(file, start, stop) == whole[start:stop]


@given(st.integers(0, 4000), st.data())
def test_a_file_cut_anywhere_is_finished_without_the_key(frames: int, data: st.DataObject):
    file = sealed(frames)
    cut = file[: data.draw(st.integers(0, len(file)))]
    at = recording.last_chunk_at(len(cut))
    size = recording.whole_size(len(cut), cut[at:])
    if len(cut) < recording.HEADER_BYTES:
        assert size == 0
        return
    kept = recording.frames_in(size)
    assert kept <= frames
    assert len(cut) - size < recording.STORED_CHUNK_BYTES
    assert served(cut[:size], recording.WAV_HEADER_BYTES, recording.wav_size(kept)) == audio(kept)


def test_the_header_of_the_wav_names_mu_law_in_stereo():
    header = recording.wav_header(8000)
    assert len(header) == recording.WAV_HEADER_BYTES
    assert int.from_bytes(header[4:8], "little") == len(header) - 8 + 16000
    assert header[20:22] == b"\x07\0"
    assert int.from_bytes(header[-4:], "little") == 16000


def test_a_chunk_elsewhere_altered_or_of_another_recording_does_not_open():
    file = sealed(4000)
    opener = Opener(file[:32], KEY, NAME)
    place, length = recording.at(4000, 0)
    chunk = file[place : place + length]
    with pytest.raises(Damaged):
        opener.open(1, chunk)
    with pytest.raises(Damaged):
        opener.open(0, chunk[:-1] + bytes([chunk[-1] ^ 1]))
    with pytest.raises(Damaged):
        opener.open(0, chunk[:-1])
    with pytest.raises(Damaged):
        Opener(file[:32], KEY, recording.name_of("t2", "rec1")).open(0, chunk)
    with pytest.raises(Damaged):
        Opener(Header(b"othersal").pack(), KEY, NAME).open(0, chunk)


def test_without_its_key_a_recording_reads_erased():
    file = sealed(10)
    place, length = recording.at(10, 0)
    assert Opener(file[:32], None, NAME).open(0, file[place : place + length]) == Erased()


def test_the_file_shows_neither_audio_nor_key():
    file = sealed(4000)
    plain = audio(4000)
    assert KEY not in file
    assert all(plain[i : i + 16] not in file for i in range(0, len(plain) - 16, 64))


@pytest.mark.parametrize("size", [0, 31, 33, 32 + 4 + 16, 32 + 4 + 16 + 1])
def test_impossible_sizes_are_refused(size: int):
    with pytest.raises(BadRecording):
        recording.frames_in(size)


def test_another_format_is_refused():
    with pytest.raises(BadRecording):
        Header.parse(b"RIFF" + bytes(60))
    with pytest.raises(BadRecording):
        Header.parse(HEADER.pack()[:-1])


def test_faults_of_the_caller_are_errors():
    with pytest.raises(ValueError, match="32 bytes"):
        Sealer(HEADER, b"short", NAME)
    with pytest.raises(ValueError, match="whole frames"):
        Sealer(HEADER, KEY, NAME).seal(b"abc")
    with pytest.raises(ValueError, match="outside"):
        recording.span(10, 5, 200)
    with pytest.raises(IndexError):
        recording.at(10, 1)
