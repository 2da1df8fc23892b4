"""One shard on asyncio: lost and claimed anew, answers and their positions, cancelled at any moment."""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine, Sequence
from typing import Any

import pytest

from tandem.adapters.memory import KeyTable, MemoryKeys, MemoryLog
from tandem.core.errors import NO_OWNER, Rejected
from tandem.core.points import Point
from tandem.core.ports.keys import KeyExists
from tandem.core.ports.log import LogFailed, Partition
from tandem.runtime import driver
from tandem.runtime.retry_driver import Retry
from tandem.runtime.step import Offer
from tests.integration.runtime.toys import (
    Disk,
    HandNode,
    MemoryDisk,
    Process,
    folded,
    process,
    until,
)
from tests.support.toy import NODE, Do


async def refused(asked: asyncio.Task[Any]) -> None:
    """The client was told to come again."""
    with pytest.raises(Rejected) as rejected:
        await asked
    assert rejected.value.reason is NO_OWNER


def asking(process_: Process, script: str, request: str = "") -> asyncio.Task[str]:
    return asyncio.create_task(process_.ask("toy/a", script, request))


async def again(process_: Process, life: int) -> None:
    """The next life serves."""
    await until(lambda: process_.toys.life > life and process_.toys.is_live)


# ------------------------------------------------------------------- lost and claimed anew


async def test_clients_of_a_lost_shard_are_told_and_their_repeats_are_exact(memory: MemoryDisk) -> None:
    async with process(memory) as p:
        p.log.hold()
        asked = asking(p, "say:x;answer", "r1")
        await until(lambda: p.points.passes(Point.BEFORE_APPEND) == 3)  # two claims, one commit
        p.toys.lose("a node knows a newer owner")
        await refused(asked)
        p.log.release()  # what was under way is stored all the same, before the next claim
        await again(p, 1)
        assert await p.ask("toy/a", "say:x;answer", "r1") == "x"
        assert await p.words("toy/a") == ("x",)
        assert await p.parts(p.toys) == await folded(p.log, p.toys)


async def test_an_append_that_failed_is_in_doubt_and_the_shard_is_claimed_anew(memory: MemoryDisk) -> None:
    async with process(memory) as p:
        memory.partitions.full = True
        await refused(asking(p, "say:x;answer", "r1"))
        memory.partitions.full = False
        await until(lambda: p.toys.is_live)
        assert await p.ask("toy/a", "say:x;answer", "r1") == "x"
        assert await p.words("toy/a") == ("x",)


class Doubtful(MemoryLog):
    """Stores, and then says that it may not have."""

    fails = 0

    def append(self, partition: Partition, body: bytes) -> Coroutine[None, None, None]:
        """See the port."""
        stored = super().append(partition, body)
        if not self.fails:
            return stored
        self.fails -= 1
        return _in_doubt(stored)


async def _in_doubt(stored: Coroutine[None, None, None]) -> None:
    await stored
    raise LogFailed("the answer was lost")


class Refusing(MemoryLog):
    """Takes nothing while it is full."""

    full = False

    def append(self, partition: Partition, body: bytes) -> Coroutine[None, None, None]:
        """See the port."""
        if self.full:
            raise LogFailed("too much waits")
        return super().append(partition, body)


async def test_what_was_stored_in_doubt_is_done_once() -> None:
    async with process(MemoryDisk(make_log=Doubtful)) as p:
        p.log.fails = 1
        first = asking(p, "say:x;answer", "r1")
        await again(p, 1)
        assert await p.ask("toy/a", "say:x;answer", "r1") == "x"
        assert await p.words("toy/a") == ("x",)
        await asyncio.wait([first])
        assert first.exception() is None or isinstance(first.exception(), Rejected)


async def test_a_log_that_takes_nothing_is_no_end_of_the_process() -> None:
    async with process(MemoryDisk(make_log=Refusing)) as p:
        p.log.full = True
        await refused(asking(p, "say:x;answer"))
        p.log.full = False
        await until(lambda: p.toys.is_live)
        assert await p.ask("toy/a", "say:x;answer") == "x"


async def test_a_log_that_refuses_every_claim_is_asked_ever_more_seldom(monkeypatch: pytest.MonkeyPatch) -> None:
    pauses: list[float] = []

    class Noted(Retry):
        def next_s(self) -> float:
            pauses.append(super().next_s())
            return 0.0

    monkeypatch.setattr(driver, "RECLAIM_S", 0.2)
    monkeypatch.setattr(driver, "Retry", Noted)
    async with process(MemoryDisk(make_log=Refusing)) as p:
        p.log.full = True
        await refused(asking(p, "say:x;answer"))
        await until(lambda: len(pauses) > 6)
        p.log.full = False
        await until(lambda: p.toys.is_live)
        again = len(pauses)
        p.log.full = True
        await refused(asking(p, "say:y;answer"))
        await until(lambda: len(pauses) > again)
        p.log.full = False
    longest = [0.2, 0.4, 0.8, 1.6, 2.0, 2.0]
    assert all(most / 2 <= pause <= most for pause, most in zip(pauses, longest, strict=False))
    assert len(set(pauses[5:again])) == again - 5  # chance is in them
    assert 0.1 <= pauses[again] <= 0.2  # it was live: begun anew


async def test_a_newer_claim_takes_the_shard_and_voids_what_was_under_way(
    memory: MemoryDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "RECLAIM_S", 3600.0)  # the first one stays away
    async with process(memory, "a") as a:
        assert await a.ask("toy/a", "say:before;answer") == "before"
        a.log.hold()
        asked = asking(a, "say:never;answer")
        await until(lambda: a.points.passes(Point.BEFORE_APPEND) == 4)
        async with process(memory, "b") as b:
            await refused(asked)
            a.log.release()
            assert not a.toys.is_live
            with pytest.raises(Rejected) as rejected:
                await a.words("toy/a")
            assert rejected.value.reason is NO_OWNER
            assert await b.ask("toy/a", "say:after;answer") == "before after"
            assert await b.parts(b.toys) == await folded(b.log, b.toys)


async def test_two_that_claim_in_turn_lose_nothing(memory: MemoryDisk) -> None:
    async with process(memory, "a") as a, process(memory, "b", ready=False) as b:
        done = 0
        async with asyncio.timeout(20):
            while done < 30:
                for p in (a, b):
                    try:
                        await p.ask("toy/a", f"say:{done};answer", f"r{done}")
                    except Rejected as rejected:
                        assert rejected.reason is NO_OWNER
                    else:
                        done += 1
                    await asyncio.sleep(0)
        await until(lambda: a.toys.life > 1 or b.toys.life > 1)
    async with process(memory, "c") as c:
        assert await c.words("toy/a") == tuple(str(n) for n in range(30))


async def test_links_are_introduced_anew_with_the_new_epoch_and_what_is_pending_is_offered_again(disk: Disk) -> None:
    node = HandNode()
    async with process(disk, nodes=(NODE,), receivers={"media": node}) as p:
        await p.ask("toy/a", "act:ring;answer")
        assert [(order.key, order.again) for order in node.orders] == [("t1/toy/a/1.1/0", False)]
        p.toys.lose("a node knows a newer owner")
        await again(p, 1)
        assert node.epochs == [1, 2]
        assert node.drops >= 1
        assert [(order.key, order.again) for order in node.orders[1:]] == [("t1/toy/a/1.1/0", True)]


async def test_a_mark_is_told_only_once_it_is_durable(memory: MemoryDisk) -> None:
    node = HandNode()
    async with process(memory, nodes=(NODE,), receivers={"media": node}) as p:
        p.log.hold()
        assert p.toys.offer(Offer(f"media/{NODE}/i1/t1", 1, "t1", "toy/a", Do("say:x")))
        await until(lambda: p.points.passes(Point.BEFORE_APPEND) == 3)
        assert node.taken_ == []
        p.log.release()
        await p.toys.taken(f"media/{NODE}/i1/t1", 1, "t1")
        assert [(taken.tenant, taken.number) for taken in node.taken_] == [("t1", 1)]


async def test_a_loss_while_a_snapshot_waits_for_its_log_leaves_nothing_behind(memory: MemoryDisk) -> None:
    async with process(memory, snapshot_commits=1) as p:
        p.log.hold()
        asked = asking(p, "say:x;answer", "r1")
        await until(lambda: p.points.passes(Point.IN_SNAPSHOT) == 1)
        p.toys.lose("a node knows a newer owner")
        await refused(asked)
        p.log.release()
        await again(p, 1)
        await p.ask("toy/a", "say:y;answer")
        await until(lambda: [name for name in memory.blobs.list("snapshots/toys/0/") if name.endswith("manifest")])


# ------------------------------------------------------------------- what goes wrong beside the log


async def test_an_error_in_a_turn_ends_the_run_and_hangs_nobody(memory: MemoryDisk) -> None:
    asked: asyncio.Task[str] | None = None
    with pytest.raises(ExceptionGroup) as failed:
        async with process(memory, receivers={}) as p:
            asked = asking(p, "call:hook;answer")  # an effect that nobody does
            await asyncio.wait([asked])
            await asyncio.Event().wait()
    assert asked is not None
    await refused(asked)
    assert failed.group_contains(KeyError)


class CountedKeys(MemoryKeys):
    """Counts how often it is asked to make some."""

    asked = 0

    async def allocate(self, ids: Sequence[str]) -> None:
        """See the port."""
        self.asked += 1
        await super().allocate(ids)


async def test_keys_that_cannot_be_made_are_asked_for_again() -> None:
    disk = MemoryDisk(make_keys=CountedKeys)
    disk.keys.full = True
    async with process(disk, ready=False) as p:
        await until(lambda: p.keys.asked == 6)  # three times for each shard
        await p.toys.live()
        assert await p.ask("toy/a", "say:y;answer") == "y", "what needs no key goes on"
        waiting = asyncio.create_task(p.ask("vault/a", "say:x;answer"))
        await until(lambda: p.toys._shard and p.toys._shard.waiting)
        disk.keys.full = False
        assert await waiting == "x"


class DoubtfulKeys(MemoryKeys):
    """Makes the keys, and then says that it may not have."""

    def __init__(self, table: KeyTable) -> None:
        super().__init__(table)
        self.failed = 0

    async def allocate(self, ids: Sequence[str]) -> None:
        """See the port."""
        await super().allocate(ids)
        if not self.failed:
            self.failed += 1
            raise OSError("the disk did not answer")


async def test_keys_that_were_made_in_doubt_are_used() -> None:
    async with process(MemoryDisk(make_keys=DoubtfulKeys)) as p:
        assert await p.ask("vault/a", "say:x;answer") == "x"
        assert p.keys.failed == 1


async def test_keys_of_another_log_are_never_used_again(memory: MemoryDisk) -> None:
    """The nonces of an epoch would come a second time."""
    memory.keys.allocate(["toys/0/1/0"])
    with pytest.raises(ExceptionGroup) as failed:
        async with process(memory, ready=False):
            await asyncio.Event().wait()
    assert failed.group_contains(KeyExists)


# ------------------------------------------------------------------- answers and their positions


async def test_an_answer_waits_until_what_it_saw_is_durable(memory: MemoryDisk) -> None:
    async with process(memory) as p:
        p.log.hold()
        asked = asking(p, "say:x;answer")
        seen = asyncio.create_task(p.words("toy/a"))
        await until(lambda: p.points.passes(Point.BEFORE_APPEND) == 3)
        late = asyncio.create_task(p.words("toy/a"))
        for _ in range(20):
            await asyncio.sleep(0)
        assert not asked.done()
        assert not late.done()
        p.log.release()
        assert await late == ("x",)
        assert await asked == "x"
        assert await seen in ((), ("x",))


async def test_the_position_of_an_answer_is_that_of_the_state_that_it_saw(memory: MemoryDisk) -> None:
    """Several commits come back in one batch: what the later ones did is not in the answer, and
    who reads on from its position must not miss it."""
    async with process(memory) as p:
        await p.ask("toy/a", "say:first;answer")
        p.log.hold()
        second = asking(p, "say:second;answer")
        await until(lambda: p.points.passes(Point.BEFORE_APPEND) == 4)
        asked = asyncio.create_task(p.toys.query(lambda ledger: ledger.aggregates["t1", "toy/a"].state.words))
        await asyncio.sleep(0)
        third = asking(p, "say:third;answer")
        await until(lambda: p.points.passes(Point.BEFORE_APPEND) == 5)
        p.log.release()
        assert await asked == (("first", "second"), 2)
        await asyncio.wait([second, third])


async def test_a_client_that_goes_away_takes_nothing_with_it(memory: MemoryDisk) -> None:
    async with process(memory) as p:
        p.log.hold()
        gone, stays = asking(p, "say:x;answer"), asking(p, "say:y;answer")
        await until(lambda: p.points.passes(Point.BEFORE_APPEND) == 3)
        gone.cancel()
        await asyncio.wait([gone])
        p.log.release()
        assert await stays == "x y"


# ------------------------------------------------------------------- ended at any moment


@pytest.mark.parametrize("steps", [*range(30), 40, 60, 90])
async def test_a_process_may_be_ended_at_any_moment(memory: MemoryDisk, steps: int) -> None:
    asked: list[asyncio.Task[str]] = []
    node = HandNode()
    async with process(memory, nodes=(NODE,), receivers={"media": node}, snapshot_commits=2, ready=False) as p:
        for n in range(steps):
            if n > 4:
                asked.append(asking(p, f"say:{n};act:ring{n};tell:far/x:say:{n};answer", f"r{n}"))
            await asyncio.sleep(0)
    for one in asked:
        one.cancel()
    await asyncio.wait([*asked, asyncio.create_task(asyncio.sleep(0))])
    acknowledged = [one.result().split()[-1] for one in asked if not one.cancelled() and one.exception() is None]
    async with process(memory, "b", nodes=(NODE,), receivers={"media": HandNode()}, snapshot_commits=2) as p:
        words = await p.words("toy/a")
        assert len(set(words)) == len(words)
        assert set(acknowledged) <= set(words)
        assert await p.parts(p.toys) == await folded(p.log, p.toys)


@pytest.mark.parametrize("steps", range(12))
async def test_a_shard_may_be_lost_and_its_process_ended_at_once(memory: MemoryDisk, steps: int) -> None:
    async with process(memory, snapshot_commits=1) as p:
        asked = [asking(p, f"say:{n};answer") for n in range(3)]
        for _ in range(steps):
            await asyncio.sleep(0)
        p.toys.lose("a node knows a newer owner")
        for _ in range(steps % 4):
            await asyncio.sleep(0)
    await asyncio.wait(asked)
    assert all(one.exception() is None or isinstance(one.exception(), Rejected) for one in asked)
