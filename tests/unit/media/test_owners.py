"""The control process' end of the links, over gRPC on a socket: a node that the test plays."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tandem.adapters.memory import KeyTable, MemoryKeys, MemoryLog, MemoryPartitions
from tandem.adapters.system import SystemClock
from tandem.core.errors import NO_OWNER, Rejected
from tandem.core.points import Point, Points
from tandem.core.ports import media
from tandem.core.ports.media import Ack, Command, Directory, Event, FromNode, Hello, ListLegs, ToNode, Welcome
from tandem.core.seal import Erased, Secret, Withheld, seal
from tandem.media.link.address import LinkAddress
from tandem.media.link.owner_end import Heard
from tandem.media.link.owners import MediaOwners
from tandem.media.link.serve import LinkServer
from tandem.routing.domain import words as rw
from tandem.runtime import driver as driver_module
from tandem.runtime.driver import ShardDriver
from tandem.runtime.host import Host
from tandem.runtime.media_codec import Close
from tandem.runtime.service import Group
from tandem.runtime.shared import Shared
from tandem.runtime.step import Offer
from tandem.session.directory import make_directory
from tandem.session.domain import reception as r
from tandem.session.inbox import media_offer
from tests.support.mini_cell import SeededEntropy
from tests.support.small_cell import NODE, STEPS, live_group
from tests.support.toy import Do, toy_group

CLOCK = SystemClock()


class Node:
    """A media node by hand: it greets, has kept nothing and has no legs; all else the test does."""

    def __init__(self, address: LinkAddress) -> None:
        self._address = address
        self.frames: list[tuple[str, ToNode | Close]] = []
        self.legs: tuple[tuple[str, str], ...] = ()
        self.incarnation = "i1"
        self.server: LinkServer
        self.link = ""

    async def start(self) -> None:
        """Listen."""
        self.server = LinkServer(self._address, self, CLOCK.boottime_ms)
        await self.server.start()

    async def stop(self) -> None:
        """Die."""
        await self.server.stop()

    def heard(self, frames: list[tuple[str, ToNode | Close]]) -> None:
        """See `serve.Listener`."""
        for link, frame in frames:
            self.frames.append((link, frame))
            match frame:
                case Hello():
                    self.link = link
                    welcome = Welcome(NODE, self.incarnation, CLOCK.boot_id(), CLOCK.boottime_ms())
                    self.say(welcome, media.KeptEnd())
                case ListLegs():
                    self.say(media.Legs(self.legs))
                case _:
                    pass

    def lost(self, links: tuple[str, ...], reason: str) -> None:
        """See `serve.Listener`."""

    def say(self, *frames: FromNode) -> None:
        """Over the newest link."""
        for frame in frames:
            self.server.send(self.link, frame)
        self.server.flush()

    def tell(self, number: int, body: Any, leg: str = "", tenant: str = "t1") -> None:
        """An event."""
        self.say(Event(tenant, number, CLOCK.boottime_ms(), leg, body))

    def of(self, kind: type) -> list[Any]:
        """Frames of a kind, oldest first."""
        return [frame for _, frame in self.frames if isinstance(frame, kind)]


class Owner:
    """A control process of one shard."""

    def __init__(self, address: LinkAddress, group: Group, directory: Any = None) -> None:
        self.log, self.keys = MemoryLog(MemoryPartitions()), KeyTable(SeededEntropy())
        self.points = Points()
        self.asked = 0
        self._directory = directory or self.numbers
        keys = MemoryKeys(self.keys)
        self.media = MediaOwners({NODE: address}, CLOCK, SeededEntropy(), self.points, self._translate, self._counted)
        shared = Shared("owner", self.log, keys, CLOCK, self.points)
        self.driver = ShardDriver(group, 0, shared, (NODE,), {"media": self.media})
        self.host = Host((self.driver,), self.log, keys, {"t1": 0}.get, {})

    def _translate(self, heard: Heard) -> Offer:
        if "toy" in self.driver.group.kinds:
            return Offer(heard.source, heard.number, heard.tenant, "toy/heard", Do(f"say:{heard.number}"))
        event = Event(heard.tenant, heard.number, heard.time_ms, heard.leg, heard.body)
        return media_offer(heard.node, heard.incarnation, event, heard.time_ms)

    async def _counted(self, driver: ShardDriver) -> Directory:
        self.asked += 1
        found: Directory = await self._directory(driver)
        return found

    async def numbers(self, driver: ShardDriver) -> Directory:
        """A number for each configuration that was taken."""
        words, n = await driver.query(lambda ledger: ledger.mark("tenant/0/t1", "t1"))
        return Directory(n, tuple(media.DirectoryNumber(str(n), "t1", 0) for n in range(words)), ())

    def configure(self, number: int) -> None:
        """The tenant service says something."""
        assert self.driver.offer(Offer("tenant/0/t1", number, "t1", "toy/config", Do("say:x")))

    async def words(self, stream: str) -> tuple[str, ...]:
        """What a toy said, durably."""
        found, _ = await self.driver.query(
            lambda ledger: row.state.words if (row := ledger.aggregate("t1", stream)) else ()
        )
        return found

    @asynccontextmanager
    async def run(self, *, ready: bool = True) -> AsyncIterator[Owner]:
        """Until the end of the block."""
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(self.host.run()), tasks.create_task(self.media.run())]
            try:
                if ready:
                    await self.host.ready()
                yield self
            finally:
                for task in running:
                    task.cancel()
        await self.log.close()


@pytest.fixture(autouse=True)
async def nothing_unheard(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """No error of a task or a callback goes unheard; a lost shard is claimed again at once."""
    monkeypatch.setattr(driver_module, "RECLAIM_S", 0.0)
    loop, unheard = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    yield
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    assert unheard == []


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    made = Node(LinkAddress(f"unix:{tmp_path}/link/m.sock"))
    await made.start()
    yield made
    await made.stop()


@pytest.fixture
async def owner(node: Node) -> AsyncIterator[Owner]:
    async with Owner(node._address, toy_group()).run() as running:
        yield running


async def until(holds: Callable[[], object]) -> None:
    """Let everything else run until something holds; gRPC has threads of its own."""
    async with asyncio.timeout(20):
        while not holds():
            await asyncio.sleep(0.001)


# ------------------------------------------------------------------- taking over


async def test_a_claimed_shard_is_introduced_and_serves_once_the_node_has_told_all(node: Node, owner: Owner) -> None:
    (hello,) = node.of(Hello)
    assert (hello.group, hello.shard, hello.epoch, hello.marks) == ("toys", 0, 1, ())
    assert len(node.of(ListLegs)) == 1
    assert owner.media.is_up


async def test_no_link_is_up_before_a_node_answers(tmp_path: Path) -> None:
    address = LinkAddress(f"unix:{tmp_path}/link/m.sock")
    async with Owner(address, toy_group()).run(ready=False) as owner:
        assert not owner.media.is_up
        late = Node(address)
        await until(lambda: owner.driver.life == 1)
        await late.start()
        await until(lambda: owner.media.is_up)
        await late.stop()
        await until(lambda: not owner.media.is_up)


async def test_a_lost_shard_closes_its_link_and_is_introduced_with_its_new_epoch(node: Node, owner: Owner) -> None:
    node.tell(1, media.DeviceRegistered("d"))
    await until(lambda: node.of(Ack))
    owner.driver.lose("a planted loss")
    await until(lambda: len(node.of(Hello)) == 2)
    kinds = [type(frame) for _, frame in node.frames]
    assert kinds.index(Close) < len(kinds) - 1 - kinds[::-1].index(Hello)
    again = node.of(Hello)[1]
    assert (again.epoch, again.incarnation, again.marks) == (2, "i1", (("t1", 1),))
    await owner.driver.live()


async def test_a_node_that_knows_a_newer_owner_takes_the_shard_away(node: Node, owner: Owner) -> None:
    node.say(media.StaleEpoch(7))
    await until(lambda: owner.driver.life == 2 and owner.driver.is_live)
    assert [hello.epoch for hello in node.of(Hello)] == [1, 2]


# ------------------------------------------------------------------- events


async def test_an_event_is_acknowledged_once_its_mark_is_durable(node: Node, owner: Owner) -> None:
    owner.log.hold()
    before = owner.points.passes(Point.BEFORE_APPEND)
    node.tell(1, media.DeviceRegistered("d"))
    await until(lambda: owner.points.passes(Point.BEFORE_APPEND) == before + 1)
    node.say(media.Legs(()))  # something that is heard behind it
    await until(lambda: len(node.frames) > 1)
    assert node.of(Ack) == []
    owner.log.release()
    await until(lambda: node.of(Ack))
    assert node.of(Ack) == [Ack("t1", 1)]
    assert await owner.words("toy/heard") == ("1",)


async def test_an_event_that_is_told_again_is_taken_once(node: Node, owner: Owner) -> None:
    node.tell(1, media.DeviceRegistered("d"))
    await until(lambda: node.of(Ack))
    await node.stop()
    await node.start()
    await until(lambda: len(node.of(Hello)) == 2)
    for number in (1, 2):
        node.tell(number, media.DeviceRegistered("d"))
    await until(lambda: Ack("t1", 2) in node.of(Ack))
    assert await owner.words("toy/heard") == ("1", "2")


# ------------------------------------------------------------------- effects


async def test_an_order_for_a_node_that_is_away_waits_in_the_state_and_is_offered_when_it_is_back(
    node: Node, owner: Owner
) -> None:
    owner.configure(1)
    await node.stop()
    await until(lambda: not owner.media.is_up)
    assert owner.driver.offer(Offer("src/t1", 1, "t1", "toy/a", Do("act:ring")))
    await owner.driver.taken("src/t1", 1, "t1")
    await node.start()
    await until(lambda: node.of(Command))
    (order,) = node.of(Command)
    assert (order.key, order.leg, order.verb) == ("t1/toy/a/1.2/0", "ring", media.Play(("ring",)))
    await until(lambda: owner.points.passes(Point.EFFECT_SENT) == 1)


async def test_an_order_leaves_only_once_it_is_durable(node: Node, owner: Owner) -> None:
    owner.log.hold()
    before = owner.points.passes(Point.BEFORE_APPEND)
    assert owner.driver.offer(Offer("src/t1", 1, "t1", "toy/a", Do("act:ring")))
    await until(lambda: owner.points.passes(Point.BEFORE_APPEND) == before + 1)
    for _ in range(10):
        await asyncio.sleep(0)
    assert node.of(Command) == []
    owner.log.release()
    await until(lambda: node.of(Command))


# ------------------------------------------------------------------- directory


async def test_the_directory_is_sent_when_a_node_comes_up_and_when_it_changes(node: Node, owner: Owner) -> None:
    await until(lambda: node.of(Directory))
    owner.configure(1)
    await until(lambda: node.of(Directory)[-1].numbers)
    assert [len(sent.numbers) for sent in node.of(Directory)] == [0, 1]
    versions = [sent.version for sent in node.of(Directory)]
    assert versions == sorted(set(versions))
    await node.stop()
    await node.start()
    await until(lambda: len(node.of(Directory)) == 3)
    assert len(node.of(Directory)[-1].numbers) == 1


async def test_many_changes_at_once_are_few_directories(node: Node, owner: Owner) -> None:
    await until(lambda: node.of(Directory))
    before = owner.asked
    for number in range(1, 51):
        owner.configure(number)
    await until(lambda: len(node.of(Directory)[-1].numbers) == 50)
    assert owner.asked - before < 10


async def test_a_shard_that_is_lost_while_its_directory_is_read_costs_nothing_else(node: Node, owner: Owner) -> None:
    await until(lambda: node.of(Directory))
    owner.log.hold()
    before, asked = owner.points.passes(Point.BEFORE_APPEND), owner.asked
    owner.configure(1)
    await until(lambda: owner.points.passes(Point.BEFORE_APPEND) == before + 1)
    owner.log.release()
    await until(lambda: owner.asked == asked + 1)  # it waits for no log any more, so hold the next one
    owner.log.hold()
    owner.configure(2)
    await until(lambda: owner.points.passes(Point.BEFORE_APPEND) == before + 2)
    owner.media._stale[owner.driver].set()
    await until(lambda: owner.asked == asked + 2)
    owner.driver.lose("a planted loss")
    owner.log.release()
    await until(lambda: owner.driver.life == 2 and owner.driver.is_live)
    await until(lambda: len(node.of(Directory)[-1].numbers) == 2)


async def test_secrets_that_cannot_be_read_are_read_again(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tandem.media.link.owners.AGAIN_S", 0.0)
    failing = [OSError("the disk did not answer")]

    async def directory(driver: ShardDriver) -> Directory:
        if failing:
            raise failing.pop()
        return Directory(1, (), ())

    async with Owner(node._address, toy_group(), directory).run():
        await until(lambda: node.of(Directory))


@pytest.mark.parametrize("steps", range(30))
async def test_a_process_may_be_ended_at_any_moment(node: Node, steps: int) -> None:
    async with Owner(node._address, toy_group()).run(ready=False) as owner:
        for _ in range(steps):
            await asyncio.sleep(0)
        owner.driver.lose("a planted loss")
        for _ in range(steps % 5):
            await asyncio.sleep(0)


# ------------------------------------------------------------------- private values


async def test_secrets_are_opened_for_the_link_and_stand_nowhere_else(node: Node) -> None:
    """A caller's number and a device's digests, from the tenant service to the node."""
    hosts: list[Host] = []
    made = Owner(node._address, live_group(), lambda driver: make_directory(hosts[0], driver))
    hosts.append(made.host)
    async with made.run() as owner:
        await live_tenant(owner)
        await until(lambda: any(sent.devices for sent in node.of(Directory)))
        (device,) = node.of(Directory)[-1].devices
        assert (device.user, device.ha1_md5, device.ha1_sha256) == ("ann-phone", "5d41402a", "2cf24dba")
        node.tell(1, media.DeviceRegistered("ann-phone"))
        node.tell(2, media.LegArrived("100", Secret(b"+4420111")), "c1")
        node.tell(3, media.LegAnswered(), "c1")
        node.tell(4, media.DigitsCollected("menu#1", Secret(b"1"), media.Collected.COMPLETE), "c1")
        await until(lambda: orders(node, media.Originate))
        (originate,) = orders(node, media.Originate)
        assert originate.caller == Secret(b"+4420111")
        found, _ = await owner.driver.query(lambda ledger: b"".join(ledger.parts()))
        stored = b"".join(stored.body for stored in owner.log._partitions.records(owner.driver.partition))
        for secret in (b"+4420111", b"5d41402a", b"2cf24dba"):
            assert secret not in found
            assert secret not in stored


def orders(node: Node, verb: type) -> list[Any]:
    """Verbs that the node was told."""
    return [command.verb for command in node.of(Command) if isinstance(command.verb, verb)]


async def live_tenant(owner: Owner) -> None:
    """A flow, a queue, and the agent ann with a phone, as the tenant service tells them."""
    owner.keys.allocate(["tenant/t1"])
    key = owner.keys.get(["tenant/t1"])["tenant/t1"]
    md5, sha256 = (sealed(secret, key, n) for n, secret in enumerate((b"5d41402a", b"2cf24dba")))
    for number, (stream, command) in enumerate(
        (
            ("desk", rw.PublishQueue("sales", 1, 15_000, 10_000, False)),
            ("reception", r.PublishFlow("main", 1, STEPS)),
            ("reception", r.PublishNumber("100", 1, "main", False)),
            ("desk", rw.PublishAgent("ann", 1, ("sales",), (), ("ann-phone",), False)),
            ("reception", r.PublishDevice("ann-phone", 1, "ann", "tandem", md5, sha256, False)),
            ("reception", r.PublishDevice("bob-phone", 1, "bob", "tandem", Withheld(), Erased(), False)),
            ("desk", rw.SetPresence("ann", rw.AVAILABLE)),
        ),
        1,
    ):
        assert owner.driver.offer(Offer("tenant/0/t1", number, "t1", stream, command))
    await owner.driver.taken("tenant/0/t1", number, "t1")


def sealed(value: bytes, key: bytes, number: int) -> Any:
    return seal(Secret(value), "tenant/t1", key, bytes([number] * 12), b"aad")


async def test_a_directory_needs_an_owner() -> None:
    address = LinkAddress("unix:/nowhere/m.sock")
    owner = Owner(address, live_group())
    with pytest.raises(Rejected) as rejected:
        await make_directory(owner.host, owner.driver)
    assert rejected.value.reason is NO_OWNER
    await owner.log.close()
