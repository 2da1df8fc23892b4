"""What a shard hands over to its driver: to be stored, done, told, loaded."""

from __future__ import annotations

from typing import Any

from tandem.core.values import dataclass
from tandem.runtime.statehash import Differs
from tandem.runtime.step import Answered
from tandem.runtime.traced import Committed


@dataclass(frozen=True, slots=True)
class Append:
    """Store this record. Appends of a shard must reach the log in the order given."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Perform:
    """Do a durable effect. `again`: a repeat with its first key, to be answered or adopted.
    `trace`: the context of the aggregate that wants it."""

    key: str
    tenant: str
    stream: str
    kind: str
    payload: Any
    again: bool = False
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """A numbered source's mark is durable."""

    source: str
    tenant: str
    number: int


@dataclass(frozen=True, slots=True)
class LoadKeys:
    """Allocate these new data keys, get these old ones, and answer with `keys_loaded`."""

    allocate: tuple[str, ...]
    get: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Introduce:
    """Say Hello to the node: the epoch, and what was durably taken of that incarnation."""

    node: str
    epoch: int


@dataclass(frozen=True, slots=True)
class AskLegs:
    """Ask the node which legs it has; the answer comes after all outcomes it owes."""

    node: str


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Fold this aggregate anew from snapshot and log, up to version `sound`, and answer with `rebuilt`."""

    tenant: str
    stream: str
    sound: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The shard is not ours any more, or our place in it is in doubt. Drop it; claim anew if preferred."""

    why: str


@dataclass(frozen=True, slots=True)
class Noted:
    """What was noted under this handle is durable."""

    handle: Any


Output = (
    Append | Committed | Perform | Taken | Answered | LoadKeys | Introduce | AskLegs | Rebuild | Lost | Noted | Differs
)
