"""The aggregates of a shard that live, and how many of each kind a tenant has."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from tandem.core.decider import Kind
from tandem.runtime.quarantine import Quarantine


@dataclass(slots=True)
class Aggregate:
    """A live aggregate: state, version of its stream, id of its data key, trace context."""

    kind: Kind
    state: Any
    version: int = 0
    key: str = ""
    trace: str = ""
    quarantine: Quarantine | None = None

    @property
    def legs(self) -> Sequence[tuple[str, str]]:
        """(node, leg) of every leg that it holds."""
        return self.kind.legs(self.state) if self.quarantine is None else self.quarantine.legs

    @property
    def over(self) -> bool:
        """Whether nothing more can happen to it."""
        if self.quarantine is None:
            return self.kind.over(self.state)
        return self.quarantine.noted and self.kind.rescue is not None and not self.quarantine.legs


class Aggregates(dict[tuple[str, str], Aggregate]):
    """Aggregates by (tenant, stream), and how many of each kind a tenant has that are not over.

    Whoever changes an aggregate's state sets it anew, or lets it go when it is over.
    """

    def __init__(self) -> None:
        super().__init__()
        self.aside: dict[tuple[str, str], Quarantine] = {}
        """Those in quarantine."""
        self._living: dict[tuple[str, str], int] = {}
        self._counted: set[tuple[str, str]] = set()

    def living(self, tenant: str, kind: str) -> int:
        """How many there are."""
        return self._living.get((tenant, kind), 0)

    def __setitem__(self, place: tuple[str, str], aggregate: Aggregate) -> None:
        super().__setitem__(place, aggregate)
        self._count(place, aggregate.kind.name, not aggregate.over)

    def set_aside(self, place: tuple[str, str], quarantine: Quarantine | None) -> None:
        """Put one into quarantine, or take it back into service."""
        aggregate = self[place]
        aggregate.quarantine = quarantine
        if quarantine is None:
            self.aside.pop(place, None)
        else:
            self.aside[place] = quarantine
        self._count(place, aggregate.kind.name, not aggregate.over)

    def __delitem__(self, place: tuple[str, str]) -> None:
        self.aside.pop(place, None)
        self._count(place, self[place].kind.name, False)
        super().__delitem__(place)

    @classmethod
    def of(
        cls, aggregates: Mapping[tuple[str, str], Aggregate], quarantines: Mapping[tuple[str, str], Quarantine]
    ) -> Aggregates:
        """These, in the order of their names, and those of them in quarantine."""
        found = cls()
        for place in sorted(aggregates):
            found[place] = aggregates[place]
        for place in sorted(quarantines):
            found.set_aside(place, quarantines[place])
        return found

    def _count(self, place: tuple[str, str], kind: str, counts: bool) -> None:
        if counts == (place in self._counted):
            return
        key = (place[0], kind)
        self._living[key] = self._living.get(key, 0) + (1 if counts else -1)
        if counts:
            self._counted.add(place)
        else:
            self._counted.remove(place)
        if not self._living[key]:
            del self._living[key]
