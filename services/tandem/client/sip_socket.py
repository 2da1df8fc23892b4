"""A SIP endpoint on a UDP socket, with its timers."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable

from tandem.client.udp import Address, UdpSocket
from tandem.wire.sip.endpoint import Endpoint
from tandem.wire.sip.events import EndpointConfig, Event


class SipSocket:
    """Moves bytes and time into an `Endpoint` and what comes of it out.

    After each call to `endpoint` call `pump`; events are handed to `happened`, which may act
    on the endpoint again. Times are seconds of CLOCK_MONOTONIC.
    """

    def __init__(self, host: str, user_agent: str, happened: Callable[[Event], None]) -> None:
        """Raises OSError if the host is not ours."""
        self._happened = happened
        self._loop = asyncio.get_running_loop()
        self._socket = UdpSocket(host, self._on_datagram)
        self._alarm: asyncio.TimerHandle | None = None
        config = EndpointConfig(host, self._socket.port, user_agent=user_agent)
        self.endpoint = Endpoint(config, lambda: secrets.token_hex(16))

    @property
    def port(self) -> int:
        """The bound UDP port."""
        return self._socket.port

    @property
    def is_open(self) -> bool:
        """Until `close`."""
        return self._socket.is_open

    def now(self) -> float:
        """The time that the endpoint is to be told."""
        return time.monotonic()

    def pump(self) -> None:
        """Hand on what the endpoint has for the world, and arm its next timer."""
        while events := self.endpoint.take_events():
            for event in events:
                self._happened(event)
        for data, target in self.endpoint.take_datagrams():
            self._socket.send(data, target)
        self._disarm()
        at = self.endpoint.next_wakeup()
        if at is not None and self.is_open:
            self._alarm = self._loop.call_later(max(0.0, at - self.now()), self._wake)

    def close(self) -> None:
        """Idempotent."""
        self._disarm()
        self._socket.close()

    def _disarm(self) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None

    def _wake(self) -> None:
        self._alarm = None
        self.endpoint.tick(self.now())
        self.pump()

    def _on_datagram(self, data: bytes, source: Address) -> None:
        self.endpoint.receive(data, source, self.now())
        self.pump()
