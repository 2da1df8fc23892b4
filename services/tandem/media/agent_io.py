"""What a media agent is made with and what it gives out."""

from __future__ import annotations

from dataclasses import dataclass, field

from tandem.core.ports.media import Command, FromNode
from tandem.media.backend import MergedDirectory, Row

KEYS_MAX = 200_000
"""2,000 calls with 100 commands each; about 100 MB."""
KEPT_MAX = 20_000
"""20 minutes of 50 busy calls; about 20 MB."""
UNDER_WAY_MAX = 64
"""Some 3,000 events a second where an acknowledgement takes 20 ms: more than a core decides."""
BEHIND_MS = 500
"""A caller waits for the answer about as long, and for each step after it."""
BEHIND = "BEHIND"
"""Why a call was refused whose tenant sends more than its owner takes."""
BEAT_MS = 500
"""How often the time is written while legs live: a node's death is told at most so much too early."""
DRAINING = "DRAINING"
"""Why a caller was refused, or a phone not rung for a caller of another node: an operator empties this one."""
TOO_MANY_KEYS = "TOO_MANY_KEYS"
"""Reason of a command that was refused because the node remembers too many."""


@dataclass(frozen=True, slots=True)
class AgentSettings:
    """Who the agent is and how much it remembers."""

    node: str
    """The node's name, stable across restarts."""

    boot_id: str
    """The boot of this host; CLOCK_BOOTTIME counts from it."""

    keys_max: int = KEYS_MAX
    """Commands remembered. Over it a command fails with TOO_MANY_KEYS; a `HangUp`, which makes
    room and does no harm twice, only over twice as many."""

    kept_max: int = KEPT_MAX
    """Events kept per tenant while no owner takes them. Over it new calls are refused, and holds
    and registrations wait, the latest of each."""

    sample_ratio: float = 0.0
    """The part of the contacts that begin here, 0 to 1, that are traced."""

    under_way_max: int = UNDER_WAY_MAX
    """Events of one tenant sent to its owner and not yet acknowledged. Over it they wait here."""

    behind_ms: int = BEHIND_MS
    """How long a tenant's events may wait for that before its new calls are refused."""

    takes_over: bool = False
    """The backend can take callers over from another node."""


# --------------------------------------------------------------------- what the backend is asked


@dataclass(frozen=True, slots=True)
class Perform:
    """`Backend.perform`."""

    command: Command


@dataclass(frozen=True, slots=True)
class Settle:
    """`Backend.settle`."""

    command: Command


@dataclass(frozen=True, slots=True)
class Greet:
    """`Backend.directory`."""

    directory: MergedDirectory


@dataclass(frozen=True, slots=True)
class Restore:
    """`Backend.restore`."""

    rows: tuple[Row, ...]
    died_ms: int


@dataclass(frozen=True, slots=True)
class OwnerPresent:
    """`Backend.owner_present`."""

    shard: int
    present: bool


@dataclass(frozen=True, slots=True)
class AskLegs:
    """`Backend.legs`, whose answer goes to `MediaAgent.legs` with the link."""

    link: str


@dataclass(frozen=True, slots=True)
class Drain:
    """`Backend.drain`."""

    on: bool


@dataclass(frozen=True, slots=True)
class LookWhoWaits:
    """`Backend.let_go` of those of `Backend.legs` that `MediaAgent.overdue` names."""

    now_ms: int


Call = Perform | Settle | Greet | Restore | OwnerPresent | AskLegs | Drain | LookWhoWaits


@dataclass(frozen=True, slots=True)
class Notice:
    """Something for the operator: a stable UPPER_SNAKE reason and a sentence."""

    reason: str
    detail: str


@dataclass(slots=True)
class Turn:
    """What is to be done, in this order: write the changes, all or none; ask the backend; send;
    close; tell the operator."""

    changes: list[bytes] = field(default_factory=list)
    calls: list[Call] = field(default_factory=list)
    sends: list[tuple[str, FromNode]] = field(default_factory=list)
    closes: list[tuple[str, str]] = field(default_factory=list)
    notices: list[Notice] = field(default_factory=list)

    def __bool__(self) -> bool:
        return bool(self.changes or self.calls or self.sends or self.closes or self.notices)
