"""A built-in node on real sockets, with a list for an agent."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from tandem.adapters.memory.blobs import BlobTable, MemoryBlobs
from tandem.adapters.system import SystemClock, SystemEntropy
from tandem.core.ports.media import (
    Answer,
    Bridge,
    Command,
    CommandSettled,
    DirectoryDevice,
    DirectoryNumber,
    LegAnswered,
    LegArrived,
    MediaEvent,
    Originate,
    Outcome,
    Verb,
)
from tandem.core.seal import secret
from tandem.media.backend import MergedDirectory, Row, RowKind
from tandem.media.builtin.config import BuiltinConfig
from tandem.media.builtin.driver import BuiltinNode
from tandem.media.builtin.prompts import load_prompts
from tandem.wire.sip.digest import hash_password
from tests.integration.media.phone import PATIENCE_S, Phone
from tests.support.prompts import write_prompts

TENANT = "t1"
NUMBER = "4930100"
REALM = "demo.test"


@dataclass(frozen=True)
class Told:
    """One event."""

    tenant: str
    leg: str
    body: MediaEvent
    at_ms: int


@dataclass
class ListSink:
    """Keeps what a node tells."""

    told: list[Told] = field(default_factory=list)
    rows: dict[tuple[RowKind, str], Mapping[str, Any]] = field(default_factory=dict)
    news: asyncio.Event = field(default_factory=asyncio.Event)

    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        self.told.append(Told(tenant, leg, body, media_time_ms))
        self.news.set()

    def remember(self, kind: RowKind, id: str, value: Mapping[str, Any] | None) -> None:
        if value is None:
            self.rows.pop((kind, id), None)
        else:
            self.rows[kind, id] = value

    async def until(self, *kinds: type, leg: str | None = None, after: int = 0) -> Told:
        """The first event of these kinds, now or to come."""

        def ready() -> Told | None:
            return next((t for t in self.told[after:] if isinstance(t.body, kinds) and leg in (None, t.leg)), None)

        return await self.when(ready)

    async def when(self, ready: Callable[[], Any]) -> Any:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := ready()):
                self.news.clear()
                await self.news.wait()
            return found

    def of(self, leg: str) -> list[MediaEvent]:
        """What was told of a leg, settlements aside."""
        return [t.body for t in self.told if t.leg == leg and not isinstance(t.body, CommandSettled)]

    def as_rows(self) -> list[Row]:
        return [Row(*name, value) for name, value in self.rows.items()]


def devices(users: Mapping[str, str]) -> dict[str, DirectoryDevice]:
    """Directory entries of users with their passwords."""
    hashed = {user: hash_password(user, REALM, password) for user, password in users.items()}
    return {user: DirectoryDevice(user, TENANT, 0, REALM, h.md5, h.sha256) for user, h in hashed.items()}


DIRECTORY = MergedDirectory(
    {NUMBER: DirectoryNumber(NUMBER, TENANT, 0)}, devices({"ann": "ann-secret", "bob": "bob-secret"})
)


class World:
    """A node and its phones."""

    def __init__(self, config: BuiltinConfig, sink: ListSink, blobs: BlobTable) -> None:
        self.sink = sink
        self.blobs = blobs
        self.config = config
        self.node = BuiltinNode(
            config, MemoryBlobs(self.blobs), SystemEntropy(), SystemClock(), load_prompts(config.prompts_dir), sink
        )
        self.phones: list[Phone] = []
        self.running: asyncio.Task[None] | None = None
        self._keys = 0

    async def stop(self) -> None:
        """End the node as its process does on SIGTERM."""
        if self.running is not None:
            running, self.running = self.running, None
            running.cancel()
            await asyncio.wait([running])
            self.node.close()
            if not running.cancelled():
                running.result()

    def phone(self, user: str, **options: Any) -> Phone:
        phone = Phone(user, self.node.sip_port, **options)
        self.phones.append(phone)
        return phone

    def begin(self, leg: str, verb: Verb) -> str:
        """Give a command; its key."""
        return self.begin_of(TENANT, leg, verb)

    def begin_of(self, tenant: str, leg: str, verb: Verb) -> str:
        """The same, of another tenant."""
        self._keys += 1
        key = f"k{self._keys}"
        self.node.perform(Command(tenant, key, leg, verb))
        return key

    async def settled(self, key: str) -> CommandSettled:
        def ready() -> CommandSettled | None:
            return next(
                (t.body for t in self.sink.told if isinstance(t.body, CommandSettled) and t.body.key == key), None
            )

        return await self.sink.when(ready)

    async def do(self, leg: str, verb: Verb) -> None:
        """Give a command that must succeed."""
        settled = await self.settled(self.begin(leg, verb))
        assert settled.outcome is Outcome.DONE, settled

    async def call(self, phone: Phone, number: str = NUMBER) -> str:
        """A caller dials and is answered; the leg."""
        after = len(self.sink.told)
        phone.dial(number)
        leg = (await self.sink.until(LegArrived, after=after)).leg
        await self.do(leg, Answer())
        return leg

    async def ring(self, leg: str, device: str, *, ring_timeout_ms: int = 15000) -> str:
        """Ring a device; the command's key."""
        return self.begin(leg, Originate(device, ring_timeout_ms, f"offer-{leg}", secret("4917012345")))

    async def talk(self, caller: Phone, agent: Phone, password: str) -> tuple[str, str]:
        """Two phones in a bridge; the legs of caller and agent."""
        assert await agent.register(password)
        agent.auto_answer = True
        first = await self.call(caller)
        second = f"{first}.1"
        await self.ring(second, agent.user)
        await self.sink.until(LegAnswered, leg=second)
        await self.do(first, Bridge(second))
        return first, second


@asynccontextmanager
async def world(
    home: Path, *, sink: ListSink | None = None, blobs: BlobTable | None = None, owner: bool = True,
    directory: MergedDirectory | None = DIRECTORY, rows: list[Row] | None = None, **settings: Any,
) -> AsyncIterator[World]:  # fmt: skip
    """A node that runs until the block ends; then phones and node are closed."""
    config = BuiltinConfig(home / "spool", write_prompts(home / "prompts"), sip_port=0, **settings)
    made = World(config, sink or ListSink(), blobs or BlobTable())
    if directory is not None:
        made.node.directory(directory)
    made.node.restore(rows or [], SystemClock().boottime_ms())
    made.node.owner_present(0, owner)
    made.running = asyncio.create_task(made.node.run())
    try:
        yield made
    finally:
        for phone in made.phones:
            phone.close()
        await made.stop()
