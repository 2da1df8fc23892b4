"""A UDP socket of a phone in the event loop."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

Address = tuple[str, int]
RECEIVE_MAX = 65536
BATCH = 64
"""Datagrams taken before other sockets have a turn."""
BUFFER_BYTES = 256 * 1024
"""Asked of the kernel: over a second of audio while the process is not scheduled."""


class UdpSocket:
    """Bound at once; tells each datagram and its source."""

    def __init__(self, host: str, received: Callable[[bytes, Address], None]) -> None:
        """Raises OSError if the host is not ours."""
        self._received = received
        self._loop = asyncio.get_running_loop()
        self._socket = socket.socket(socket.AF_INET6 if ":" in host else socket.AF_INET, socket.SOCK_DGRAM)
        try:
            self._socket.setblocking(False)
            self._socket.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
            self._socket.bind((host, 0))
        except OSError:
            self._socket.close()
            raise
        self.port: int = self._socket.getsockname()[1]
        self._loop.add_reader(self._socket.fileno(), self._readable)

    @property
    def is_open(self) -> bool:
        """Until `close`."""
        return self._socket.fileno() >= 0

    def send(self, data: bytes, target: Address) -> None:
        """Send now or never. What the kernel will not take is a lost datagram, and both SIP and
        RTP live with those."""
        if not self.is_open:
            return
        try:
            self._socket.sendto(data, target)
        except (BlockingIOError, ConnectionError):
            return

    def close(self) -> None:
        """Idempotent."""
        if self.is_open:
            self._loop.remove_reader(self._socket.fileno())
            self._socket.close()

    def _readable(self) -> None:
        for _ in range(BATCH):
            try:
                data, source = self._socket.recvfrom(RECEIVE_MAX)
            except BlockingIOError:
                return
            except ConnectionError:
                continue  # an ICMP error about an earlier datagram of ours
            self._received(data, (source[0], source[1]))
            if not self.is_open:
                return
