"""The shards of a process together: messages between groups, waiting for them, clients, tails."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tandem.core.arbiter import Arbiter
from tandem.core.commit import Commit
from tandem.core.errors import NO_OWNER, UNKNOWN_NAME, Reason, Rejected
from tandem.core.points import Point
from tandem.core.ports.log import Partition
from tandem.runtime import driver, host, log_codec, places, positions
from tandem.runtime.host import Host, tail
from tests.integration.runtime.toys import FAR, TOYS, Disk, MemoryDisk, Process, process, records, until


async def reason_of(asked: Any) -> Reason:
    """Why a call was rejected."""
    with pytest.raises(Rejected) as rejected:
        await asked
    return rejected.value.reason


# ------------------------------------------------------------------- messages between groups


async def test_a_message_reaches_the_other_group_once_whoever_is_lost(disk: Disk) -> None:
    async with process(disk) as p:
        for n in range(40):
            while True:
                try:
                    await p.ask("toy/a", f"tell:far/x:say:{n};answer", f"r{n}")
                    break
                except Rejected:
                    await until(lambda: p.toys.is_live)
            if n % 7 == 3:
                p.far.lose("a planted loss")
            if n % 11 == 5:
                p.toys.lose("a planted loss")
    async with process(disk, "b") as p:
        position = (await p.told("toy/a", "answer")).position
        assert await p.host.taken("t1", "far", position, 10)
        assert await p.words("far/x") == tuple(str(n) for n in range(40))


async def test_many_messages_wait_outside_a_shard_that_has_enough(
    memory: MemoryDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(driver, "BACKLOG", 2)
    async with process(memory) as p:
        for n in range(30):
            answer = await p.told("toy/a", f"tell:far/x:say:{n};answer")
        p.far.lose("a planted loss")
        await until(lambda: p.far.life == 2)
        assert await p.host.taken("t1", "far", answer.position, 10)
        assert len(await p.words("far/x")) == 30


# ------------------------------------------------------------------- waiting until they are taken


async def test_taken_waits_until_the_other_group_has_it_durably(memory: MemoryDisk) -> None:
    async with process(memory) as p:
        position = (await p.told("toy/a", "tell:far/x:say:x;answer")).position
        p.log.hold()
        again = (position, await in_time(p, position, 0))
        assert again == (position, False)
        waiting = asyncio.create_task(in_time(p, position, 10))
        await asyncio.sleep(0)
        assert not waiting.done()
        p.log.release()
        assert await waiting
        assert await p.words("far/x") == ("x",)


async def in_time(p: Process, position: str, timeout_s: float) -> bool:
    """Whether the message was taken."""
    return await p.host.taken("t1", "far", position, timeout_s)


async def test_taken_is_true_at_once_for_what_told_nobody_anything(memory: MemoryDisk) -> None:
    async with process(memory) as p:
        position = (await p.told("toy/a", "say:x;answer")).position
        assert await in_time(p, position, 10)


async def test_taken_by_an_owner_that_was_lost_before_it_knew(memory: MemoryDisk) -> None:
    """The commit is stored, its owner is gone before it reads it back: the next one knows the mark
    from the log and is never told of it again."""
    async with process(memory) as p:
        p.log.hold()
        asked = asyncio.create_task(p.told("toy/a", "tell:far/x:say:x;answer"))
        await until(lambda: p.points.passes(Point.BEFORE_APPEND) == 3)
        p.log.release()
        position = (await asked).position
        p.log.hold()
        await until(lambda: p.points.passes(Point.BEFORE_APPEND) == 4)  # far has decided it
        waiting = asyncio.create_task(in_time(p, position, 10))
        p.far.lose("a planted loss")
        await until(lambda: not p.far.is_live)
        p.log.release()
        assert await waiting
        assert await p.words("far/x") == ("x",)


async def test_taken_by_an_owner_that_never_comes_is_a_time_out(memory: MemoryDisk) -> None:
    async with process(memory) as p:
        position = (await p.told("toy/a", "tell:far/x:say:x;answer")).position
        memory.partitions.full = True
        p.far.lose("a planted loss")
        await until(lambda: not p.far.is_live)
        assert not await in_time(p, position, 0)
        memory.partitions.full = False
        assert await in_time(p, position, 10)


# ------------------------------------------------------------------- clients


async def test_names_of_nobody_are_unknown_and_partitions_elsewhere_have_no_owner_here(memory: MemoryDisk) -> None:
    async with process(memory) as p:
        assert await reason_of(p.host.query("t9", "toy", lambda ledger: None)) is UNKNOWN_NAME
        assert await reason_of(p.host.query("t1", "queue", lambda ledger: None)) is UNKNOWN_NAME
        elsewhere = Host((p.toys,), p.log, p.keys, {"t1": 1}.get, {})
        assert await reason_of(elsewhere.query("t1", "toy", lambda ledger: None)) is NO_OWNER
        assert await reason_of(p.ask("nobody/a", "say:x;answer")) is UNKNOWN_NAME


async def test_a_log_that_is_silent_is_answered_for(memory: MemoryDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(host, "ANSWER_S", 0.0)
    async with process(memory) as p:
        p.log.hold()
        assert await reason_of(p.ask("toy/a", "say:x;answer", "r1")) is NO_OWNER
        monkeypatch.setattr(host, "ANSWER_S", 5.0)
        p.log.release()
        assert await p.ask("toy/a", "say:x;answer", "r1") == "x"
        assert await p.words("toy/a") == ("x",)


async def test_a_repeat_gets_the_first_answer_and_another_request_none(disk: Disk) -> None:
    async with process(disk) as p:
        assert await p.ask("toy/a", "say:x;answer", "r1") == "x"
        await p.ask("toy/a", "say:y;answer", "r2")
        assert await p.ask("toy/a", "say:x;answer", "r1") == "x"
    async with process(disk, "b") as p:
        assert await p.ask("toy/a", "say:x;answer", "r1") == "x"
        assert await p.words("toy/a") == ("x", "y")


# ------------------------------------------------------------------- tails


async def commits_after(p: Process, after: int, last: int) -> list[int]:
    """Numbers of the commits that a tail gives, up to one."""
    found: list[int] = []
    async for token, commit in p.host.tail("toys", 0, after):
        assert positions.decode(token) == positions.Position("toys", 0, commit.n)
        found.append(commit.n)
        if commit.n >= last:
            break
    return found


async def test_a_tail_gives_every_commit_behind_a_position_once(disk: Disk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(places, "PLACE_COMMITS", 5)
    async with process(disk) as p:
        for n in range(30):
            await p.ask("toy/a", f"say:{n};answer")
            if n == 12:
                p.toys.lose("a planted loss")
                await until(lambda: p.toys.life == 2 and p.toys.is_live)
        for after in range(30):
            assert await commits_after(p, after, 30) == list(range(after + 1, 31))
        assert (await p.toys.place(30)).offset > len(await records(p.log, TOYS)) - 8, (
            "a reader of what is new reads little"
        )


async def test_a_tail_begins_where_the_judgement_is_known(memory: MemoryDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    """A shard that meets a newer claim has read it and does not count it: that is no place to begin."""
    monkeypatch.setattr(places, "PLACE_COMMITS", 1)
    monkeypatch.setattr(driver, "RECLAIM_S", 3600.0)
    async with process(memory, "a") as a:
        await a.ask("toy/a", "say:1;answer")
        async with process(memory, "b") as b:
            await b.ask("toy/a", "say:2;answer")
            assert not a.toys.is_live
            place = await a.toys.place(1)
            assert await judged(memory, place.offset) == place.arbiter
            assert await commits_after(a, 1, 2) == [2]


async def judged(memory: MemoryDisk, offset: int) -> Arbiter:
    """The judgement of a partition at an offset, from the beginning."""
    arbiter = Arbiter()
    for stored in memory.partitions.records(TOYS)[:offset]:
        record = log_codec.decode(stored.body)
        if arbiter.counts(record):
            arbiter = arbiter.after(record)
    return arbiter


async def test_a_tail_passes_over_what_is_void(memory: MemoryDisk) -> None:
    async with process(memory) as p:
        await p.ask("toy/a", "say:1;answer")
        void = Commit(9, 2, 0, "", 0, "1")
        await p.log.append(TOYS, log_codec.encode(void))
        await p.ask("toy/a", "say:2;answer")
        assert await commits_after(p, 0, 2) == [1, 2]
        found = [commit.n async for _, commit in first_of(p, 2)]
        assert found == [1, 2]


async def first_of(p: Process, last: int) -> Any:
    """The tail of a log, up to a commit."""
    async for offset, commit in tail(p.log, Partition("toys", 0)):
        yield offset, commit
        if commit.n == last:
            return


async def test_the_groups_have_partitions_of_their_own(memory: MemoryDisk) -> None:
    async with process(memory) as p:
        await p.ask("toy/a", "say:x;answer")
        await p.ask("far/a", "say:y;answer")
    assert memory.partitions.end(TOYS) == memory.partitions.end(FAR) == 2
