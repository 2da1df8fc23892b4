"""The control plane under test: the product's own parts of the group `live`, on one shard, put
together as `targets.control` does it, with a tenant that stands there without the tenant service.

`log="memory"` is the undurable variant: the same parts on the memory log. `views` adds the contact
view, which a whole control plane keeps in the same process.
"""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.memory import MemoryLog, MemoryPartitions
from tandem.adapters.sqlite import SqliteKeys, SqliteLog, SqliteStore
from tandem.adapters.system import SystemClock, SystemEntropy
from tandem.core.access import Principal, Role
from tandem.core.flow import AnswerStep, FlowStep, HangUpStep, MenuOption, MenuStep, QueueStep
from tandem.core.points import Points
from tandem.core.ports.media import Event
from tandem.core.seal import Sealed, Secret, seal
from tandem.media.agent_io import BEHIND
from tandem.media.link.address import LinkAddress
from tandem.media.link.owner_end import Heard
from tandem.media.link.owners import MediaOwners
from tandem.routing.domain import words as rw
from tandem.runtime.driver import ShardDriver
from tandem.runtime.host import Host
from tandem.runtime.service import Group
from tandem.runtime.shared import Shared
from tandem.runtime.step import Offer
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.meters import Meters
from tandem.runtime.telemetry.shards import Instruments
from tandem.session.directory import make_directory
from tandem.session.domain import reception as r
from tandem.session.inbox import media_offer
from tandem.session.views import ContactView
from tandem.targets.control import OBSERVED
from tandem.targets.groups import make_groups

TENANT = "bench"
NODE = "m1"
NUMBER = "100"
QUEUES = ("sales", "support")
"""Digit 1 and 2 of the menu. Nobody serves the second unless a benchmark says so."""
DEVICE_KEY = "bench/devices"
AT_WORK = 100
"""Agents who say at once that they are available: all of 10,000 would wait too long for an answer."""
STEPS = (
    FlowStep("hello", AnswerStep("menu")),
    FlowStep(
        "menu",
        MenuStep(
            ("welcome-menu",),
            tuple(MenuOption(str(digit), queue) for digit, queue in enumerate(QUEUES, 1)),
            5000, 3, ("invalid",), ("timeout",), "bye",
        ),
    ),
    *(FlowStep(queue, QueueStep(queue, (), 0, ("please-wait",), "music", 0, "")) for queue in QUEUES),
    FlowStep("bye", HangUpStep(("goodbye",))),
)  # fmt: skip
"""The demo's flow: answer, menu, line with an announcement and music."""


def live_group() -> Group:
    """Session and routing as the product groups them."""
    return make_groups()["live"]


@dataclass(slots=True)
class Plane:
    """A running control plane of one shard."""

    host: Host
    driver: ShardDriver
    owners: MediaOwners
    log: Any
    keys: SqliteKeys
    blobs: LocalBlobs
    meters: Meters
    numbers: int = 0

    async def configure(self, agents: int, *, wrap_up_ms: int = 0, queue: str = QUEUES[0], first: int = 0) -> None:
        """The flow at the number, the queues, and so many agents who are available."""
        digest = await self._digest()
        rows: list[tuple[str, Any]] = []
        if not self.numbers:
            rows += [("desk", rw.PublishQueue(name, 1, 15_000, wrap_up_ms, False)) for name in QUEUES]
            rows += [
                ("reception", r.PublishFlow("main", 1, STEPS)),
                ("reception", r.PublishNumber(NUMBER, 1, "main", False)),
            ]
        for agent in agent_names(agents, first):
            device = f"{agent}.{TENANT}"
            rows.append(("desk", rw.PublishAgent(agent, 1, (queue,), (), (device,), False)))
            rows.append(("reception", r.PublishDevice(device, 1, agent, "bench", digest, digest, False)))
        source = f"tenant/0/{TENANT}"
        self.numbers = max(self.numbers, self.driver._marks.get((source, TENANT), 0))
        for stream, command in rows:
            self.numbers += 1
            assert self.driver.offer(Offer(source, self.numbers, TENANT, stream, command))
        await self.driver.taken(source, self.numbers, TENANT)
        who = Principal(TENANT, "bench/supervisor", Role.SUPERVISOR)
        at_work = agent_names(agents, first)
        for place in range(0, len(at_work), AT_WORK):
            async with asyncio.TaskGroup() as tasks:
                for agent in at_work[place : place + AT_WORK]:
                    ready = rw.SetPresence(agent, rw.AVAILABLE)
                    tasks.create_task(self.host.ask(TENANT, "desk", ready, principal=who))

    async def _digest(self) -> Sealed:
        found = await self.keys.get((DEVICE_KEY,))
        if not found:
            await self.keys.allocate((DEVICE_KEY,))
            found = await self.keys.get((DEVICE_KEY,))
        sealed = seal(Secret(b"0" * 32), DEVICE_KEY, found[DEVICE_KEY], bytes(12), b"bench")
        assert isinstance(sealed, Sealed)
        return sealed

    async def idle(self, agents: int) -> None:
        """Until so many agents can be offered a call."""
        while (await self.host.query(TENANT, "desk", _idle)).value < agents:
            await asyncio.sleep(0.02)

    async def watched_by(self, watch: Any) -> Any:
        """Let that one be told of what the shard does; gives back who was told before. Waits until
        nothing is under way: each hears of the end of what it heard the beginning of."""
        shard = self.driver._shard
        assert shard is not None
        while shard.durable != shard.n:
            await asyncio.sleep(0.005)
        before, self.driver.watch = self.driver.watch, watch
        return before

    def on_record(self) -> tuple[int, int]:
        """Offers that agents accepted, and calls that the node turned away, by what is committed."""
        counted = self.meters._counts  # `read` would look up all that can be looked up, while a loop is timed
        accepted = counted.get(names.OFFERS_ENDED, {}).get((TENANT, "ACCEPTED"), 0)
        return int(accepted), int(counted.get(names.CONTACTS_TURNED_AWAY, {}).get((TENANT, BEHIND), 0))

    async def aggregates(self) -> int:
        """Live aggregates of the shard."""
        return int((await self.host.query(TENANT, "desk", lambda ledger: len(ledger.aggregates))).value)


def agent_names(count: int, first: int = 0) -> list[str]:
    """Names of agents."""
    return [f"a{n:05}" for n in range(first, first + count)]


def _idle(ledger: Any) -> int:
    desk = ledger.aggregate(TENANT, "desk").state
    return sum(agent.status is rw.RoutingStatus.IDLE for agent in desk.agents.values())


@asynccontextmanager
async def plane(
    home: Path,
    *,
    log: str = "sqlite",
    views: bool = False,
    snapshot_commits: int = 10_000_000,
    node: str = NODE,
) -> AsyncIterator[Plane]:
    """Runs one in `home`, until calls can be taken; the media node is met at `{home}/run/media.sock`."""
    clock, entropy = SystemClock(), SystemEntropy()
    async with AsyncExitStack() as stack:
        the_log: Any = (
            await SqliteLog.open(home / "log") if log == "sqlite" else MemoryLog(MemoryPartitions())
        )  # fmt: skip
        stack.push_async_callback(the_log.close)
        keys = await SqliteKeys.open(home / "log", entropy=entropy, cell_key_file=home / "cell.key")
        stack.push_async_callback(keys.close)
        blobs = await LocalBlobs.open(home / "blobs")
        stack.push_async_callback(blobs.close)
        hosts: list[Host] = []
        owners = MediaOwners(
            {node: LinkAddress(link_of(home))}, clock, entropy, Points(), _translate,
            lambda driver: make_directory(hosts[0], driver),
        )  # fmt: skip
        instruments = Instruments(clock, observed=OBSERVED)
        shared = Shared(
            f"bench/{entropy.token(5)}", the_log, keys, clock, Points(), blobs, snapshot_commits, instruments
        )
        driver = ShardDriver(live_group(), 0, shared, (node,), {"media": owners})
        host = Host([driver], the_log, keys, lambda tenant: 0, {})
        hosts.append(host)
        made = Plane(host, driver, owners, the_log, keys, blobs, instruments.meters)
        async with asyncio.TaskGroup() as tasks:
            running = [tasks.create_task(host.run()), tasks.create_task(owners.run())]
            if views:
                store = await SqliteStore.open(home / "views")
                stack.push_async_callback(store.close)
                running.append(tasks.create_task(_project(host, store)))
            try:
                await host.ready()
                gc.freeze()  # as `targets.serving` does
                yield made
            finally:
                for task in running:
                    task.cancel()


def link_of(home: Path) -> str:
    """Where owner and node meet."""
    return f"unix:{home}/run/media.sock"


def _translate(heard: Heard) -> Offer:
    event = Event(heard.tenant, heard.number, heard.time_ms, heard.leg, heard.body)
    return media_offer(heard.node, heard.incarnation, event, heard.time_ms)


async def _project(host: Host, store: SqliteStore) -> None:
    view = ContactView(store, "live/0")
    await view.follow(host.batches("live", 0, await view.start()))
