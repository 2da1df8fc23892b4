"""A whole cell in one process on virtual time: control processes, logs, keys, a media node, phones.

Only what would survive the death of a process is held here: log, keys, blobs, the journal's
bytes, the phones. Everything else hangs on an object that a crash drops.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from functools import partial
from typing import Any

from tandem.adapters.memory.blobs import BlobTable
from tandem.adapters.memory.keys import KeyTable
from tandem.core.arbiter import Place
from tandem.core.ports.log import Partition
from tandem.core.ports.media import Command, Event
from tandem.routing import events as routing
from tandem.runtime.counts import NAMES, Counts
from tandem.runtime.outputs import Perform
from tandem.runtime.restore import restore
from tandem.runtime.service import Group
from tandem.runtime.shard import Shard
from tandem.session import events as session
from tandem.session.domain.words import HangUpContact, PauseRecording
from tandem.simulation.chance import Chance, SeededEntropy
from tandem.simulation.clients import Asked, Clients
from tandem.simulation.erasures import Erasures
from tandem.simulation.hosts import Host
from tandem.simulation.hot import HotStandby
from tandem.simulation.lines import Line, Network
from tandem.simulation.nodes import MediaNode, NodeKinds
from tandem.simulation.owners import Process
from tandem.simulation.phones import Caller, Device, Dialog, Phones
from tandem.simulation.poison import Poison
from tandem.simulation.reading import reading
from tandem.simulation.scheduler import Scheduler
from tandem.simulation.seat import Seat
from tandem.simulation.simlog import SimLog
from tandem.simulation.tenants import ConfigLog, Tenant, configuration, make_tenants
from tandem.simulation.watch import Watch

NODE = "m1"
SHARDS = 2
AGENTS = 12
LONG_LOG = 300
"""A log of more records is not read from its beginning by a new owner: the watch folds each from there anyway,
and most of a long seed's time would go into it."""


@dataclass(slots=True)
class Shape:
    """How services are grouped: groups and whose messages each takes."""

    name: str
    groups: tuple[Group, ...]
    follows: dict[str, tuple[str, ...]]

    @property
    def kinds(self) -> dict[str, str]:
        """Kind -> group."""
        return {kind: group.name for group in self.groups for kind in group.kinds}


def grouped() -> Shape:
    """Session and routing share a partition."""
    name = "live=session+routing"
    live = Group("live", (session.SERVICE, routing.SERVICE), {"recording": "recording"}, name)
    return Shape("grouped", (live,), {"live": ("tenant",)})


def split() -> Shape:
    """Session and routing apart: their messages go through the logs."""
    name = "session|routing"
    apart = (
        Group("session", (session.SERVICE,), {"desk": "routing", "recording": "recording"}, name),
        Group("routing", (routing.SERVICE,), {"contact": "session", "reception": "session"}, name),
    )
    return Shape("split", apart, {"session": ("tenant", "routing"), "routing": ("tenant", "session")})


@dataclass(slots=True)
class Parts:
    """The production classes that a cell is made of; tests plant others."""

    shard: type[Shard] = Shard
    node: NodeKinds = field(default_factory=NodeKinds)


class Cell:
    """See the module's text. Is the `Surroundings` of its control processes."""

    def __init__(self, seed: int, shape: Shape, parts: Parts | None = None, tell: Callable[[str], None] | None = None):
        chance = Chance(seed)
        self.shape, self.parts = shape, parts or Parts()
        self.scheduler = Scheduler(chance.fork("order"))
        self.chance = chance.fork("cell")
        self._facts: deque[tuple[int, str, Any]] = deque(maxlen=60)
        self.branches: dict[str, int] = {}
        self.poison = Poison()
        self._counts: list[Counts] = []
        self._tell = tell
        self.moment: Callable[[], None] = lambda: None
        """Called at each thing that a phone does: a moment worth a fault."""
        self.log = SimLog(self.scheduler, chance.fork("log"))
        self.network = Network(self.scheduler, chance.fork("network"))
        self.key_table = KeyTable(SeededEntropy(chance.fork("keys")))
        self.blobs = BlobTable()
        self.slow_keys_ms = 0
        self.hosts = [Host(f"h{i}", self.scheduler, self.chance.between(10_000, 9_000_000)) for i in range(2)]
        self.apart = seed % 4 < 2  # the second control process runs on a host of its own
        self.groups: dict[Partition, Group] = {}
        self._poisoned: dict[str, Group] = {}
        for group in map(reading, shape.groups):
            self._poisoned[group.name] = self.poison.group(group)
            for number in range(SHARDS):
                self.groups[Partition(group.name, number)] = group
        self.tenants = make_tenants(chance.fork("tenants"), AGENTS, SHARDS)
        self.phones = Phones(self.scheduler, chance.fork("phones"), self)
        self.node = MediaNode(
            NODE, self.hosts[0], SeededEntropy(chance.fork("node")), self.phones, self._node_died, self.parts.node
        )
        self.phones.node = self.node
        self.node.capacity = self.chance.pick((8, 50, 50))
        if chance.fork("under way").one_in(4):
            self.node.under_way_max = 1  # as in a storm: nearly all events wait for the one before
        self.watch = Watch(self)
        self.node.welcomed = self.watch.epochs.welcomed
        self.node.stores = lambda blob: self.blobs.put(blob, b"sealed audio of " + blob.encode())
        self.erasures = Erasures(self, chance.fork("erasures"))
        self.watch.also(self.erasures)
        self.clients = Clients(self.scheduler, chance.fork("clients"), self)
        self.slots: list[Process | None] = [None, None]
        self.lives = 0
        self.preferred: dict[Partition, int] = {}
        self.places: dict[tuple[Partition, Partition], Place] = {}
        self.config = ConfigLog(self.log, self.shape.kinds)
        self._configure()
        self.log.partitions.watch(self._stored)
        self._odds = chance.fork("hot")
        self.hot = None if seed // 2 % 2 else HotStandby(self.log, self.groups, self.follows, self.keys, self._odds)

    def _configure(self) -> None:
        for tenant in self.tenants:
            self.config.publish(tenant, configuration(tenant))
            for agent, devices in tenant.devices.items():
                for device in devices:
                    self.phones.add_device(Device(device, tenant.name, agent))
            self.watch.tenant(tenant)

    def tenant(self, name: str) -> Tenant:
        """A tenant by its name."""
        return next(tenant for tenant in self.tenants if tenant.name == name)

    # ---------------------------------------------------------------- processes

    def start(self, slots: int) -> None:
        """Start the node and the control processes."""
        self.node.start()
        for partition in self.groups:
            self.preferred[partition] = self.chance.below(slots)
        for slot in range(slots):
            self.start_process(slot)

    def start_process(self, slot: int) -> None:
        """A control process starts in a slot and claims what it is preferred for."""
        if (running := self.slots[slot]) is not None and running.alive:
            return
        self.lives += 1
        process = Process(f"p{slot}.{self.lives}", slot, self.hosts[slot if self.apart else 0], self, (NODE,))
        self.slots[slot] = process
        self.fact(f"{process.name} starts")
        for partition, preferred in self.preferred.items():
            if preferred == slot:
                process.enter(partial(process.sit, self.groups[partition], partition.shard))

    def processes(self) -> list[Process]:
        """Those that live."""
        return [process for process in self.slots if process is not None and process.alive]

    def seats(self) -> Iterator[Seat]:
        """All seats of all living processes."""
        for process in self.processes():
            yield from process.seats.values()

    # ---------------------------------------------------------------- Surroundings

    def shard(self, group: Group, number: int, owner: str) -> Shard:
        """See `owners.Surroundings`: mostly from the newest snapshot, now and then from the beginning."""
        nodes = (NODE,) if "contact" in group.kinds else ()
        partition = Partition(group.name, number)
        ledger, offset = None, 0
        keys: Mapping[str, bytes] = {}
        snapshot = self.watch.snapshot(partition)
        poisoned = self._poisoned[group.name]
        if self.hot is not None and not self._odds.one_in(3):
            ahead = self.hot.ahead(partition)
            ledger = restore(poisoned, ahead.loaded.ledger.parts())
            offset, keys = ahead.loaded.offset, ahead.keys
            for sender in self.follows(group.name):
                other = Partition(sender, number)
                self.places[partition, other] = ahead.loaded.followed[str(other)]
            self.reached("went on from a hot standby")
        elif snapshot is not None and not (self.chance.one_in(4) and snapshot[0] < LONG_LOG):
            offset, blob = snapshot
            ledger = restore(poisoned, iter(self.watch.unpacked(self.blobs.get(blob))))
            self.reached("started from a snapshot")
        shard = self.parts.shard(
            poisoned, number, owner, nodes, self._refused, ledger, offset, keys=keys, decode=self.log.decode
        )
        self._counts.append(shard.counts)
        return shard

    def count(self) -> None:
        """What the shards have counted, as branches that were reached."""
        for name in NAMES:
            total = sum(getattr(counts, name) for counts in self._counts)
            if not name.endswith("_now") and total:
                self.branches[f"counted {name}"] = total
        for where, times in self.poison.struck.items():
            self.branches[f"raised in {where}"] = times

    def _refused(self, text: str, error: BaseException) -> None:
        self.fact(f"refused: {text}: {type(error).__name__}: {error}")
        self.watch.refused(text, error)

    def allocate(self, ids: Sequence[str]) -> dict[str, bytes]:
        """See `owners.Surroundings`."""
        self.key_table.allocate(ids)
        return self.key_table.get(ids)

    def keys(self, ids: Sequence[str]) -> dict[str, bytes]:
        """See `owners.Surroundings`."""
        return self.key_table.get(ids)

    def keys_ms(self) -> int:
        """See `owners.Surroundings`."""
        return self.slow_keys_ms + self.chance.between(0, 5)

    def dial(self, node: str, at_owner: tuple[Callable[[bytes], None], Callable[[str], None]]) -> Line | None:
        """See `owners.Surroundings`."""
        if not self.node.up or self.network.cut:
            return None
        return self.node.accept(lambda at_node: Line(self.network, at_owner, at_node))

    def redial_ms(self) -> int:
        """See `owners.Surroundings`."""
        return self.chance.between(50, 600)

    def wants(self, process: Process, partition: Partition) -> bool:
        """See `owners.Surroundings`."""
        return self.preferred[partition] == process.slot

    def follows(self, group: str) -> Sequence[str]:
        """See `owners.Surroundings`."""
        return self.shape.follows[group]

    def sent(self, seat: Seat, command: Command, again: bool) -> None:
        """See `owners.Surroundings`."""
        if again:
            self.reached("a pending effect offered again")
        self.watch.sent(seat.partition, command)

    def erase(self, seat: Seat, order: Perform) -> None:
        """See `owners.Surroundings`."""
        self.erasures.perform(seat, order)

    def acked(self, seat: Seat, source: str, tenant: str, number: int) -> None:
        """See `owners.Surroundings`."""
        self.watch.sources.acked(seat.partition, source, tenant, number)

    def reached(self, what: str) -> None:
        """A branch was reached."""
        self.branches[what] = self.branches.get(what, 0) + 1

    def fact(self, text: str, event: Any = None) -> None:
        """For the story of a failing seed; `event` is only shown if the story is told."""
        fact = (self.scheduler.now_ms, text, event)
        self._facts.append(fact)
        if self._tell is not None:
            self._tell(_line(fact))

    def story(self) -> list[str]:
        """The last facts, oldest first."""
        return [_line(fact) for fact in self._facts]

    # ---------------------------------------------------------------- what happens

    def _stored(self, partition: Partition) -> None:
        if partition in self.groups:
            self.watch.stored(partition, self.log.partitions.records(partition, self.watch.offset(partition)))

    def _node_died(self, forgotten: Collection[Event]) -> None:
        self.fact(f"{NODE} dies")
        self.phones.node_died(self.node.unwritten_ms, forgotten, alone=self.node.media is not None)

    def saw(self, what: str, dialog: Dialog) -> None:
        """See `phones.Witness`."""
        self.fact(f"phone {dialog.device or 'caller'} {dialog.leg} {what}")
        self.watch.saw(what, dialog)
        self.moment()

    def seat_of(self, kind: str, shard: int) -> Seat | None:
        """See `clients.Desktops`."""
        partition = Partition(self.shape.kinds[kind], shard)
        found = [seat for seat in self.seats() if seat.partition == partition and seat.live]
        return found[0] if found else None

    def acknowledged(self, asked: Asked, value: Any) -> None:
        """See `clients.Desktops`."""
        self.watch.acknowledged(asked, value)

    def hang_up_by_api(self, caller: Caller) -> None:
        """A supervisor ends a call."""
        caller.cut_by_us = True
        tenant = self.tenant(caller.tenant)
        self.clients.ask(caller.tenant, tenant.shard, f"contact/{caller.contact}", HangUpContact())

    def pause_by_api(self, caller: Caller, paused: bool) -> None:
        """The agent pauses the recording of a talk, or lets it go on."""
        tenant = self.tenant(caller.tenant)
        self.clients.ask(caller.tenant, tenant.shard, f"contact/{caller.contact}", PauseRecording(paused, ""))


def _line(fact: tuple[int, str, Any]) -> str:
    at_ms, text, event = fact
    return f"{at_ms / 1000:9.3f}  {text}" + ("" if event is None else f" {event!r:.230}")
