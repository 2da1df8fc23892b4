"""The records of a shard's log: claims and commits (rules 1, 4 and 5; spine 1).

One step of a shard is one `Commit`: its inputs, their source marks, the events, effects,
messages and replies that came of them. `Part` is anything encoded: a stable name, the
clear bytes (protobuf), and the private values by field number.
"""

from __future__ import annotations

from tandem.core.seal import Sealed, Withheld
from tandem.core.values import dataclass

ENGINE = "2"
"""Version of the deciders, named in each commit: replay checks bit for bit within one version. 2: effects'
keys name their commit."""


@dataclass(frozen=True, slots=True)
class Part:
    """An encoded command, event, effect, message or reply. `type` is a name we own for ever."""

    type: str
    clear: bytes
    private: tuple[tuple[int, Sealed | Withheld], ...] = ()


@dataclass(frozen=True, slots=True)
class Mark:
    """The last number taken from a source, for one tenant."""

    source: str
    tenant: str
    number: int


@dataclass(frozen=True, slots=True)
class Input:
    """A command as it was decided. `number` counts in its source; 0 for clients, whom
    `request` (credential, method, id) makes exact instead."""

    source: str
    number: int
    tenant: str
    stream: str
    time_ms: int
    part: Part
    key: str = ""  # the data key given to an aggregate that begins with this input
    actor: str = ""
    trace: str = ""
    refused: str = ""  # why `decide` raised; the mark stands all the same
    settles: str = ""  # key of the pending effect that ended with this input: a due wake, an outcome
    sender: str = ""  # stream of another group that sent the message
    gone: Part | None = None  # what that gets back if there is no such aggregate


@dataclass(frozen=True, slots=True)
class Envelope:
    """An event. Its id is `partition/epoch/n/index`; `version` counts in its stream from 1.
    `settles` names the pending effects that this event ends."""

    event_id: str
    tenant: str
    stream: str
    version: int
    time_ms: int
    cause: str
    actor: str
    trace: str
    part: Part
    settles: tuple[str, ...] = ()

    @property
    def type(self) -> str:
        """The event's stable name."""
        return self.part.type


@dataclass(frozen=True, slots=True)
class Effect:
    """Something to be done, pending until settled. Its key is `tenant/stream/version.n/index`, n that
    of its commit: a name that comes again after its end has versions that its first life had, too.
    Engine 1 left it out.

    `kind` names the receiver: `wake` is the shard's own wheel, `media` a node. `at_ms` is
    when a wake is due, or by when a receiver is asked again. `name` is unique among a
    stream's pending effects: a later one of that name takes the earlier one's place.
    """

    key: str
    tenant: str
    stream: str
    name: str
    kind: str
    at_ms: int
    part: Part


@dataclass(frozen=True, slots=True)
class Message:
    """A fact or request to an aggregate of another group. Its number is (n, index).
    `gone` comes back to the sender if there is no such aggregate."""

    group: str
    tenant: str
    stream: str
    sender: str
    part: Part
    gone: Part | None = None
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Ended:
    """The aggregate is over with this commit, also for who could not read what ended it."""

    tenant: str
    stream: str


@dataclass(frozen=True, slots=True)
class Reply:
    """The stored answer to a client's request: `digest` is the SHA-256 of the request."""

    tenant: str
    request: str
    digest: str
    time_ms: int
    part: Part


@dataclass(frozen=True, slots=True)
class Claim:
    """A process says that it owns the shard from here on. Counts if `epoch` is the current one plus 1."""

    epoch: int
    owner: str
    shape: str  # how services are grouped; another grouping on an existing log is refused


@dataclass(frozen=True, slots=True)
class Commit:
    """One step. Counts if it has the current epoch and its `n` is the last plus 1."""

    epoch: int
    n: int
    shard_time_ms: int
    boot_id: str
    boottime_ms: int
    engine: str
    inputs: tuple[Input, ...] = ()
    marks: tuple[Mark, ...] = ()
    events: tuple[Envelope, ...] = ()
    effects: tuple[Effect, ...] = ()
    messages: tuple[Message, ...] = ()
    replies: tuple[Reply, ...] = ()
    ended: tuple[Ended, ...] = ()


Record = Claim | Commit
