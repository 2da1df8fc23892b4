"""Robots: agents that answer and callers that call, all real SIP phones with real RTP."""

from __future__ import annotations

import asyncio
import secrets
import time
from collections.abc import Callable
from dataclasses import dataclass

import structlog

from tandem.api.routing.v1 import agent_state_pb2, routing_service_pb2
from tandem.client.account import Account, NotRegistered
from tandem.client.api import Api, ApiError
from tandem.client.call import CallOver, PhoneCall
from tandem.client.facts import CallFacts
from tandem.client.manner import Answers, Manner
from tandem.client.phone import Phone
from tandem.client.ticker import Ticker
from tandem.client.udp import Address
from tandem.runtime.retry_driver import Retry

_log = structlog.get_logger(__name__)

AGAIN_S, AGAIN_MAX_S = 1.0, 2.0
"""Pauses before a registration that was lost is tried again."""
NEW_PASSWORD_S = 5.0
CALLER_WAITS_S = 600.0
"""A robot caller gives up after so long in all."""


@dataclass(frozen=True, slots=True)
class Talk:
    """How long a talk is: the robot hangs up after so many seconds of it; None leaves it to the other."""

    seconds: float | None = None

    async def over(self, hang_up: Callable[[], None], call: PhoneCall) -> None:
        """Until the call is over, ended by us if it is our turn."""
        if self.seconds is None:
            await call.until_over()
            return
        try:
            async with asyncio.timeout(self.seconds):
                await call.until_over()
        except TimeoutError:
            hang_up()


class RobotAgent:
    """A device with an agent who is always there. `run` until cancelled."""

    def __init__(
        self,
        api: Api | None,
        name: str,
        account: Account,
        ticker: Ticker,
        hz: float,
        *,
        manner: Manner = Answers(1.0),  # noqa: B008 - frozen
        talk: Talk = Talk(),
    ) -> None:
        """`name` is the agent's resource. Without `api` somebody else says that the agent is there."""
        self.name = name
        self.phone = Phone(account, ticker, hz=hz, manner=manner)
        self._api = api
        self._talk = talk
        self._ready = asyncio.Event()

    async def until_ready(self) -> None:
        """Wait until it was registered and available for the first time."""
        await self._ready.wait()

    async def get_ready(self) -> None:
        """Register and be available. Raises `NotRegistered`, `ApiError`."""
        await register_new(self.phone)
        if self._api is not None:
            await set_presence(self._api, self.name, agent_state_pb2.PRESENCE_AVAILABLE)
        self._ready.set()

    async def run(self) -> None:
        """Be ready, take calls, register again when that was lost."""
        async with self.phone, asyncio.TaskGroup() as tasks:
            tasks.create_task(self._keep_ready())
            tasks.create_task(self._talk_to_all())

    async def _keep_ready(self) -> None:
        retry = Retry(AGAIN_S, AGAIN_MAX_S)
        while True:
            try:
                await self.get_ready()
                retry.reset()
                await self.phone.until_unregistered()
            except (NotRegistered, ApiError) as error:
                _log.warning("robot is not ready", agent=self.name, reason=str(error))
            await retry.pause()

    async def _talk_to_all(self) -> None:
        call: PhoneCall | None = None
        while True:
            call = await self.phone.next_call(call)
            try:
                await call.until_answered()
            except CallOver:
                continue
            await self._talk.over(lambda call=call: self.phone.hang_up(call), call)  # type: ignore[misc]


@dataclass(frozen=True, slots=True)
class Errand:
    """What a robot caller does: dials, listens, presses, waits for an agent's voice, talks."""

    number: str
    digits: str = "1"
    listens_s: float = 1.0
    """How long it listens to the menu before it presses."""
    talk: Talk = Talk(8.0)


async def run_errand(phone: Phone, errand: Errand) -> CallFacts:
    """Make the call to its end, which may be a refusal; what the phone knows of it."""
    call = phone.dial(errand.number)
    try:
        async with asyncio.timeout(CALLER_WAITS_S):
            await call.until_answered()
            await call.until_sound(errand.listens_s)
            call.press(errand.digits)
            await call.until_voice()
            await errand.talk.over(lambda: phone.hang_up(call), call)
    except CallOver as over:
        return over.facts
    except TimeoutError:
        phone.hang_up(call)
    return call.facts


async def call_once(node: Address, ticker: Ticker, caller: str, hz: float, errand: Errand) -> CallFacts:
    """A caller with a phone of its own."""
    async with Phone(Account(caller, node), ticker, hz=hz) as phone:
        return await run_errand(phone, errand)


async def register_new(phone: Phone) -> None:
    """Register with a password that was just made: it reaches the media node a moment after the
    API's answer. Raises `NotRegistered`."""
    give_up = time.monotonic() + NEW_PASSWORD_S
    while True:
        try:
            return await phone.register()
        except NotRegistered:
            if time.monotonic() > give_up:
                raise
        await asyncio.sleep(0.1)


async def set_presence(api: Api, agent: str, presence: agent_state_pb2.Presence.ValueType) -> None:
    """Say how an agent is. Raises `ApiError`."""
    request = routing_service_pb2.SetPresenceRequest(name=agent, presence=presence)
    await api.call(api.routing.SetPresence, request)


def new_number() -> str:
    """A caller's number that nobody else has: 10 digits of the range for drama (+44 1632 960...)."""
    return f"441632{960000 + secrets.randbelow(1000)}{secrets.randbelow(1000):03}"
