"""`tandem demo`: one robot call as a timeline, while it happens."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path

from google.protobuf import json_format
from rich.console import Console
from rich.markup import escape

from tandem.api.routing.v1 import agent_state_pb2
from tandem.client.account import Account
from tandem.client.api import Api, ApiError
from tandem.client.call import CallOver
from tandem.client.demo_tenant import Demo, read_demo
from tandem.client.facts import CallFacts
from tandem.client.palette import caller_hz
from tandem.client.phone import Phone
from tandem.client.place import NotRunning, Place
from tandem.client.robots import new_number, set_presence
from tandem.client.story import tell
from tandem.client.ticker import Ticker
from tandem.runtime.config import Config

READY_S = 10.0
LISTEN_S = 2.0
TALK_S = 6.0
WHOLE_S = 120.0
"""A demo that takes longer says so and ends."""
RECORDING_S = 5.0
"""The view of recordings is this far behind at most."""


async def find_demo(config: Config) -> tuple[Place, Demo]:
    """The running demo. Raises `NotRunning`."""
    place = Place(config)
    await place.until_ready(READY_S)
    demo = read_demo(place.demo_file)
    if demo is None:
        raise NotRunning(f"there is no {place.demo_file}: start the cell with `tandem up --demo`")
    return place, demo


async def park(config: Config, *, there: bool) -> int:
    """Send the robot agents home, or back to work."""
    place, demo = await find_demo(config)
    presence = agent_state_pb2.PRESENCE_AVAILABLE if there else agent_state_pb2.PRESENCE_OFFLINE
    async with Api(place.addresses()[0], demo.api_key) as api:
        for agent in demo.robots:
            await set_presence(api, agent.name, presence)
    names = " and ".join(agent.name.rpartition("/")[2] for agent in demo.robots)
    Console().print(f"{names}: {'back at work' if there else 'gone; new callers wait with music'}.")
    return 0


class Timeline:
    """Prints lines with the time since the first."""

    def __init__(self, console: Console) -> None:
        self._console = console
        self._loop = asyncio.get_running_loop()
        self._begun: float | None = None

    def line(self, who: str, text: str) -> None:
        """Something that happened now. `who` is `api` or `phone`."""
        now = self._loop.time()
        self._begun = self._begun if self._begun is not None else now
        colour = "cyan" if who == "api" else "green"
        self._console.print(f"{now - self._begun:7.2f} s  [{colour}]{who:5}[/]  {escape(text)}", highlight=False)


async def show_call(config: Config) -> int:
    """Make the call and show it; 0 if it was answered by an agent and recorded."""
    place, demo = await find_demo(config)
    console = Console()
    console.print("[cyan]api[/]    what the live stream of the API tells", highlight=False)
    console.print("[green]phone[/]  what the robot caller's phone does and hears", highlight=False)
    console.print()
    timeline = Timeline(console)
    address, http = place.addresses()
    ticker = Ticker()
    caller = new_number()
    try:
        async with (
            asyncio.timeout(WHOLE_S),
            Api(address, demo.api_key) as api,
            Phone(Account(caller, place.sip), ticker, hz=caller_hz(0)) as phone,
            asyncio.TaskGroup() as tasks,
        ):
            live = asyncio.Event()
            calling = tasks.create_task(_call(phone, demo, timeline, live))
            recording = await _follow(api, demo, caller, timeline, live)
            facts = await calling
            return await _ending(api, console, facts, recording, http, config.data_dir)
    except TimeoutError:
        raise NotRunning(
            f"no end after {WHOLE_S:.0f} s: are all agents busy or gone? `tandem demo --agents on` brings them back"
        ) from None
    finally:
        ticker.close()


async def _call(phone: Phone, demo: Demo, timeline: Timeline, live: asyncio.Event) -> CallFacts:
    number = demo.numbers[0]
    digit = next(iter(number.digits))
    await live.wait()
    timeline.line("phone", f"dials {number.number}")
    call = phone.dial(number.number)
    try:
        await call.until_answered()
        await call.until_sound(LISTEN_S)
        timeline.line("phone", f"hears the menu, presses {digit}")
        call.press(digit)
        hz = await call.until_voice()
        timeline.line("phone", f"hears the agent's voice, {hz:.0f} Hz; speaks with {phone.hz:.0f} Hz")
        async with asyncio.timeout(TALK_S):
            await call.until_over()
        timeline.line("phone", "the agent hung up")
    except CallOver as over:
        if over.facts.answered is None:
            raise
        timeline.line("phone", str(over))
    except TimeoutError:
        timeline.line("phone", "hangs up")
        phone.hang_up(call)
    return call.facts


async def _follow(api: Api, demo: Demo, caller: str, timeline: Timeline, live: asyncio.Event) -> str:
    """Tell our contact's events until it is complete; the name of its recording, or empty."""
    contact, recording = "", ""
    async for item in api.watch(demo.tenant):
        if item.synced:
            live.set()
        if not contact and item.contact.caller.value == caller:
            contact = item.contact.name
        if contact and item.event.contact == contact:
            data = json_format.MessageToDict(item.event.data)
            timeline.line("api", tell(item.event.type, data))
            if item.event.type == "contact.recording_ended" and data.get("blob"):
                recording = f"{demo.tenant}/recordings/{data['recording']}"
            if item.event.type == "contact.completed":
                break
    return recording


async def _ending(api: Api, console: Console, facts: CallFacts, recording: str, http: str, data_dir: Path) -> int:
    console.print()
    if not recording:
        console.print("No recording: no agent and caller talked.")
        return 1
    path = data_dir / "demo" / f"{recording.rpartition('/')[2]}.wav"
    body = await _downloaded(api, recording)
    await asyncio.to_thread(_save, path, body)
    talked = sum(heard.seconds for heard in facts.heard if heard.hz)
    console.print(f"The caller heard the agent for {talked:.1f} s. The recording, the caller on the left:")
    console.print(f"  {http}/v1/{recording}:download", highlight=False, soft_wrap=True)
    console.print(f"  {path}  (saved from there, {len(body)} bytes)", highlight=False, soft_wrap=True)
    return 0


async def _downloaded(api: Api, recording: str) -> bytes:
    """The file, as soon as the view of recordings knows it."""
    async with asyncio.timeout(RECORDING_S):
        while True:
            try:
                return await api.download(recording)
            except ApiError as error:
                if error.reason not in ("UNKNOWN_NAME", "VIEW_BEHIND"):
                    raise
            await asyncio.sleep(0.1)


def _save(path: Path, body: bytes) -> None:
    """What people said is for this user's eyes alone."""
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
    with os.fdopen(descriptor, "wb") as file:
        file.write(body)
