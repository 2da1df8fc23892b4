"""Pairs of UDP sockets, one for the audio of each leg."""

from __future__ import annotations

import socket

from tandem.runtime.udp_driver import Address, Received, Socket, bind
from tandem.wire.rtp import MAX_PACKET_BYTES

AUDIO_BATCH = 1
"""Datagrams taken at a time, where the next one comes 20 ms later: to look for it would cost as much as to take one."""
AUDIO_MAX = MAX_PACKET_BYTES + 1
"""What is longer is no audio, and then need not be whole."""
TRIES = 32
"""Attempts to find two free ports side by side."""


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
            first = bind(self._host, port, audio=True)
            bound.append(first)
            number = first.getsockname()[1]
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
