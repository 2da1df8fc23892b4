"""A media node for more calls than the built-in one takes: the real agent, journal and link over a
scripted backend, in the test's own process. Callers choose from the menu by themselves."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tandem.adapters.system import SystemClock, SystemEntropy
from tandem.core.points import Points
from tandem.core.ports.media import Command, HangUp, Play
from tandem.media.driver import MediaProcess, MediaSettings
from tandem.media.link.address import LinkAddress
from tandem.runtime.config import Config
from tandem.runtime.settings import load
from tandem.simulation.scripted_media import ScriptedMedia
from tests.e2e.cell import Cell

TICK_S = 0.02
UNDER_WAY = 300
"""Callers on their way into the line at a time."""
EVENTS_KEPT = 200_000


class ManyCalls(ScriptedMedia):
    """Notes who hears music, and whom Tandem told to hang up."""

    def __init__(self, sink: Any, now_ms: int) -> None:
        super().__init__(sink, now_ms, capacity=100_000)
        self.in_line: dict[str, None] = {}
        self.told_to_hang_up: list[str] = []

    def perform(self, command: Command) -> None:
        """See `Backend`."""
        match command.verb:
            case Play(loop=True):
                self.in_line[command.leg] = None
            case HangUp():
                self.told_to_hang_up.append(command.leg)
            case _:
                pass
        super().perform(command)
        self.performed.clear()


class Node:
    """The node while it runs."""

    def __init__(self, media: ManyCalls, clock: SystemClock) -> None:
        self.media = media
        self._clock = clock
        self._deciding: dict[str, None] = {}
        self.called = 0

    async def tick(self) -> None:
        """Let time go by, and callers press their digit as soon as they are asked, for ever."""
        while True:
            self.media.advance(self._clock.boottime_ms())
            for leg in [leg for leg in self._deciding if self.media.collects(leg)]:
                del self._deciding[leg]
                self.media.press(leg, "1")
            await asyncio.sleep(TICK_S)

    async def call(self, number: str, count: int) -> None:
        """So many callers, until each waits in line."""
        wanted = self.called + count
        while self.called < wanted or len(self.media.in_line) < wanted:
            while self.called < wanted and self.called - len(self.media.in_line) < UNDER_WAY:
                leg = f"caller{self.called:06d}"
                if not self.media.call(number, leg, f"49170{self.called:07d}"):
                    break  # the node does not know the number yet
                self._deciding[leg] = None
                self.called += 1
            await asyncio.sleep(TICK_S)


@asynccontextmanager
async def many_calls(cell: Cell) -> AsyncIterator[Node]:
    """The media node of a cell."""
    config = load(Config, None, {**os.environ, **cell.settings})
    clock, nodes = SystemClock(), list[Node]()
    settings = MediaSettings(
        config.media.node,
        LinkAddress(config.media_link),
        config.data_dir / "media" / "journal",
        config.media.node_key_file or cell.data_dir / "node.key",
        kept_max=EVENTS_KEPT,
        keys_max=10 * EVENTS_KEPT,
    )

    @asynccontextmanager
    async def build(sink: Any) -> AsyncIterator[ManyCalls]:
        media = ManyCalls(sink, clock.boottime_ms())
        nodes.append(Node(media, clock))
        yield media

    up = asyncio.Event()
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(MediaProcess(settings, clock, SystemEntropy(), Points(), build).run(up.set))
        await up.wait()
        ticking = tasks.create_task(nodes[0].tick())
        try:
            yield nodes[0]
        finally:
            ticking.cancel()
            running.cancel()
