"""Group commit and waking across threads and loops."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from tandem.adapters import threads
from tandem.adapters.threads import Bell, GroupCommit, Overloaded, Stopped, to_the_end


class Disk:
    """Commits numbers; may be told to wait and to fail."""

    def __init__(self) -> None:
        self.batches: list[list[int]] = []
        self.ready = threading.Event()
        self.ready.set()
        self.entered = threading.Event()
        self.failing = False

    def commit(self, items: Sequence[int]) -> Sequence[int]:
        self.entered.set()
        assert self.ready.wait(20)
        if self.failing:
            raise OSError("no room")
        self.batches.append(list(items))
        return [item * 10 for item in items]


def test_results_come_back_and_batches_gather_while_one_is_under_way() -> None:
    async def body() -> None:
        disk = Disk()
        disk.ready.clear()
        commits = GroupCommit[int, int]("test", disk.commit)
        first = commits.submit(0, 1)
        await asyncio.to_thread(disk.entered.wait, 20)
        rest = [commits.submit(number, 1) for number in range(1, 100)]
        disk.ready.set()
        assert await asyncio.gather(first, *rest) == [number * 10 for number in range(100)]
        assert disk.batches == [[0], list(range(1, 100))]
        commits.close()

    asyncio.run(body())


def test_a_batch_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MAX_BATCH_ITEMS", 5)
    monkeypatch.setattr(threads, "MAX_BATCH_BYTES", 100)

    async def body() -> None:
        disk = Disk()
        disk.ready.clear()
        commits = GroupCommit[int, int]("test", disk.commit)
        first = commits.submit(0, 1)
        await asyncio.to_thread(disk.entered.wait, 20)
        sizes = [1, 1, 1, 1, 1, 1, 60, 60, 500, 1]
        rest = [commits.submit(number, size) for number, size in enumerate(sizes, 1)]
        disk.ready.set()
        await asyncio.gather(first, *rest)
        assert disk.batches == [[0], [1, 2, 3, 4, 5], [6, 7], [8], [9], [10]]
        commits.close()

    asyncio.run(body())


def test_a_failure_is_its_batch_s_and_the_next_one_works() -> None:
    async def body() -> None:
        disk = Disk()
        commits = GroupCommit[int, int]("test", disk.commit)
        disk.failing = True
        with pytest.raises(OSError, match="no room"):
            await commits.submit(1, 1)
        disk.failing = False
        assert await commits.submit(2, 1) == 20
        commits.close()

    asyncio.run(body())


def test_close_commits_what_was_submitted_and_refuses_the_rest() -> None:
    async def body() -> None:
        disk = Disk()
        commits = GroupCommit[int, int]("test", disk.commit)
        waiting = [commits.submit(number, 1) for number in range(50)]
        commits.close()
        assert await asyncio.gather(*waiting) == [number * 10 for number in range(50)]
        with pytest.raises(Stopped):
            commits.submit(1, 1)
        commits.close()

    asyncio.run(body())


def test_what_waits_is_bounded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(threads, "MAX_PENDING_ITEMS", 3)
    monkeypatch.setattr(threads, "MAX_PENDING_BYTES", 100)

    async def body() -> None:
        disk = Disk()
        disk.ready.clear()
        commits = GroupCommit[int, int]("test", disk.commit)
        taken = [commits.submit(0, 1)]
        await asyncio.to_thread(disk.entered.wait, 20)
        taken.append(commits.submit(1, 99))
        with pytest.raises(Overloaded):
            commits.submit(2, 2)
        taken += [commits.submit(2, 1), commits.submit(3, 0)]
        with pytest.raises(Overloaded):
            commits.submit(4, 0)
        disk.ready.set()
        assert await asyncio.gather(*taken) == [0, 10, 20, 30]
        assert await commits.submit(5, 100) == 50
        commits.close()

    asyncio.run(body())


def test_nothing_is_lost_or_swapped_between_many_loops() -> None:
    disk = Disk()
    commits = GroupCommit[int, int]("test", disk.commit)

    def loop(base: int) -> None:
        async def body() -> None:
            futures = [commits.submit(base + number, 1) for number in range(2000)]
            assert await asyncio.gather(*futures) == [(base + number) * 10 for number in range(2000)]

        asyncio.run(body())

    loops = [threading.Thread(target=loop, args=(base,)) for base in (0, 10_000, 20_000)]
    for thread in loops:
        thread.start()
    for thread in loops:
        thread.join()
    commits.close()
    stored = [item for batch in disk.batches for item in batch]
    for base in (0, 10_000, 20_000):
        assert [item for item in stored if base <= item < base + 10_000] == list(range(base, base + 2000))


def test_a_caller_that_gave_up_and_a_loop_that_ended_harm_nobody() -> None:
    disk = Disk()
    disk.ready.clear()
    commits = GroupCommit[int, int]("test", disk.commit)

    async def leave() -> None:
        commits.submit(1, 1)
        task = asyncio.create_task(asyncio.wait_for(commits.submit(2, 1), 20))
        await asyncio.to_thread(disk.entered.wait, 20)
        task.cancel()
        await asyncio.wait([task])

    asyncio.run(leave())

    async def stay() -> int:
        waiting = commits.submit(3, 1)
        disk.ready.set()
        return await waiting

    assert asyncio.run(stay()) == 30
    commits.close()
    assert [item for batch in disk.batches for item in batch] == [1, 2, 3]


def test_a_bell_wakes_its_topic_alone_and_forgets_who_left() -> None:
    async def body() -> None:
        bell = Bell()
        one, two, gone = bell.listen("a"), bell.listen("b"), bell.listen("a")
        bell.leave("a", gone)
        bell.leave("a", gone)
        bell.ring(["a", "nobody"])
        await one
        assert not two.done()
        assert not gone.done()
        bell.ring_all()
        await two

    asyncio.run(body())


def test_a_bell_rings_into_other_threads() -> None:
    lock = threading.Lock()
    bell = Bell()
    listening = threading.Event()

    async def wait() -> None:
        with lock:
            waiter = bell.listen("a")
        listening.set()
        async with asyncio.timeout(20):
            await waiter

    thread = threading.Thread(target=lambda: asyncio.run(wait()))
    thread.start()
    assert listening.wait(20)
    with lock:
        bell.ring(["a"])
    thread.join()


def test_a_cancelled_caller_leaves_once_the_thread_has() -> None:
    async def body() -> None:
        release, entered = threading.Event(), threading.Event()
        order: list[str] = []

        def work() -> None:
            entered.set()
            assert release.wait(20)
            order.append("thread")

        async def call() -> None:
            try:
                await to_the_end(asyncio.get_running_loop().run_in_executor(None, work))
            finally:
                order.append("caller")

        task = asyncio.create_task(call())
        await asyncio.to_thread(entered.wait, 20)
        task.cancel()
        await asyncio.sleep(0)
        release.set()
        await asyncio.wait([task])
        assert task.cancelled()
        assert order == ["thread", "caller"]

    asyncio.run(body())
