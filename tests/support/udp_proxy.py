"""A bad network between a phone and a node, on real sockets: drops, doubles, delays and so reorders.

Chance comes from a seed, in the order in which datagrams pass. How many in a row are lost is
bounded: SIP gives up after eleven tries, and a test of retransmission is no test of giving up.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from tandem.runtime.udp_driver import Socket, bind

Address = tuple[str, int]
HOST = "127.0.0.1"


@dataclass(frozen=True)
class Weather:
    """How bad it is: chances from 0 to 1, delays in seconds."""

    drop: float = 0.3
    double: float = 0.3
    delay: float = 0.3
    delay_max_s: float = 0.2
    longest_gap: int = 3
    """Datagrams lost one after another in one direction, at most."""


class UdpProxy:
    """One phone's socket, carried to one of a node's. `near` is where the phone sends, `far` is what
    the node sees as the phone; the phone is whoever sends to `near`."""

    def __init__(self, target: Address, weather: Weather, seed: object) -> None:
        self.target = target
        self.phone: Address | None = None
        self.count: Counter[str] = Counter()
        self._weather = weather
        self._chance = random.Random(f"weather {seed}")
        self._gap: Counter[str] = Counter()
        self._loop = asyncio.get_running_loop()
        self._late: set[asyncio.TimerHandle] = set()
        self._near = Socket(bind(HOST, 0), self._from_phone)
        self._far = Socket(bind(HOST, 0), self._from_node)

    @property
    def near(self) -> Address:
        """Where the phone sends."""
        return HOST, self._near.port

    @property
    def far(self) -> Address:
        """Where the node finds the phone."""
        return HOST, self._far.port

    def close(self) -> None:
        """What is under way is lost."""
        for late in self._late:
            late.cancel()
        self._near.close()
        self._far.close()

    def _from_phone(self, port: int, data: bytes, source: Address) -> None:
        self.phone = source
        self._carry("out", self._far, data, self.target)

    def _from_node(self, port: int, data: bytes, source: Address) -> None:
        if self.phone is not None:
            self._carry("in", self._near, data, self.phone)

    def _carry(self, way: str, by: Socket, data: bytes, to: Address) -> None:
        self.count["came"] += 1
        if self._gap[way] < self._weather.longest_gap and self._chance.random() < self._weather.drop:
            self._gap[way] += 1
            self.count["lost"] += 1
            return
        self._gap[way] = 0
        copies = 1 + (self._chance.random() < self._weather.double)
        self.count["doubled"] += copies - 1
        for _ in range(copies):
            if self._chance.random() < self._weather.delay:
                self.count["late"] += 1
                self._send_late(self._chance.random() * self._weather.delay_max_s, by, data, to)
            else:
                by.send(data, to)

    def _send_late(self, after_s: float, by: Socket, data: bytes, to: Address) -> None:
        def send() -> None:
            self._late.discard(handle)
            by.send(data, to)

        handle = self._loop.call_later(after_s, send)
        self._late.add(handle)


@asynccontextmanager
async def udp_proxy(target: Address, weather: Weather | None = None, seed: object = 0) -> AsyncIterator[UdpProxy]:
    """A proxy until the block ends."""
    proxy = UdpProxy(target, weather or Weather(), seed)
    try:
        yield proxy
    finally:
        proxy.close()
