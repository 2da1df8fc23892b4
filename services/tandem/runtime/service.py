"""What a service gives to the runtime, and what a group of them is together."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from dataclasses import field
from typing import Any

from tandem.api.event.v1 import shard_pb2 as event_pb2
from tandem.core.decider import EffectEnded, Kind
from tandem.core.seal import Erased, Sealed, Withheld
from tandem.core.values import dataclass
from tandem.internal.log.v1 import log_pb2
from tandem.runtime.canonical import Canonical
from tandem.runtime.codec import BadBinding, Codec


@dataclass(frozen=True, slots=True)
class QuarantinedLeg:
    """A leg that a quarantined aggregate holds."""

    node: str
    leg: str


@dataclass(frozen=True, slots=True)
class Quarantined:
    """Event of the runtime: an aggregate cannot be gone on with. `event` is what could not be
    folded, or the input after which nothing held; `why` the type of the exception. `legs` are
    followed to their end; an aggregate with none left is over, but for those that last. `unread`:
    whoever set it aside could not read its history, so the legs are those of an earlier state."""

    why: str
    event: str
    legs: tuple[QuarantinedLeg, ...]
    at_ms: int
    unread: bool


@dataclass(frozen=True, slots=True)
class QuarantinedLegEnded:
    """Event of the runtime: a leg of a quarantined aggregate is over."""

    leg: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class QuarantinedHungUp:
    """Event of the runtime: somebody has asked to end a quarantined aggregate; the legs that are
    known of it are going down."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class QuarantineLifted:
    """Event of the runtime: a new owner tries again with a tenant-wide aggregate."""

    at_ms: int


RUNTIME_EVENTS = Codec(
    ("shard.quarantined", Quarantined, event_pb2.Quarantined),
    ("shard.quarantined_leg_ended", QuarantinedLegEnded, event_pb2.QuarantinedLegEnded),
    ("shard.quarantined_hung_up", QuarantinedHungUp, event_pb2.QuarantinedHungUp),
    ("shard.quarantine_lifted", QuarantineLifted, event_pb2.QuarantineLifted),
)
"""Events of the runtime on an aggregate's own stream: every fold takes them, no decider sees them."""
RUNTIME_COMMANDS = Codec(("effect.ended", EffectEnded, log_pb2.EffectEnded))
"""Commands that the runtime itself makes."""


@dataclass(frozen=True, slots=True)
class Service:
    """The deciders of one service and the tables of everything that it reads and writes.

    `commands` are all that its kinds can be asked: by clients, by media, by their own
    wakes, by messages of other services. `messages` are those that it sends: the name of
    a message is found in `messages` of its sender and in `commands` of its receiver.
    `missing_leg(node, leg, now_ms)` makes the command that ends a leg which its media node
    does not have any more. `stray_leg(node, leg, now_ms)` gives the kind, and the command, of an
    aggregate that hangs up a leg which nobody holds. `new_journal(node, now_ms)` gives the
    kinds whose aggregates are told that a node's journal was lost, and the command. `move(state,
    node, now_ms)` makes the command by which an aggregate in that state has its legs moved to the
    node, None for one that cannot be moved now.
    """

    name: str
    kinds: tuple[Kind, ...]
    events: Codec
    commands: Codec
    messages: Codec = field(default_factory=Codec)
    effects: Codec = field(default_factory=Codec)
    replies: Codec = field(default_factory=Codec)
    missing_leg: Callable[[str, str, int], Any] | None = None
    stray_leg: Callable[[str, str, int], tuple[str, Any]] | None = None
    new_journal: Callable[[str, int], tuple[tuple[str, ...], Any]] | None = None
    move: Callable[[Any, str, int], Any] | None = None


class Group:
    """Services that share a log partition and an owner (one line in `targets.py`).

    `elsewhere` says in which group the kinds of all other services are.
    """

    def __init__(self, name: str, services: Iterable[Service], elsewhere: dict[str, str], shape: str) -> None:
        self.name, self.shape, self.elsewhere = name, shape, elsewhere
        self.services = tuple(services)
        self.kinds: dict[str, Kind] = {}
        self.service_of: dict[str, Service] = {}
        for service in self.services:
            for kind in service.kinds:
                if kind.name in self.kinds:
                    raise BadBinding(f"two kinds are called {kind.name}")
                self.kinds[kind.name], self.service_of[kind.name] = kind, service
        makers = [s.missing_leg for s in self.services if s.missing_leg is not None]
        self.missing_leg = makers[0] if makers else None
        self.stray_leg = next((s.stray_leg for s in self.services if s.stray_leg is not None), None)
        self.new_journal = next((s.new_journal for s in self.services if s.new_journal is not None), None)
        self.move = next((s.move for s in self.services if s.move is not None), None)
        self.commands: dict[str, Codec] = {}
        """Of each kind's service."""
        for service in self.services:
            commands = service.commands.joined(RUNTIME_COMMANDS)
            self.commands.update({kind.name: commands for kind in service.kinds})
        self.canonical = Canonical(
            Sealed, Withheld, Erased, *dict.fromkeys(cls for kind in self.kinds.values() for cls in kind.states)
        )

    def commands_of(self, stream: str) -> Codec:
        """The command table of the service that a stream belongs to."""
        return self.commands[kind_of(stream)]


def kind_of(stream: str) -> str:
    """`contact/abc` -> `contact`; `desk` -> `desk`."""
    return stream.partition("/")[0]
