"""A UDP socket and a clock around an `Endpoint`: all that the sans-I/O core needs from the world."""

from __future__ import annotations

import asyncio
import contextlib
import secrets
from collections.abc import AsyncIterator, Callable
from typing import Self

from tandem.wire.sip.endpoint import Endpoint
from tandem.wire.sip.events import EndpointConfig, Event


class UdpDriver(asyncio.DatagramProtocol):
    """Moves datagrams and time; hands every event to `react`."""

    def __init__(self, react: Callable[[Self, Event], None]) -> None:
        self.events: list[Event] = []
        self.endpoint: Endpoint
        self.changed = asyncio.Event()
        self._react = react
        self._loop = asyncio.get_running_loop()
        self._timer: asyncio.TimerHandle | None = None
        self._transport: asyncio.DatagramTransport

    @property
    def now(self) -> float:
        return self._loop.time()

    @property
    def port(self) -> int:
        return int(self._transport.get_extra_info("sockname")[1])

    def connection_made(self, transport: asyncio.DatagramTransport) -> None:  # type: ignore[override]
        self._transport = transport
        self.endpoint = Endpoint(EndpointConfig("127.0.0.1", self.port), lambda: secrets.token_hex(8))

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        self.endpoint.receive(data, addr[:2], self.now)
        self.pump()

    def pump(self) -> None:
        """After anything was done to the endpoint: send, tell, and set the alarm."""
        for data, address in self.endpoint.take_datagrams():
            self._transport.sendto(data, address)
        if events := self.endpoint.take_events():
            self.events += events
            for event in events:
                self._react(self, event)
            self.changed.set()
            self.pump()
            return
        if self._timer is not None:
            self._timer.cancel()
        wakeup = self.endpoint.next_wakeup()
        self._timer = None if wakeup is None else self._loop.call_at(wakeup, self._tick)

    async def until(self, condition: Callable[[], bool]) -> None:
        """Wait until a condition on the events holds."""
        while not condition():
            self.changed.clear()
            await self.changed.wait()

    def close(self) -> None:
        if self._timer is not None:
            self._timer.cancel()
        self._transport.close()

    def _tick(self) -> None:
        self.endpoint.tick(self.now)
        self.pump()


@contextlib.asynccontextmanager
async def udp_driver(react: Callable[[UdpDriver, Event], None]) -> AsyncIterator[UdpDriver]:
    """An endpoint on a free port of 127.0.0.1."""
    loop = asyncio.get_running_loop()
    _, driver = await loop.create_datagram_endpoint(lambda: UdpDriver(react), local_addr=("127.0.0.1", 0))
    try:
        yield driver
    finally:
        driver.close()
