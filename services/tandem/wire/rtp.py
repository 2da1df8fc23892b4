"""RTP packets and the order in which they are played (RFC 3550, 3551).

`parse` and `pack` are the codec; `ReceiveBuffer` turns what a network delivers into an
even flow of samples. Digits are in `wire.dtmf`.
"""

from __future__ import annotations

import struct
from typing import NamedTuple

HEADER_BYTES = 12
MAX_PACKET_BYTES = 1500
"""Longest datagram taken for RTP: an Ethernet frame, far more than 20 ms of G.711."""

_HEADER = struct.Struct("!BBHII")
_VERSION = 2
_RTCP_TYPES = range(64, 96)
"""Values of marker and payload type that are RTCP on the same port (RFC 5761, section 4)."""


class RtpPacket(NamedTuple):
    """One packet. A named tuple, because a hundred a second a leg are made of these."""

    payload_type: int
    marker: bool
    sequence: int
    timestamp: int
    ssrc: int
    payload: bytes


def parse(data: bytes) -> RtpPacket | None:
    """The packet, or None for what is not RTP version 2: truncated, RTCP, STUN, noise.

    Contributing sources, a header extension and padding are passed over.
    """
    if not HEADER_BYTES <= len(data) <= MAX_PACKET_BYTES:
        return None
    flags, kind, sequence, timestamp, ssrc = _HEADER.unpack_from(data)
    if flags >> 6 != _VERSION or (kind & 0x7F in _RTCP_TYPES and kind & 0x80):
        return None
    if flags & 0x3F:  # padding, extension or sources: rare with telephones
        payload = _payload(data, flags)
        if payload is None:
            return None
    else:
        payload = data[HEADER_BYTES:]
    return RtpPacket(kind & 0x7F, kind >= 0x80, sequence, timestamp, ssrc, payload)


def _payload(data: bytes, flags: int) -> bytes | None:
    """What follows the optional parts of the header (RFC 3550, sections 5.1 and 5.3.1)."""
    start, end = HEADER_BYTES + 4 * (flags & 0x0F), len(data)
    if flags & 0x10:
        if start + 4 > end:
            return None
        start += 4 + 4 * int.from_bytes(data[start + 2 : start + 4], "big")
    if flags & 0x20:
        padding = data[-1]
        if not padding:
            return None
        end -= padding
    return data[start:end] if start <= end else None


def pack(payload_type: int, marker: bool, sequence: int, timestamp: int, ssrc: int, payload: bytes) -> bytes:
    """A packet without optional parts. Numbers are taken modulo their width."""
    kind = payload_type | 0x80 if marker else payload_type
    return _HEADER.pack(0x80, kind, sequence & 0xFFFF, timestamp & 0xFFFFFFFF, ssrc & 0xFFFFFFFF) + payload


def sequence_delta(later: int, earlier: int) -> int:
    """`later - earlier` on 16 bits that wrap, from -32768 to 32767."""
    return ((later - earlier + 0x8000) & 0xFFFF) - 0x8000


def timestamp_delta(later: int, earlier: int) -> int:
    """`later - earlier` on 32 bits that wrap, from -2**31 to 2**31 - 1."""
    return ((later - earlier + 0x80000000) & 0xFFFFFFFF) - 0x80000000


class ReceiveBuffer:
    """Orders one sender's packets and gives them out in frames of an even length.

    Fixed-delay play-out with three corrections: an empty buffer fills again to the target
    before it plays (so a pause costs no packets), a flood is cut to the target, and when
    the buffer never runs low for two seconds one frame is skipped (a sender whose clock
    is fast, or the echo of a network stall). A lost packet is silence of its length.

    Every sample is one byte; positions are RTP timestamps unwrapped to plain integers.
    """

    TARGET = 320
    """Samples kept in hand before play-out begins: 40 ms."""
    LIMIT = 1600
    """Most samples kept: 200 ms. More is a flood."""
    JUMP = 8000
    """A timestamp this far from the expected one, 1 s, is a new start and not a delay."""
    PACKETS = 64
    """Most packets kept: a peer that sends single samples does not make the queue long."""
    REVIEW = 100
    """Frames between two looks at the lowest fill."""

    def __init__(self, silence: int) -> None:
        """`silence` is the byte of a sample of value zero."""
        self._silence = silence
        self._queue: list[tuple[int, bytes]] = []  # (position, samples), in order, no overlap assumed
        self._ssrc: int | None = None
        self._last = 0  # timestamp of the packet before, as on the wire
        self._position = 0  # its unwrapped position
        self._next = 0  # position of the next sample to play
        self._playing = False
        self._played = False  # anything of this sender yet
        self._lowest = self.LIMIT
        self._reviewed = 0
        self.received = 0
        self.late = 0
        self.duplicates = 0
        self.source_changes = 0

    def put(self, packet: RtpPacket) -> None:
        """Take an audio packet. Drops duplicates and what comes too late to be played."""
        if packet.ssrc != self._ssrc:
            self._start(packet)
        self.received += 1
        position = self._position + timestamp_delta(packet.timestamp, self._last)
        if abs(position - self._next) > self.JUMP:
            self._queue.clear()
            self._playing = False
            self._next = position
        elif position < self._next and self._played:
            self.late += 1
            return
        self._last, self._position = packet.timestamp, position
        self._insert(position, packet.payload)

    def _start(self, packet: RtpPacket) -> None:
        if self._ssrc is not None:
            self.source_changes += 1
        self._ssrc = packet.ssrc
        self._queue.clear()
        self._playing = self._played = False
        self._last = packet.timestamp
        self._position = self._next = 0

    def _insert(self, position: int, payload: bytes) -> None:
        queue = self._queue
        if not payload or len(payload) > self.LIMIT:
            return
        if queue and position <= queue[-1][0]:
            index = next(i for i, (other, _) in enumerate(queue) if position <= other)
            if queue[index][0] == position:
                self.duplicates += 1
                return
            queue.insert(index, (position, payload))
        else:
            queue.append((position, payload))
        if len(queue) > self.PACKETS:
            queue.pop(0)

    def _fill(self) -> int:
        """Samples from the next one to play to the end of what is here."""
        if not self._queue:
            return 0
        position, payload = self._queue[-1]
        return position + len(payload) - (self._next if self._playing else self._queue[0][0])

    def take(self, samples: int) -> bytes | None:
        """The next frame of exactly that many samples, or None when there is nothing to play."""
        queue = self._queue
        if not queue:
            self._playing = False
            return None
        fill = self._fill()
        if not self._playing:
            if fill < self.TARGET:
                return None
            self._playing = self._played = True
            self._next = queue[0][0]
            self._lowest, self._reviewed = fill, 0
        if fill > self.LIMIT:
            self._skip(fill - self.TARGET)
        else:
            self._review(fill, samples)
        return self._frame(samples)

    def _review(self, fill: int, samples: int) -> None:
        self._lowest = min(self._lowest, fill)
        self._reviewed += 1
        if self._reviewed >= self.REVIEW:
            if self._lowest > self.TARGET + samples:
                self._skip(samples)
            self._lowest, self._reviewed = self.LIMIT, 0

    def _skip(self, samples: int) -> None:
        self._next += samples
        queue = self._queue
        while queue and queue[0][0] + len(queue[0][1]) <= self._next:
            queue.pop(0)
        self._lowest, self._reviewed = self.LIMIT, 0

    def _frame(self, samples: int) -> bytes | None:
        queue = self._queue
        if queue and queue[0][0] == self._next and len(queue[0][1]) == samples:
            self._next += samples
            return queue.pop(0)[1]
        return self._assembled(samples)

    def _assembled(self, samples: int) -> bytes:
        """A frame from packets of another length, or around a hole."""
        start, end = self._next, self._next + samples
        frame = bytearray((self._silence,)) * samples
        queue = self._queue
        while queue and queue[0][0] < end:
            position, payload = queue.pop(0)
            first, last = max(position, start), min(position + len(payload), end)
            if first < last:
                frame[first - start : last - start] = payload[first - position : last - position]
            if position + len(payload) > end:
                queue.insert(0, (end, payload[end - position :]))
                break
        self._next = end
        return bytes(frame)
