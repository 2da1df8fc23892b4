"""What a service shows of its aggregates, in plain words: stretches of their life, and counts.

Services hand these functions in (`Observed`); nothing here knows any of them.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, NamedTuple

from tandem.core.commit import Envelope
from tandem.runtime.telemetry.meters import Meters, Reading


class Stage(NamedTuple):
    """A stretch of an aggregate's life that an event has ended: a span of its trace. `begun_ms`
    is shard time; `of` says which one it was, once in the trace."""

    name: str
    of: str
    begun_ms: int
    attributes: Mapping[str, str | int | bool]


Stages = Callable[[Any, Any], Iterable[Stage]]
"""(state before, state after) -> what is over."""
Measure = Callable[[Meters, Envelope, Any], None]
"""Counts a durable event; the third is its aggregate's state as it is now, None if it is over."""
Census = Callable[[str, Any, int], Iterator[Reading | None]]
"""(tenant, state, shard time) -> readings; None wherever a pause does no harm."""


@dataclass(frozen=True, slots=True)
class Observed:
    """What is to be seen of the services in a process: by kind, by event type, by kind."""

    stages: Mapping[str, Stages] = field(default_factory=dict)
    measures: Mapping[str, Measure] = field(default_factory=dict)
    census: Mapping[str, Census] = field(default_factory=dict)
    states: tuple[str, ...] = ()
    """Kinds whose aggregates are counted by the names of their states."""
    rings: frozenset[str] = frozenset()
    """Event types with which an agent's phone is asked to ring."""
