"""The shards of one process, and how clients reach them (architecture, rules 13 and 14)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from typing import Any, Generic, TypeVar

from tandem.core.access import CELL_TENANT, Principal
from tandem.core.arbiter import Place
from tandem.core.commit import Commit
from tandem.core.errors import NO_OWNER, UNKNOWN_NAME, Rejected
from tandem.core.ports.keys import Keys
from tandem.core.ports.log import Log, Partition
from tandem.runtime import log_codec, positions
from tandem.runtime.driver import ShardDriver
from tandem.runtime.inbox import BEGINNING, Inbox
from tandem.runtime.ledger import Ledger
from tandem.runtime.service import kind_of
from tandem.runtime.step import Offer

T = TypeVar("T")

ANSWER_S = 5.0
"""A command that is not durable after so long is answered UNAVAILABLE; its request_id makes a repeat safe."""


@dataclass(frozen=True, slots=True)
class Answer(Generic[T]):
    """A reply, and where in the log it was true."""

    value: T
    position: str


class _Delivery:
    """How far a shard's inbox has come in a sender's log."""

    def __init__(self, sender: Partition, group: str) -> None:
        self.sender, self._group = sender, group
        self.n = 0
        self.last: dict[str, tuple[str, int]] = {}  # tenant -> source and number last offered
        self.life = -1
        self.inbox = Inbox(sender, group)
        self._moved = asyncio.Event()

    def begin(self, life: int, place: Place) -> None:
        """A new life of the receiver: everything is offered that it may not have taken."""
        self.life, self.inbox = life, Inbox(self.sender, self._group, place)
        self.last = {}
        self.n = 0
        self.reach(place.arbiter.n)

    def reach(self, n: int) -> None:
        """All messages up to commit `n` are offered."""
        self.n = max(self.n, n)
        self._moved.set()
        self._moved = asyncio.Event()

    async def reached(self, n: int) -> None:
        """Until then."""
        while self.n < n:
            await self._moved.wait()


class Host:
    """Owns the drivers of all shards of this process and the tails between them.

    `placement(tenant)` gives a tenant's shard number, None for one that is not placed.
    """

    def __init__(
        self,
        drivers: Sequence[ShardDriver],
        log: Log,
        keys: Keys,
        placement: Callable[[str], int | None],
        follows: Mapping[str, Sequence[str]],
    ) -> None:
        self._drivers = {(d.partition.group, d.partition.shard): d for d in drivers}
        self._groups = {kind: d.group.name for d in drivers for kind in d.group.kinds}
        self._log, self._keys, self._placement = log, keys, placement
        self._follows = follows
        self._deliveries = {
            (driver, sender): _Delivery(Partition(sender, driver.partition.shard), driver.partition.group)
            for driver in drivers
            for sender in follows.get(driver.partition.group, ())
        }
        for driver in drivers:
            driver.taken_of = partial(self._taken_of, driver)

    async def run(self) -> None:
        """Drive all shards and the tails between groups, until cancelled."""
        async with asyncio.TaskGroup() as tasks:
            for driver in self._drivers.values():
                tasks.create_task(driver.run())
                for sender in self._follows.get(driver.partition.group, ()):
                    tasks.create_task(self._deliver(driver, Partition(sender, driver.partition.shard)))

    async def _deliver(self, driver: ShardDriver, sender: Partition) -> None:
        """Take what another group's log has for this shard. The shard's marks make repeats
        harmless, so each life of the owner begins where its snapshot says that all before is taken."""
        delivery = self._deliveries[driver, sender.group]
        while True:
            await driver.live()
            life = driver.life
            place = driver.followed.get(str(sender), Place())
            delivery.begin(life, place)
            async with asyncio.TaskGroup() as tasks:
                pouring = tasks.create_task(self._pour(driver, life, place.offset, delivery))
                await driver.over(life)
                pouring.cancel()

    def _taken_of(self, driver: ShardDriver, ledger: Ledger) -> dict[str, Place]:
        """Up to where this life of a shard has taken the messages of others."""
        deliveries = [self._deliveries[driver, sender] for sender in self._follows.get(driver.partition.group, ())]
        return {str(d.sender): d.inbox.taken(ledger.mark) for d in deliveries if d.life == driver.life}

    async def _pour(self, driver: ShardDriver, life: int, after: int, delivery: _Delivery) -> None:
        async for records in self._log.read(delivery.sender, after):
            for stored in records:
                record = log_codec.decode_messages(stored.body)
                for offer in delivery.inbox.take(record, stored.offset):
                    await driver.room(life)
                    driver.offer(offer)
                    delivery.last[offer.tenant] = (offer.source, offer.number)
                if isinstance(record, Commit):
                    delivery.reach(record.n)
            driver.forget_taken(delivery.inbox)
            await asyncio.sleep(0)

    async def taken(self, tenant: str, kind: str, position: str, timeout_s: float) -> bool:
        """Until the owner of `kind` has durably taken all messages that the commit at
        `position`, of another group, sent to the tenant. False on time-out."""
        sender, driver = positions.decode(position), self.driver(tenant, kind)
        try:
            async with asyncio.timeout(timeout_s):
                await driver.live()
                delivery = self._deliveries[driver, sender.group]
                await delivery.reached(sender.n)
                if tenant in delivery.last:
                    await driver.taken(*delivery.last[tenant], tenant)
        except TimeoutError:
            return False
        return True

    async def ready(self) -> None:
        """Until every shard is live."""
        for driver in self._drivers.values():
            await driver.live()

    def lags(self) -> Iterator[tuple[Partition, int]]:
        """How many commits of other groups each shard's inbox is behind."""
        for (driver, sender), delivery in self._deliveries.items():
            other = self._drivers.get((sender, driver.partition.shard))
            if other is not None:
                yield driver.partition, max(0, other.durable - delivery.n)

    def durable(self, group: str, shard: int) -> int:
        """Number of the last durable commit of a shard of this process, 0 while it has none."""
        return self._drivers[group, shard].durable

    @property
    def is_ready(self) -> bool:
        """Whether every shard is live."""
        return all(driver.is_live for driver in self._drivers.values())

    def of_group(self, group: str) -> list[ShardDriver]:
        """The drivers of a group's shards."""
        return [driver for (name, _), driver in self._drivers.items() if name == group]

    # ---------------------------------------------------------------- clients

    def driver(self, tenant: str, kind: str) -> ShardDriver:
        """The driver that owns a kind of a tenant. Raises `Rejected`."""
        group = self._groups.get(kind)
        shard = 0 if tenant == CELL_TENANT else self._placement(tenant)
        if group is None or shard is None:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        driver = self._drivers.get((group, shard))
        if driver is None:
            raise Rejected(NO_OWNER, "this process does not own the shard")
        return driver

    async def ask(
        self,
        tenant: str,
        stream: str,
        command: Any,
        *,
        principal: Principal,
        request_id: str = "",
        method: str = "",
        digest: str = "",
        trace: str = "",
    ) -> Answer[Any]:
        """Send a command to the owner; returns once its answer is durable. A repeat of
        `request_id` by the same credential and method, with the same `digest`, gets the
        first answer. Raises `Rejected`."""
        driver = self.driver(tenant, kind_of(stream))
        request = f"{principal.credential}|{method}|{request_id}" if request_id else ""
        offer = Offer(
            f"client/{principal.credential}",
            0,
            tenant,
            stream,
            command,
            request=request,
            digest=digest,
            actor=principal.actor,
            trace=trace,
        )
        value, n = await self._bounded(driver.ask(offer))
        return Answer(value, self._position(driver, n))

    async def query(self, tenant: str, kind: str, ask: Callable[[Ledger], T]) -> Answer[T]:
        """Ask the owner's state of the tenant; returns once that state is durable. Raises `Rejected`."""
        driver = self.driver(tenant, kind)
        value, n = await self._bounded(driver.query(ask, tenant))
        return Answer(value, self._position(driver, n))

    async def _bounded(self, answer: Any) -> Any:
        try:
            async with asyncio.timeout(ANSWER_S):
                return await answer
        except TimeoutError:
            raise Rejected(NO_OWNER, "the log did not answer in time; repeat with the same request_id") from None

    def _position(self, driver: ShardDriver, n: int) -> str:
        return positions.encode(positions.Position(driver.partition.group, driver.partition.shard, n))

    async def keys(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Data keys, for opening private values at the edge."""
        return await self._keys.get(ids)

    async def tail(self, group: str, shard: int, after: int = 0) -> AsyncIterator[tuple[str, Commit]]:
        """(position, counted commit) of each commit above number `after`, for ever."""
        async for commits in self.batches(group, shard, after):
            for commit in commits:
                yield positions.encode(positions.Position(group, shard, commit.n)), commit

    async def batches(self, group: str, shard: int, after: int = 0) -> AsyncIterator[Sequence[Commit]]:
        """The counted commits above number `after`, for ever: each time all that have come, at least one."""
        driver = self._drivers.get((group, shard))
        place = Place() if driver is None else await driver.place(after)
        async for rows in _tail(self._log, Partition(group, shard), place):
            commits = [commit for _, commit in rows if commit.n > after]
            if commits:
                yield commits


async def tail(log: Log, partition: Partition, place: Place = BEGINNING) -> AsyncIterator[tuple[int, Commit]]:
    """(offset, counted commit) of a partition, for ever, from behind a place."""
    async for rows in _tail(log, partition, place):
        for row in rows:
            yield row


async def _tail(log: Log, partition: Partition, place: Place) -> AsyncIterator[list[tuple[int, Commit]]]:
    judge = place.arbiter
    async for records in log.read(partition, place.offset):
        found = []
        for stored in records:
            record = log_codec.decode(stored.body)
            if judge.counts(record):
                judge = judge.after(record)
                if isinstance(record, Commit):
                    found.append((stored.offset, record))
        yield found
