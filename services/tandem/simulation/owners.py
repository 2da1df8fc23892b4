"""Control processes: they hold seats, the lines to the nodes, and die."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial

from tandem.core.points import Point
from tandem.core.ports.log import Partition
from tandem.media.link.owner_end import LinkInput, OwnerLink, OwnerStream
from tandem.media.link.stream import PING_MS, StreamFault
from tandem.runtime.service import Group
from tandem.simulation.hosts import Host
from tandem.simulation.lines import Line
from tandem.simulation.seat import Seat
from tandem.simulation.surroundings import Surroundings
from tandem.simulation.traps import Died, Trap

RECLAIM_MS = 200
"""Pause before a lost shard is followed and claimed again."""


@dataclass(slots=True)
class Wire:
    """A process's stream to one node."""

    stream: OwnerStream
    line: Line | None = None
    life: int = 0
    commands: int = 0


class Process:
    """One control process. `crash` drops it; nothing of it is left but what it wrote."""

    def __init__(self, name: str, slot: int, host: Host, cell: Surroundings, nodes: Sequence[str]) -> None:
        self.name, self.slot, self.host, self.cell, self.nodes = name, slot, host, cell, tuple(nodes)
        self.scheduler = host.scheduler
        self.alive = True
        self._stopped: list[Callable[[], None]] | None = None
        self._lagging: list[Callable[[], None]] | None = None
        self.points = Trap()
        self.seats: dict[Partition, Seat] = {}
        self.wires = {node: Wire(OwnerStream(node, host.boot_id)) for node in nodes}
        for node in nodes:
            self.later(1, partial(self._dial, node))
        self.scheduler.after(PING_MS, lambda: self.enter(self._ping))

    def enter(self, action: Callable[[], None]) -> None:
        """Run something of this process; it may die of it. While it is stopped, all waits."""
        if not self.alive:
            return
        if self._stopped is not None:
            self._stopped.append(action)
            return
        try:
            action()
        except Died:
            self.crash("at a kill point")

    def enter_from_log(self, action: Callable[[], None]) -> None:
        """The same for what the log delivers, in its own order."""
        if self._lagging is not None:
            self._lagging.append(action)
        else:
            self.enter(action)

    def later(self, delay_ms: int, action: Callable[[], None]) -> None:
        """Run something of this process in a while, if it still lives."""
        self.scheduler.after(delay_ms, lambda: self.enter(action))

    def stop(self, ms: int, log_lag_ms: int) -> None:
        """kill -STOP, and -CONT after so long; what the log has is delivered later than all else."""
        if self._stopped is None and self._lagging is None:
            self._stopped, self._lagging = [], []
            self.scheduler.after(ms, self._go_on)
            self.scheduler.after(ms + log_lag_ms, self._catch_up)

    def _go_on(self) -> None:
        waiting, self._stopped = self._stopped or [], None
        for action in waiting:
            self.enter(action)

    def _catch_up(self) -> None:
        waiting, self._lagging = self._lagging or [], None
        for action in waiting:
            self.enter(action)

    def crash(self, why: str) -> None:
        """kill -9."""
        if not self.alive:
            return
        self.alive = False
        self.cell.fact(f"{self.name} dies {why}")
        for seat in list(self.seats.values()):
            seat.kill()
        self.seats.clear()
        for wire in self.wires.values():
            if wire.line is not None:
                wire.line.cut("the control process died", node_ms=1)

    # ---------------------------------------------------------------- shards

    def sit(self, group: Group, number: int) -> None:
        """Follow a partition and claim it."""
        partition = Partition(group.name, number)
        if self.alive and partition not in self.seats:
            self.seats[partition] = Seat(self, group, number)

    def leave(self, seat: Seat, why: str) -> None:
        """A seat was lost: drop it, and take it again if it is still ours to have."""
        self.cell.fact(f"{self.name} lost {seat.partition}: {why}")
        del self.seats[seat.partition]
        seat.drop(why)
        self.later(RECLAIM_MS, lambda: self._again(seat.group, seat.partition))

    def _again(self, group: Group, partition: Partition) -> None:
        if self.cell.wants(self, partition):
            self.sit(group, partition.shard)

    # ---------------------------------------------------------------- streams

    def _dial(self, node: str) -> None:
        wire = self.wires[node]
        wire.life += 1
        life = wire.life
        line = self.cell.dial(
            node,
            (
                lambda data: self.enter(lambda: self._receive(wire, life, data)),
                lambda reason: self.enter(lambda: self._lost(node, wire, life, reason)),
            ),
        )
        if line is None:
            self.later(self.cell.redial_ms(), lambda: self._dial(node))
            return
        wire.line = line
        wire.stream.connected(self.host.boottime_ms)
        self.flush()

    def _receive(self, wire: Wire, life: int, data: bytes) -> None:
        if life != wire.life:
            return
        try:
            told = wire.stream.receive(data, self.host.boottime_ms)
        except StreamFault as fault:
            self.cell.reached("stream fault")
            self.cell.fact(f"{self.name}: {fault}")
            assert wire.line is not None, "it spoke"
            wire.line.cut(str(fault))
            return
        self._tell(told)
        self.flush()

    def _lost(self, node: str, wire: Wire, life: int, reason: str) -> None:
        if life != wire.life:
            return
        wire.line, wire.commands = None, 0
        self._tell(wire.stream.lost(reason))
        self.later(self.cell.redial_ms(), lambda: self._dial(node))

    def _tell(self, told: Sequence[tuple[OwnerLink, LinkInput]]) -> None:
        for link, news in told:
            for seat in list(self.seats.values()):
                if seat.link is link:
                    seat.heard(news)

    def _ping(self) -> None:
        for wire in self.wires.values():
            wire.stream.ping(self.host.boottime_ms)
        self.flush()
        self.later(PING_MS, self._ping)

    def flush(self) -> None:
        """Write what waits for the nodes."""
        for wire in self.wires.values():
            messages = wire.stream.take()
            if wire.line is None:
                continue
            for data in messages:
                wire.line.to_node(data)
            commands, wire.commands = wire.commands, 0
            for _ in range(commands):
                self.points.reach(Point.EFFECT_SENT)
