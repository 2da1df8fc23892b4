"""The whole product with real phones: one part of `tests.load.soak`, the phones in a process of their own.

Callers do what callers do: talk, hang up in the menu, press wrong digits or none, leave the line, hang up
while an agent's phone rings. Agents answer, decline, let it ring out, go on breaks, take their wrap-up or
cut it short. Each phone keeps what it heard and did; at the end all of it is held against the API.

Orders are lines of JSON on stdin, each answered by one on stdout (see `Orders`).
"""

from __future__ import annotations

import asyncio
import json
import random
import sys
from collections import Counter
from collections.abc import AsyncIterator, Callable, Coroutine
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import httpx
import uvloop

from tandem.client import count
from tandem.client.account import Account
from tandem.client.call import CallOver, PhoneCall
from tandem.client.facts import By, CallFacts, Way
from tandem.client.manner import Answers, Declines, Manner, RingsForEver
from tandem.client.palette import agent_hz, caller_hz
from tandem.client.phone import Phone
from tandem.client.ticker import Ticker
from tandem.session.sweep import OVER
from tests.e2e import cell, sounds
from tests.e2e.cell import Cell, Centre
from tests.e2e.kill_checks import all_contacts, blames_of
from tests.e2e.rest import Json, Refused, Rest
from tests.load.sampler import Sample, Watched, cell_files, media_metrics, stop_cell
from tests.load.verdicts import Verdict, counted

QUEUES = {"first": 1, "second": 1, "nobody": 0}
"""Digits 1 to 3 of the menu; nobody serves the third."""
RING_S, WRAP_UP_S = 4, 2
MENU = {"timeout": "3s", "tries": 2}
LISTEN_S, TALK_S = (0.5, 2.0), (1.0, 12.0)
PATIENCE_S = 90.0
"""A call that is not over then is stuck; the callers below are quicker."""
FULL_EVERY_S, FULL_S = 600.0, 45.0
"""Every so often all 50 places of the node are taken for so long."""
CAPACITY = 50
TEARS_S = 1.0
"""Hung up so soon after a digit, a caller may still have been in the menu."""
LENGTH_S = 1.5
"""By which a recording may differ from what the phones say of the talk."""
LISTENED_EVERY = 10
"""Of so many recordings one is downloaded and listened to."""
COMPLETE_S = 10.0
"""After everybody has left, a contact's story has its end within this time."""
STUCK_AGENT_S = RING_S + 15.0
SETTLED_S = 6.0
"""Gauges of contacts are counted every 5 s."""


class Floor:
    """All phones of one centre. `callers` lines are kept busy, one call after another."""

    def __init__(self, centre: Centre, node: tuple[str, int], lines: int, rng: random.Random) -> None:
        self._centre, self._node, self._lines, self._rng = centre, node, lines, rng
        self._ticker = Ticker()
        self._serial = 0
        self._leaving = False
        self._begun_s = 0.0
        self.calls: list[CallFacts] = []
        """Of callers whose call is over."""
        self.did: dict[str, str] = {}
        """Caller's number -> what this caller does."""
        self.live = 0
        self.agents: list[Phone] = []
        self.stuck: dict[str, None] = {}
        self.looked = 0

    # ---------------------------------------------------------------- callers

    async def work(self, stack: AsyncExitStack) -> None:
        """Everybody at work, until `leave`."""
        self._begun_s = asyncio.get_running_loop().time()
        async with asyncio.TaskGroup() as tasks:
            beside = [tasks.create_task(self._look())]
            for index, name in enumerate(self._centre.agents):
                beside.append(tasks.create_task(self._agent(await self._seated(stack, name, index), name)))
            async with asyncio.TaskGroup() as lines:
                for line in range(CAPACITY + 2):
                    lines.create_task(self._line(line))
            for task in beside:
                task.cancel()

    def leave(self) -> None:
        """No new callers."""
        self._leaving = True

    async def _line(self, line: int) -> None:
        """Calls one after another; a line above the usual number rests most of the time."""
        loop = asyncio.get_running_loop()
        while not self._leaving:
            since = (loop.time() - self._begun_s) % FULL_EVERY_S
            if line >= self._lines and since < FULL_EVERY_S - FULL_S:
                await asyncio.sleep(1)
                continue
            await self._call()
            await asyncio.sleep(self._rng.uniform(0.2, 1.0))

    async def _call(self) -> None:
        self._serial += 1
        number = f"4917{self._serial:08}"
        does = self._rng.choices(list(DOES), [share for share, _ in DOES.values()])[0]
        self.did[number] = does
        self.live += 1
        async with Phone(Account(number, self._node), self._ticker, hz=caller_hz(self._serial)) as phone:
            call = phone.dial(self._centre.number)
            try:
                async with asyncio.timeout(PATIENCE_S):
                    with suppress(CallOver):
                        await call.until_answered()
                        await call.until_sound(self._rng.uniform(*LISTEN_S))
                        await DOES[does][1](self, phone, call)
                    await call.until_over()
            except TimeoutError:
                self.stuck[f"the call of {number}, who wants to {does}"] = None
                phone.hang_up(call)
                await call.until_over()
            self.calls.append(call.facts)
        self.live -= 1

    async def _talks(self, phone: Phone, call: PhoneCall) -> None:
        call.press(self._rng.choice("12"))
        await call.until_voice()
        await self._until_enough(phone, call)

    async def _until_enough(self, phone: Phone, call: PhoneCall) -> None:
        """Who has the shorter patience hangs up."""
        try:
            async with asyncio.timeout(self._rng.uniform(*TALK_S)):
                await call.until_over()
        except TimeoutError:
            phone.hang_up(call)

    async def _leaves_menu(self, phone: Phone, call: PhoneCall) -> None:
        phone.hang_up(call)

    async def _presses_wrong(self, phone: Phone, call: PhoneCall) -> None:
        while not call.is_over:
            call.press("9")
            await asyncio.sleep(2)

    async def _presses_nothing(self, phone: Phone, call: PhoneCall) -> None:
        await call.until_over()

    async def _leaves_line(self, phone: Phone, call: PhoneCall) -> None:
        call.press("3")
        await asyncio.sleep(self._rng.uniform(1.5, 8))
        phone.hang_up(call)

    async def _loses_patience(self, phone: Phone, call: PhoneCall) -> None:
        call.press(self._rng.choice("12"))
        await asyncio.sleep(self._rng.uniform(0.3, 3))
        phone.hang_up(call)

    # ---------------------------------------------------------------- agents

    async def _seated(self, stack: AsyncExitStack, name: str, index: int) -> Phone:
        account = self._centre.agents[name]
        phone = Phone(Account(account.sip_user, self._node, account.password), self._ticker, hz=agent_hz(index))
        await stack.enter_async_context(phone)
        await phone.register()
        await self._centre.available(name)
        self.agents.append(phone)
        return phone

    async def _agent(self, phone: Phone, name: str) -> None:
        """Take one call after another, in this agent's way; for ever."""
        last: PhoneCall | None = None
        while True:
            phone.manner = self._manner()
            last = await phone.next_call(last)
            try:
                await last.until_answered()
                await last.until_voice()
                await self._until_enough(phone, last)
            except CallOver:
                await asyncio.sleep(0.5)
                await self._centre.available(name)  # whom routing took out because it rang out is back
                continue
            mood = self._rng.random()
            if mood < 0.3:
                await self._ends_wrap_up(name)
            elif mood < 0.4:
                await self._centre.available(name, "PRESENCE_BREAK")
                await asyncio.sleep(3)
                await self._centre.available(name)

    async def _ends_wrap_up(self, name: str) -> None:
        await asyncio.sleep(0.5)
        try:
            await self._centre.rest.post(f"{self._centre.agents[name].name}:endWrapUp")
        except Refused as error:
            if error.status not in (400, 409):  # it ended by itself a moment ago
                raise

    def _manner(self) -> Manner:
        mood = self._rng.random()
        if mood < 0.08:
            return Declines(self._rng.choice((486, 603)), self._rng.uniform(0, 1))
        if mood < 0.14:
            return RingsForEver()
        return Answers(self._rng.uniform(0.2, 2.0))

    # ---------------------------------------------------------------- beside it

    async def _look(self) -> None:
        """Every now and then, whether an agent is stuck, as the API tells it; for ever."""
        while True:
            await asyncio.sleep(10)
            now = datetime.now().astimezone()
            for agent in await self._states():
                since = (now - datetime.fromisoformat(agent["statusTime"])).total_seconds()
                if agent["status"] == "STATUS_ALERTING" and since > STUCK_AGENT_S:
                    self.stuck[f"{agent['agent']} {agent['status']} for {since:.0f} s"] = None
            self.looked += 1

    async def _states(self) -> list[Json]:
        found: list[Json] = (await self._centre.rest.get(f"{self._centre.tenant}/agentStates"))["agentStates"]
        return found

    # ---------------------------------------------------------------- the reckoning

    async def verdicts(self) -> list[Verdict]:
        """What all phones know, against what the API says. Everybody has left."""
        await asyncio.sleep(WRAP_UP_S + SETTLED_S)
        busy = [str(agent) for agent in await self._states() if agent["contact"]]
        contacts = await all_contacts(self._centre)
        calls = [*self.calls, *(facts for phone in self.agents for facts in phone.facts())]
        live = [contact["name"] for contact in contacts if contact["state"] != "STATE_ENDED"]
        by_caller: dict[str, list[Json]] = {}
        for contact in contacts:
            by_caller.setdefault(contact["caller"]["value"], []).append(contact)
        refused = by_caller.pop("", [])  # by the node: who called does not stand in history
        alone = [call for call in self.calls if call.caller not in by_caller and _is_refused(call)]
        together: dict[str, list[CallFacts]] = {}
        for facts in calls:
            together.setdefault(facts.caller, []).append(facts)
        untold: list[str] = []
        blames, recorded = await self._stories(contacts, together, untold)
        flow_ended = {number for number, does in self.did.items() if DOES[does][1] in FLOW_ENDS}
        drops = count.dropped(calls, lambda call: call.way is Way.OUT and call.caller in flow_ended)
        cut = [f"{drop.call.phone} {drop.why}" for drop in drops if "silence" not in drop.why]
        silent = [f"{drop.call.phone} {drop.why}" for drop in drops if "silence" in drop.why]
        unlike = self._unlike(by_caller)
        nobody = [caller for caller in by_caller if caller not in self.did]
        twice = [str(one) for one in count.rung_twice(calls)]
        overtaken = [f"{a.caller} by {b.caller}" for digit in "12" for a, b in count.overtaken(calls, digit)]
        of = len(self.calls)
        return [
            counted("phones: calls or agents stuck", list(self.stuck), of),
            counted("phones: agents who still have a contact", busy, len(self.agents)),
            counted("phones: contacts that are not over", live, of),
            counted("phones: calls that are not one contact, with the outcome that they tell", unlike, of),
            counted("phones: contacts whose story has no end", untold, of),
            counted("phones: contacts of nobody", nobody, of),
            Verdict("phones: calls refused, contacts", f"{len(alone)}, {len(refused)}", len(alone) == len(refused)),
            counted("phones: calls that were cut", cut, of),
            counted("phones: silences of more than a second in a talk", silent, of),
            counted("phones: rung twice for one offer", twice, of),
            counted("phones: overtaken in line", overtaken, of),
            counted("phones: blamed wrongly", [str(one) for one in count.blamed(blames, calls)], of),
            counted("phones: recordings missing, too short or too long", recorded, of),
        ]

    def _unlike(self, by_caller: dict[str, list[Json]]) -> list[str]:
        agents: dict[str, list[CallFacts]] = {}
        for phone in self.agents:
            for facts in phone.facts():
                agents.setdefault(facts.caller, []).append(facts)
        found = []
        for call in self.calls:
            expected = expected_of(call, agents.get(call.caller, []))
            outcomes = [contact["outcome"] for contact in by_caller.get(call.caller, [])]
            if (not outcomes and "none" not in expected) or len(outcomes) > 1 or set(outcomes) - expected:
                found.append(f"{call.caller} ({self.did[call.caller]}): {outcomes}, phones say {sorted(expected)}")
        return found

    async def _stories(
        self, contacts: list[Json], together: dict[str, list[CallFacts]], untold: list[str]
    ) -> tuple[list[count.Blame], list[str]]:
        """Whom routing blamed, and recordings that are not what the phones heard. `untold` are the
        contacts whose story has no end."""
        blames: list[count.Blame] = []
        wrong: list[str] = []
        for place, contact in enumerate(contacts):
            try:
                blames += blames_of(await self._story(contact["name"]), RING_S)
            except TimeoutError:
                untold.append(f"{contact['name']} {contact['outcome']}")
            if contact["outcome"] == "OUTCOME_HANDLED":
                calls = together.get(contact["caller"]["value"], [])
                wrong += await self._recording(contact, calls, listen=place % LISTENED_EVERY == 0)
        return blames, wrong

    async def _story(self, contact: str) -> list[Json]:
        """All events of a contact, once it is complete. Raises TimeoutError."""
        async with asyncio.timeout(COMPLETE_S):
            while True:
                found: list[Json] = []
                token = ""
                while not found or token:
                    page = await self._centre.rest.get(f"{contact}/events", pageSize=200, pageToken=token)
                    found += page["events"]
                    token = page["nextPageToken"]
                if any(event["type"] in OVER for event in found):
                    return found
                await asyncio.sleep(0.2)

    async def _recording(self, contact: Json, calls: list[CallFacts], *, listen: bool) -> list[str]:
        caller = next((call for call in calls if call.way is Way.OUT), None)
        talks = count.talks(caller, calls) if caller is not None else []
        if caller is None or not talks:
            return []  # too short to be heard; that it is a contact is looked at elsewhere
        names = contact["recordings"]
        if len(names) < len(talks):
            return [f"{contact['name']}: {len(names)} recordings of {len(talks)} talks"]
        wrong = []
        for name, talk in zip(names[-len(talks) :], talks, strict=True):
            heard = caller.seconds(talk.voice_hz)
            most = min(caller.ended or 0.0, talk.ended or 0.0) - (talk.answered or 0.0)
            found = await self._centre.rest.get(name)
            length = float(found["duration"].removesuffix("s"))
            if not heard - LENGTH_S <= length <= most + LENGTH_S or found["truncated"]:
                wrong.append(f"{name}: {length:.1f} s, heard {heard:.1f} s of {most:.1f} s")
            elif listen:
                sides = sounds.channels_of(await self._centre.rest.download(name))
                for samples, hz in zip(sides, (caller.voice_hz, talk.voice_hz), strict=True):
                    if (there := sounds.seconds_of(samples, hz)) < heard - LENGTH_S:
                        wrong.append(f"{name}: {there:.1f} s of {hz:g} Hz, heard {heard:.1f} s")
        return wrong


Does = Callable[[Floor, Phone, PhoneCall], Coroutine[Any, Any, None]]
DOES: dict[str, tuple[float, Does]] = {
    "talk": (0.50, Floor._talks),
    "hang up in the menu": (0.10, Floor._leaves_menu),
    "press wrong digits": (0.08, Floor._presses_wrong),
    "press nothing": (0.05, Floor._presses_nothing),
    "leave a line that nobody serves": (0.12, Floor._leaves_line),
    "lose patience": (0.15, Floor._loses_patience),
}
FLOW_ENDS = (Floor._presses_wrong, Floor._presses_nothing)
"""After them the flow says good-bye."""


def _is_refused(call: CallFacts) -> bool:
    return call.answered is None and call.by is not By.SELF


def expected_of(call: CallFacts, agents: list[CallFacts]) -> set[str]:
    """The outcomes that history may give a call, as its phones know it; `none` if there need be no contact."""
    if call.answered is None:
        # Turned away, or hung up before anybody answered.
        return {"none", "OUTCOME_REFUSED"} if _is_refused(call) else {"none", "OUTCOME_LEFT_IN_FLOW"}
    answered = [agent for agent in agents if agent.answered is not None]
    if count.talks(call, agents):
        return {"OUTCOME_HANDLED"}
    if call.by is By.FAR:
        # The agent hung up at once: too short a talk to be heard.
        return {"OUTCOME_HANDLED", "OUTCOME_FLOW_ENDED"} if answered else {"OUTCOME_FLOW_ENDED"}
    if not call.pressed or call.pressed[-1].digit not in "123":
        return {"OUTCOME_LEFT_IN_FLOW"}
    found = {"OUTCOME_ABANDONED"}
    if answered:
        found.add("OUTCOME_HANDLED")
    if (call.ended or 0.0) - call.pressed[-1].at < TEARS_S:
        found.add("OUTCOME_LEFT_IN_FLOW")
    return found


# ------------------------------------------------------------------- the process


class Orders:
    """Reads orders from stdin and answers them on stdout: `told`, `leave`, `verdicts`."""

    def __init__(self, floor: Floor, working: asyncio.Task[None]) -> None:
        self._floor, self._working = floor, working

    async def run(self) -> None:
        """Until stdin ends."""
        reader = asyncio.StreamReader()
        await asyncio.get_running_loop().connect_read_pipe(lambda: asyncio.StreamReaderProtocol(reader), sys.stdin)
        while line := await reader.readline():
            print(json.dumps(await getattr(self, f"do_{json.loads(line)}")()), flush=True)

    async def do_told(self) -> dict[str, float]:
        """Calls under way and over, so far."""
        if self._working.done():
            self._working.result()  # whatever ended it is told
        over = Counter("refused" if call.answered is None else "over" for call in self._floor.calls)
        return {"calls": self._floor.live, "dialled": self._floor.live + len(self._floor.calls), **over}

    async def do_leave(self) -> dict[str, int]:
        """No new callers; answered when all are over. How many did what."""
        self._floor.leave()
        await self._working
        return dict(Counter(self._floor.did.values()))

    async def do_verdicts(self) -> list[tuple[str, str, bool]]:
        """See `Floor.verdicts`."""
        return [(one.name, one.found, one.held) for one in await self._floor.verdicts()]


async def main(given: dict[str, Any]) -> None:
    """Phones of the centre that the parent made, until stdin ends."""
    rest = Rest(given["base_url"], given["key"])
    agents = {name: cell.Account(*account) for name, account in given["agents"].items()}
    centre = Centre(given["tenant"], rest, given["key"], given["number"], given["queue"], agents)
    floor = Floor(centre, ("127.0.0.1", given["sip_port"]), given["lines"], random.Random(given["seed"]))
    async with AsyncExitStack() as stack:
        stack.push_async_callback(rest.close)
        working = asyncio.create_task(floor.work(stack))
        stack.callback(working.cancel)
        print(json.dumps("ready"), flush=True)
        await Orders(floor, working).run()


@dataclass
class Phones:
    """The part while it runs, as the parent sees it."""

    watched: Watched
    client: httpx.AsyncClient
    process: asyncio.subprocess.Process
    stop: Callable[[], None]
    did: dict[str, int] = field(default_factory=dict)

    async def sample(self) -> Sample:
        """See `sampler`; and the calls under way, over and refused so far."""
        return await self.watched.sample(self.client) | await self._ask("told")

    async def verdicts(self) -> list[Verdict]:
        """Ends the load, then the processes; what the phones say."""
        self.did = await self._ask("leave")
        found = [Verdict(*one) for one in await self._ask("verdicts")]
        last = await self.watched.sample(self.client)
        left = f"{last.get('live', 0):.0f}, {last.get('legs', 0):.0f}, {last.get('spooled', 0):.0f}"
        self.stop()
        return [Verdict("phones: contacts, legs, recordings left", left, left == "0, 0, 0"), *found]

    async def _ask(self, order: str) -> Any:
        assert self.process.stdin is not None
        self.process.stdin.write(json.dumps(order).encode() + b"\n")
        return await _line(self.process)


async def _line(process: asyncio.subprocess.Process) -> Any:
    assert process.stdout is not None
    line = await process.stdout.readline()
    if not line:
        raise RuntimeError("the phones' process has ended; what it printed stands above")
    return json.loads(line)


@asynccontextmanager
async def phones_part(home: Path, lines: int, seed: int) -> AsyncIterator[Phones]:
    """Control plane and media node as an operator starts them, a centre, and its phones at work."""
    the_cell = Cell(home)
    async with AsyncExitStack() as stack:
        stack.callback(stop_cell, the_cell)
        await asyncio.to_thread(the_cell.start)
        agents = tuple(f"a{n}" for n in range(max(2, lines // 2)))
        queues = {name: agents if served else () for name, served in QUEUES.items()}
        times = {"ring_timeout_s": RING_S, "wrap_up_s": WRAP_UP_S}
        centre = await stack.enter_async_context(the_cell.centre(queues=queues, **times, **MENU))
        given = {
            "base_url": the_cell.base_url, "sip_port": the_cell.sip_port, "key": centre.key, "tenant": centre.tenant,
            "number": centre.number, "queue": centre.queue, "lines": lines, "seed": seed,
            "agents": {name: (one.name, one.sip_user, one.password) for name, one in centre.agents.items()},
        }  # fmt: skip
        pipe = asyncio.subprocess.PIPE
        process = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "tests.load.soak_phones", json.dumps(given), stdin=pipe, stdout=pipe, limit=2**26
        )
        stack.push_async_callback(_ended, process)
        assert await _line(process) == "ready"
        client = await stack.enter_async_context(httpx.AsyncClient())
        assert the_cell.control is not None
        assert the_cell.media is not None
        pids = {"control": the_cell.control.pid, "media": the_cell.media.pid}
        metrics = {"control": f"{the_cell.base_url}/metrics", "media": media_metrics(the_cell.data_dir)}
        watched = Watched(pids, metrics, cell_files(the_cell.data_dir))
        yield Phones(watched, client, process, lambda: stop_cell(the_cell))


async def _ended(process: asyncio.subprocess.Process) -> None:
    assert process.stdin is not None
    process.stdin.close()
    await process.wait()


if __name__ == "__main__":
    uvloop.run(main(json.loads(sys.argv[1])))
