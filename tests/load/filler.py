"""Contacts in great number without processes between: a shard and the stub's phones call each other
directly, on the product's steps, codecs, seals and ids, and every commit counts at once.

What it writes is a log like any other (same inputs, events and effects), so benchmarks of replay,
memory and start-up begin from it instead of dialling for minutes. It keeps the records in memory;
`snapshot` and `store` write them where a `plane` finds them.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable
from pathlib import Path
from typing import Any

from tandem.adapters.sqlite import SqliteKeys, SqliteLog
from tandem.adapters.system import SystemClock, SystemEntropy
from tandem.core.ports.blobs import Blobs
from tandem.core.ports.log import Partition, Stored
from tandem.core.ports.media import Command, DirectoryNumber, Event, MediaEvent
from tandem.core.seal import Withheld
from tandem.media.backend import MergedDirectory, RowKind
from tandem.media.link.owner_end import opened_verb
from tandem.routing.domain import words as rw
from tandem.runtime import snapshot
from tandem.runtime.outputs import Append, LoadKeys, Perform
from tandem.runtime.shard import Phase, Shard
from tandem.runtime.shardtime import Instant
from tandem.runtime.step import Offer
from tandem.runtime.turns import MAX_CLIENTS
from tandem.session.domain import reception as r
from tandem.session.inbox import media_offer
from tests.load.media_stub import Plan, Running, StubBackend
from tests.load.plane import NUMBER, QUEUES, STEPS, TENANT, agent_names, live_group

LIVE = Partition("live", 0)


class Filler:
    """One owner and one node. Nothing here waits: `settle` lets everything happen."""

    def __init__(self, node: str = "w1", prefix: str = "w1x") -> None:
        self.node = node
        self.records: list[Stored] = []
        self.keys: dict[str, bytes] = {}
        self.contacts = 0
        self._clock, self._entropy = SystemClock(), SystemEntropy()
        self._number = 0
        self._soon: deque[Callable[[], None]] = deque()
        self.phones = StubBackend(self, prefix, self._later)
        self.shard = Shard(live_group(), 0, "filler", (), report=_refuse)
        self.shard.claim(self.now)
        self.settle()
        self.shard.node_up(node, "i1")
        self.shard.node_kept(node)
        self.settle()
        self.shard.node_legs(node, ())
        self.settle()
        assert self.shard.phase is Phase.LIVE
        self.phones._numbers = MergedDirectory({NUMBER: DirectoryNumber(NUMBER, TENANT, 0)}, {})

    @property
    def now(self) -> Instant:
        """This host's time."""
        return Instant(self._clock.boottime_ms(), self._clock.wall_ms(), self._clock.boot_id())

    # ------------------------------------------------------------------- the sink of the phones

    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        """See `media.backend.Sink`."""
        self._number += 1
        event = Event(tenant, self._number, media_time_ms, leg, body)
        self._offer(media_offer(self.node, "i1", event, self.shard.shard_time(media_time_ms)))

    def remember(self, kind: RowKind, id: str, value: Any) -> None:
        """See `media.backend.Sink`. The stub remembers nothing."""

    def _later(self, ms: int, act: Callable[..., None], *given: Any) -> None:
        if not ms:  # what is later than now never comes here
            self._soon.append(lambda: act(*given))

    # ------------------------------------------------------------------- driving

    def _offer(self, offer: Offer) -> None:
        assert self.shard.offer(offer), f"the shard has no room for {offer.command}"

    def settle(self) -> None:
        """Until nothing moves."""
        moved = True
        while moved:
            outputs = self.shard.turn(self.now)
            for output in outputs:
                self._do(output)
            moved = bool(outputs or self._soon)
            for _ in range(len(self._soon)):
                self._soon.popleft()()

    def _do(self, output: Any) -> None:
        match output:
            case Append(body):
                self.records.append(Stored(len(self.records) + 1, body))
                self.shard.read_back(self.records[-1:], self.now)
            case LoadKeys(allocate):
                fresh = {key: self._entropy.secret(32) for key in allocate}
                self.keys |= fresh
                self.shard.keys_loaded(fresh, {})
            case Perform(key, tenant, payload=payload):
                verb = opened_verb(payload.verb, self.shard.key)
                self.phones.perform(Command(tenant, key, payload.leg, verb))
            case _:
                pass

    def configure(self, agents: int) -> None:
        """The flow at the number, the queues, and agents of the first who are available."""
        rows: list[tuple[str, Any]] = [
            *(("desk", rw.PublishQueue(name, 1, 15_000, 0, False)) for name in QUEUES),
            ("reception", r.PublishFlow("main", 1, STEPS)),
            ("reception", r.PublishNumber(NUMBER, 1, "main", False)),
        ]
        for agent in agent_names(agents):
            device = f"{agent}.{TENANT}"
            rows.append(("desk", rw.PublishAgent(agent, 1, (QUEUES[0],), (), (device,), False)))
            published = r.PublishDevice(device, 1, agent, "bench", Withheld(), Withheld(), False)
            rows.append(("reception", published))
        for number, (stream, command) in enumerate(rows, 1):
            self._offer(Offer(f"tenant/0/{TENANT}", number, TENANT, stream, command))
        self.settle()
        for place, agent in enumerate(agent_names(agents), 1):
            ready = r.NoteDevice(f"{agent}.{TENANT}", self.node, True, self.shard.now_ms)
            self._number += 1
            source = f"media/{self.node}/i1/{TENANT}"
            self._offer(Offer(source, self._number, TENANT, "reception", ready))
            self._offer(Offer("client/k", 0, TENANT, "desk", rw.SetPresence(agent, rw.AVAILABLE), handle=agent))
            if place % MAX_CLIENTS == 0:
                self.settle()
        self.settle()

    def call(self, count: int, digit: str = "1", at_once: int = 256, talk_ms: int = 0) -> Running:
        """So many calls, until nothing moves: over, or, if nobody serves the digit's queue, in line,
        or, with a talk, in talk for ever."""
        running = Running(Plan(NUMBER, count, at_once=at_once, digit=digit, talk_ms=talk_ms))
        while running.told.dialled < count:
            for _ in range(min(at_once, count - running.told.dialled)):
                self.phones.dial(running)
            self.settle()
        self.contacts += count
        return running

    # ------------------------------------------------------------------- the result

    async def snapshot(self, blobs: Blobs) -> None:
        """Write a snapshot of all that was done so far, as an owner does."""
        name = f"{snapshot.prefix(LIVE)}{self.shard.n:020d}"
        writer = snapshot.Writer(self.shard.group, self.shard.ledger.image())
        for block in writer.blocks(self._clock.monotonic_s, 1.0):
            if block is not None:
                await blobs.put(f"{name}/part-{len(writer.checksums) - 1:04d}", block)
        offset = self.records[-1].offset
        await blobs.put(f"{name}/manifest", writer.manifest(self.shard.n, offset, self.shard.group.shape))

    async def store(self, home: Path) -> None:
        """The log in SQLite, where a `plane` or a fold finds it."""
        log = await SqliteLog.open(home / "log")
        for first in range(0, len(self.records), 256):
            batch = self.records[first : first + 256]
            await asyncio.gather(*[log.append(LIVE, stored.body) for stored in batch])
        await log.close()

    async def keep_keys(self, home: Path) -> None:
        """The ids of all data keys in `keys.db`, so that an owner finds one for each contact. They are
        other keys than those that sealed: nothing here is ever opened."""
        keys = await SqliteKeys.open(home / "log", entropy=self._entropy, cell_key_file=home / "cell.key")
        ids = list(self.keys)
        for first in range(0, len(ids), 256):
            await keys.allocate(tuple(ids[first : first + 256]))
        await keys.close()


def _refuse(text: str, error: BaseException) -> None:
    raise AssertionError(text) from error
