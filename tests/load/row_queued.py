"""From a caller who has chosen a queue to the INVITE at an agent's phone, on real FreeSWITCH: Tandem and
mod_callcenter on the same node with the same agents, phones, menu and music, in one run, at 0, 100 and 1,000 waiting.

Agents of one queue are free; those who wait are in the line of another, whose agents are all on a break, and hear music
in packets of 120 ms, so that two cores can play it to a thousand. A caller hears the menu, presses 1, and is in the
first queue. **Both times are seen from outside, by the same process**: the caller is queued when FreeSWITCH tells on an
event socket of our own that `play_and_get_digits` has ended on that call, which collects the digit for Tandem as for
mod_callcenter; the INVITE is there when the phone reads it from its socket. The two take turns at each number of
waiting callers, each after some calls that warm it up. Calls come at random moments of the module's sweep. Who is not
offered an agent in time counts with that time.
"""

from __future__ import annotations

import asyncio
import random
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import cast

from tandem.client.account import Account
from tandem.client.call import CallOver, PhoneCall
from tandem.client.manner import Answers
from tandem.client.phone import Phone
from tandem.client.ticker import Ticker
from tandem.wire import esl
from tests.e2e.cell import Cell, Centre
from tests.e2e.freeswitch.esl_client import Esl
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.programs import beside
from tests.load import real_callcenter
from tests.load.figures import Figure, Scale, figure, run_row, scratch, share, tell
from tests.load.real_callcenter import RealCallCenter, with_callcenter
from tests.load.switched import CALLERS_MAX, HOST, many_calls_switch, quiet_log, running, sipp

OURS, THEIRS = "Tandem", "mod_callcenter"
WAITING = (0, 100, 1_000)
GOAL_AT, GOAL = 1_000, 100
AGENTS, ON_BREAK = 20, 180
"""Free, and of the queue in whose line the callers wait."""
CALLS, WARM_UP, ORDERS = 120, 5, 40
EVERY_S = (0.1, 0.6)
"""Between two callers."""
LISTENS_S, TALKS_S = 0.3, 0.2
REQUESTS_PER_S = 2_000
"""Of the API, while agents are made and sent to work."""
RAMP_PER_S = 25
RAMPS = 4
"""The line is full after so many times what it takes if nobody is turned away, or never."""
OFFERED_S = 30.0
"""A caller to whom nobody was sent by then gives up."""
PATIENCE_S = 90.0
COLLECTED = "play_and_get_digits"


@dataclass
class Moments:
    """What was seen of each measured caller, by number; times of CLOCK_MONOTONIC."""

    pressed: dict[str, float] = field(default_factory=dict)
    """The phone began to send the digit."""
    queued: dict[str, float] = field(default_factory=dict)
    """FreeSWITCH told that it has the digit."""
    invited: dict[str, float] = field(default_factory=dict)
    """An agent's phone had the INVITE."""

    def ms(self, callers: Sequence[str], since: Mapping[str, float]) -> list[float]:
        """From then to the INVITE, of each; or for how long nobody was sent."""
        missing = [caller for caller in callers if caller not in since]
        assert not missing, f"no digit was taken of {missing}"
        return [1000 * (self.invited.get(caller, since[caller] + OFFERED_S) - since[caller]) for caller in callers]


class Collections(asyncio.Protocol):
    """An event socket of our own: notes when FreeSWITCH has a caller's digit."""

    def __init__(self, password: str, moments: Moments) -> None:
        self._frames = esl.EslReader()
        self._moments = moments
        self._hello = esl.command(f"auth {password}") + esl.command("event plain CHANNEL_EXECUTE_COMPLETE")
        self._replies: list[str] = []
        self.listens = asyncio.Event()
        """It is told from now on."""

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        """Log in, and listen."""
        cast(asyncio.WriteTransport, transport).write(self._hello)

    def data_received(self, data: bytes) -> None:
        """Note it at once."""
        now = time.monotonic()
        for frame in self._frames.receive_data(data):
            if isinstance(frame, esl.Event) and frame.get("Application") == COLLECTED:
                self._moments.queued.setdefault(frame.get("Caller-Caller-ID-Number") or "", now)
            elif isinstance(frame, esl.Reply) and frame.ok:
                self._replies.append(frame.text)
                if len(self._replies) == 2:
                    self.listens.set()


@asynccontextmanager
async def collections(switch: FreeSwitch, moments: Moments) -> AsyncIterator[None]:
    """Note them while the block runs."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_connection(
        lambda: Collections(switch.esl_password, moments), HOST, switch.esl_port
    )
    try:
        async with asyncio.timeout(PATIENCE_S):
            await protocol.listens.wait()
        yield
    finally:
        transport.close()


@dataclass
class Floor:
    """Agents' phones, and callers who come, choose, talk and hang up."""

    node: tuple[str, int]
    agents: list[Phone]
    ticker: Ticker
    moments: Moments = field(default_factory=Moments)
    rng: random.Random = field(default_factory=lambda: random.Random(7))
    serial: int = 0
    served: dict[str, asyncio.Event] = field(default_factory=dict)
    """Callers whom an agent has answered."""

    async def attend(self, phone: Phone) -> None:
        """Note every INVITE of an agent's phone, and whom it answered; for ever."""
        last: PhoneCall | None = None
        while True:
            last = await phone.next_call(last)
            caller = last.facts.caller
            self.moments.invited.setdefault(caller, last.facts.began)
            with suppress(CallOver):
                await last.until_answered()
                self.served.setdefault(caller, asyncio.Event()).set()

    async def calls(self, number: str, count: int) -> list[str]:
        """So many callers, until they are over; their numbers."""
        callers = []
        async with asyncio.TaskGroup() as tasks:
            for _ in range(count):
                self.serial += 1
                callers.append(f"4917{self.serial:07}")
                tasks.create_task(self._call(callers[-1], number))
                await asyncio.sleep(self.rng.uniform(*EVERY_S))
        async with asyncio.timeout(PATIENCE_S):
            for phone in self.agents:
                for call in phone.calls:
                    await call.until_over()
        return callers

    async def ordered(self, esl_: Esl, count: int) -> list[float]:
        """So many agents rung by an order on the event socket, one after another: ms from the order to the INVITE,
        which is FreeSWITCH's own share."""
        found = []
        for n in range(count):
            phone = self.agents[n % len(self.agents)]
            before = phone.calls[-1] if phone.calls else None
            begun = time.monotonic()
            answer = await esl_.api(f"originate sofia/tandem/{phone.account.user}%tandem &park")
            assert answer.startswith("+OK "), answer
            call = await phone.next_call(before)
            found.append(1000 * (call.facts.began - begun))
            await esl_.api(f"uuid_kill {answer.split()[1]}")
            await call.until_over()
        return found

    async def _call(self, caller: str, number: str) -> None:
        async with Phone(Account(caller, self.node), self.ticker) as phone:
            call = phone.dial(number)
            async with asyncio.timeout(PATIENCE_S):
                await call.until_answered()
                await call.until_sound(LISTENS_S)
                self.moments.pressed[caller] = time.monotonic()
                call.press("1")
                try:
                    async with asyncio.timeout(OFFERED_S):
                        await self.served.setdefault(caller, asyncio.Event()).wait()
                        await asyncio.sleep(TALKS_S)
                except TimeoutError:
                    tell(f"{caller} was not served")
                phone.hang_up(call)
                await call.until_over()


@asynccontextmanager
async def floor(cell: Cell, centre: Centre, agents: Sequence[str]) -> AsyncIterator[Floor]:
    """These agents at work, who answer at once."""
    node, ticker = (HOST, cell.sip_port), Ticker()
    async with AsyncExitStack() as stack:
        phones = []
        for name in agents:
            account = Account(centre.agents[name].sip_user, node, centre.agents[name].password)
            phone = Phone(account, ticker, manner=Answers(0.0))
            phones.append(await stack.enter_async_context(phone))
            await phone.register(expires_s=3600)
            await centre.available(name)
        found = Floor(node, phones, ticker)
        for phone in phones:
            await stack.enter_async_context(beside(found.attend(phone)))
        yield found


# ------------------------------------------------------------------- the two sides


@dataclass(frozen=True, slots=True)
class Side:
    """One of the two: its numbers on the node, and how it is asked who waits."""

    name: str
    menu: str
    """Leads by digit 1 to the agents who are free."""
    line: str
    """Leads to those who are on a break."""
    until_waiting: Callable[[int], Awaitable[None]]


async def tandem_side(centre: Centre) -> Side:
    """A second flow without a menu, and who waits by the API."""
    line, number = f"{centre.tenant}/queues/held", f"{centre.number}9"
    steps = [
        {"id": "hello", "answer": {"next": "line"}},
        {"id": "line", "queue": {"queue": line, "music": "music"}},
    ]
    await centre.rest.post(f"{centre.tenant}/flows", {"steps": steps}, flowId="line")
    await centre.rest.post(f"{centre.tenant}/flows/line:publish")
    flow = {"flow": f"{centre.tenant}/flows/line"}
    await centre.rest.post(f"{centre.tenant}/numbers", flow, numberId=number, waitLive="true")

    async def until_waiting(count: int) -> None:
        while (await centre.rest.get(f"{line}/waiting", pageSize=1))["totalSize"] != count:
            await asyncio.sleep(0.2)

    return Side(OURS, centre.number, number, until_waiting)


async def callcenter_side(esl_: Esl, centre: Centre, free: Sequence[str], on_break: Sequence[str]) -> Side:
    """The module with the same agents."""
    peer = RealCallCenter(esl_)
    await peer.load()
    for names, queue, status in ((free, "sales", "Available"), (on_break, "held", "On Break")):
        await peer.staff((centre.agents[name].sip_user for name in names), queue, status)
    return Side(THEIRS, real_callcenter.MENU, real_callcenter.LINE, peer.until_waiting)


@asynccontextmanager
async def in_line(side: Side, count: int, home: Path, switch: FreeSwitch, esl_: Esl) -> AsyncIterator[None]:
    """So many callers who wait for nobody, until the end of the block."""
    if not count:
        yield
        return
    with sipp(home, "wait", switch.sip, None, RAMP_PER_S, "-l", count, "-s", side.line, prefix="4916") as callers:
        async with asyncio.timeout(RAMPS * count / RAMP_PER_S + PATIENCE_S):
            await side.until_waiting(count)
        yield
        callers.no_more()
        await esl_.api("hupall NORMAL_CLEARING")
        turned_away = (await callers.counted(PATIENCE_S)).failed
    if turned_away:
        tell(f"{side.name}: {turned_away} of those who came to wait were turned away, and came again")
    async with asyncio.timeout(PATIENCE_S):
        await side.until_waiting(0)


# ------------------------------------------------------------------- the row


@dataclass(frozen=True, slots=True)
class Block:
    """What one side did while so many waited, in ms."""

    from_queued: list[float]
    from_key: list[float]

    @property
    def told(self) -> str:
        """Its quantiles."""
        ms = "/".join(f"{share(self.from_queued, part):.4g}" for part in (0.5, 0.95, 0.99))
        late = sum(one >= 1000 * OFFERED_S for one in self.from_queued)
        lost = f", {late} not offered in {OFFERED_S:g} s" if late else ""
        return f"p50/p95/p99 {ms} ms{lost}, p50 from the key {share(self.from_key, 0.5):.4g} ms"


async def row_queued(scale: Scale) -> list[Figure]:
    """See the module's text."""
    agents, breaks, calls = scale(AGENTS, 3), scale(ON_BREAK, 2), scale(CALLS, 3)
    sizes = (0, 3) if scale.tiny else WAITING
    free, on_break = ([f"{kind}{n}" for n in range(many)] for kind, many in (("free", agents), ("away", breaks)))
    found: dict[tuple[str, int], Block] = {}
    alone: dict[int, list[float]] = {}
    async with AsyncExitStack() as stack:
        home = stack.enter_context(scratch())
        switch = many_calls_switch(home / "switch", with_callcenter(home / "config"))
        # Two hundred agents are made and sent to work in a breath.
        rates = dict.fromkeys(("api_requests_per_s", "credential_requests_per_s"), REQUESTS_PER_S)
        settings = {f"limits__tenant__{name}": limit for name, limit in {"live_contacts": CALLERS_MAX, **rates}.items()}
        cell = stack.enter_context(running(home / "cell", switch, **settings))
        await quiet_log(switch)
        queues = {"sales": free, "held": on_break}
        centre = await stack.enter_async_context(cell.centre(queues=queues))
        for name in on_break:
            await centre.available(name, "PRESENCE_BREAK")
        esl_ = await stack.enter_async_context(switch.connect())
        sides = [await tandem_side(centre), await callcenter_side(esl_, centre, free, on_break)]
        at_work = await stack.enter_async_context(floor(cell, centre, free))
        await stack.enter_async_context(collections(switch, at_work.moments))
        for waiting in sizes:
            for side in sides:
                tell(f"{side.name}: {waiting} waiting, {calls} calls")
                async with in_line(side, waiting, home / f"{side.name}{waiting}", switch, esl_):
                    await at_work.calls(side.menu, scale(WARM_UP, 1))
                    found[side.name, waiting] = block(at_work.moments, await at_work.calls(side.menu, calls))
                    alone[waiting] = await at_work.ordered(esl_, scale(ORDERS, 2))
    return figures_of(found, alone, agents, breaks)


def block(seen: Moments, callers: Sequence[str]) -> Block:
    """What was seen of these callers."""
    return Block(seen.ms(callers, seen.queued), seen.ms(callers, seen.pressed))


def figures_of(
    found: Mapping[tuple[str, int], Block], alone: Mapping[int, list[float]], agents: int, on_break: int
) -> list[Figure]:
    """A figure for each number of callers who wait."""
    figures = []
    for waiting, orders in alone.items():
        ours, theirs = found[OURS, waiting], found[THEIRS, waiting]
        value, other, least = (share(ms, 0.5) for ms in (ours.from_queued, theirs.from_queued, orders))
        met = other >= GOAL * value if waiting == GOAL_AT else None
        why = f"; not met: FreeSWITCH's own {least:.3g} ms are in both" if met is False else ""
        figures.append(
            figure(
                f"queued.invite_p50_ms_{waiting}", value, "ms", peer=f"{THEIRS}, same node, agents and load",
                peer_value=other, goal=f">= {GOAL} times quicker" if met is not None else "", met=met,
                note=f"{waiting} waiting, {agents} agents free, {on_break} on a break, {len(ours.from_queued)} calls; "
                f"{OURS} {ours.told}; {THEIRS} {theirs.told}; {other / value:.3g} times quicker; FreeSWITCH alone, "
                f"from an order to the INVITE, p50 {least:.3g} ms{why}",
            )
        )  # fmt: skip
    return figures


if __name__ == "__main__":
    run_row(row_queued, __doc__)
