"""Connections between control processes and media nodes: in order, or broken."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from dataclasses import dataclass, field

from tandem.simulation.chance import Chance
from tandem.simulation.scheduler import Scheduler

Deliver = Callable[[bytes], None]
Lost = Callable[[str], None]


class Network:
    """How long messages take. `slow_ms` is added to each; `cut`: no new line comes about."""

    def __init__(self, scheduler: Scheduler, chance: Chance) -> None:
        self.scheduler = scheduler
        self.chance = chance
        self.slow_ms = 0
        self.cut = False

    def latency_ms(self) -> int:
        """Of the next message."""
        return self.slow_ms + self.chance.between(0, 2)


@dataclass(slots=True)
class _End:
    """One end of a line: what is on its way to it, and whom to tell."""

    deliver: Deliver
    lost: Lost
    coming: deque[bytes] = field(default_factory=deque)
    last_ms: int = 0
    closed: bool = False


class Line:
    """A stream of messages each way. Once broken nothing more enters it; what is under way still
    arrives at an end that has not noticed."""

    def __init__(self, network: Network, at_owner: tuple[Deliver, Lost], at_node: tuple[Deliver, Lost]) -> None:
        self._network = network
        self._owner, self._node = _End(*at_owner), _End(*at_node)
        self.broken = False

    def to_node(self, data: bytes) -> None:
        """From the owner."""
        self._send(self._node, data)

    def to_owner(self, data: bytes) -> None:
        """From the node."""
        self._send(self._owner, data)

    def _send(self, end: _End, data: bytes) -> None:
        if self.broken:
            return
        scheduler = self._network.scheduler
        end.coming.append(data)
        end.last_ms = max(end.last_ms, scheduler.now_ms + self._network.latency_ms())
        scheduler.at(end.last_ms, lambda: self._arrive(end))

    def _arrive(self, end: _End) -> None:
        data = end.coming.popleft()
        if not end.closed:
            end.deliver(data)

    def cut(self, reason: str, owner_ms: int = 0, node_ms: int = 0) -> None:
        """Break it; either end notices when so much time has passed. Idempotent."""
        if self.broken:
            return
        self.broken = True
        scheduler = self._network.scheduler
        scheduler.after(owner_ms, lambda: self._notice(self._owner, reason))
        scheduler.after(node_ms, lambda: self._notice(self._node, reason))

    def _notice(self, end: _End, reason: str) -> None:
        if not end.closed:
            end.closed = True
            end.lost(reason)
