"""`tandem load`: many calls with agents of their own, and what the phones say became of each."""

from __future__ import annotations

import asyncio
import math
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import dataclass

from rich.console import Console
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TaskID, TextColumn, TimeElapsedColumn
from rich.table import Table

from tandem.api.routing.v1 import agent_state_pb2
from tandem.client import count
from tandem.client.account import Account
from tandem.client.api import Api
from tandem.client.demo_tenant import welcome
from tandem.client.facts import CallFacts, Way
from tandem.client.manner import Answers
from tandem.client.palette import agent_hz, caller_hz
from tandem.client.place import Place
from tandem.client.robots import Errand, RobotAgent, Talk, call_once, set_presence
from tandem.client.tenant_maker import TenantMaker, make_tenant, new_key
from tandem.client.ticker import Ticker
from tandem.runtime.config import Config

TENANT = "load"
NUMBER = "199"
QUEUE = "load"
DIGIT = "1"
READY_S = 10.0
ANSWERS_S = 1.0
"""An agent lets the phone ring so long."""
LISTENS_S = 0.5
OVERHEAD_S = 2.0
"""Of an agent per call beside the talk: ring, connect, hang up."""
AGENTS_MAX = 60
"""More than the built-in node has places for callers."""


@dataclass(frozen=True, slots=True)
class Plan:
    """`rate` calls a second, `calls` in all, each talk `talk_s` seconds long."""

    rate: float
    calls: int
    talk_s: float

    @property
    def agents(self) -> int:
        """As many as are busy at that rate (Little's law), and a fifth more."""
        busy = self.rate * (self.talk_s + OVERHEAD_S)
        return max(1, min(AGENTS_MAX, self.calls, math.ceil(1.2 * busy)))


async def run_load(config: Config, plan: Plan) -> int:
    """Make the calls, show the progress and the outcome; 0 if nothing was dropped, rung twice or overtaken."""
    place = Place(config)
    await place.until_ready(READY_S)
    console = Console()
    address, _ = place.addresses()
    async with Api(address, place.platform_key()) as platform:
        await make_tenant(platform, TENANT, "Load")
        key = await new_key(platform, TENANT)
    ticker = Ticker()
    try:
        async with Api(address, key) as api, AsyncExitStack() as stack:
            console.print(f"{plan.agents} robot agents get ready for {plan.calls} calls at {plan.rate:g} a second.")
            robots = await _agents(api, place, ticker, plan, stack)
            calls = await _call_all(place, ticker, plan, console)
            calls += [facts for robot in robots for facts in robot.phone.facts()]
            return show(console, calls)
    finally:
        ticker.close()


async def _agents(api: Api, place: Place, ticker: Ticker, plan: Plan, stack: AsyncExitStack) -> list[RobotAgent]:
    """Robot agents at work; at the end they go home."""
    maker = TenantMaker(api, TENANT)
    queue = await maker.queue(QUEUE, "Load")
    await maker.number(NUMBER, "Load", await maker.flow(QUEUE, "Load", welcome({DIGIT: queue})))
    tasks = await stack.enter_async_context(asyncio.TaskGroup())
    robots: list[RobotAgent] = []
    for index in range(plan.agents):
        name = f"robot-{index + 1}"
        device = await maker.agent(name, f"Robot {index + 1}", (queue,))
        account = Account(device.sip_user, place.sip, device.sip_password)
        manner = Answers(ANSWERS_S)
        robot = RobotAgent(api, f"{maker.name}/agents/{name}", account, ticker, agent_hz(index), manner=manner)
        running = tasks.create_task(robot.run())
        stack.callback(running.cancel)
        stack.push_async_callback(set_presence, api, robot.name, agent_state_pb2.PRESENCE_OFFLINE)
        robots.append(robot)
    for robot in robots:
        await robot.until_ready()
    return robots


async def _call_all(place: Place, ticker: Ticker, plan: Plan, console: Console) -> list[CallFacts]:
    """All callers, begun by the clock whatever becomes of the earlier ones."""
    loop = asyncio.get_running_loop()
    begun = loop.time()
    found: list[CallFacts] = []
    columns = (TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn())
    with Progress(*columns, console=console, transient=True) as progress:
        dialled, over = progress.add_task("dialled", total=plan.calls), progress.add_task("over", total=plan.calls)
        async with asyncio.TaskGroup() as tasks:
            for index in range(plan.calls):
                await asyncio.sleep(max(0.0, begun + index / plan.rate - loop.time()))
                tasks.create_task(_one(place, ticker, plan, index, found, progress, over))
                progress.advance(dialled)
    return found


async def _one(
    place: Place, ticker: Ticker, plan: Plan, index: int, found: list[CallFacts], progress: Progress, over: TaskID
) -> None:
    errand = Errand(NUMBER, DIGIT, listens_s=LISTENS_S, talk=Talk(plan.talk_s))
    caller = f"4416329{index:06}"
    found.append(await call_once(place.sip, ticker, caller, caller_hz(index), errand))
    progress.advance(over)


def show(console: Console, calls: Sequence[CallFacts]) -> int:
    """Print what became of the calls; the exit code."""
    callers = [call for call in calls if call.way is Way.OUT]
    waits = count.waits(calls)
    dropped, twice = count.dropped(calls), count.rung_twice(calls)
    overtaken = count.overtaken(calls, DIGIT)
    table = Table(title="What the phones say", title_justify="left", show_header=False)
    table.add_row("calls", str(len(callers)))
    table.add_row("answered by Tandem", str(sum(call.answered is not None for call in callers)))
    table.add_row("heard an agent", str(len(waits)))
    for share, name in ((0.5, "p50"), (0.95, "p95"), (1.0, "longest")):
        table.add_row(f"digit to voice, {name}", _seconds(count.percentile(waits, share)))
    for reason, times in sorted(count.refused(calls).items()):
        table.add_row(f"refused: {reason}", str(times))
    wrong = {"dropped": len(dropped), "rung twice": len(twice), "overtaken in line": len(overtaken)}
    for name, times in wrong.items():
        table.add_row(name, f"[{'red' if times else 'green'}]{times}[/]")
    console.print(table)
    for drop in dropped[:20]:
        console.print(f"dropped: {drop.call.phone}: {drop.why}", highlight=False)
    return 1 if any(wrong.values()) else 0


def _seconds(value: float | None) -> str:
    return "-" if value is None else f"{value:.2f} s"
