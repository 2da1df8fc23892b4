"""Endpoints on a channel in virtual time: the tests' own network, good or bad by a seed."""

from __future__ import annotations

import heapq
import random
from collections.abc import Callable
from dataclasses import dataclass, field

from tandem.wire.sip.endpoint import Endpoint
from tandem.wire.sip.events import Address, EndpointConfig, Event
from tandem.wire.sip.message import Request, Response, parse
from tandem.wire.sip.uri import NameAddr, Uri

ALICE: Address = ("127.0.0.1", 5070)
BOB: Address = ("127.0.0.1", 5060)
OFFER = b"v=0 offer"
ANSWER = b"v=0 answer"


def seeded_token(seed: object) -> Callable[[], str]:
    """Tokens that a seed repeats."""
    chance = random.Random(str(seed))
    return lambda: f"{chance.getrandbits(64):016x}"


def endpoint(address: Address, seed: object = 0, **settings: object) -> Endpoint:
    return Endpoint(
        EndpointConfig(address[0], address[1], **settings),  # type: ignore[arg-type]
        seeded_token((seed, address)),
    )


@dataclass(frozen=True)
class Channel:
    """How bad the network is: chances of 0 to 1, delays in seconds."""

    loss: float = 0.0
    duplicate: float = 0.0
    delay_max: float = 0.0


@dataclass
class World:
    """Endpoints, what they said, and what is under way between them."""

    seed: object = 0
    channel: Channel = Channel()
    now: float = 0.0
    endpoints: dict[Address, Endpoint] = field(default_factory=dict)
    events: dict[Address, list[Event]] = field(default_factory=dict)
    sent: list[tuple[float, Address, Address, bytes]] = field(default_factory=list)
    react: Callable[[Address, Event], None] | None = None

    def __post_init__(self) -> None:
        self.chance = random.Random(f"channel {self.seed}")
        self._count = 0
        self._heap: list[tuple[float, int, Callable[[], None]]] = []

    def add(self, address: Address, **settings: object) -> Endpoint:
        self.endpoints[address] = endpoint(address, self.seed, **settings)
        self.events[address] = []
        return self.endpoints[address]

    def at(self, when: float, action: Callable[[], object]) -> None:
        """Do something later."""
        self._count += 1

        def run() -> None:
            action()

        heapq.heappush(self._heap, (when, self._count, run))

    def pump(self) -> None:
        """Take what the endpoints have to say; deliver nothing yet."""
        for address, one in self.endpoints.items():
            for data, to in one.take_datagrams():
                self.sent.append((self.now, address, to, data))
                self._carry(address, to, data)
            for event in one.take_events():
                self.events[address].append(event)
                if self.react is not None:
                    self.react(address, event)

    def run(self, until: float = 1e9) -> None:
        """Let time pass until `until`, or until nothing is left to happen."""
        while True:
            self.pump()
            if any(one._layer.datagrams or one._layer.events for one in self.endpoints.values()):
                continue
            times = [when for one in self.endpoints.values() if (when := one.next_wakeup()) is not None]
            if self._heap:
                times.append(self._heap[0][0])
            if not times or min(times) > until:
                self.now = max(self.now, until) if until < 1e9 else self.now
                return
            self.now = max(self.now, min(times))
            if self._heap and self._heap[0][0] <= self.now:
                heapq.heappop(self._heap)[2]()
                continue
            for one in self.endpoints.values():
                one.tick(self.now)

    def settle(self) -> None:
        """Let everything happen that needs no time."""
        self.run(self.now)

    def first(self, address: Address, kind: type) -> Event:
        """The first event of a kind."""
        return next(event for event in self.events[address] if isinstance(event, kind))

    def all(self, address: Address, kind: type) -> list[Event]:
        """Every event of a kind."""
        return [event for event in self.events[address] if isinstance(event, kind)]

    def messages(self, source: Address) -> list[Request | Response]:
        """What an endpoint sent, parsed."""
        parsed = [parse(data) for _, sender, _, data in self.sent if sender == source]
        return [message for message in parsed if isinstance(message, Request | Response)]

    def starts(self, source: Address) -> list[str]:
        """Methods and statuses of what an endpoint sent."""
        return [m.method if isinstance(m, Request) else f"{m.status} {m.cseq.method}" for m in self.messages(source)]

    def is_at_rest(self) -> bool:
        """Whether no endpoint holds anything that a call or transaction left behind."""
        return all(
            not (one._layer.clients or one._layer.servers or one._layer._requests or one.next_wakeup())
            and not (one._calls._by_handle or one._calls._by_dialog)
            for one in self.endpoints.values()
        )

    def _carry(self, source: Address, to: Address, data: bytes) -> None:
        copies = 2 if self.chance.random() < self.channel.duplicate else 1
        for _ in range(copies):
            if self.chance.random() < self.channel.loss:
                continue
            delay = self.chance.random() * self.channel.delay_max
            self.at(self.now + delay, lambda: self._deliver(source, to, data))

    def _deliver(self, source: Address, to: Address, data: bytes) -> None:
        one = self.endpoints.get(to)
        if one is not None:
            one.receive(data, source, self.now)


def pair(seed: object = 0, channel: Channel | None = None) -> World:
    """Alice and Bob."""
    world = World(seed, channel or Channel())
    world.add(ALICE)
    world.add(BOB)
    return world


def call(world: World, **extra: object) -> str:
    """Alice calls Bob."""
    handle = world.endpoints[ALICE].invite(
        Uri(BOB[0], "bob", BOB[1]),
        OFFER,
        world.now,
        caller=NameAddr(Uri("example.com", "alice"), "Alice"),
        **extra,  # type: ignore[arg-type]
    )
    assert handle is not None
    return handle


def raw(text: str) -> bytes:
    """A message from a readable text: lines with CRLF, an empty line before the body."""
    head, _, body = text.lstrip("\n").partition("\n\n")
    return head.rstrip("\n").replace("\n", "\r\n").encode() + b"\r\n\r\n" + body.encode()
