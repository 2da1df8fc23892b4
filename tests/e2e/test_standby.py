"""`tandem up --standby`: the second control plane takes over, and what becomes of the parts when the
supervisor itself is killed."""

from __future__ import annotations

import asyncio
import os
import random
import select
import signal
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack

import pytest

from tandem.client import count
from tandem.client.facts import By
from tests.e2e.cell import SHARDS, TANDEM, Cell, Centre
from tests.e2e.crowd import Crowd
from tests.e2e.programs import PATIENCE_S, Program
from tests.e2e.rest import Json

QUEUES = {"sales": ("ann",), "desk": ("bob",), "nobody": ("cid",)}
TAKEOVERS = 3


class Supervised(Cell):
    """A cell that `tandem up --standby` runs."""

    up: Program

    def start(self) -> None:
        """Supervisor and parts, until calls can be taken and the second control plane waits."""
        self.up = self.control = Program("up", (*TANDEM, "up", "--standby"), env=self._environment)
        self.wait_ready()
        self.up.wait_line("standby follows")

    def pid(self, part: str) -> int:
        """Of a part, as the supervisor wrote it down."""
        return int((self.data_dir / "run" / f"{part}.pid").read_text())

    def owner(self) -> int:
        """The control plane that holds the lock."""
        return int((self.data_dir / "log" / "log.lock").read_text())


@pytest.fixture
def supervised(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Supervised]:
    cell = Supervised(tmp_path_factory.mktemp("up"))
    try:
        yield cell
    finally:
        cell.stop()


async def test_the_second_control_plane_takes_over(supervised: Supervised) -> None:
    """kill -9 of the one that owns, again and again: talks go on, places are kept, and the one that
    was killed comes back as the one that waits."""
    supervised.start()
    async with (
        AsyncExitStack() as stack,
        supervised.centre(queues=QUEUES, timeout="60s", tries=9, ring_timeout_s=120) as centre,
    ):
        crowd = Crowd(supervised, centre, random.Random(1), stack)
        ann, bob = await crowd.agent("ann", 0), await crowd.agent("bob", 1)
        menu, waits = await crowd.menu_sitter(), await crowd.queue_sitter("3")
        talk = await crowd.talk_sitters("1", ann)
        ring = await crowd.ring_sitter("2", bob)
        (before,) = [c for c in await contacts(centre) if c["queue"].endswith("/nobody")]
        decided = []
        for n in range(1, TAKEOVERS + 1):
            old = supervised.owner()
            caller = await crowd.caller()
            os.kill(old, signal.SIGKILL)
            killed = time.monotonic()
            call = caller.dial(centre.number)
            await call.until_answered()
            decided.append(time.monotonic() - killed)
            assert supervised.owner() != old
            caller.hang_up(call)
            await asyncio.to_thread(supervised.up.wait_line, "standby follows", count=n + 1)
            await asyncio.to_thread(supervised.up.wait_line, "media node up", count=(n + 1) * SHARDS)
            assert old not in (supervised.pid("control"), supervised.pid("standby"))
        assert all(call.is_up for call in (menu, waits, *talk))
        bob.answer(ring[1])
        async with asyncio.timeout(PATIENCE_S):
            await ring[0].until_hears(bob.hz)
        (after,) = [c for c in await contacts(centre) if c["queue"].endswith("/nobody")]
        assert after["enqueueTime"] == before["enqueueTime"]
        for call in (menu, waits, talk[0], ring[0]):
            crowd.hang_up(call)
        for agent in (ann, bob):
            await agent.calls[-1].until_over()
        assert count.dropped(crowd.facts()) == []
        assert count.rung_twice(crowd.facts()) == []
        print("kill to answer of a new caller:", ", ".join(f"{seconds * 1000:.0f} ms" for seconds in decided))


async def contacts(centre: Centre) -> list[Json]:
    """Those that live."""
    found: list[Json] = (await centre.rest.get(f"{centre.tenant}/contacts", life="LIFE_LIVE"))["contacts"]
    return found


async def test_parts_end_with_a_supervisor_that_is_killed(supervised: Supervised) -> None:
    """Nothing is left over that nobody looks after, and the phones are told."""
    supervised.start()
    async with AsyncExitStack() as stack, supervised.centre("ann") as centre:
        crowd = Crowd(supervised, centre, random.Random(1), stack)
        talk = await crowd.talk_sitters("1", await crowd.agent("ann", 0))
        parts = [supervised.pid(part) for part in ("media", "control", "standby")]
        supervised.up.send(signal.SIGKILL)
        async with asyncio.timeout(PATIENCE_S):
            for call in talk:
                assert (await call.until_over()).by is By.FAR
        for pid in parts:
            await asyncio.to_thread(gone, pid)
        await asyncio.to_thread(supervised.up.wait_end)
        supervised.ended.append(supervised.up)
        supervised.start()


def gone(pid: int) -> None:
    """Until the process, which is no child of ours, has ended."""
    try:
        descriptor = os.pidfd_open(pid)
    except ProcessLookupError:
        return
    try:
        assert select.select([descriptor], [], [], PATIENCE_S)[0], f"{pid} is still there"
    finally:
        os.close(descriptor)
