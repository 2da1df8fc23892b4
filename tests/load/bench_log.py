"""Ratios of the SQLite log, all measured in one run on one disk: `python tests/load/bench_log.py`.

Group commit against one append at a time, and both against a bare write and fdatasync of the
same bytes. Rates of a shared machine mean little; their ratios mean something. Goal 3: 64
waiters at least 5 times as fast as single commits.
"""

from __future__ import annotations

import asyncio
import os
import statistics
import tempfile
import time
from pathlib import Path

from tandem.adapters.sqlite import SqliteLog
from tandem.core.ports.log import Partition

BODY = b"x" * 300
ONE = Partition("live", 0)
SECONDS = 2.0


def bare_disk(directory: Path, seconds: float = SECONDS) -> float:
    """Writes with fdatasync a second."""
    descriptor = os.open(directory / "bare", os.O_WRONLY | os.O_CREAT, 0o600)
    done, began = 0, time.perf_counter()
    while time.perf_counter() - began < seconds:
        os.write(descriptor, BODY)
        os.fdatasync(descriptor)
        done += 1
    os.close(descriptor)
    return done / seconds


async def appends(directory: Path, waiters: int, seconds: float = SECONDS) -> tuple[float, float, float]:
    """Appends a second by so many callers, each of which waits for its answer; p50 and p99 in ms."""
    log = await SqliteLog.open(directory)
    latencies: list[float] = []
    end = time.perf_counter() + seconds

    async def caller() -> None:
        while (began := time.perf_counter()) < end:
            await log.append(ONE, BODY)
            latencies.append(time.perf_counter() - began)

    await asyncio.gather(*[caller() for _ in range(waiters)])
    await log.close()
    cuts = statistics.quantiles(latencies, n=100)
    return len(latencies) / seconds, cuts[49] * 1000, cuts[98] * 1000


async def read_back(directory: Path) -> float:
    """Records a second from the file, all that the runs before have written."""
    log = await SqliteLog.open(directory)
    end, done, began = await log.end(ONE), 0, time.perf_counter()
    async for batch in log.read(ONE):
        done += len(batch)
        if batch[-1].offset == end:
            break
    rate = done / (time.perf_counter() - began)
    await log.close()
    return rate


def main() -> None:
    """Print the ratios."""
    with tempfile.TemporaryDirectory(dir=os.environ.get("BENCH_DIR")) as name:
        directory = Path(name)
        bare = bare_disk(directory)
        print(f"write + fdatasync, {len(BODY)} bytes: {bare:,.0f}/s")
        single = 0.0
        for waiters in (1, 8, 64, 512):
            rate, p50, p99 = asyncio.run(appends(directory, waiters))
            single = single or rate
            times = f"{rate / single:5.1f} x one waiter, {rate / bare:5.2f} x bare disk"
            print(f"{waiters:4} waiters: {rate:8,.0f}/s  {times}, p50 {p50:.2f} ms, p99 {p99:.2f} ms")
        rate = asyncio.run(read_back(directory))
        print(f"read from the file: {rate:,.0f}/s, {rate / single:.1f} x one waiter")


if __name__ == "__main__":
    main()
