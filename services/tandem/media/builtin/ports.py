"""UDP sockets: the one for SIP, and a pair for each leg."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

from tandem.media.builtin.stream import Address
from tandem.wire.rtp import MAX_PACKET_BYTES

RECEIVE_MAX = 65536
BATCH = 64
"""Datagrams taken from one socket before others have a turn."""
AUDIO_BATCH = 1
"""The same for audio, where the next one comes 20 ms later: to look for it would cost as much as to take one."""
AUDIO_MAX = MAX_PACKET_BYTES + 1
"""What is longer is no audio, and then need not be whole."""
TRIES = 32
"""Attempts to find two free ports side by side."""
BUFFER_BYTES = 256 * 1024
"""Asked for each RTP socket: over a second of audio while the process is not scheduled."""

Received = Callable[[int, bytes, Address], None]
"""Told the local port, a datagram and its source."""


def bind(host: str, port: int) -> socket.socket:
    """A non-blocking UDP socket. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        bound.bind((host, port))
    except OSError:
        bound.close()
        raise
    return bound


class Socket:
    """One bound socket in the event loop."""

    def __init__(
        self, bound: socket.socket, received: Received, *, batch: int = BATCH, size_max: int = RECEIVE_MAX
    ) -> None:
        self.port: int = bound.getsockname()[1]
        self.unsent = 0
        """Datagrams that the kernel would not take; to the far end they are lost ones."""
        self._socket = bound
        self._received = received
        self._batch, self._size_max = batch, size_max
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(bound.fileno(), self._readable)

    def send(self, data: bytes, target: Address) -> None:
        """Send one datagram now, or never: UDP promises nothing, and late audio is no audio."""
        try:
            self._socket.sendto(data, target)
        except OSError:
            self.unsent += 1

    def close(self) -> None:
        """Idempotent."""
        if self._socket.fileno() >= 0:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(self._batch):
            try:
                data, source = self._socket.recvfrom(self._size_max)
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # an ICMP error about an earlier datagram of ours
            self._received(self.port, data, (source[0], source[1]))
            if self._socket.fileno() < 0:
                return


class RtpPorts:
    """Pairs of sockets, RTP on the even port and RTCP on the next (RFC 3550, section 11).

    RTCP is taken and dropped: reports would say what the node's own counters say better.
    """

    def __init__(self, host: str, low: int, high: int, received: Received) -> None:
        """Ports from `low` to `high`; both 0 for any."""
        self._host = host
        self._low, self._high = low, high
        self._next = low
        self._received = received
        self._pairs: dict[int, tuple[Socket, Socket]] = {}

    def open(self) -> int | None:
        """A free pair; the even port's number, None if there is none."""
        tries = TRIES if self._low == 0 else (self._high - self._low + 1) // 2
        for _ in range(tries):
            pair = self._bind_pair(self._candidate())
            if pair is not None:
                rtp, rtcp = (
                    Socket(bound, take, batch=AUDIO_BATCH, size_max=AUDIO_MAX)
                    for bound, take in zip(pair, (self._received, _dropped), strict=True)
                )
                self._pairs[rtp.port] = (rtp, rtcp)
                return rtp.port
        return None

    def send(self, port: int, data: bytes, target: Address) -> None:
        """Send from a leg's RTP port."""
        pair = self._pairs.get(port)
        if pair is not None:
            pair[0].send(data, target)

    def close(self, port: int) -> None:
        """Give a pair back."""
        for one in self._pairs.pop(port, ()):
            one.close()

    def close_all(self) -> None:
        """Give all pairs back."""
        for port in list(self._pairs):
            self.close(port)

    def _candidate(self) -> int:
        """Ports are used in turn, so that the last packets of one call do not reach the next."""
        if self._low == 0:
            return 0
        port = self._next
        self._next = port + 2 if port + 3 <= self._high else self._low
        return port

    def _bind_pair(self, port: int) -> tuple[socket.socket, socket.socket] | None:
        bound: list[socket.socket] = []
        try:
            first = bind(self._host, port)
            bound.append(first)
            number = first.getsockname()[1]
            first.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            if number % 2 == 0:
                bound.append(bind(self._host, number + 1))
                return bound[0], bound[1]
        except OSError:
            pass  # taken by somebody else: the caller tries the next pair
        for one in bound:
            one.close()
        return None


def _dropped(port: int, data: bytes, source: Address) -> None:
    """RTCP."""
