"""Between asyncio loops and the threads that wait for disks.

Everything here may be called from any thread and serves waiters of any loop.
"""

from __future__ import annotations

import asyncio
import threading
from collections import deque
from collections.abc import Callable, Hashable, Iterable, Sequence
from typing import Generic, TypeVar, TypeVarTuple

Item = TypeVar("Item")
Result = TypeVar("Result")
Value = TypeVar("Value")
Args = TypeVarTuple("Args")

MAX_BATCH_ITEMS = 1024
MAX_BATCH_BYTES = 4 * 1024 * 1024
"""One commit takes at most this much (or one item), so that nobody waits long behind it."""
MAX_PENDING_ITEMS = 65_536
MAX_PENDING_BYTES = 256 * 1024 * 1024
"""What may wait for a disk that has stopped."""


class Overloaded(Exception):
    """More waits for the disk than is allowed; nothing was taken."""


class Stopped(Exception):
    """The thread was closed; nothing was taken."""


async def to_the_end(work: asyncio.Future[Value]) -> Value:
    """Await the work of a thread; if cancelled, only once the thread has let go.

    A thread cannot be stopped, and cleaning up beside it would pull files from under it.
    """
    try:
        return await asyncio.shield(work)
    except asyncio.CancelledError:
        await asyncio.wait([work])
        if not work.cancelled():
            # Nobody is left to hear how it ended.
            work.exception()
        raise


def tell(loop: asyncio.AbstractEventLoop, callback: Callable[[*Args], object], *args: *Args) -> bool:
    """Call back on a loop. False if the loop has ended: then nobody is left who waits."""
    try:
        loop.call_soon_threadsafe(callback, *args)
    except RuntimeError:
        if loop.is_closed():
            return False
        raise
    return True


class Bell:
    """Wakes those who wait for a topic. Its owner holds one lock around every call."""

    def __init__(self) -> None:
        self._waiting: dict[Hashable, list[asyncio.Future[None]]] = {}

    def listen(self, topic: Hashable) -> asyncio.Future[None]:
        """A future that the next ring of the topic settles."""
        waiter = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(topic, []).append(waiter)
        return waiter

    def leave(self, topic: Hashable, waiter: asyncio.Future[None]) -> None:
        """Forget a future that `listen` gave, whether it rang or not."""
        waiters = self._waiting.get(topic)
        if waiters is not None and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiting[topic]

    def ring(self, topics: Iterable[Hashable]) -> None:
        """Wake all who wait for these topics, each loop once."""
        loops: dict[asyncio.AbstractEventLoop, list[asyncio.Future[None]]] = {}
        for topic in topics:
            for waiter in self._waiting.pop(topic, ()):
                loops.setdefault(waiter.get_loop(), []).append(waiter)
        for loop, waiters in loops.items():
            tell(loop, _wake, waiters)

    def ring_all(self) -> None:
        """Wake everybody."""
        self.ring(list(self._waiting))


def _wake(waiters: Sequence[asyncio.Future[None]]) -> None:
    for waiter in waiters:
        if not waiter.done():
            waiter.set_result(None)


class GroupCommit(Generic[Item, Result]):
    """One thread that commits, batch after batch, what many callers submit.

    While a batch is on its way to the disk the next one gathers, so batches grow with the
    load and a lone caller waits for nobody. `commit` takes items in the order in which they
    were submitted and gives a result for each; what it raises, every waiter of the batch gets.
    """

    def __init__(self, name: str, commit: Callable[[Sequence[Item]], Sequence[Result]]) -> None:
        self._commit = commit
        self._changed = threading.Condition()
        self._pending: deque[tuple[Item, int, asyncio.Future[Result]]] = deque()
        self._pending_bytes = 0
        self._stopping = False
        # A daemon, so that a process whose owner failed before `close` can end: what was not
        # committed was not acknowledged.
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)
        self._thread.start()

    def submit(self, item: Item, size: int) -> asyncio.Future[Result]:
        """Hand over an item of `size` bytes. Raises `Stopped` or `Overloaded`."""
        future: asyncio.Future[Result] = asyncio.get_running_loop().create_future()
        with self._changed:
            if self._stopping:
                raise Stopped
            if len(self._pending) >= MAX_PENDING_ITEMS or self._pending_bytes + size > MAX_PENDING_BYTES:
                raise Overloaded(f"{len(self._pending)} writes, {self._pending_bytes} bytes wait for the disk")
            self._pending.append((item, size, future))
            self._pending_bytes += size
            self._changed.notify()
        return future

    def close(self) -> None:
        """Commit what was submitted, then end the thread. Blocks; idempotent."""
        with self._changed:
            self._stopping = True
            self._changed.notify()
        self._thread.join()

    def _run(self) -> None:
        while batch := self._take():
            items = [item for item, _ in batch]
            futures = [future for _, future in batch]
            try:
                results = self._commit(items)
            except Exception as error:  # noqa: BLE001 - it belongs to those who wait, and the next batch may succeed
                _settle(futures, _fail, [error] * len(futures))
            else:
                _settle(futures, _succeed, results)

    def _take(self) -> list[tuple[Item, asyncio.Future[Result]]]:
        """The next batch in order; empty when all is done and nothing more will come."""
        batch: list[tuple[Item, asyncio.Future[Result]]] = []
        with self._changed:
            while not self._pending and not self._stopping:
                self._changed.wait()
            room = MAX_BATCH_BYTES
            while self._pending and len(batch) < MAX_BATCH_ITEMS and (not batch or self._pending[0][1] <= room):
                item, size, future = self._pending.popleft()
                self._pending_bytes -= size
                room -= size
                batch.append((item, future))
        return batch


def _settle(
    futures: Sequence[asyncio.Future[Result]],
    settle: Callable[[Sequence[tuple[asyncio.Future[Result], Value]]], None],
    values: Sequence[Value],
) -> None:
    loops: dict[asyncio.AbstractEventLoop, list[tuple[asyncio.Future[Result], Value]]] = {}
    for future, value in zip(futures, values, strict=True):
        loops.setdefault(future.get_loop(), []).append((future, value))
    for loop, pairs in loops.items():
        tell(loop, settle, pairs)


def _succeed(pairs: Sequence[tuple[asyncio.Future[Result], Result]]) -> None:
    for future, result in pairs:
        if not future.done():
            future.set_result(result)


def _fail(pairs: Sequence[tuple[asyncio.Future[Result], Exception]]) -> None:
    for future, error in pairs:
        if not future.done():
            future.set_exception(error)
