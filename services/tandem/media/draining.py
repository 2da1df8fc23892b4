"""A node that takes no new callers: how far it is, and who is let go when the time is up. Sans-I/O."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from tandem.media.backend import LiveLeg
from tandem.media.journal.changes import DrainSet
from tandem.media.journal.state import JournalState

LOOK_MS = 2_000
"""Who waits at two looks so far apart waits. Between two parts of a call, as when the agent has just hung up, a
caller seems to, for as long as the owner takes to say what follows."""


@dataclass(frozen=True, slots=True)
class Drained:
    """How far a node is. `since_ms` and `until_ms` as in `DrainSet`; `legs` are all that live, agents' too;
    `strangers` as in `Backend`."""

    draining: bool
    since_ms: int
    until_ms: int
    talking: int
    waiting: int
    legs: int
    strangers: int = 0


class Draining:
    """The drain that stands in the journal."""

    def __init__(self, state: JournalState) -> None:
        self._state = state
        self._waited: dict[tuple[str, str], None] = {}
        self._look_ms = 0

    @property
    def on(self) -> bool:
        """Whether no new callers are taken."""
        return self._state.drain is not None and self._state.drain.on

    def wished(self, on: bool, within_ms: int | None, now_ms: int) -> DrainSet | None:
        """The change that makes it so; None if it is so. One that goes on keeps its beginning, and its end
        unless it is given another one."""
        now = self._state.drain
        self._waited.clear()
        self._look_ms = 0
        if not on:
            return DrainSet(False, now_ms, 0) if self.on else None
        since_ms, until_ms = (now.since_ms, now.until_ms) if now is not None and now.on else (now_ms, 0)
        wish = DrainSet(True, since_ms, until_ms if within_ms is None else max(1, now_ms + within_ms))
        return None if wish == now else wish

    def due(self, now_ms: int) -> bool:
        """Whether it is time to look who waits: from one look before the end on."""
        drain = self._state.drain
        if drain is None or not drain.on or not drain.until_ms:
            return False
        return now_ms >= max(self._look_ms, drain.until_ms - LOOK_MS)

    def overdue(self, live: Iterable[LiveLeg], now_ms: int) -> tuple[LiveLeg, ...]:
        """Whom to let go: those who wait, and did at the last look."""
        waiting = [leg for leg in live if leg.waits]
        before, self._waited = self._waited, {(leg.tenant, leg.leg): None for leg in waiting}
        self._look_ms = now_ms + LOOK_MS
        return tuple(leg for leg in waiting if (leg.tenant, leg.leg) in before)

    def shown(self, live: Iterable[LiveLeg], strangers: int = 0) -> Drained:
        """How far it is."""
        legs = tuple(live)
        drain = self._state.drain if self.on else None
        since_ms, until_ms = (drain.since_ms, drain.until_ms) if drain is not None else (0, 0)
        talking, waiting = sum(leg.talks for leg in legs), sum(leg.waits for leg in legs)
        return Drained(self.on, since_ms, until_ms, talking, waiting, len(legs), strangers)
