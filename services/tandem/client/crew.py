"""`tandem run robots`: makes the demo tenant, plays its robot agents, and calls when asked."""

from __future__ import annotations

import asyncio
import random

import structlog

from tandem.client.account import Account
from tandem.client.api import Api, ApiError
from tandem.client.demo_tenant import Demo, make_demo
from tandem.client.facts import CallFacts
from tandem.client.manner import Answers
from tandem.client.palette import agent_hz, caller_hz
from tandem.client.place import NotRunning, Place
from tandem.client.place_call import Busy, answering
from tandem.client.robots import AGAIN_MAX_S, AGAIN_S, Errand, RobotAgent, Talk, call_once, new_number
from tandem.client.ticker import Ticker
from tandem.runtime.config import Config
from tandem.runtime.retry_driver import Retry

_log = structlog.get_logger(__name__)

CALLERS_MAX = 20
"""Robot callers at once; the node has 50 places, and people want some."""
TALK_S = (8.0, 20.0)
"""A robot caller talks for a time between these."""


class Crew:
    """The robots of the demo. Use `run`."""

    def __init__(self, config: Config, demo: Demo, api: Api, tasks: asyncio.TaskGroup) -> None:
        self._node = Place(config).sip
        self._demo, self._tasks = demo, tasks
        self._ticker = Ticker()
        self._callers: set[str] = set()
        self._count = 0
        manner = Answers(config.demo.robot_answers_after_s)
        self._agents = [
            RobotAgent(
                api,
                agent.name,
                Account(agent.sip_user, self._node, agent.sip_password),
                self._ticker,
                agent_hz(index),
                manner=manner,
            )
            for index, agent in enumerate(demo.robots)
        ]

    def start(self) -> None:
        """Every robot agent goes to work."""
        for agent in self._agents:
            self._tasks.create_task(agent.run())

    def place(self, digits: str) -> str:
        """Start a robot caller; its number. Raises `Busy` if there are enough."""
        if len(self._callers) >= CALLERS_MAX:
            raise Busy(f"{CALLERS_MAX} robot callers are on the phone; wait until one hangs up")
        number = self._demo.numbers[0]
        if digits not in ("", *number.digits):
            raise Busy(f"the menu has no digit {digits[:1]!r}; use one of {' '.join(number.digits)}")
        caller = new_number()
        talk = Talk(random.uniform(*TALK_S))
        errand = Errand(number.number, digits or random.choice(tuple(number.digits)), talk=talk)
        self._callers.add(caller)
        self._tasks.create_task(self._call(caller, errand))
        return caller

    async def _call(self, caller: str, errand: Errand) -> None:
        self._count += 1
        try:
            facts = await call_once(self._node, self._ticker, caller, caller_hz(self._count), errand)
        finally:
            self._callers.discard(caller)
        if facts.answered is None:
            _log.warning("robot caller was refused", status=facts.status, reason=facts.detail)
        else:
            _log.info("robot caller is done", seconds=round(_length(facts), 1), ended_by=facts.by)


async def run_robots(config: Config) -> None:
    """Until cancelled. Waits for the cell, however long it takes. Raises `NotRunning` if the
    configuration leaves no place to dial."""
    place = Place(config)
    _ = place.sip
    demo = await _made(place)
    address = place.addresses()[0]
    async with Api(address, demo.api_key) as api, asyncio.TaskGroup() as tasks:
        crew = Crew(config, demo, api, tasks)
        crew.start()
        async with answering(config.run_dir, crew.place):
            _log.info("robots ready", agents=len(demo.robots))
            await asyncio.get_running_loop().create_future()


async def _made(place: Place) -> Demo:
    """The demo tenant, made whole even if the control plane dies on the way."""
    retry = Retry(AGAIN_S, AGAIN_MAX_S)
    while True:
        await place.until_ready()
        try:
            return await make_demo(place)
        except (ApiError, NotRunning) as error:
            _log.warning("the demo tenant is not whole yet; trying again", reason=str(error))
        await retry.pause()


def _length(facts: CallFacts) -> float:
    return (facts.ended or facts.began) - facts.began
