"""A UDP socket of a phone in the event loop."""

from __future__ import annotations

from collections.abc import Callable

from tandem.runtime.udp_driver import Address, Socket, bind

__all__ = ["Address", "UdpSocket"]


class UdpSocket(Socket):
    """Bound at once to any free port; tells each datagram and its source."""

    def __init__(self, host: str, received: Callable[[bytes, Address], None]) -> None:
        """Raises OSError if the host is not ours."""
        super().__init__(bind(host, 0, audio=True), lambda port, data, source: received(data, source))
