"""The FreeSWITCH backend of the media agent before a live node, and phones that it brings together by orders alone."""

from __future__ import annotations

import asyncio
import json
import secrets
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass, field
from itertools import count
from pathlib import Path
from types import MappingProxyType
from typing import Any, TypeVar

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.freeswitch_core import insert_call
from tandem.adapters.system import SystemClock, SystemEntropy
from tandem.core.ports.blobs import Blobs
from tandem.core.ports.media import (
    Answer,
    Bridge,
    Command,
    CommandSettled,
    DeviceRegistered,
    DirectoryDevice,
    DirectoryNumber,
    LegArrived,
    MediaEvent,
    Originate,
    Outcome,
    Verb,
)
from tandem.core.seal import secret
from tandem.media.backend import MergedDirectory, Row, RowKind
from tandem.media.freeswitch.config import FreeswitchConfig
from tandem.media.freeswitch.driver import FreeswitchNode, Switch
from tandem.media.freeswitch.files import Files
from tandem.media.freeswitch.gateways import Gateway
from tandem.media.freeswitch.ids import channel_of, channel_of_caller
from tandem.wire.sip.digest import hash_password
from tests.e2e.foreign import Baresip, baresip
from tests.e2e.freeswitch.esl_client import Esl
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.freeswitch.talk import AGENT_HZ, CALLER_HZ, EVENTS, NUMBER, THIRD_HZ, heard_by
from tests.e2e.programs import PATIENCE_S
from tests.e2e.sounds import sine, write_wav

TENANT, PASSWORD = "t1", "secret"
E = TypeVar("E")


@dataclass
class Told:
    """The agent, as far as the backend sees it: what was told, in order, and the journal's rows."""

    events: list[tuple[str, MediaEvent]] = field(default_factory=list)
    rows: dict[tuple[RowKind, str], Mapping[str, Any]] = field(default_factory=dict)
    _news: asyncio.Condition = field(default_factory=asyncio.Condition)
    _waking: set[asyncio.Task[None]] = field(default_factory=set)

    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        assert tenant == TENANT
        self.events.append((leg, body))
        waking = asyncio.create_task(self._wake())
        self._waking.add(waking)
        waking.add_done_callback(self._waking.discard)

    def remember(self, kind: RowKind, id: str, value: Mapping[str, Any] | None) -> None:
        """As the journal does: what comes of it is text."""
        if value is None:
            self.rows.pop((kind, id), None)
        else:
            self.rows[kind, id] = json.loads(json.dumps(value))

    async def _wake(self) -> None:
        async with self._news:
            self._news.notify_all()

    def of(self, kind: type[E], leg: str) -> list[E]:
        """Bodies of that type on that leg."""
        return [body for at, body in self.events if at == leg and isinstance(body, kind)]

    async def until(self, done: Callable[[], object]) -> None:
        """Until then, looked at with each event."""
        try:
            async with asyncio.timeout(PATIENCE_S), self._news:
                await self._news.wait_for(done)
        except TimeoutError:
            raise AssertionError(f"it did not come; there came {self.events}") from None


def _node(
    switch: FreeSwitch,
    directory_port: int,
    home: Path,
    blobs: Blobs,
    told: Told,
    prompts: Mapping[str, str],
    gateways: Sequence[Gateway] = (),
    *,
    phones_srtp: str = "optional",
    door: str = "",
) -> FreeswitchNode:
    where = Switch("127.0.0.1", int(switch.settings["esl_port"]), "127.0.0.1", directory_port)
    files = Files(home / "spool", switch.cdrs, blobs, SystemEntropy(), switch.gateways, insert=insert_call)
    config = FreeswitchConfig(recordings_dir=str(home / "memory"), phones_srtp=phones_srtp, door=door)
    password = str(switch.settings["esl_password"])
    return FreeswitchNode(config, where, password, prompts, files, SystemClock(), told, gateways)


@dataclass
class Ordered:
    """A caller and an agent in a talk, and a third phone that is registered."""

    switch: FreeSwitch
    esl: Esl
    home: Path
    directory_port: int
    directory: MergedDirectory
    told: Told
    blobs: Blobs
    devices: Mapping[str, str]
    prompts: Mapping[str, str]
    gateways: Sequence[Gateway] = ()
    phones_srtp: str = "optional"
    door: str = ""
    phones: dict[str, Baresip] = field(default_factory=dict)
    node: FreeswitchNode = field(init=False)
    caller: str = ""
    agent: str = ""
    channels: dict[str, str] = field(default_factory=dict)
    """Leg -> channel."""
    _keys: count[int] = field(default_factory=count)
    _performed: list[Command] = field(default_factory=list)
    _running: asyncio.Task[None] | None = None

    async def order(self, leg: str, verb: Verb, *, dies_after_s: float | None = None) -> CommandSettled:
        """Command it, until it has settled. If so wished, the agent dies that much later, and lives again."""
        key = f"key/{next(self._keys)}"
        if isinstance(verb, Originate):
            self.channels[leg] = channel_of(TENANT, key, verb)
        self._performed.append(Command(TENANT, key, leg, verb))
        self.node.perform(self._performed[-1])
        if dies_after_s is not None:
            # The node sends what it has to in a later turn of the loop.
            await asyncio.sleep(dies_after_s)
            await self.dies()
            await self.lives()
        await self.told.until(lambda: self._outcomes(leg, key))
        return self._outcomes(leg, key)[0]

    def _outcomes(self, leg: str, key: str) -> list[CommandSettled]:
        return [settled for settled in self.told.of(CommandSettled, leg) if settled.key == key]

    async def done(self, leg: str, verb: Verb, *, dies_after_s: float | None = None) -> None:
        """Command it, and it is done."""
        settled = await self.order(leg, verb, dies_after_s=dies_after_s)
        assert settled.outcome is Outcome.DONE, (settled, self.told.events[-8:])

    async def lives(self) -> None:
        """An agent begins on what the journal has."""
        self.node = _node(
            self.switch, self.directory_port, self.home, self.blobs, self.told, self.prompts, self.gateways,
            phones_srtp=self.phones_srtp, door=self.door,
        )  # fmt: skip
        await self.node.open()
        self.node.directory(self.directory)
        self.node.owner_present(0, True)
        self.node.restore([Row(kind, id, value) for (kind, id), value in self.told.rows.items()], 0)
        for command in self._performed:
            if not self._outcomes(command.leg, command.key):
                self.node.settle(command)
        self._running = asyncio.create_task(self.node.run())

    async def dies(self) -> None:
        """As by kill -9: the switch loses the connection, and what it told there and nobody wrote is told nobody."""
        assert self._running is not None
        self._running.cancel()
        await asyncio.wait([self._running])
        await self.node.close()

    async def ring(self, phone: str) -> str:
        """Ring a phone until it answers; its leg."""
        leg = f"{self.caller}.{phone}"
        await self.done(leg, Originate(self.devices[phone], 20_000, "", secret("+4930")))
        return leg

    async def take(self, phone: str) -> str:
        """Have a phone call in, and answer it; its leg."""
        before = [leg for leg, body in self.told.events if isinstance(body, LegArrived)]

        def arrived() -> list[str]:
            return [leg for leg, body in self.told.events if isinstance(body, LegArrived) and leg not in before]

        self.phones[phone].command("dial", f"sip:{NUMBER}@{self.switch.sip}")
        await self.told.until(arrived)
        [leg] = arrived()
        self.channels[leg] = channel_of_caller(leg) or ""
        await self.done(leg, Answer())
        return leg

    async def heard_by(self, leg: str) -> set[int]:
        """Which of the three tones the node sends to a leg, for two seconds from now."""
        return await heard_by(self.esl, self.home, self.channels[leg])


@asynccontextmanager
async def running(
    switch: FreeSwitch,
    directory_port: int,
    home: Path,
    directory: MergedDirectory,
    gateways: Sequence[Gateway] = (),
    *,
    phones_srtp: str = "optional",
) -> AsyncIterator[tuple[FreeswitchNode, Told, Blobs]]:
    """The backend of an agent, begun and ended with the block."""
    async with AsyncExitStack() as stack:
        told = Told()
        blobs = await LocalBlobs.open(home / "blobs")
        stack.push_async_callback(blobs.close)
        node = _node(switch, directory_port, home, blobs, told, {}, gateways, phones_srtp=phones_srtp)
        await node.open()
        stack.push_async_callback(node.close)
        node.directory(directory)
        node.owner_present(0, True)
        node.restore([], 0)
        task = asyncio.create_task(node.run())
        stack.callback(task.cancel)
        yield node, told, blobs


def accounts(*users: str) -> MergedDirectory:
    """One number, and those devices."""
    hashed = {user: hash_password(user, "tandem", PASSWORD) for user in users}
    return MergedDirectory(
        {NUMBER: DirectoryNumber(NUMBER, TENANT, 0)},
        {user: DirectoryDevice(user, TENANT, 0, "tandem", ha1.md5, ha1.sha256) for user, ha1 in hashed.items()},
    )


@asynccontextmanager
async def ordered(
    switch: FreeSwitch,
    directory_port: int,
    home: Path,
    devices: Mapping[str, str],
    gateways: Sequence[Gateway] = (),
    *,
    phones_srtp: str = "optional",
    door: str = "",
    said: Mapping[str, int] = MappingProxyType({}),
) -> AsyncIterator[Ordered]:
    """A node that an owner gives orders to; nobody calls yet. Each prompt in `said` is a second of a tone, in Hz."""
    async with AsyncExitStack() as stack:
        blobs = await LocalBlobs.open(home / "blobs")
        stack.push_async_callback(blobs.close)
        esl = await stack.enter_async_context(switch.connect())
        await esl.subscribe(*EVENTS)
        prompts = {name: str(home / f"{name}.wav") for name in said}
        for name, hz in said.items():
            write_wav(home / f"{name}.wav", sine(hz, 1))
        directory = accounts(*devices.values())
        made = Ordered(
            switch,
            esl,
            home,
            directory_port,
            directory,
            Told(),
            blobs,
            devices,
            prompts,
            gateways,
            phones_srtp,
            door,
        )
        await made.lives()
        stack.push_async_callback(made.dies)
        yield made


@asynccontextmanager
async def ordered_talk(
    switch: FreeSwitch, directory_port: int, home: Path, said: Mapping[str, int] = MappingProxyType({})
) -> AsyncIterator[Ordered]:
    """One that ends with the block, as the phones do."""
    devices = {name: f"{name}{secrets.token_hex(3)}" for name in ("agent", "third")}
    async with AsyncExitStack() as stack:
        talk = await stack.enter_async_context(ordered(switch, directory_port, home, devices, said=said))
        for name, user, password, hz in (
            ("caller", "cara", "", CALLER_HZ),
            ("agent", devices["agent"], PASSWORD, AGENT_HZ),
            ("third", devices["third"], PASSWORD, THIRD_HZ),
        ):
            phone = baresip(home / name, switch.sip, user, password, tone_hz=hz)
            talk.phones[name] = await stack.enter_async_context(phone)
        told = talk.told
        await told.until(lambda: {body.device for body in told.of(DeviceRegistered, "")} >= set(devices.values()))
        talk.caller = await talk.take("caller")
        talk.agent = await talk.ring("agent")
        await talk.done(talk.caller, Bridge(talk.agent))
        yield talk
