"""The owners' end of the link, sans-I/O: one `OwnerLink` per shard and node, and the
`OwnerStream` that carries the links of a process to one node (spine 7).

Nothing here raises on what a node sends but `StreamFault`, after which the stream is dropped
and dialled again; every link then says Hello anew, and nothing is lost by it.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import Enum
from typing import Any, get_args, get_type_hints

from tandem.core.changed import changed
from tandem.core.ports.log import Partition
from tandem.core.ports.media import (
    Event,
    FromNode,
    Hello,
    KeptEnd,
    Legs,
    MediaEvent,
    StaleEpoch,
    ToNode,
    Verb,
    Welcome,
)
from tandem.core.seal import Private, Sealed, Secret, unseal
from tandem.core.values import dataclass
from tandem.media.link.nodetime import NodeTime
from tandem.media.link.stream import FRAMES_PER_MESSAGE, StreamFault
from tandem.runtime.media_codec import (
    Close,
    FromNodeFrame,
    MediaCodecError,
    Ping,
    Pong,
    ToNodeFrame,
    decode_from_node,
    encode_to_node,
)

Marks = tuple[tuple[str, int], ...]


# ----------------------------------------------------------------------------- what a shard is told


@dataclass(frozen=True, slots=True)
class NodeUp:
    """The node took our Hello; what it kept follows. `draining` until `NodeDrains` says otherwise; `takes_over`: it
    can carry out `TakeOver`."""

    node: str
    incarnation: str
    draining: bool = False
    takes_over: bool = False


@dataclass(frozen=True, slots=True)
class Heard:
    """An event in order, each once. `time_ms` is shard time; the source is `source`."""

    node: str
    incarnation: str
    tenant: str
    number: int
    time_ms: int
    leg: str
    body: MediaEvent
    trace: str = ""

    @property
    def source(self) -> str:
        """The numbered source that it comes from."""
        return f"media/{self.node}/{self.incarnation}/{self.tenant}"


@dataclass(frozen=True, slots=True)
class KeptHeard:
    """All that the node had kept has been told: pending effects and timers may go on (T2)."""

    node: str


@dataclass(frozen=True, slots=True)
class LegsHeard:
    """The shard's legs on the node, as (tenant, leg)."""

    node: str
    legs: tuple[tuple[str, str], ...]


@dataclass(frozen=True, slots=True)
class NodeDown:
    """The link is gone; it is dialled again."""

    node: str
    reason: str


@dataclass(frozen=True, slots=True)
class Deposed:
    """The node knows a newer owner: the shard is not ours any more. The link stays closed."""

    node: str
    highest: int


@dataclass(frozen=True, slots=True)
class NodeDrains:
    """The node takes no new callers, or takes them again. Its legs are served on."""

    node: str
    draining: bool


LinkInput = NodeUp | Heard | KeptHeard | LegsHeard | NodeDown | Deposed | NodeDrains


class _Phase(Enum):
    CLOSED = "closed"
    GREETED = "greeted"
    UP = "up"
    DEPOSED = "deposed"


class OwnerLink:
    """One shard's conversation with one node, across reconnects.

    `marks(incarnation)` gives the durable marks of that incarnation of the node, and for `""`
    those of the newest that the shard knows, with its name. `shard_time(boottime_ms)` turns this
    host's CLOCK_BOOTTIME into shard time.
    """

    def __init__(
        self,
        node: str,
        partition: Partition,
        epoch: int,
        marks: Callable[[str], tuple[str, Marks]],
        shard_time: Callable[[int], int],
    ) -> None:
        self.node = node
        self.partition = partition
        self.epoch = epoch
        self._marks = marks
        self._shard_time = shard_time
        self._phase = _Phase.CLOSED
        self._incarnation = ""
        self._last: dict[str, int] = {}
        self._times: dict[str, int] = {}

    @property
    def up(self) -> bool:
        """Whether frames can be sent."""
        return self._phase is _Phase.UP

    @property
    def incarnation(self) -> str:
        """The node's, as of the last `Welcome`."""
        return self._incarnation

    @property
    def deposed(self) -> bool:
        """Whether a newer owner was here."""
        return self._phase is _Phase.DEPOSED

    def hello(self) -> Hello:
        """The first frame on a new channel."""
        self._phase = _Phase.GREETED
        incarnation, marks = self._marks("")
        return Hello(self.partition.group, self.partition.shard, self.epoch, incarnation, marks)

    def receive(self, frame: FromNode | Close, now_ms: int, time: NodeTime) -> LinkInput | None:
        """A frame of this link; None for an event that came before. `now_ms` is our own
        CLOCK_BOOTTIME. Raises `StreamFault`."""
        if isinstance(frame, Event) and self._phase is _Phase.UP:
            return self._event(frame, now_ms, time)
        match frame, self._phase:
            case Welcome(), _Phase.GREETED:
                return self._welcome(frame, time)
            case StaleEpoch(highest), _:
                self._phase = _Phase.DEPOSED
                return Deposed(self.node, highest)
            case Close(reason), _:
                raise StreamFault(f"node {self.node} closed the link of {self.partition}: {reason}")
            case KeptEnd(), _Phase.UP:
                return KeptHeard(self.node)
            case Legs(legs), _Phase.UP:
                return LegsHeard(self.node, legs)
        raise StreamFault(
            f"node {self.node} sent {type(frame).__name__} while {self.partition} was {self._phase.value}"
        )

    def closed(self, reason: str) -> NodeDown | None:
        """The stream is gone; None if there was nothing to lose."""
        if self._phase not in (_Phase.GREETED, _Phase.UP):
            return None
        self._phase = _Phase.CLOSED
        return NodeDown(self.node, reason)

    def _welcome(self, welcome: Welcome, time: NodeTime) -> NodeUp:
        if welcome.node != self.node:
            raise StreamFault(f"node {self.node} says that it is {welcome.node}: mend the address or the name of one")
        time.boot(welcome.boot_id)
        self._incarnation = welcome.incarnation
        # Begins at what is durable, not at what an earlier stream brought: that may have been
        # lost on its way into a step. The shard's own marks drop what it has taken before.
        _, marks = self._marks(welcome.incarnation)
        self._last = dict(marks)
        self._phase = _Phase.UP
        return NodeUp(self.node, welcome.incarnation, welcome.draining, welcome.takes_over)

    def _event(self, event: Event, now_ms: int, time: NodeTime) -> Heard | None:
        last = self._last.get(event.tenant, 0)
        if event.number <= last:
            return None
        if event.number != last + 1:
            raise StreamFault(
                f"node {self.node} sent event {event.number} of {event.tenant} after {last}: events are missing"
            )
        self._last[event.tenant] = event.number
        # An estimated clock must not put an event into the future, nor before the one ahead of it.
        moment = min(time.ours(event.media_time_ms), now_ms)
        shard_ms = max(self._shard_time(moment), self._times.get(event.tenant, 0))
        self._times[event.tenant] = shard_ms
        return Heard(
            self.node, self._incarnation, event.tenant, event.number, shard_ms, event.leg, event.body, event.trace
        )


class OwnerStream:
    """The links of this process to one node, over one stream at a time."""

    def __init__(self, node: str, boot_id: str) -> None:
        self.node = node
        self._time = NodeTime(boot_id)
        self._links: list[OwnerLink] = []
        self._channels: dict[int, OwnerLink] = {}
        self._numbers: dict[OwnerLink, int] = {}
        self._next = 1
        self._connected = False
        self._out: list[tuple[int, ToNodeFrame]] = []
        self.draining = False
        """Whether the node said last that it takes no new callers."""

    @property
    def idle(self) -> bool:
        """Whether no link needs the stream."""
        return all(link.deposed for link in self._links)

    def attach(self, link: OwnerLink) -> None:
        """A shard was claimed: open its link, now or as soon as there is a stream."""
        self._links.append(link)
        if self._connected:
            self._open(link)

    def detach(self, link: OwnerLink, reason: str) -> None:
        """The shard was dropped: let the node know that it has no owner here."""
        self._links.remove(link)
        link.closed(reason)
        channel = self._forget(link)
        if channel is not None:
            self._out.append((channel, Close(reason)))

    def connected(self, now_ms: int) -> None:
        """A stream stands. `now_ms` is our CLOCK_BOOTTIME, here and below."""
        self._connected = True
        self._time.begin()
        self.ping(now_ms)
        for link in self._links:
            if not link.deposed:
                self._open(link)

    def lost(self, reason: str) -> list[tuple[OwnerLink, LinkInput]]:
        """The stream is gone. Idempotent."""
        self._connected = False
        self._channels.clear()
        self._numbers.clear()
        self._out.clear()
        self._next = 1
        downs = ((link, link.closed(reason)) for link in self._links)
        return [(link, down) for link, down in downs if down is not None]

    def receive(self, data: bytes, now_ms: int) -> list[tuple[OwnerLink, LinkInput]]:
        """A message came. Raises `StreamFault`: drop the stream; what the message held is told
        again on the next."""
        try:
            frames = decode_from_node(data)
        except MediaCodecError as error:
            raise StreamFault(f"node {self.node} sent what this release cannot read: {error}") from error
        inputs: list[tuple[OwnerLink, LinkInput]] = []
        for channel, frame in frames:
            if isinstance(frame, Pong):
                self._time.sample(frame.sent_ms, frame.now_ms, now_ms)
                if frame.draining is not self.draining:
                    self.draining = frame.draining
                    inputs += [(link, NodeDrains(self.node, self.draining)) for link in self._links]
                continue
            heard = self._one(channel, frame, now_ms)
            if heard is not None:
                inputs.append(heard)
        return inputs

    def send(self, link: OwnerLink, frame: ToNode) -> bool:
        """Send over a link that is up; False otherwise. What is pending is offered again when it
        comes up, so nothing waits here."""
        if not link.up:
            return False
        self._out.append((self._numbers[link], frame))
        return True

    def ping(self, now_ms: int) -> None:
        """Every `stream.PING_MS`."""
        if self._connected:
            self._out.append((0, Ping(now_ms)))

    def take(self) -> list[bytes]:
        """Messages to be sent, in order. Raises `MediaCodecError` for a frame that is none: a
        bug of its maker, which must not reach the node."""
        frames, self._out = self._out, []
        return [
            encode_to_node(frames[start : start + FRAMES_PER_MESSAGE])
            for start in range(0, len(frames), FRAMES_PER_MESSAGE)
        ]

    def _one(self, channel: int, frame: FromNodeFrame, now_ms: int) -> tuple[OwnerLink, LinkInput] | None:
        link = self._channels.get(channel)
        if link is None:
            if channel >= self._next:
                raise StreamFault(f"node {self.node} spoke on a channel that was never opened")
            return None
        assert not isinstance(frame, Pong), "pongs belong to the stream"
        heard = link.receive(frame, now_ms, self._time)
        if link.deposed:
            self._forget(link)
        return None if heard is None else (link, heard)

    def _open(self, link: OwnerLink) -> None:
        channel, self._next = self._next, self._next + 1
        self._channels[channel] = link
        self._numbers[link] = channel
        self._out.append((channel, link.hello()))

    def _forget(self, link: OwnerLink) -> int | None:
        channel = self._numbers.pop(link, None)
        if channel is not None:
            del self._channels[channel]
        return channel


_PRIVATES = {
    kind: tuple(name for name, hint in get_type_hints(kind).items() if hint in (Private, Private | None))
    for kind in get_args(Verb)
}
"""Verb -> its fields that may be sealed."""


def opened_verb(verb: Any, key: Callable[[str], bytes | None]) -> Any:
    """A verb with its private values in plain, for the local link; one whose key was
    destroyed reads `Erased`."""
    opened: dict[str, Any] = {}
    for name in _PRIVATES[type(verb)]:
        value = getattr(verb, name)
        if isinstance(value, Sealed):
            plain = unseal(value, key(value.key))
            opened[name] = Secret(plain) if isinstance(plain, bytes) else plain
    return changed(verb, **opened) if opened else verb
