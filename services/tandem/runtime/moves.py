"""Callers who wait are moved off media nodes that are being emptied (ADR 0017).

Pure: looks at what the nodes told and at what the shard holds, and makes commands of it. What moves, and how,
is the aggregate's own matter (`Service.move`).
"""

from __future__ import annotations

from collections.abc import Callable

from tandem.core.ports.media import HandOut, TakeOver
from tandem.runtime.ledger import Ledger
from tandem.runtime.nodes import Nodes
from tandem.runtime.service import Group
from tandem.runtime.step import Offer

UNDER_WAY_MAX = 2
"""Moves of a shard at once. A node takes callers over one after the other, some 30 ms each, and a phone that does
not answer holds up its own move alone, for seven seconds."""
EVERY_MS = 250
"""How often a shard looks while it moves callers."""
IDLE_MS = 2_000
"""How often it looks while a node is being emptied and nobody can be moved just now: all contacts are looked at."""


class Moves:
    """`queue` takes the commands. Nodes take turns in taking callers over."""

    def __init__(self, group: Group, ledger: Ledger, nodes: Nodes, queue: Callable[[Offer], None]) -> None:
        self._group, self._ledger, self._nodes, self._queue = group, ledger, nodes, queue
        self._look_ms = 0
        self._turn = 0

    def run(self, now_ms: int) -> None:
        """Begin as many moves as there is room for, if it is time to look."""
        move = self._group.move
        emptied, takers = self._nodes.emptied, self._nodes.takers
        if move is None or not emptied or not takers or now_ms < self._look_ms:
            return
        room = UNDER_WAY_MAX - self._under_way()
        self._look_ms = now_ms + (IDLE_MS if room == UNDER_WAY_MAX else EVERY_MS)
        for (tenant, stream), aggregate in self._ledger.aggregates.items():
            if room <= 0:
                break
            if aggregate.quarantine is not None:
                continue
            to = takers[self._turn % len(takers)]
            command = move(aggregate.state, to, now_ms)
            if command is None or aggregate.legs[0][0] not in emptied:
                continue
            self._queue(Offer("legs", 0, tenant, stream, command))
            self._turn += 1
            self._look_ms = now_ms + EVERY_MS
            room -= 1

    def next_ms(self) -> int | None:
        """When to look again; None while no node is being emptied, or none can take its callers."""
        if self._group.move is None or not self._nodes.emptied or not self._nodes.takers:
            return None
        return self._look_ms

    def _under_way(self) -> int:
        pending = self._ledger.pending.values()
        return sum(one.effect.kind == "media" and isinstance(one.payload.verb, HandOut | TakeOver) for one in pending)
