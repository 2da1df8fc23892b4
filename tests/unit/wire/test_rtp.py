"""RTP packets, and the buffer that plays them in order."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tandem.wire import rtp
from tandem.wire.rtp import ReceiveBuffer, RtpPacket

SILENCE = 0xFF


def packet(index: int, *, ssrc: int = 7, base: int = 0, size: int = 160) -> RtpPacket:
    """The packet that holds frame `index`; its samples are the index."""
    return RtpPacket(0, False, index & 0xFFFF, (base + index * size) & 0xFFFFFFFF, ssrc, bytes([index % 250]) * size)


def drained(buffer: ReceiveBuffer, frames: int, samples: int = 160) -> list[bytes | None]:
    return [buffer.take(samples) for _ in range(frames)]


def heard(buffer: ReceiveBuffer, frames: int = 40) -> list[int]:
    return [frame[0] for frame in drained(buffer, frames) if frame is not None]


@given(
    st.integers(0, 127),
    st.booleans(),
    st.integers(0, 0xFFFF),
    st.integers(0, 2**32 - 1),
    st.integers(0, 2**32 - 1),
    st.binary(max_size=400),
)
def test_what_is_packed_is_parsed(kind, marker, sequence, timestamp, ssrc, payload):
    if marker and 64 <= kind < 96:
        assert rtp.parse(rtp.pack(kind, marker, sequence, timestamp, ssrc, payload)) is None
    else:
        assert rtp.parse(rtp.pack(kind, marker, sequence, timestamp, ssrc, payload)) == RtpPacket(
            kind, marker, sequence, timestamp, ssrc, payload
        )


def test_sources_extension_and_padding_are_passed_over():
    plain = rtp.pack(8, True, 1, 2, 3, b"")
    sources = bytes(8)
    extension = b"\xbe\xde\x00\x01" + bytes(4)
    data = bytes([0x80 | 0x20 | 0x10 | 2]) + plain[1:] + sources + extension + b"audio" + b"\0\0\3"
    assert rtp.parse(data) == RtpPacket(8, True, 1, 2, 3, b"audio")


def test_what_is_not_rtp_is_none():
    plain = rtp.pack(0, False, 1, 2, 3, b"x" * 4)
    cut_extension = bytes([0x90]) + plain[1:12] + b"\0"
    long_extension = bytes([0x90]) + plain[1:12] + b"\0\0\0\x09"
    padding_zero = bytes([0xA0]) + plain[1:12] + b"\0"
    padding_long = bytes([0xA0]) + plain[1:12] + b"\xff"
    version_one = bytes([0x40]) + plain[1:]
    rtcp = bytes([0x80, 200]) + plain[2:]
    huge = rtp.pack(0, False, 1, 2, 3, b"x" * 2000)
    for data in (b"", plain[:11], cut_extension, long_extension, padding_zero, padding_long, version_one, rtcp, huge):
        assert rtp.parse(data) is None


@given(st.binary(max_size=60))
def test_garbage_never_raises(data: bytes):
    rtp.parse(data)
    rtp.parse(bytes([0xBF]) + data)


@given(st.integers(0, 2**32 - 1), st.integers(-(2**31), 2**31 - 1))
def test_differences_wrap(start: int, step: int):
    assert rtp.timestamp_delta((start + step) & 0xFFFFFFFF, start) == step
    small = step >> 16
    assert rtp.sequence_delta((start + small) & 0xFFFF, start & 0xFFFF) == small


def test_play_out_waits_for_the_target_and_then_flows():
    buffer = ReceiveBuffer(SILENCE)
    buffer.put(packet(1))
    assert buffer.take(160) is None
    buffer.put(packet(2))
    assert heard(buffer, 2) == [1, 2]
    assert buffer.take(160) is None


@given(st.permutations(range(8)), st.integers(0, 2**32 - 1))
def test_any_order_and_duplicates_within_the_buffer_play_in_order(order: list[int], base: int):
    buffer = ReceiveBuffer(SILENCE)
    for index in order:
        buffer.put(packet(index, base=base))
        buffer.put(packet(index, base=base))
    assert heard(buffer) == list(range(8))
    assert buffer.duplicates == 8


def test_a_lost_packet_is_silence_of_its_length():
    buffer = ReceiveBuffer(SILENCE)
    for index in (0, 1, 3, 4):
        buffer.put(packet(index))
    assert heard(buffer) == [0, 1, SILENCE, 3, 4]


def test_a_late_packet_is_dropped():
    buffer = ReceiveBuffer(SILENCE)
    for index in (0, 1, 3, 4):
        buffer.put(packet(index))
    drained(buffer, 3)
    buffer.put(packet(2))
    assert heard(buffer) == [3, 4]
    assert buffer.late == 1


def test_a_pause_costs_no_packets():
    buffer = ReceiveBuffer(SILENCE)
    for index in range(3):
        buffer.put(packet(index))
    assert heard(buffer) == [0, 1, 2]
    for index in range(3, 6):  # delayed by the network: their timestamps go straight on
        buffer.put(packet(index))
    assert heard(buffer) == [3, 4, 5]


def test_another_packet_time_is_reframed():
    buffer = ReceiveBuffer(SILENCE)
    for index in range(4):
        buffer.put(packet(index, size=240))  # 30 ms
    frames = drained(buffer, 6)
    assert b"".join(frame for frame in frames if frame) == b"".join(bytes([i]) * 240 for i in range(4))
    assert all(len(frame) == 160 for frame in frames if frame)


def test_a_flood_is_cut_to_the_target():
    buffer = ReceiveBuffer(SILENCE)
    for index in range(30):
        buffer.put(packet(index))
    assert heard(buffer) == [28, 29]


def test_a_fast_sender_is_skipped_frame_by_frame():
    buffer = ReceiveBuffer(SILENCE)
    index = 0
    for _ in range(5):
        buffer.put(packet(index))
        index += 1
    fills = []
    for _ in range(1000):
        buffer.put(packet(index))
        index += 1
        assert buffer.take(160) is not None
        fills.append(buffer._fill())
    assert fills[0] == 800
    assert fills[-1] <= 480


def test_another_sender_starts_anew():
    buffer = ReceiveBuffer(SILENCE)
    for index in range(3):
        buffer.put(packet(index))
    drained(buffer, 1)
    for index in range(100, 103):
        buffer.put(packet(index, ssrc=8, base=12345))
    assert heard(buffer) == [100, 101, 102]
    assert buffer.source_changes == 1


def test_a_jump_of_the_timestamp_starts_anew():
    buffer = ReceiveBuffer(SILENCE)
    for index in range(3):
        buffer.put(packet(index))
    drained(buffer, 3)
    for index in range(5, 8):
        buffer.put(packet(index, base=2**31))
    assert heard(buffer) == [5, 6, 7]


@given(
    st.lists(
        st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2), st.binary(max_size=300), st.integers(0, 3)), max_size=80
    )
)
def test_any_packets_give_whole_frames_and_a_short_queue(arrivals):
    buffer = ReceiveBuffer(SILENCE)
    for timestamp, ssrc, payload, takes in arrivals:
        buffer.put(RtpPacket(0, False, 0, timestamp % 20000 if ssrc else timestamp, ssrc, payload))
        assert len(buffer._queue) <= ReceiveBuffer.PACKETS
        for _ in range(takes):
            frame = buffer.take(160)
            assert frame is None or len(frame) == 160
