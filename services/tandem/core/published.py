"""Configuration that one service publishes and another keeps (rule 7: in the log by version before it is used).

The publisher tells each version that its resource gets. A message may be repeated, and a sender
that moved may be overtaken, so versions are taken if they are newer and passed over else.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Protocol

from tandem.core.decider import Action, Context, Kind


class Versioned(Protocol):
    """One version of something."""

    @property
    def version(self) -> int:
        """Grows with each change; 0 before the first."""


def is_news(known: Versioned | None, told: Versioned) -> bool:
    """Whether what is told is newer than what is known."""
    return known is None or told.version > known.version


def kept(name: str, body: type[Any]) -> Kind:
    """The kind of an aggregate that is nothing but the newest version of a resource: the command
    that brings it, the event and the state are one and the same frozen class `body`, which has
    a `version` and is made without arguments before the first one came. Others read it while
    they decide, or ask for it."""
    return Kind(
        name=name,
        start=body,
        starts=(body,),
        decide=_take,
        evolve=_taken,
        react=_silent,
        states=(body,),
    )


def _take(state: Any, command: Any, context: Context) -> Sequence[Any]:
    return (command,) if isinstance(command, type(state)) and is_news(state, command) else ()


def _taken(state: Any, event: Any) -> Any:
    return event


def _silent(state: Any, event: Any) -> Sequence[Action]:
    return ()
