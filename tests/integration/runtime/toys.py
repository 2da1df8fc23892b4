"""Control processes of the toy group and one that follows it, over disks that outlive them.

A `Disk` is what is left when a process is gone. `process(disk)` is one life of a process with
the partitions `toys/0` and `far/0`; what the toys tell `far/...` goes through the log.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import asynccontextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, Protocol

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.memory import BlobTable, KeyTable, MemoryBlobs, MemoryKeys, MemoryLog, MemoryPartitions
from tandem.adapters.sqlite import SqliteKeys, SqliteLog
from tandem.adapters.system import SystemClock
from tandem.core.access import Principal, Role
from tandem.core.points import Points
from tandem.core.ports.blobs import Blobs
from tandem.core.ports.keys import Keys
from tandem.core.ports.log import Log, Partition, Stored
from tandem.runtime import log_codec
from tandem.runtime.driver import ShardDriver
from tandem.runtime.following import Ahead
from tandem.runtime.host import Answer, Host
from tandem.runtime.ledger import Ledger
from tandem.runtime.outputs import Perform, Taken
from tandem.runtime.receiver import Receiver
from tandem.runtime.service import Group, Service
from tandem.runtime.shared import Shared
from tests.support import toy
from tests.support.mini_cell import SeededEntropy
from tests.support.toy import Do

TOYS, FAR = Partition("toys", 0), Partition("far", 0)
WHO = Principal("t1", "t1/k1", Role.ADMIN)


class Disk(Protocol):
    """Where processes keep what must outlive them."""

    async def open(self) -> tuple[Log, Keys, Blobs]:
        """The ports of one process."""
        ...


@dataclass
class MemoryDisk:
    """Several processes may use it at once. `log` makes the log of the next process."""

    partitions: MemoryPartitions = field(default_factory=MemoryPartitions)
    keys: KeyTable = field(default_factory=lambda: KeyTable(SeededEntropy()))
    blobs: BlobTable = field(default_factory=BlobTable)
    make_log: Callable[[MemoryPartitions], MemoryLog] = MemoryLog
    make_keys: Callable[[KeyTable], MemoryKeys] = MemoryKeys

    async def open(self) -> tuple[MemoryLog, MemoryKeys, MemoryBlobs]:
        """See `Disk`."""
        return self.make_log(self.partitions), self.make_keys(self.keys), MemoryBlobs(self.blobs)


@dataclass
class SqliteDisk:
    """One process at a time."""

    directory: Path

    async def open(self) -> tuple[SqliteLog, SqliteKeys, LocalBlobs]:
        """See `Disk`."""
        log = await SqliteLog.open(self.directory / "log")
        keys = await SqliteKeys.open(self.directory / "log", entropy=SeededEntropy())
        return log, keys, await LocalBlobs.open(self.directory / "blobs")


class HandNode:
    """A `Receiver`: the test plays the node."""

    def __init__(self) -> None:
        self.epochs: list[int] = []
        self.orders: list[Perform] = []
        self.taken_: list[Taken] = []
        self.asked = 0
        self.drops = 0

    def introduce(self, driver: ShardDriver, node: str, epoch: int) -> None:
        """See the port."""
        self.epochs.append(epoch)
        driver.told(lambda shard: shard.node_up(node, "i1"))
        driver.told(lambda shard: shard.node_kept(node))

    def perform(self, driver: ShardDriver, order: Perform) -> None:
        """See the port."""
        self.orders.append(order)

    def taken(self, driver: ShardDriver, taken: Taken) -> None:
        """See the port."""
        self.taken_.append(taken)

    def ask_legs(self, driver: ShardDriver, node: str) -> None:
        """See the port."""
        self.asked += 1
        driver.told(lambda shard: shard.node_legs(node, ()))

    def dropped(self, driver: ShardDriver, why: str) -> None:
        """See the port."""
        self.drops += 1


@dataclass
class Process:
    """One life of a control process."""

    host: Host
    toys: ShardDriver
    far: ShardDriver
    log: Any
    keys: Any
    blobs: Any
    points: Points

    async def ask(self, stream: str, script: str, request: str = "") -> str:
        """A client's command; the reply's words. Raises `Rejected`."""
        answer = await self.host.ask("t1", stream, Do(script), principal=WHO, request_id=request)
        said: str = answer.value.value
        return said

    async def told(self, stream: str, script: str) -> Answer[Any]:
        """The same, with the reply's position."""
        return await self.host.ask("t1", stream, Do(script), principal=WHO)

    async def words(self, stream: str) -> tuple[str, ...]:
        """What was said on a stream, from its owner."""
        kind = stream.partition("/")[0]
        answer = await self.host.query("t1", kind, lambda ledger: _words(ledger, stream))
        return answer.value

    async def parts(self, driver: ShardDriver) -> list[bytes]:
        """The owner's whole state."""
        found: list[bytes]
        found, _ = await driver.query(lambda ledger: list(ledger.parts()))
        return found


def _words(ledger: Ledger, stream: str) -> tuple[str, ...]:
    aggregate = ledger.aggregate("t1", stream)
    return () if aggregate is None else aggregate.state.words


def groups(shape: str = "toys") -> tuple[Group, Group]:
    """The toys, and `far`, which takes their messages."""
    far = _far()
    return (
        Group("toys", (toy.service(),), {"far": "far"}, shape),
        Group("far", (far,), {"toy": "toys"}, shape),
    )


def _far() -> Service:
    service = toy.service()
    return replace(service, name="far", kinds=(replace(service.kinds[0], name="far"),))


@asynccontextmanager
async def process(
    disk: Disk,
    owner: str = "a",
    *,
    nodes: Sequence[str] = (),
    receivers: Mapping[str, Receiver] | None = None,
    snapshot_commits: int = 10_000,
    ready: bool = True,
    ahead: Mapping[Partition, Ahead] | None = None,
) -> AsyncIterator[Process]:
    """Runs a process; its end is what cancelling it leaves. With `ready`, once it serves. `ahead` is
    what it knew as a standby."""
    log, keys, blobs = await disk.open()
    clock, points = SystemClock(), Points()
    given = {"media": HandNode()} if receivers is None else receivers
    shared = Shared(owner, log, keys, clock, points, blobs, snapshot_commits)
    toys, far = (
        ShardDriver(group, 0, shared, tuple(of), given, (ahead or {}).get(Partition(group.name, 0)))
        for group, of in zip(groups(), (nodes, ()), strict=True)
    )
    host = Host((toys, far), log, keys, {"t1": 0, "t2": 0}.get, {"far": ("toys",)})
    try:
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(host.run())
            try:
                if ready:
                    await host.ready()
                yield Process(host, toys, far, log, keys, blobs, points)
            finally:
                running.cancel()
    finally:
        await log.close()
        await keys.close()
        await blobs.close()


async def until(holds: Callable[[], object]) -> None:
    """Let everything else run until something holds."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0)


async def records(log: Log, partition: Partition) -> list[Stored]:
    """All that stands in a partition now."""
    end, found = await log.end(partition), list[Stored]()
    while not found or found[-1].offset < end:
        async for batch in log.read(partition, found[-1].offset if found else 0):
            found += batch
            break
    return found


async def folded(log: Log, driver: ShardDriver) -> list[bytes]:
    """What another process knows from the log alone."""
    ledger = Ledger(driver.group)
    for stored in await records(log, driver.partition):
        ledger.fold(log_codec.decode(stored.body))
    return list(ledger.parts())
