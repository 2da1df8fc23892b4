"""The peer of row 2: the same shard, decisions and log behind one unary gRPC call a step.

Two processes as services would stand: one has the phones, and calls the other for each thing that
happens to a contact; that one decides, waits until the commit is durable, and answers with the
orders that came of it. Nothing else differs: the same decider, codec of frames and SQLite log.
"""

from __future__ import annotations

import argparse
import asyncio
import sys
import time
from collections import deque
from pathlib import Path
from typing import Any

import grpc
import uvloop

from tandem.adapters.sqlite import SqliteLog
from tandem.core.ports.media import Command, DirectoryNumber, Event, MediaEvent
from tandem.media.backend import MergedDirectory, RowKind
from tandem.media.link.owner_end import opened_verb
from tandem.runtime.media_codec import decode_from_node, decode_to_node, encode_from_node, encode_to_node
from tandem.runtime.outputs import Append, LoadKeys, Perform
from tandem.session.inbox import media_offer
from tests.load.filler import LIVE, Filler
from tests.load.media_stub import Plan, Running, StubBackend, on_the_loop
from tests.load.plane import NUMBER, TENANT

STEP = "/bench.Steps/Step"
CPU = "/bench.Steps/Cpu"
AGENTS = 60
AT_ONCE = 32


class Decider(Filler):
    """The second process: a shard whose appends go to SQLite."""

    def __init__(self) -> None:
        self.log: SqliteLog | None = None  # none yet: what is configured stands in memory
        self._orders: list[tuple[int, Command]] = []
        self._durable = asyncio.Event()
        self._appends: set[asyncio.Task[None]] = set()
        super().__init__("m1", "g")

    def _do(self, output: Any) -> None:
        if self.log is None:
            super()._do(output)
            return
        match output:
            case Append(body):
                task = asyncio.ensure_future(self._append(self.log, body))
                self._appends.add(task)
                task.add_done_callback(self._appends.discard)
            case LoadKeys(allocate):
                super()._do(LoadKeys(allocate, ()))
            case Perform(key, tenant, payload=payload):
                command = Command(tenant, key, payload.leg, opened_verb(payload.verb, self.shard.key))
                self._orders.append((1, command))
            case _:
                pass

    async def _append(self, log: SqliteLog, body: bytes) -> None:
        await log.append(LIVE, body)
        self.records.append(type(self.records[0])(len(self.records) + 1, body))
        self.shard.read_back(self.records[-1:], self.now)
        for output in self.shard.turn(self.now):
            self._do(output)
        self._durable.set()
        self._durable = asyncio.Event()

    async def serve(self, address: str, home: Path) -> None:
        """Until stdin ends."""
        self.configure(AGENTS)
        self.log = await SqliteLog.open(home / "log")
        server = grpc.aio.server()
        service, _, step = STEP[1:].partition("/")
        handlers = {
            step: grpc.unary_unary_rpc_method_handler(self._step),
            "Cpu": grpc.unary_unary_rpc_method_handler(_cpu),
        }
        server.add_generic_rpc_handlers((grpc.method_handlers_generic_handler(service, handlers),))
        server.add_insecure_port(address)
        await server.start()
        print("ready", flush=True)
        await asyncio.get_running_loop().run_in_executor(None, sys.stdin.read)
        await server.stop(None)

    async def _step(self, body: bytes, context: Any) -> bytes:
        _, frame = decode_from_node(body)[0]
        assert isinstance(frame, Event)
        self._number += 1
        event = Event(frame.tenant, self._number, frame.media_time_ms, frame.leg, frame.body)
        self.shard.offer(media_offer(self.node, "i1", event, self.shard.shard_time(frame.media_time_ms)))
        for output in self.shard.turn(self.now):
            self._do(output)
        n = self.shard.n
        while self.shard.durable < n:
            await self._durable.wait()
        orders, self._orders = self._orders, []
        return encode_to_node(orders)


async def _cpu(body: bytes, context: Any) -> bytes:
    return str(time.process_time()).encode()


class Caller:
    """The first process: phones, each of whose doings is a call."""

    def __init__(self, channel: grpc.aio.Channel) -> None:
        self._step = channel.unary_unary(STEP)
        self._waiting: deque[bytes] = deque()
        self._lanes: dict[str, asyncio.Queue[bytes]] = {}
        self._tasks: set[asyncio.Task[None]] = set()
        self.calls = 0
        self.phones = StubBackend(self, "g", on_the_loop)
        self.phones._numbers = MergedDirectory({NUMBER: DirectoryNumber(NUMBER, TENANT, 0)}, {})

    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        """See `media.backend.Sink`: a contact's doings go one after another."""
        contact = leg.partition(".")[0]
        lane = self._lanes.get(contact)
        if lane is None:
            lane = self._lanes[contact] = asyncio.Queue()
            task = asyncio.ensure_future(self._run(lane))
            self._tasks.add(task)
        lane.put_nowait(encode_from_node([(1, Event(tenant, 1, media_time_ms, leg, body))]))

    def remember(self, kind: RowKind, id: str, value: Any) -> None:
        """See `media.backend.Sink`."""

    async def _run(self, lane: asyncio.Queue[bytes]) -> None:
        while True:
            body = await lane.get()
            self.calls += 1
            for _, frame in decode_to_node(await self._step(body)):
                assert isinstance(frame, Command)
                self.phones.perform(frame)
            lane.task_done()

    async def contacts(self, count: int) -> Running:
        """So many, to their end."""
        running = Running(Plan(NUMBER, count, at_once=AT_ONCE))
        await self.phones.carry_out(running)
        return running

    async def close(self) -> None:
        """End what runs, once all calls are answered: phones of agents are hung up after the caller is over."""
        for lane in self._lanes.values():
            await lane.join()
        for task in self._tasks:
            task.cancel()


async def hops(home: Path, count: int) -> float:
    """Contacts per processor second of both processes together."""
    address = f"unix:{home}/run/steps.sock"
    command = (sys.executable, "-m", "tests.load.grpc_steps", "--address", address, "--home", str(home))
    pipe = asyncio.subprocess.PIPE
    process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe)
    assert process.stdout is not None
    assert process.stdin is not None
    try:
        assert await process.stdout.readline() == b"ready\n"
        async with grpc.aio.insecure_channel(address) as channel:
            caller = Caller(channel)
            cpu = channel.unary_unary(CPU)
            await caller.contacts(max(10, count // 4))
            mine, theirs = time.process_time(), float(await cpu(b""))
            running = await caller.contacts(count)
            used = time.process_time() - mine + float(await cpu(b"")) - theirs
            assert running.told.talked == running.told.over == count
            await caller.close()
    finally:
        process.stdin.close()
        await process.wait()
    return count / used


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--address", required=True)
    parser.add_argument("--home", type=Path, required=True)
    given = parser.parse_args()
    uvloop.run(Decider().serve(given.address, given.home))
