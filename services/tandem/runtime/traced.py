"""What a shard shows of a commit that is durable, as plain data for whoever measures it.

Only what stands in a trace is noted while deciding; for a contact that is not traced there is
the commit, which is there anyway, and nothing else.
"""

from __future__ import annotations

from typing import Any, NamedTuple

from tandem.core.commit import Commit
from tandem.core.values import dataclass


@dataclass(frozen=True, slots=True)
class Change:
    """An event in a trace: its index in the commit, and the state before and after it."""

    event: int
    before: Any
    after: Any


@dataclass(frozen=True, slots=True)
class Decided:
    """A decided input of a trace, by its index in the commit, and what it changed."""

    input: int
    changes: tuple[Change, ...]


class Committed(NamedTuple):
    """A commit of our own is durable. `decided`: what of it stands in a trace."""

    commit: Commit
    decided: tuple[Decided, ...] = ()
