"""`tandem demo --kill`: five calls, kill -9 of the control plane in their middle, and what the
phones say about it.

The calls are made in the demo tenant, so that the page shows them, on a queue of their own
with three agents whose phones are in this process: all that is counted was heard here.
"""

from __future__ import annotations

import asyncio
import os
import signal
import time
from contextlib import AsyncExitStack
from dataclasses import dataclass
from pathlib import Path

from rich.console import Console

from tandem.api.routing.v1 import agent_state_pb2
from tandem.api.session.v1 import contact_pb2
from tandem.api.session.v1 import session_service_pb2 as ses
from tandem.client.account import Account
from tandem.client.api import Api
from tandem.client.call import PhoneCall
from tandem.client.count import Blame
from tandem.client.demo import Timeline, find_demo
from tandem.client.demo_tenant import TENANT, Demo, welcome
from tandem.client.kill_report import Kept, Report, show
from tandem.client.manner import Answers, RingsForEver
from tandem.client.palette import agent_hz, caller_hz
from tandem.client.phone import Phone
from tandem.client.place import NotRunning, Place
from tandem.client.robots import new_number, register_new, set_presence
from tandem.client.tenant_maker import TenantMaker
from tandem.client.ticker import Ticker
from tandem.runtime.config import Config

NUMBER = "101"
QUEUE = "rescue"
LOCK = "log.lock"
"""In the directory of the log: its holder's process id."""
RING_LIMIT_S = 15
AGENTS = ("eve", "fay", "gus")
ROLES = ("talking", "talking", "its agent rings", "waiting", "in the menu")
"""What each caller is doing when the control plane dies."""
DIGIT = "1"
RANG_OUT = "OFFER_OUTCOME_TIMEOUT"
STEADY_S = 1.5
"""Talk and music before the kill, to compare with."""
GAP_ANSWER_S = 0.3
"""The ringing agent answers, and the caller in the menu presses, so long after the kill."""
BACK_S = 30.0
TALK_S = 2.0
WHOLE_S = 120.0


@dataclass(frozen=True, slots=True)
class Caller:
    """A caller, and what the API said of the contact before the kill."""

    role: str
    phone: Phone
    call: PhoneCall
    contact: contact_pb2.Contact


class Stage:
    """The phones of one show."""

    def __init__(self, place: Place, api: Api, demo: Demo, ticker: Ticker, timeline: Timeline) -> None:
        self._place, self._api, self._tenant, self._ticker = place, api, demo.tenant, ticker
        self.timeline = timeline
        self.agents: list[Phone] = []
        self.callers: list[Caller] = []

    async def set_up(self, stack: AsyncExitStack) -> None:
        """Queue, flow, number and agents; their phones registered and available."""
        maker = TenantMaker(self._api, TENANT)
        queue = await maker.queue(QUEUE, "Kill demo", ring_s=RING_LIMIT_S)
        await maker.number(NUMBER, "Kill demo", await maker.flow(QUEUE, "Kill demo", welcome({DIGIT: queue})))
        for index, id_ in enumerate(AGENTS):
            device = await maker.agent(id_, f"{id_.title()} (kill demo)", (queue,))
            account = Account(device.sip_user, self._place.sip, device.sip_password)
            phone = Phone(account, self._ticker, hz=agent_hz(10 + index), manner=Answers(0.5))
            self.agents.append(await stack.enter_async_context(phone))
            await register_new(phone)
        self.agents[-1].manner = RingsForEver()
        # Presence in turn: the longest idle is asked first, and the one who will not answer last.
        for id_ in AGENTS:
            name = f"{self._tenant}/agents/{id_}"
            await set_presence(self._api, name, agent_state_pb2.PRESENCE_AVAILABLE)
            stack.push_async_callback(set_presence, self._api, name, agent_state_pb2.PRESENCE_OFFLINE)

    async def call_in(self, stack: AsyncExitStack) -> None:
        """All five callers, each where it belongs."""
        for index, role in enumerate(ROLES):
            account = Account(new_number(), self._place.sip)
            phone = Phone(account, self._ticker, hz=caller_hz(20 + index))
            await stack.enter_async_context(phone)
            call = phone.dial(NUMBER)
            await call.until_answered()
            await call.until_sound(1.0)
            if role != "in the menu":
                call.press(DIGIT)
            if role == "talking":
                await call.until_voice()
            elif role == "its agent rings":
                await self.agents[-1].next_call()
            else:
                await call.until_sound(1.0)
            contact = await self._contact_of(account.user)
            self.callers.append(Caller(role, phone, call, contact))
            self.timeline.line("phone", f"caller {index + 1} is there: {role}")
        await asyncio.sleep(STEADY_S)

    async def _contact_of(self, number: str) -> contact_pb2.Contact:
        request = ses.ListContactsRequest(parent=self._tenant, page_size=1000, life=ses.ListContactsRequest.LIFE_LIVE)
        listed = await self._api.call(self._api.sessions.ListContacts, request)
        found: contact_pb2.Contact = next(one for one in listed.contacts if one.caller.value == number)
        if found.HasField("enqueue_time") or found.state == contact_pb2.Contact.STATE_IN_FLOW:
            return found
        return await self.contact(found.name)

    async def contact(self, name: str) -> contact_pb2.Contact:
        """A contact as the API shows it."""
        found: contact_pb2.Contact = await self._api.call(
            self._api.sessions.GetContact, ses.GetContactRequest(name=name)
        )
        return found

    async def go_on_in_the_gap(self) -> None:
        """Nobody waits for the control plane: the ringing agent answers, the menu's caller presses."""
        await asyncio.sleep(GAP_ANSWER_S)
        self.agents[-1].answer(self.agents[-1].calls[-1])
        self.callers[-1].call.press(DIGIT)
        self.timeline.line("phone", f"{AGENTS[-1]} answers; caller 5 presses {DIGIT}: nobody is there to be told")

    async def finish(self) -> None:
        """Everybody is served in turn and hangs up."""
        for caller in self.callers:
            await caller.call.until_voice()
            await asyncio.sleep(TALK_S)
            caller.phone.hang_up(caller.call)
            self.timeline.line("phone", f"caller {self.callers.index(caller) + 1} has talked and hangs up")

    async def kept(self) -> list[Kept]:
        """What the API says of each contact now, beside what it said before."""
        return [Kept(caller.contact, await self.contact(caller.contact.name)) for caller in self.callers]

    async def blames(self) -> list[Blame]:
        """The offers that ended because a phone had rung for its whole time, says the history."""
        found: list[Blame] = []
        for caller in self.callers:
            request = ses.ListContactEventsRequest(parent=caller.contact.name, page_size=1000)
            listed = await self._api.call(self._api.sessions.ListContactEvents, request)
            told = [dict(event.data) for event in listed.events]
            found += [Blame(data["offer"], RING_LIMIT_S) for data in told if data.get("outcome") == RANG_OUT]
        return found


async def show_kill(config: Config) -> int:
    """Play it; 0 if the phones count nothing that is wrong."""
    place, demo = await find_demo(config)
    pid_file = config.log_dir / LOCK  # with a standby, either of two may be the one that owns
    _pid(pid_file)  # say now what cannot work
    console = Console()
    ticker = Ticker()
    try:
        async with (
            asyncio.timeout(WHOLE_S),
            Api(place.addresses()[0], demo.api_key) as api,
            AsyncExitStack() as stack,
        ):
            stage = Stage(place, api, demo, ticker, Timeline(console))
            await stage.set_up(stack)
            await stage.call_in(stack)
            report = await _play(stage, place, pid_file)
            return show(console, report)
    except TimeoutError:
        raise NotRunning(
            f"no end after {WHOLE_S:.0f} s; the lines above and the cell's own say how far it came"
        ) from None
    finally:
        ticker.close()


async def _play(stage: Stage, place: Place, pid_file: Path) -> Report:
    pid = _pid(pid_file)
    os.kill(pid, signal.SIGKILL)
    killed = time.monotonic()
    stage.timeline.line("kill", f"kill -9 {pid}: there is no control plane")
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(stage.go_on_in_the_gap())
        back = await _until_back(place, pid_file, pid)
    stage.timeline.line("kill", f"the control plane is back after {back - killed:.2f} s, pid {_pid(pid_file)}")
    at_once = await stage.kept()
    await stage.finish()
    for caller in stage.callers:
        await caller.call.until_over()
    ended = await _ended(stage)
    calls = [facts for phone in (*stage.agents, *(c.phone for c in stage.callers)) for facts in phone.facts()]
    lines = [(caller.role, caller.call.facts) for caller in stage.callers]
    return Report(killed, back, lines, calls, at_once, ended, await stage.blames(), DIGIT)


async def _until_back(place: Place, pid_file: Path, old: int) -> float:
    """The cell takes calls again, by another process; since when."""
    try:
        async with asyncio.timeout(BACK_S):
            # Another process, which cannot wake us.
            while _read(pid_file) in (None, old) or not await place.ready():  # noqa: ASYNC110
                await asyncio.sleep(0.02)
        return time.monotonic()
    except TimeoutError:
        raise NotRunning(
            f"the control plane did not come back within {BACK_S:.0f} s; see what `tandem up` says"
        ) from None


async def _ended(stage: Stage) -> list[Kept]:
    """The contacts once all have their outcome."""
    while True:
        found = await stage.kept()
        if all(kept.after.outcome for kept in found):
            return found
        await asyncio.sleep(0.1)


def _read(pid_file: Path) -> int | None:
    try:
        return int(pid_file.read_text(encoding="ascii"))
    except (OSError, ValueError):
        return None


def _pid(pid_file: Path) -> int:
    """The control plane's process. Raises `NotRunning` if it is not one of ours that runs."""
    pid = _read(pid_file)
    command = Path(f"/proc/{pid}/cmdline")
    if pid is None or not command.exists() or b"tandem" not in command.read_bytes():
        raise NotRunning(f"{pid_file} names no running control plane: start the cell with `tandem up --demo`")
    return pid
