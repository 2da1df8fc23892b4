"""The group `live` behind a `Host` on memory adapters, with its view: the test plays the node and
the tenant service. Tenants `red` and `green` share shard 0, `blue` has shard 1."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from typing import Any

from tandem.adapters.memory import (
    BlobTable,
    KeyTable,
    MemoryBlobs,
    MemoryKeys,
    MemoryLog,
    MemoryPartitions,
    MemoryStore,
    RowTables,
)
from tandem.core.access import Principal, Role
from tandem.core.decider import EffectEnded
from tandem.core.points import Points
from tandem.core.ports import media
from tandem.core.seal import Secret, Withheld
from tandem.routing.domain import words as rw
from tandem.runtime.driver import ShardDriver
from tandem.runtime.host import Host
from tandem.runtime.interceptors import Call
from tandem.runtime.ledger import Ledger
from tandem.runtime.methods import Method
from tandem.runtime.receiver import Receiver
from tandem.runtime.shared import Shared
from tandem.runtime.step import Offer
from tandem.session.domain import reception as r
from tandem.session.domain import words as sw
from tandem.session.eraser import Eraser
from tandem.session.views import ContactView
from tests.support.mini_cell import SeededEntropy, Silent
from tests.support.small_cell import NODE, STEPS, live_group

SHARDS = {"red": 0, "green": 0, "blue": 1}
CALLER = "+4420111"
BEGUN_MS = 1_700_000_000_000


class StillClock:
    """The `Clock` port: time goes on when the test says so."""

    def __init__(self) -> None:
        self.passed_ms = 0

    def wall_ms(self) -> int:
        """See the port."""
        return BEGUN_MS + self.passed_ms

    def monotonic_s(self) -> float:
        """See the port."""
        return self.passed_ms / 1000

    def boottime_ms(self) -> int:
        """See the port."""
        return self.passed_ms

    def boot_id(self) -> str:
        """See the port."""
        return "boot"


class LiveHost:
    """A running host. `view` projects only while `projecting` is set."""

    def __init__(self) -> None:
        self.partitions = MemoryPartitions()
        self.tables = RowTables()
        self.log, self.store = MemoryLog(self.partitions), MemoryStore(self.tables)
        self.keys = KeyTable(SeededEntropy())
        self.clock = StillClock()
        self._numbers: dict[tuple[str, str], int] = {}
        keys = MemoryKeys(self.keys)
        self.blobs = MemoryBlobs(BlobTable())
        self.eraser = Eraser(keys, self.blobs)
        receivers: dict[str, Receiver] = {"media": Silent(), "erase": self.eraser}
        shared = Shared("owner", self.log, keys, self.clock, Points())
        self.drivers = [ShardDriver(live_group(), n, shared, receivers=receivers) for n in range(2)]
        self.host = Host(self.drivers, self.log, keys, SHARDS.get, {})

    @property
    def now_ms(self) -> int:
        """Shard time."""
        return self.clock.wall_ms()

    # ---------------------------------------------------------------- who asks

    def call(self, role: Role = Role.SUPERVISOR, tenant: str = "red", agent: str = "", **more: Any) -> Call:
        """A call as the interceptor admits it."""
        name = f"{tenant}/{role.value.lower()}{agent}"
        method: Any = Method("/m", "s", "M", "m", None, None, False, (), None, False)  # type: ignore[arg-type]
        return Call(method, Principal(tenant, name, role, agent), tenant, **more)

    # ---------------------------------------------------------------- inputs

    async def _take(self, tenant: str, source: str, stream: str, command: Any, settles: str = "") -> None:
        driver = self.drivers[SHARDS[tenant]]
        self._numbers[tenant, source] = n = self._numbers.get((tenant, source), 0) + 1
        name = f"{source}/{tenant}"
        assert driver.offer(Offer(name, n, tenant, stream, command, settles=settles))
        await driver.taken(name, n, tenant)

    async def configure(self, tenant: str, *agents: str, queue: str = "sales") -> None:
        """The flow at number 100, a queue, and agents who are available with a phone."""
        source = f"tenant/{SHARDS[tenant]}"
        for stream, command in (
            ("desk", rw.PublishQueue(queue, 1, 15_000, 10_000, False)),
            ("reception", r.PublishFlow("main", 1, STEPS)),
            ("reception", r.PublishNumber("100", 1, "main", False)),
        ):
            await self._take(tenant, source, stream, command)
        for agent in agents:
            device = f"{agent}-phone"
            await self._take(tenant, source, "desk", rw.PublishAgent(agent, 1, (queue,), (), (device,), False))
            published = r.PublishDevice(device, 1, agent, "r", Withheld(), Withheld(), False)
            await self._take(tenant, source, "reception", published)
            await self.available(tenant, agent)

    async def available(self, tenant: str, agent: str) -> None:
        """An agent's phone registers, and they say so."""
        at = r.NoteDevice(f"{agent}-phone", NODE, True, self.now_ms)
        await self._take(tenant, f"media/{NODE}/i1", "reception", at)
        command, who = rw.SetPresence(agent, rw.AVAILABLE), self.call(Role.AGENT, tenant, agent).principal
        await self.host.ask(tenant, "desk", command, principal=who)

    async def leg(self, tenant: str, leg: str, *bodies: Any) -> None:
        """Events of a leg."""
        for body in bodies:
            stream = f"contact/{media.contact_of(leg)}"
            await self._take(tenant, f"media/{NODE}/i1", stream, sw.NoteLeg(NODE, leg, self.now_ms, body))

    async def settled(self, tenant: str, contact: str, name: str, how: media.CommandSettled) -> None:
        """The node says how the contact's pending effect of that name ended."""
        stream = f"contact/{contact}"
        key = await self.state(tenant, lambda ledger: ledger.names[tenant, stream][name])
        command = EffectEnded("", how.outcome, how.reason)
        await self._take(tenant, f"media/{NODE}/i1", stream, command, settles=key)

    async def ring(self, tenant: str, contact: str, caller: str = CALLER) -> None:
        """A call arrives; each a second after the one before."""
        self.clock.passed_ms += 1000
        command = sw.TakeCall(NODE, self.now_ms, "100", Secret(caller.encode()))
        await self._take(tenant, f"media/{NODE}/i1", f"contact/{contact}", command)

    async def refuse(self, tenant: str, contact: str) -> None:
        """The node turned a call away."""
        self.clock.passed_ms += 1000
        command = sw.NoteRefusal(NODE, self.now_ms, "100", "CAPACITY")
        await self._take(tenant, f"media/{NODE}/i1", f"contact/{contact}", command)

    async def press(self, tenant: str, contact: str, digit: str = "1") -> None:
        """The caller is answered and presses a digit."""
        await self.leg(tenant, contact, media.LegAnswered())
        digits = Secret(digit.encode())
        command = sw.TakeDigits(contact, self.now_ms, "menu#1", digits, media.Collected.COMPLETE)
        await self._take(tenant, f"media/{NODE}/i1", f"contact/{contact}", command)

    async def wait(self, tenant: str, contact: str) -> None:
        """A caller in line."""
        await self.ring(tenant, contact)
        await self.press(tenant, contact)

    async def move(self, tenant: str, contact: str, node: str, dialog: str) -> None:
        """A caller in line, whose node has described the call as `dialog`, is on another one."""
        source, stream = f"media/{NODE}/i1", f"contact/{contact}"
        await self._take(tenant, source, stream, sw.MoveCaller(node))
        await self._take(tenant, source, stream, sw.TakeDialog(contact, self.now_ms, Secret(dialog.encode())))
        await self.leg(tenant, f"{contact}.move1", media.LegTakenOver())

    async def talk(self, tenant: str, contact: str) -> str:
        """Caller and agent talk; the agent's leg."""
        await self.wait(tenant, contact)
        leg = await self.offered(tenant, contact)
        await self.leg(tenant, leg, media.LegRinging(), media.LegAnswered())
        await self.leg(tenant, contact, media.LegBridged(leg))
        return leg

    async def hang_up(self, tenant: str, leg: str, cause: media.Cause = media.Cause.NORMAL) -> None:
        """The phone at a leg hangs up."""
        await self.leg(tenant, leg, media.LegEnded(cause, media.By.FAR))

    async def over(self, tenant: str, contact: str, agent_leg: str) -> None:
        """A talk ends by the caller, with its recording and wrap-up: nothing more comes."""
        await self.hang_up(tenant, contact)
        await self.leg(tenant, agent_leg, media.LegEnded(media.Cause.NORMAL, media.By.TANDEM))
        await self.stored(tenant, contact, agent_leg)
        agent = await self.state(tenant, lambda ledger: _agent_of(ledger, tenant, contact))
        if agent:
            who = self.call(Role.AGENT, tenant, agent).principal
            await self.host.ask(tenant, "desk", rw.FinishWrapUp(agent), principal=who)

    async def stored(self, tenant: str, contact: str, agent_leg: str) -> None:
        """The recording stands in Blobs."""
        name = f"{contact}-{agent_leg.partition('.')[2]}"
        await self.leg(tenant, contact, media.RecordingStored(name, f"r/{name}", 8, 8, "ab", False))

    def inject(self, tenant: str, contact: str) -> None:
        """A call arrives, and nobody waits until the log has it."""
        self.clock.passed_ms += 1000
        source = f"media/{NODE}/i1"
        self._numbers[tenant, source] = n = self._numbers.get((tenant, source), 0) + 1
        command = sw.TakeCall(NODE, self.now_ms, "100", Secret(CALLER.encode()))
        offer = Offer(f"{source}/{tenant}", n, tenant, f"contact/{contact}", command)
        assert self.drivers[SHARDS[tenant]].offer(offer)

    async def until(self, holds: Callable[[], object]) -> None:
        """Let everything else run until something holds."""
        async with asyncio.timeout(20):
            while not holds():
                await asyncio.sleep(0)

    # ---------------------------------------------------------------- what is to be seen

    async def state(self, tenant: str, ask: Any) -> Any:
        """Something of the owner's state."""
        return (await self.host.query(tenant, "contact", ask)).value

    async def offered(self, tenant: str, contact: str) -> str:
        """The leg of the agent who is offered."""
        stream = f"contact/{contact}"
        leg: str = await self.state(tenant, lambda ledger: ledger.aggregates[tenant, stream].state.offered.leg)
        return leg

    async def position(self, tenant: str = "red") -> str:
        """Where the owner stands."""
        return (await self.host.query(tenant, "contact", lambda ledger: None)).position

    async def project(self, shard: int = 0) -> ContactView:
        """Bring the view up to what stands in the log now."""
        view = ContactView(self.store, f"live/{shard}")
        after, (_, last) = await view.start(), await self.drivers[shard].query(lambda ledger: None)
        if after < last:
            async for _, commit in self.host.tail("live", shard, after):
                await view.apply(commit)
                if commit.n == last:
                    break
        return view


def _agent_of(ledger: Ledger, tenant: str, contact: str) -> str:
    aggregate = ledger.aggregate(tenant, f"contact/{contact}")
    offered = None if aggregate is None else getattr(aggregate.state, "offered", None)
    return offered.agent if offered is not None else ""


@asynccontextmanager
async def live_host() -> AsyncIterator[LiveHost]:
    """Runs one; every tenant has the flow, red and blue have the agent `ann`."""
    live = LiveHost()
    async with asyncio.TaskGroup() as tasks:
        running = [tasks.create_task(live.host.run()), tasks.create_task(live.eraser.run())]
        try:
            await live.host.ready()
            await live.configure("red", "ann")
            await live.configure("green")
            await live.configure("blue", "ann")
            yield live
        finally:
            for task in running:
                task.cancel()
    await live.log.close()
