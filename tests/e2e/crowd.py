"""Callers and agents for the kill tests: our own phones, who are the witnesses.

Sitters stay in one state through every kill; stirrers keep calls coming and going, so that
there is always something under way.
"""

from __future__ import annotations

import asyncio
import itertools
import json
import random
from collections import Counter
from collections.abc import Iterable
from contextlib import AsyncExitStack, suppress
from pathlib import Path

import httpx

from tandem.client import count
from tandem.client.account import Account
from tandem.client.call import CallOver, PhoneCall
from tandem.client.facts import CallFacts, Way
from tandem.client.manner import Answers, RingsForEver
from tandem.client.palette import agent_hz, caller_hz
from tandem.client.phone import Phone
from tandem.client.ticker import Ticker
from tests.e2e.cell import Cell, Centre
from tests.e2e.rest import Refused

PATIENCE_S = 90
"""Kill tests run on busy machines, and for long."""
AGAIN_S = 45
"""Who is not served by then, most are sooner, presses the key once more."""
RING_S = (0.2, 2.5)
TALK_S = (0.8, 2.5)
LISTEN_S = (0.3, 1.2)
"""How long stirring agents let it ring, talks last, and callers listen to the menu."""


class Crowd:
    """All phones of one centre. Used in a stack that puts them away."""

    def __init__(self, cell: Cell, centre: Centre, rng: random.Random, stack: AsyncExitStack) -> None:
        self._cell, self._centre, self._rng, self._stack = cell, centre, rng, stack
        self._ticker = Ticker()
        self._phones: list[Phone] = []
        self._serial = itertools.count()
        self._leaving = asyncio.Event()
        self._gone = asyncio.Event()

    @property
    def node(self) -> tuple[str, int]:
        """Where phones register and dial."""
        return "127.0.0.1", self._cell.sip_port

    # ---------------------------------------------------------------- phones

    async def caller(self) -> Phone:
        """A new caller with a number that nobody else has."""
        serial = next(self._serial)
        phone = Phone(Account(f"4917{serial:06}", self.node), self._ticker, hz=caller_hz(serial))
        return await self._add(phone)

    async def agent(self, name: str, index: int) -> Phone:
        """An agent's device, registered; the agent is available. It rings until somebody picks up."""
        account = self._centre.agents[name]
        phone = Phone(
            Account(account.sip_user, self.node, account.password), self._ticker, hz=agent_hz(index),
            manner=RingsForEver(),
        )  # fmt: skip
        await self._add(phone)
        await phone.register()
        await self._centre.available(name)
        return phone

    async def _add(self, phone: Phone) -> Phone:
        self._phones.append(phone)
        return await self._stack.enter_async_context(phone)

    def facts(self) -> list[CallFacts]:
        """What all phones know of all their calls."""
        return [facts for phone in self._phones for facts in phone.facts()]

    def live(self) -> Counter[str]:
        """How many callers stand where at this moment, as the phones know it."""
        return stages(self.facts())

    # ---------------------------------------------------------------- sitters

    async def menu_sitter(self) -> PhoneCall:
        """A caller who listens to the menu."""
        call = (await self.caller()).dial(self._centre.number)
        async with asyncio.timeout(PATIENCE_S):
            await call.until_answered()
            await call.until_sound()
        return call

    async def queue_sitter(self, digit: str) -> PhoneCall:
        """A caller who has pressed that digit."""
        call = await self.menu_sitter()
        call.press(digit)
        return call

    async def talk_sitters(self, digit: str, agent: Phone) -> tuple[PhoneCall, PhoneCall]:
        """A caller and an agent who talk."""
        call, ringing = await self.ring_sitter(digit, agent)
        agent.answer(ringing)
        async with asyncio.timeout(PATIENCE_S):
            await call.until_hears(agent.hz)
        return call, ringing

    async def ring_sitter(self, digit: str, agent: Phone) -> tuple[PhoneCall, PhoneCall]:
        """A caller for whom an agent's phone rings."""
        last = agent.calls[-1] if agent.calls else None
        call = await self.queue_sitter(digit)
        async with asyncio.timeout(PATIENCE_S):
            return call, await agent.next_call(last)

    async def end_talk(self, call: PhoneCall, agent: Phone) -> None:
        """A caller hears the agent, who picked up at last, and hangs up."""
        async with asyncio.timeout(PATIENCE_S):
            await call.until_hears(agent.hz)
            self.hang_up(call)
            await agent.calls[-1].until_over()

    def hang_up(self, call: PhoneCall) -> None:
        """Whosever call it is."""
        next(phone for phone in self._phones if call in phone.calls).hang_up(call)

    # ---------------------------------------------------------------- stirrers

    async def keep_calling(self, digit: str, lines: int) -> None:
        """So many callers at a time, one after another, until the crowd leaves."""
        async with asyncio.TaskGroup() as tasks:
            for _ in range(lines):
                tasks.create_task(self._keep_calling(digit))
        self._gone.set()

    async def _keep_calling(self, digit: str) -> None:
        while not self._leaving.is_set():
            phone = await self.caller()
            call = phone.dial(self._centre.number)
            with suppress(CallOver):
                await call.until_answered()
                await call.until_sound(self._rng.uniform(*LISTEN_S))
                await self._press_until_served(call, digit)
                await self._talk(phone, call)
            await call.until_over()
            await phone.leave()  # its facts stay

    async def _press_until_served(self, call: PhoneCall, digit: str) -> None:
        """What sounds may be FreeSWITCH's music while no owner is there: a key that is pressed then counts for no
        menu, and whoever hears the menu afterwards presses it again."""
        while True:
            call.press(digit)
            with suppress(TimeoutError):
                async with asyncio.timeout(AGAIN_S):
                    await call.until_voice()
                    return

    async def keep_answering(self, phone: Phone) -> None:
        """Take one call after another; for ever."""
        last: PhoneCall | None = None
        while True:
            phone.manner = Answers(self._rng.uniform(*RING_S))
            last = await phone.next_call(last)
            with suppress(CallOver):
                await last.until_answered()
                await last.until_voice()
                await self._talk(phone, last)

    async def _talk(self, phone: Phone, call: PhoneCall) -> None:
        """Who has the shorter patience hangs up."""
        try:
            async with asyncio.timeout(self._rng.uniform(*TALK_S)):
                await call.until_over()
        except TimeoutError:
            phone.hang_up(call)

    async def leave(self) -> None:
        """No new stirring callers; until those who call were served to the end."""
        self._leaving.set()
        async with asyncio.timeout(2 * PATIENCE_S):
            await self._gone.wait()


def stages(calls: Iterable[CallFacts]) -> Counter[str]:
    """Callers by state: menu, waiting, ringing, talking."""
    live = [call for call in calls if call.ended is None]
    up = [call for call in live if call.way is Way.OUT and call.answered is not None]
    rings = sum(call.way is Way.IN and call.answered is None for call in live)
    talks = sum(bool(call.pressed) and bool(count.partners(call, live)) for call in up)
    menu = sum(not call.pressed for call in up)
    # Positive counts alone: what a phone has not heard of yet can be one off.
    return +Counter(menu=menu, talking=talks, ringing=rings, waiting=len(up) - menu - talks - rings)


QUEUES_MAX = 900
"""Of the 1,000 that a tenant may have."""


class Clerk:
    """A client that changes things all the time and keeps, in a file of its own, every reply it got."""

    def __init__(self, centre: Centre, agent: str, replies: Path) -> None:
        self._centre, self._agent, self._replies = centre, agent, replies
        self.queues = 0
        self.tried: list[str] = []
        """Presences that were asked for, the last perhaps in vain."""

    async def work(self) -> None:
        """A queue, up to `QUEUES_MAX`, and a presence, again and again; each is repeated until it is answered."""
        tenant = self._centre.tenant
        presences = itertools.cycle(["PRESENCE_MEAL", "PRESENCE_BREAK", "PRESENCE_TRAINING"])
        for n in itertools.count(1):
            if n <= QUEUES_MAX:
                name = f"made-{n}"
                await self._until_answered(f"{tenant}/queues", {"displayName": name}, name, queueId=name)
                self.queues = n
            self.tried.append(next(presences))
            await self._until_answered(
                f"{self._centre.agents[self._agent].name}:setPresence", {"presence": self.tried[-1]}, f"p-{n}"
            )
            await asyncio.sleep(0.1)

    async def _until_answered(self, path: str, body: dict[str, str], request_id: str, **query: str) -> None:
        where = path.endswith(":setPresence")
        once = {"requestId": request_id}
        while True:
            try:
                if where:
                    reply = await self._centre.rest.post(path, body | once)
                else:
                    reply = await self._centre.rest.post(path, body, **query, **once)
            except (httpx.TransportError, Refused) as error:
                if isinstance(error, Refused) and error.status != 503:
                    raise
                await asyncio.sleep(0.1)
                continue
            with self._replies.open("a") as file:
                file.write(json.dumps(reply) + "\n")
            return

    async def missing(self) -> list[str]:
        """The replies in the file that are not true any more."""
        replies = [json.loads(line) for line in self._replies.read_text().splitlines()]
        queues = [reply for reply in replies if "/queues/" in reply["name"]]
        presences = [reply["presence"] for reply in replies if "/agentStates/" in reply["name"]]
        assert len(queues) == self.queues > 0
        lost = []
        for queue in queues:
            try:
                found = await self._centre.rest.get(queue["name"])
            except Refused:
                found = {}
            if found != queue:
                lost.append(queue["name"])
        now = (await self._centre.rest.get(f"{self._centre.tenant}/agentStates/{self._agent}"))["presence"]
        if now not in {presences[-1], self.tried[-1]}:
            lost.append(f"presence {presences[-1]}, which is {now}")
        return lost
