"""Poison in the deciders of a cell's owners: production kinds, wrapped, that raise when a plant says so.

Only the owners' groups are wrapped. Who watches folds with the kinds as they are, so a plant
that spoils more than it should is seen.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace
from typing import Any

from tandem.core.decider import Context, Kind
from tandem.routing.domain import words as rw
from tandem.runtime.service import Group
from tandem.session.domain import words as sw
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.recovery import Recover

ROUNDS = 12
"""How often a plant of `LOOP` sends an offer round."""


class Planted(Exception):
    """Raised where a plant stands."""


@dataclass(slots=True)
class Plant:
    """Raises in `where` of a kind at the next occasion, `times` times; `stuck`: only for the
    stream at which it struck first. `after` so many occasions have passed."""

    kind: str
    where: str  # decide, recover, react, evolve, fold
    times: int
    stuck: bool = False
    after: int = 0
    place: tuple[str, str] | None = None


class Poison:
    """All plants of a cell. Deterministic: what is struck depends on what the seed does alone."""

    def __init__(self) -> None:
        self._plants: list[Plant] = []
        self._rounds = 0
        self._deciding: Any = None  # the state that is being decided on
        self.struck: dict[str, int] = {}

    def plant(self, plant: Plant) -> None:
        """Strike at the next occasion."""
        self._plants.append(plant)

    def loop(self) -> None:
        """From the next offer on, contacts turn offers down and stay in line."""
        self._rounds = ROUNDS

    def disarm(self) -> None:
        """Strike no more."""
        self._plants.clear()
        self._rounds = 0

    def group(self, group: Group) -> Group:
        """The group with poisoned kinds."""
        services = (
            replace(service, kinds=tuple(self._kind(kind) for kind in service.kinds)) for service in group.services
        )
        poisoned = Group(group.name, services, group.elsewhere, group.shape)
        poisoned.commands, poisoned.canonical = group.commands, group.canonical
        return poisoned

    # ---------------------------------------------------------------- a kind

    def _kind(self, kind: Kind) -> Kind:
        def decide(state: Any, command: Any, context: Context) -> Sequence[Any]:
            self._deciding = state
            where = "recover" if isinstance(command, Recover) else "decide"
            self._strike(kind.name, where, (context.tenant, context.stream))
            if self._rounds and type(state) is st.Waiting and isinstance(command, sw.OfferContact):
                self._rounds -= 1
                return (sw.OfferTurnedDown(command.offer, command.agent, context.now_ms),)
            return kind.decide(state, command, context)

        def evolve(state: Any, event: Any) -> Any:
            deciding = state is self._deciding
            if deciding:
                self._strike(kind.name, "evolve", None, lambda: self._spoil(state, event))
            elif kind.rescue is not None and not isinstance(event, sw.ContactStarted):
                self._strike(kind.name, "fold", None)
            after = kind.evolve(state, event)
            if deciding:
                self._deciding = after
            return after

        def react(state: Any, event: Any) -> Sequence[Any]:
            if state is self._deciding:
                self._strike(kind.name, "react", None)
            return kind.react(state, event)

        return replace(kind, decide=decide, evolve=evolve, react=react)

    def _spoil(self, state: Any, event: Any) -> None:
        """A mutable state is left half changed."""
        if isinstance(event, rw.AgentReady | rw.AgentReserved | rw.AgentEngaged | rw.AgentUnready):
            state.agents[event.agent].since_ms = -1

    def _strike(self, kind: str, where: str, place: tuple[str, str] | None, spoil: Any = None) -> None:
        for plant in self._plants:
            if (plant.kind, plant.where) != (kind, where) or plant.place not in (None, place):
                continue
            if plant.after:
                plant.after -= 1
                continue
            if plant.stuck:
                plant.place = place
            plant.times -= 1
            if not plant.times:
                self._plants.remove(plant)
            self.struck[f"{kind} {where}"] = self.struck.get(f"{kind} {where}", 0) + 1
            if spoil is not None:
                spoil()
            raise Planted(f"{kind} {where}")
