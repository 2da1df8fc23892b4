"""The node's small parts: timers, playlists, streams, tapes, prompts, settings."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.recording import CHUNK_BYTES, HEADER_BYTES, STORED_CHUNK_BYTES, Header, Opener, Sealer
from tandem.media.builtin.config import BuiltinConfig
from tandem.media.builtin.prompts import BadPrompts, load_prompts
from tandem.media.builtin.sound import FRAME, Playlist
from tandem.media.builtin.stream import Session, Stream
from tandem.media.builtin.tape import Tape
from tandem.media.builtin.timers import TimerName, Timers
from tandem.wire import g711, rtp
from tandem.wire.dtmf import EventSender
from tandem.wire.g711 import Law
from tandem.wire.wav import Audio

PHONE, REAL, OTHER = ("10.0.0.9", 4000), ("192.0.2.7", 61000), ("192.0.2.8", 62000)
SHIPPED = Path(__file__).parents[4] / "services/tandem/media/prompts"


# ------------------------------------------------------------------ timers


@given(st.lists(st.tuples(st.sampled_from("abc"), st.one_of(st.none(), st.integers(0, 50)))), st.integers(0, 60))
def test_timers_agree_with_a_dict(steps: list[tuple[str, int | None]], now: int):
    timers, naive = Timers(), dict[str, int]()
    for of, at in steps:
        if at is None:
            timers.cancel("t", of)
            naive.pop(of, None)
        else:
            timers.set("t", of, at)
            naive[of] = at
    assert timers.next() == min(naive.values(), default=None)
    popped = []
    while (name := timers.pop(now)) is not None:
        popped.append(name)
    assert sorted(popped) == sorted(TimerName("t", of) for of, at in naive.items() if at <= now)
    assert [naive[name.of] for name in popped] == sorted(naive[name.of] for name in popped)


def test_a_timer_that_is_set_often_does_not_fill_the_heap():
    timers = Timers()
    for at in range(10_000):
        timers.set("media", "leg", at)
    assert len(timers._heap) < 200


# ------------------------------------------------------------------ playlists


@given(st.lists(st.integers(0, 500), max_size=5), st.sampled_from(list(Law)))
def test_a_playlist_is_its_clips_without_gaps(sizes: list[int], law: Law):
    clips = [Audio(bytes([i + 1]) * size, bytes([i + 101]) * size) for i, size in enumerate(sizes)]
    playlist, played = Playlist(clips), b""
    while (frame := playlist.take(law)) is not None:
        assert len(frame) == FRAME
        played += frame
    whole = b"".join(clip.of(law) for clip in clips)
    assert played == whole + g711.silence(law, -len(whole) % FRAME)
    assert playlist.take(law) is None


@given(st.lists(st.integers(1, 500), min_size=1, max_size=3))
def test_a_loop_goes_on_without_a_gap(sizes: list[int]):
    clips = [Audio(bytes([i + 1]) * size, b"") for i, size in enumerate(sizes)]
    playlist, whole = Playlist(clips, loop=True), b"".join(clip.mu for clip in clips)
    played = b"".join(playlist.take(Law.MU) or b"" for _ in range(20))
    assert played == (whole * (len(played) // len(whole) + 1))[: len(played)]
    assert len(played) == 20 * FRAME


def test_a_loop_of_nothing_is_over():
    assert Playlist([], loop=True).take(Law.MU) is None
    assert Playlist([Audio(b"", b"")], loop=True).take(Law.MU) is None


# ------------------------------------------------------------------ streams


def session(law: Law = Law.MU, address=PHONE, event_type: int | None = 101, **options: bool) -> Session:
    return Session(law, law.payload_type, address, event_type, **options)


def stream(**options) -> Stream:
    return Stream(bytes(range(10)), session(**options), 0.0)


def heard(one: Stream, frames: int = 6) -> bytes:
    return b"".join(one.take() or b"" for _ in range(frames))


def audio(index: int, kind: int = 0, byte: int = 5) -> bytes:
    return rtp.pack(kind, False, index, index * 160, 9, bytes([byte]) * 160)


def test_it_sends_where_the_sdp_says_until_the_phone_is_heard():
    one = stream()
    assert one.send(b"x" * 160)[1] == PHONE
    one.receive(audio(1), REAL, 1.0)
    assert one.send(b"x" * 160)[1] == REAL


def test_only_the_first_source_is_heard_until_the_sdp_names_another():
    one = stream()
    for index in range(2):
        one.receive(audio(index), REAL, 1.0)
        one.receive(audio(index + 50, byte=6), OTHER, 1.0)
    assert one.foreign == 2
    assert heard(one) == b"\5" * 320
    one.agree(session(), 1.0)
    one.receive(audio(2), OTHER, 1.0)
    assert one.foreign == 3
    one.agree(session(address=("10.0.0.9", 4002)), 1.0)
    assert one.send(b"x" * 160)[1] == ("10.0.0.9", 4002)
    one.receive(audio(3), OTHER, 1.0)
    assert one.send(b"x" * 160)[1] == OTHER


def test_what_is_no_audio_of_this_call_latches_nothing():
    one = stream()
    for data in (b"noise", audio(1, kind=96), rtp.pack(200 & 0x7F, True, 1, 1, 1, b"")):
        one.receive(data, OTHER, 5.0)
    assert one.send(b"x" * 160)[1] == PHONE
    assert one.last_heard == 0.0


def test_either_law_is_understood_whatever_was_agreed():
    one = stream(law=Law.A)
    for index in range(2):
        one.receive(audio(index, kind=0, byte=0x2A), REAL, 1.0)
    assert heard(one) == g711.transcode(Law.MU, Law.A, b"\x2a" * 320)


def test_numbers_go_on_and_the_first_packet_is_marked():
    one = stream()
    packets = [rtp.parse(one.send(b"x" * 160)[0]) for _ in range(3)]
    assert [packet.marker for packet in packets] == [True, False, False]
    assert [packet.sequence for packet in packets] == [0x0406, 0x0407, 0x0408]
    assert [packet.timestamp - packets[0].timestamp for packet in packets] == [0, 160, 320]
    one.skip(5)
    assert rtp.parse(one.send(b"x" * 160)[0]).timestamp - packets[0].timestamp == 480 + 800


def test_time_goes_on_while_the_phone_holds():
    one = stream()
    first = rtp.parse(one.send(b"x" * 160)[0])
    one.agree(session(we_send=False), 1.0)
    assert one.send(b"x" * 160) is None
    one.agree(session(), 1.0)
    later = rtp.parse(one.send(b"x" * 160)[0])
    assert (later.sequence - first.sequence, later.timestamp - first.timestamp) == (1, 320)


def test_digits_go_out_one_after_another_in_place_of_audio():
    one = stream()
    for digit in "12":
        one.press(digit)
    packets = [rtp.parse(one.send(b"x" * 160)[0]) for _ in range(17)]
    kinds = [packet.payload_type for packet in packets]
    assert kinds == [101] * 7 + [0] + [101] * 7 + [0, 0]
    assert {packet.payload[0] for packet in packets[:7]} == {1}
    assert packets[8].timestamp - packets[0].timestamp == 8 * 160


def test_a_phone_without_digits_gets_none_and_a_stuck_key_is_forgotten():
    one = stream(event_type=None)
    one.press("1")
    assert rtp.parse(one.send(b"x" * 160)[0]).payload_type == 0
    two = stream()
    for _ in range(100):
        two.press("1")
    assert len(two._pressed) == 32


def test_digits_come_in_once():
    one, sender, digits = stream(), EventSender("9", 800), []
    while (packet := sender.take()) is not None:
        digits.append(one.receive(rtp.pack(101, packet.marker, 1, packet.timestamp, 9, packet.payload), REAL, 1.0))
    assert [digit for digit in digits if digit] == ["9"]


# ------------------------------------------------------------------ tapes


def test_a_tape_seals_200_ms_at_a_time_and_fills_gaps():
    header, key = Header(b"saltsalt"), bytes(32)
    tape, chunks = Tape(Sealer(header, key, "n")), []
    for index in range(13):
        left = None if index % 2 else b"\1" * 160
        chunk = tape.add(left, b"\2" * 160)
        if chunk is not None:
            chunks.append(chunk)
    assert [len(chunk) for chunk in chunks] == [STORED_CHUNK_BYTES]
    chunks.append(tape.end())
    assert tape.end() is None
    opener = Opener(header.pack()[:HEADER_BYTES], key, "n")
    first, last = opener.open(0, chunks[0]), opener.open(1, chunks[1])
    assert len(first) == CHUNK_BYTES
    assert first[0::2][:320] == b"\1" * 160 + b"\xff" * 160
    assert last == b"\1\2" * 160 + b"\xff\2" * 160 + b"\1\2" * 160


# ------------------------------------------------------------------ prompts and settings


def test_the_shipped_prompts_can_be_played():
    prompts = load_prompts(SHIPPED)
    assert {"music", "apology", "welcome-menu"} <= set(prompts)
    assert all(clip.samples > 8000 for clip in prompts.values())


def test_prompts_that_cannot_be_played_are_named(tmp_path):
    with pytest.raises(BadPrompts, match=r"media\.prompts_dir"):
        load_prompts(tmp_path)
    (tmp_path / "manifest.json").write_text(json.dumps({"x": {"file": "x.wav", "sha256": "0"}}))
    with pytest.raises(BadPrompts, match=r"x\.wav"):
        load_prompts(tmp_path)
    (tmp_path / "x.wav").write_bytes(b"")
    with pytest.raises(BadPrompts, match="not the file"):
        load_prompts(tmp_path)


@pytest.mark.parametrize(
    ("settings", "named"),
    [
        ({"rtp_port_min": 4001, "rtp_port_max": 4010}, "rtp_port_min"),
        ({"rtp_port_min": 4000}, "rtp_port_max"),
        ({"rtp_port_min": 4000, "rtp_port_max": 3000}, "rtp_port_min"),
        ({"capacity": 0}, "capacity"),
    ],
)
def test_settings_that_cannot_work_are_refused_by_name(settings: dict[str, int], named: str):
    with pytest.raises(ValueError, match=f"media\\.{named}"):
        BuiltinConfig(Path("s"), Path("p"), **settings)
