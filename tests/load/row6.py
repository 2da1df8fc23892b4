"""Row 6: what a live contact costs in memory, and how long the loop stands still at 100,000 of them.

Memory is what hangs on the shard (states, pending effects, timers, keys, the desk's entries), counted
object by object, with and without contacts. Beside it: the same contents, each held by a task with a
queue of its own. Stalls are measured in the control process at work over the real link, with snapshots
(and the state hash, where the shard has one): how much later than due a timer of 1 ms comes.
"""

from __future__ import annotations

import asyncio
import gc
import sys
import time
import tracemalloc
import types
from collections.abc import Iterator
from typing import Any

from google.protobuf.message import Message

from tandem.adapters.blobs import LocalBlobs
from tandem.runtime import snapshot
from tandem.runtime.service import Group
from tests.load.calls import away, calls
from tests.load.figures import CONTACTS, FULL, Figure, Scale, fewer, figure, home_in, run_row, scratch, share, tell
from tests.load.filler import LIVE, Filler
from tests.load.media_stub import Plan, StubProcess
from tests.load.plane import NUMBER, link_of, plane

TICK_S = 0.001
LOAD = 50.0
"""Calls a second while stalls are measured."""
SHARED = (type, types.ModuleType, types.FunctionType, types.MethodType, types.BuiltinFunctionType, Group, Message)
"""What no contact owns."""


async def row6(scale: Scale) -> list[Figure]:
    """See the module's text."""
    count = scale(10_000, 100)
    tell(f"{count} contacts in line, then {count} in talk")
    waiting, talking, held = _waiting(count), _talking(count), await _tasks(scale(20_000, 200))
    figures = [
        figure(
            "row6.bytes_waiting", waiting, "B", peer="the same, held by a task with a queue", peer_value=waiting + held,
            goal="<= 2,500 B, and 3 times less than a task each", met=waiting <= 2500 and 3 * waiting <= waiting + held,
            note=_why(waiting, 2500, held, count),
        ),
        figure(
            "row6.bytes_talking", talking, "B", peer="the same, held by a task with a queue", peer_value=talking + held,
            goal="<= 4,000 B with two legs", met=talking <= 4000, note=_why(talking, 4000, 0.0, count),
        ),
    ]  # fmt: skip
    figures.append(await _stalls(scale))
    return figures


def _why(value: float, limit: int, held: float, count: int) -> str:
    missed = []
    if value > limit:
        missed.append("each leg, place and offer is an object of its own, and so is each pending effect")
    if held and 3 * value > value + held:
        missed.append(f"a task with its queue is {held:.0f} B, so three times less cannot be had beside the contents")
    return f"{count} contacts" + (f"; not met: {'; '.join(missed)}" if missed else "")


# ------------------------------------------------------------------- memory


def _waiting(count: int) -> float:
    filler = Filler()
    filler.configure(0)
    before = size(filler.shard)
    filler.call(count, digit="2")
    return (size(filler.shard) - before) / count


def _talking(count: int) -> float:
    filler = Filler()
    filler.configure(count)
    before = size(filler.shard)
    told = filler.call(count, talk_ms=3_600_000).told
    assert told.talked == count, f"{told.talked} of {count} contacts are in talk"
    return (size(filler.shard) - before) / count


def size(root: Any) -> int:
    """Bytes of all objects that hang on `root`, each once, with the collector's heads."""
    seen: set[int] = set()
    stack, total = [root], 0
    while stack:
        one = stack.pop()
        if id(one) in seen or isinstance(one, SHARED):
            continue
        seen.add(id(one))
        total += sys.getsizeof(one)
        stack.extend(_held(one))
    return total


def _held(one: Any) -> Iterator[Any]:
    if isinstance(one, str | bytes | int | float):
        return
    yield from gc.get_referents(one)


async def _tasks(count: int) -> float:
    """Bytes of a task that waits on a queue of its own, as the allocator counts them."""

    async def lane(queue: asyncio.Queue[Any]) -> None:
        while True:
            await queue.get()

    tracemalloc.start()
    tasks = [asyncio.ensure_future(lane(asyncio.Queue())) for _ in range(count)]
    await asyncio.sleep(0)
    used, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    for task in tasks:
        task.cancel()
    await asyncio.gather(*tasks, return_exceptions=True)
    return used / count


# ------------------------------------------------------------------- stalls


class Stalls:
    """How much later than due a timer comes, ms."""

    def __init__(self) -> None:
        self.found: list[float] = []
        self._due = 0.0
        self._handle: asyncio.TimerHandle | None = None

    def start(self) -> None:
        """Measure from now on."""
        self._due = time.perf_counter() + TICK_S
        self._handle = asyncio.get_running_loop().call_later(TICK_S, self._tick)

    def _tick(self) -> None:
        self.found.append(max(0.0, 1000 * (time.perf_counter() - self._due)))
        self.start()

    def stop(self) -> list[float]:
        """What was found."""
        assert self._handle is not None
        self._handle.cancel()
        return self.found


async def _stalls(scale: Scale) -> Figure:
    contacts, seconds = scale(CONTACTS, 200), scale(40, 1)
    tell(f"{contacts} contacts in line")
    filler = Filler()
    filler.configure(0)
    filler.call(contacts, digit="2")
    with scratch() as directory:
        home = home_in(directory, "stalls")
        blobs = await LocalBlobs.open(home / "blobs")
        await filler.snapshot(blobs)
        await filler.store(home)
        await filler.keep_keys(home)
        del filler
        gc.collect()
        tell(f"{seconds} s of the machine alone, then {seconds} s at {LOAD:g} calls/s with snapshots")
        idle = Stalls()
        idle.start()
        await asyncio.sleep(seconds / 4)
        alone = idle.stop()
        async with StubProcess(link_of(home), home / "media") as stub, plane(home, snapshot_commits=200) as control:
            await control.configure(100)
            await control.idle(100)
            found = Stalls()
            found.start()
            served = await calls(stub, control, Plan(NUMBER, int(LOAD * seconds), rate=LOAD, talk_ms=200))
            stalls = found.stop()
            live = await control.aggregates()
        made = len({name.rsplit("/", 1)[0] for name in await blobs.list(snapshot.prefix(LIVE), "", 1000)})
        await blobs.close()
    assert live >= contacts
    value = share(stalls, 0.999)
    met = value <= 10 and contacts >= FULL and not served.turned_away
    why = "; not met: packing slices and batches of inputs share the loop" if value > 10 else fewer(contacts)
    return figure(
        "row6.loop_stall_p999_ms", value, "ms", peer="an idle loop, same run", peer_value=share(alone, 0.999),
        goal=f"<= 10 ms at {FULL:,} contacts", met=met,
        note=f"{live} aggregates, {LOAD:g} calls/s for {seconds} s, {made} snapshots in Blobs at the end; "
        f"{len(stalls)} ticks, p99 {share(stalls, 0.99):.1f} ms, longest {max(stalls):.0f} ms (alone "
        f"{max(alone):.0f}){away(served)}{why}",
    )  # fmt: skip


if __name__ == "__main__":
    run_row(row6, __doc__)
