"""Faults, dense and drawn from the seed. Each is counted with the states that it met."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from tandem.core.points import Point
from tandem.core.ports.log import Partition
from tandem.routing.domain.words import AVAILABLE, SetPresence
from tandem.simulation.chance import Chance
from tandem.simulation.owners import Process
from tandem.simulation.poison import Plant
from tandem.simulation.seat import Seat
from tandem.simulation.simlog import Doubt
from tandem.simulation.world import Cell

FAULT_EVERY_MS = 4_000
"""On average; a fault that finds nothing to break is not counted. The aimed ones come on top."""
AIMED = 20
"""One in so many doings of phones is answered with a fault."""

OWNER_POINTS = (Point.BEFORE_APPEND, Point.APPENDED, Point.READ_BACK, Point.EFFECT_SENT)


class Faults:
    """Breaks a cell until `calm`, then mends all that it broke."""

    def __init__(self, cell: Cell, chance: Chance) -> None:
        self._cell, self._chance = cell, chance
        self.counted: dict[str, int] = {}
        self.pairs: dict[tuple[str, str], int] = {}
        self.crashes = 0
        self._calm = False
        self._kinds: tuple[tuple[tuple[str, Callable[[], bool]], int], ...] = (
            (("owner dies", self._owner_dies), 10),
            (("owner dies at a point", self._owner_trap), 16),
            (("owner dies in its claim", self._claim_trap), 4),
            (("node dies", self._node_dies), 3),
            (("node dies, journalled", self._node_trap), 2),
            (("node dies in a write", self._node_torn), 2),
            (("agent alone dies", self._agent_dies), 3),
            (("journal lost", self._journal_lost), 1),
            (("journal lost, calls live", self._journal_lost_alone), 1),
            (("journal full", self._journal_full), 1),
            (("link breaks", self._link_breaks), 8),
            (("link slow", self._link_slow), 5),
            (("link cut", self._link_cut), 3),
            (("append in doubt, stored", lambda: self._doubt(Doubt.STORED)), 4),
            (("append in doubt, lost", lambda: self._doubt(Doubt.LOST)), 4),
            (("log away", self._log_away), 2),
            (("read-back late", self._read_late), 8),
            (("appends slow", self._append_slow), 4),
            (("owner stopped", self._owner_stops), 6),
            (("rival claims", self._rival), 8),
            (("placed elsewhere", self._placed_elsewhere), 5),
            (("wall clock steps", self._clock_steps), 5),
            (("host boots anew", self._reboots), 2),
            (("keys slow", self._keys_slow), 3),
            (("recordings fail", self._spool_full), 2),
            (("a decider raises", self._decider_raises), 4),
            (("a decider raises again and again", self._decider_stuck), 2),
            (("a reaction raises", self._reaction_raises), 2),
            (("Recover raises", self._recover_raises), 2),
            (("evolve raises", self._evolve_raises), 2),
            (("a history cannot be folded", self._history_unread), 2),
            (("offers go round", self._offers_go_round), 2),
        )

    def start(self) -> None:
        """Begin."""
        self._later(3_000, self._now_and_then)
        self._cell.moment = self._moment

    def _now_and_then(self) -> None:
        self._one()
        if not self._calm:
            self._later(self._chance.around(FAULT_EVERY_MS), self._now_and_then)

    def _moment(self) -> None:
        """States that last for milliseconds are met by aiming: something has just happened at a phone."""
        if self._chance.one_in(AIMED):
            self._later(self._chance.between(0, 4), self._one)

    def _later(self, delay_ms: int, action: Callable[[], object]) -> None:
        self._cell.scheduler.after(delay_ms, action)

    def _one(self) -> None:
        if self._calm:
            return
        name, fault = self._chance.weighted(self._kinds)
        states = dict.fromkeys(self._cell.watch.contact_states()) or {"nothing": None}
        if fault():
            self._cell.fact(f"FAULT {name}")
            self.counted[name] = self.counted.get(name, 0) + 1
            for state in states:
                self.pairs[state, name] = self.pairs.get((state, name), 0) + 1

    def calm(self) -> None:
        """No more faults; what is broken is mended, and the dead start again."""
        self._calm = True
        cell = self._cell
        cell.log.outage, cell.log.late_ms, cell.log.slow_ms = False, 0, 0
        cell.network.slow_ms, cell.network.cut = 0, False
        cell.slow_keys_ms = 0
        cell.node.store.full, cell.node.store.tear_at = False, None
        cell.node.points.disarm()
        cell.moment = lambda: None
        for process in cell.processes():
            process.points.disarm()
        if cell.node.media is not None:
            cell.node.media.spool_full = False
        cell.poison.disarm()
        if cell.watch.desks_quarantined:
            # As after a release that mends it: the next owners take back into service what lasts.
            for process in cell.processes():
                process.crash("for a mended release")
        for slot in range(len(cell.slots)):
            cell.start_process(slot)
        if not cell.node.up:
            cell.node.start()

    # ---------------------------------------------------------------- owners

    def _process(self) -> Process | None:
        processes = self._cell.processes()
        return self._chance.pick(processes) if processes else None

    def _restart(self, process: Process) -> None:
        """After its death: another takes its shards over, or it comes back, or both."""
        self.crashes += 1
        chance = self._chance
        delay_ms = chance.pick((20, 300, 300, 2_000, 6_000, 25_000))
        self._later(delay_ms, lambda: self._cell.start_process(process.slot))
        if chance.one_in(2) or delay_ms > 5_000:
            self._later(chance.between(150, 800), lambda: self._take_over(process.slot))

    def _take_over(self, slot: int) -> None:
        other = self._cell.slots[1 - slot]
        if other is None or not other.alive:
            return
        for partition in list(self._cell.preferred):
            if self._cell.preferred[partition] == slot:
                self._move(partition, other)

    def _move(self, partition: Partition, process: Process) -> None:
        self._cell.preferred[partition] = process.slot
        process.enter(lambda: process.sit(self._cell.groups[partition], partition.shard))

    def _owner_dies(self) -> bool:
        process = self._process()
        if process is None:
            return False
        process.crash("at random")
        self._restart(process)
        return True

    def _trap(self, point: Point, nth: int) -> bool:
        process = self._process()
        if process is None:
            return False
        process.points.arm(point, nth)
        self._watch_trap(process, point)
        return True

    def _watch_trap(self, process: Process, point: Point) -> None:
        """Start again whoever died in the trap."""
        if not process.alive:
            self._cell.reached(f"died at {point}")
            self._restart(process)
        elif not self._calm:
            self._later(50, lambda: self._watch_trap(process, point))

    def _owner_trap(self) -> bool:
        return self._trap(self._chance.pick(OWNER_POINTS), self._chance.between(1, 12))

    def _claim_trap(self) -> bool:
        """The owner dies, then whoever claims next dies in the claim."""
        process = self._process()
        if process is None:
            return False
        process.crash("so that somebody claims")
        self._restart(process)
        for other in self._cell.processes():
            other.points.arm(Point.IN_CLAIM, 1)
            self._watch_trap(other, Point.IN_CLAIM)
        return True

    def _owner_stops(self) -> bool:
        """It stands still, its shards go to another, and it wakes before it hears of that. T1: the
        node restarts meanwhile, and either owner may be the first to reach it."""
        process = self._process()
        if process is None:
            return False
        stopped_ms = self._chance.between(500, 8_000)
        forgets = self._chance.one_in(2)
        process.stop(stopped_ms, 3_000 if forgets else self._chance.between(0, 2_000))
        self._later(400, lambda: self._take_over(process.slot))
        if forgets:
            for wire in process.wires.values():
                if wire.line is not None:
                    wire.line.cut("it stands still for too long")
            self._later(stopped_ms - 50, self._node_restarts)
        return True

    def _node_restarts(self) -> None:
        node = self._cell.node
        if node.up and node.unwritten_ms == self._cell.scheduler.now_ms:
            node.crash_alone()
            self._later(500, self._start_node)

    def _rival(self) -> bool:
        """A process that takes the owner for dead claims a shard that has one."""
        seats = list(self._cell.seats())
        if not seats:
            return False
        seat = self._chance.pick(seats)
        other = self._cell.slots[1 - seat.process.slot]
        if other is None or not other.alive or seat.partition in other.seats:
            return False
        other.enter(lambda: other.sit(seat.group, seat.partition.shard))
        return True

    def _placed_elsewhere(self) -> bool:
        seats = list(self._cell.seats())
        if not seats:
            return False
        seat = self._chance.pick(seats)
        other = self._cell.slots[1 - seat.process.slot]
        if other is None or not other.alive:
            return False
        self._move(seat.partition, other)
        return True

    # ---------------------------------------------------------------- the node

    def _node_back(self) -> None:
        self.crashes += 1
        delay_ms = self._chance.pick((50, 500, 2_000, 7_000))
        self._later(delay_ms, self._start_node)

    def _start_node(self) -> None:
        if not self._cell.node.up:
            self._cell.node.start()

    def _node_dies(self) -> bool:
        node = self._cell.node
        if not node.up:
            return False
        node.crash()
        self._node_back()
        return True

    def _agent_dies(self) -> bool:
        """As beside FreeSWITCH: the calls live on."""
        node = self._cell.node
        if not node.up or node.unwritten_ms < self._cell.scheduler.now_ms:
            return False
        node.crash_alone()
        self._node_back()
        return True

    def _node_trap(self) -> bool:
        node = self._cell.node
        if not node.up:
            return False
        node.points.arm(Point.JOURNALLED, self._chance.between(1, 5))
        node.dies_alone = self._chance.one_in(2)
        self._watch_node("died at journalled")
        return True

    def _node_torn(self) -> bool:
        node = self._cell.node
        if not node.up:
            return False
        node.store.tear_at, node.dies_alone = self._chance.below(1 << 30), False
        self._watch_node("a torn journal")
        return True

    def _watch_node(self, branch: str) -> None:
        if not self._cell.node.up:
            self._cell.reached(branch)
            self._node_back()
        elif not self._calm:
            self._later(20, lambda: self._watch_node(branch))

    def _journal_lost(self) -> bool:
        node = self._cell.node
        if not node.up or not self._chance.one_in(3):
            return False
        data = node.store.data
        node.lose_journal(data[:30] + b"\0" * 8 + data[38:] if self._chance.one_in(2) else b"")
        self._node_back()
        return True

    def _journal_lost_alone(self) -> bool:
        """As beside FreeSWITCH: the calls live on, and what was told of them is forgotten."""
        node = self._cell.node
        if not node.up or node.unwritten_ms < self._cell.scheduler.now_ms:
            return False
        node.lose_journal(b"", alone=True)
        self._node_back()
        return True

    def _journal_full(self) -> bool:
        node = self._cell.node
        if not node.up:
            return False
        node.store.full = True
        self._later(self._chance.between(500, 5_000), self._journal_room)
        return True

    def _journal_room(self) -> None:
        self._cell.node.store.full = False

    def _spool_full(self) -> bool:
        media = self._cell.node.media
        if media is None:
            return False
        media.spool_full = True
        self._later(10_000, lambda: setattr(media, "spool_full", False))
        return True

    # ---------------------------------------------------------------- links

    def _link_breaks(self) -> bool:
        process = self._process()
        lines = [] if process is None else [w.line for w in process.wires.values() if w.line is not None]
        if not lines:
            return False
        # Either end may learn of it late: until then it writes into the void.
        most = self._chance.pick((1, 1, 200, 6_000))
        self._chance.pick(lines).cut("broken", self._chance.below(most), self._chance.below(most))
        return True

    def _link_slow(self) -> bool:
        self._cell.network.slow_ms = self._chance.pick((20, 150, 700))
        self._later(self._chance.between(1_000, 6_000), self._link_fast)
        return True

    def _link_fast(self) -> None:
        self._cell.network.slow_ms = 0

    def _link_cut(self) -> bool:
        self._cell.network.cut = True
        for process in self._cell.processes():
            for wire in process.wires.values():
                if wire.line is not None:
                    wire.line.cut("cut", self._chance.below(500), self._chance.below(500))
        self._later(self._chance.between(500, 9_000), self._link_mended)
        return True

    def _link_mended(self) -> None:
        self._cell.network.cut = False

    # ---------------------------------------------------------------- the log

    def _seat(self) -> Seat | None:
        seats = list(self._cell.seats())
        return self._chance.pick(seats) if seats else None

    def _doubt(self, doubt: Doubt) -> bool:
        seat = self._seat()
        if seat is None:
            return False
        seat.writer.doubt = doubt
        # Appends time out when the log is slow, with more of them under way.
        self._cell.log.slow_ms = self._chance.pick((5, 300))
        self._later(2_000, self._append_fast)
        return True

    def _log_away(self) -> bool:
        self._cell.log.outage = True
        self._later(self._chance.between(200, 6_000), self._log_back)
        return True

    def _log_back(self) -> None:
        self._cell.log.outage = False

    def _read_late(self) -> bool:
        """And a client in a hurry, so that many commits are in flight."""
        self._cell.log.late_ms = 200
        tenant = self._chance.pick(self._cell.tenants)
        for index in range(20):
            agent = tenant.agents[index % len(tenant.agents)]
            ask = partial(self._cell.clients.ask, tenant.name, tenant.shard, "desk", SetPresence(agent, AVAILABLE))
            self._later(10 * index, ask)
        self._later(self._chance.between(2_000, 15_000), self._read_soon)
        return True

    def _read_soon(self) -> None:
        self._cell.log.late_ms = 0

    def _append_slow(self) -> bool:
        self._cell.log.slow_ms = self._chance.pick((50, 300, 1_500))
        self._later(self._chance.between(500, 5_000), self._append_fast)
        return True

    def _append_fast(self) -> None:
        self._cell.log.slow_ms = 0

    # ---------------------------------------------------------------- clocks and keys

    def _clock_steps(self) -> bool:
        host = self._chance.pick(self._cell.hosts)
        host.wall_off_ms += self._chance.pick((-7_200_000, -30_000, -3_000, 3_000, 30_000, 7_200_000))
        return True

    def _reboots(self) -> bool:
        """The second host, which has no media node, boots anew; its process dies with it."""
        process = self._cell.slots[1]
        if process is None or not process.alive or not self._cell.apart:
            return False
        process.crash("with its host")
        self._cell.hosts[1].reboot()
        self._restart(process)
        return True

    def _keys_slow(self) -> bool:
        self._cell.slow_keys_ms = self._chance.pick((300, 3_000))
        self._later(self._chance.between(3_000, 10_000), self._keys_fast)
        return True

    def _keys_fast(self) -> None:
        self._cell.slow_keys_ms = 0

    # ---------------------------------------------------------------- poison

    def _decider_raises(self) -> bool:
        kind = self._chance.pick(("contact", "contact", "desk", "desk", "reception"))
        self._cell.poison.plant(Plant(kind, "decide", self._chance.pick((1, 1, 3))))
        return True

    def _decider_stuck(self) -> bool:
        """For one contact from now on."""
        self._cell.poison.plant(Plant("contact", "decide", self._chance.pick((3, 8, 30)), stuck=True))
        return True

    def _reaction_raises(self) -> bool:
        self._cell.poison.plant(Plant(self._chance.pick(("contact", "desk")), "react", 1))
        return True

    def _recover_raises(self) -> bool:
        self._cell.poison.plant(Plant("contact", "recover", 1))
        self._cell.poison.plant(Plant("contact", "decide", 1))
        return True

    def _evolve_raises(self) -> bool:
        self._cell.poison.plant(Plant(self._chance.pick(("contact", "contact", "desk")), "evolve", 1))
        return True

    def _history_unread(self) -> bool:
        """Whoever folds the log next cannot take an event of some contact; then it becomes the owner."""
        process = self._process()
        if process is None:
            return False
        self._cell.poison.plant(Plant("contact", "fold", 1))
        process.crash("so that its history is folded")
        self._restart(process)
        return True

    def _offers_go_round(self) -> bool:
        self._cell.poison.loop()
        return True
