"""A media node for more calls than the built-in one takes: the real agent, journal and link over a
scripted backend, in the test's own process. Callers choose from the menu by themselves."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tandem.adapters.system import SystemClock, SystemEntropy
from tandem.core.points import Points
from tandem.core.ports.media import Answer, Cause, Collect, Command, HangUp, Play
from tandem.media.driver import MediaProcess, MediaSettings
from tandem.media.link.address import LinkAddress
from tandem.runtime.config import Config
from tandem.runtime.settings import load
from tandem.simulation.scripted_media import ScriptedMedia
from tests.e2e.cell import Cell

TICK_S = 0.02
UNDER_WAY = 50
"""Callers on their way into the line at a time: they keep the control plane busy on a quiet machine."""
PATIENCE_S = 60
"""How long the line may stand still while callers are on their way into it."""
EVENTS_KEPT = 200_000


class ManyCalls(ScriptedMedia):
    """Notes who hears the menu, who hears music, who was turned away, and whom Tandem told to hang up."""

    def __init__(self, sink: Any, now_ms: int) -> None:
        super().__init__(sink, now_ms, capacity=100_000)
        self.deciding: list[str] = []
        self.in_line: dict[str, None] = {}
        self.turned_away = 0
        self.told_to_hang_up: list[str] = []
        self._answered: set[str] = set()

    def perform(self, command: Command) -> None:
        """See `Backend`."""
        match command.verb:
            case Answer():
                self._answered.add(command.leg)
            case Collect():
                self.deciding.append(command.leg)
            case Play(loop=True):
                self.in_line[command.leg] = None
            case HangUp(Cause.REFUSED) if command.leg not in self._answered:
                self.turned_away += 1
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
        self._dialled = 0
        self._heard_of = 0

    async def tick(self) -> None:
        """Let time go by, and callers press their digit as soon as they are asked, for ever."""
        while True:
            self.media.advance(self._clock.boottime_ms())
            asked, self.media.deciding = self.media.deciding, []
            for leg in asked:
                self.media.press(leg, "1")
            await asyncio.sleep(TICK_S)

    async def call(self, number: str, count: int) -> None:
        """So many callers, until each waits in line. The node turns callers away while the control plane is
        behind with those before them (`media.agent_io`): they dial again when those stand in line."""
        media, wanted = self.media, len(self.media.in_line) + count
        stood, end = -1, 0.0
        while len(media.in_line) < wanted:
            if len(media.in_line) > stood:
                stood, end = len(media.in_line), time.monotonic() + PATIENCE_S
            assert time.monotonic() < end, f"{stood} of {wanted} in line, {self._under_way} under way to it"
            self._dial(number, wanted)
            await asyncio.sleep(TICK_S)

    @property
    def _under_way(self) -> int:
        return self._dialled - self.media.turned_away - len(self.media.in_line)

    def _dial(self, number: str, wanted: int) -> None:
        """Those for whom there is room on the way."""
        media = self.media
        if media.turned_away > self._heard_of and self._under_way:
            return
        self._heard_of = media.turned_away
        for _ in range(min(UNDER_WAY, wanted - len(media.in_line)) - self._under_way):
            leg = f"caller{self._dialled:06d}"
            if not media.call(number, leg, f"49170{self._dialled:07d}"):
                return  # the node does not know the number yet
            self._dialled += 1


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
