"""UDP sockets in the event loop: of the built-in media node, and of phones."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable

Address = tuple[str, int]
RECEIVE_MAX = 65536
BATCH = 64
"""Datagrams taken from one socket before others have a turn."""
BUFFER_BYTES = 256 * 1024
"""Asked of the kernel for audio: over a second of it while the process is not scheduled."""

Received = Callable[[int, bytes, Address], None]
"""Told the local port, a datagram and its source."""


def bind(host: str, port: int, *, audio: bool = False) -> socket.socket:
    """A non-blocking UDP socket, with room for `BUFFER_BYTES` if it is for audio. Raises OSError."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    bound = socket.socket(family, socket.SOCK_DGRAM)
    try:
        bound.setblocking(False)
        if audio:
            bound.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, BUFFER_BYTES)
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
        """At most `batch` datagrams are taken before others have a turn, and `size_max` bytes of each."""
        self.port: int = bound.getsockname()[1]
        self.unsent = 0
        """Datagrams that the kernel would not take; to the far end they are lost ones."""
        self._socket = bound
        self._received = received
        self._batch, self._size_max = batch, size_max
        self._loop = asyncio.get_running_loop()
        self._loop.add_reader(bound.fileno(), self._readable)

    @property
    def is_open(self) -> bool:
        """Until `close`."""
        return self._socket.fileno() >= 0

    def send(self, data: bytes, target: Address) -> None:
        """Send one datagram now, or never: UDP promises nothing, SIP sends again, and late audio is no audio."""
        try:
            self._socket.sendto(data, target)
        except OSError:
            self.unsent += 1

    def close(self) -> None:
        """Idempotent."""
        if self.is_open:
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
            if not self.is_open:
                return
