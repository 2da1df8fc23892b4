"""The telemetry of one process: what it is made with, and the little that it does by itself."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from importlib.metadata import version
from typing import TYPE_CHECKING

from tandem.core.ports.clock import Clock
from tandem.runtime.beside import beside
from tandem.runtime.config import Config
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.clock import Nanoseconds
from tandem.runtime.telemetry.meters import Meters, Reading
from tandem.runtime.telemetry.shards import Instruments, ShardWatch
from tandem.runtime.telemetry.stages import Observed
from tandem.runtime.telemetry.text import exposition

if TYPE_CHECKING:
    from tandem.runtime.telemetry.otlp import Push

BEAT_S = 0.1
"""How often the loop's lateness is looked at."""
COUNT_S = 5.0
"""How often contacts and lines are counted: finer than anybody scrapes."""
WINDOW_S = 60.0
"""The longest stall is that of the last one to two such windows."""


def traced_ratio(config: Config) -> float:
    """The part of the contacts that are traced; none without a collector to take the traces."""
    return config.telemetry.sample_ratio if config.telemetry.otlp_endpoint else 0.0


class Telemetry:
    """Everything that a process measures. Use `running`, and at the very end `close`."""

    def __init__(self, config: Config, target: str, owner: str, clock: Clock, observed: Observed | None = None) -> None:
        self._clock = clock
        self._unix = Nanoseconds(clock)
        self._begun_ns = self._unix.now()
        self._push_s = config.telemetry.push_interval_s
        self.meters = Meters()
        self._push: Push | None = None
        spans = None
        if config.telemetry.otlp_endpoint:
            # Imported here: it takes as long as all the rest of a start.
            from tandem.runtime.telemetry.otlp import Push

            process = {
                "service.name": "tandem",
                "service.version": version("tandem"),
                "service.instance.id": owner,
                "tandem.cell": config.cell,
                "tandem.target": target,
            }
            self._push = Push(config.telemetry.otlp_endpoint, process)
            spans = self._push.spans
        self.instruments = Instruments(clock, self.meters, spans, observed or Observed(), owner)
        self._stall = self.meters.histogram(names.LOOP_STALL)
        self._worst = [0.0, 0.0]
        self._collecting_s = self._collected_s = 0.0
        self._watches: Callable[[], Iterable[ShardWatch]] = tuple
        self.meters.watch(self._readings)

    def shards(self, watches: Callable[[], Iterable[ShardWatch]]) -> None:
        """Say which shards are to be counted every few seconds."""
        self._watches = watches

    async def run(self) -> None:
        """Until cancelled."""
        gc.callbacks.append(self._collects)
        try:
            async with asyncio.TaskGroup() as tasks:
                tasks.create_task(self._beat())
                tasks.create_task(self._count())
                if self._push is not None:
                    tasks.create_task(self._pushes(self._push))
        finally:
            gc.callbacks.remove(self._collects)

    def text(self) -> bytes:
        """The body of `/metrics`."""
        return exposition(self.meters)

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """`run` while inside; `close` is the caller's, once nothing waits for this process any more."""
        async with beside(self.run()):
            yield

    def close(self) -> None:
        """Hand over the last spans. Blocks for `otlp.CLOSE_S` at most."""
        if self._push is not None:
            self._push.close()

    def _collects(self, phase: str, info: dict[str, int]) -> None:
        now = self._clock.monotonic_s()
        if phase == "start":
            self._collecting_s = now
        else:
            self._collected_s += now - self._collecting_s

    async def _beat(self) -> None:
        since = self._clock.monotonic_s()
        while True:
            due = self._clock.monotonic_s() + BEAT_S
            await asyncio.sleep(BEAT_S)
            now = self._clock.monotonic_s()
            late = max(0.0, now - due)
            self._stall.observe(late)
            self._worst[0] = max(self._worst[0], late)
            if now - since >= WINDOW_S:
                since, self._worst = now, [0.0, self._worst[0]]

    async def _count(self) -> None:
        while True:
            for watch in self._watches():
                await watch.count()
            await asyncio.sleep(COUNT_S)

    async def _pushes(self, push: Push) -> None:
        while True:
            await asyncio.sleep(self._push_s)
            push.metrics(self.meters.read(), self._begun_ns, self._unix.now())

    def _readings(self) -> Iterator[Reading]:
        yield Reading(names.LOOP_STALL_MAX, max(self._worst))
        yield Reading(names.TASKS, len(asyncio.all_tasks()))
        yield Reading(names.GC_SECONDS, self._collected_s)
        for generation, told in enumerate(gc.get_stats()):
            yield Reading(names.GC_RUNS, told["collections"], (str(generation),))
        if self._push is not None:
            yield Reading(names.PUSHES_FAILED, self._push.metrics_failed)
            yield Reading(names.SPANS_LOST, self._push.spans_failed)
