"""The hunt of `tests/e2e/test_secrets.py` where FreeSWITCH carries the calls: what is private stands on no disk, and in
memory only where the how-to says that it does."""

from __future__ import annotations

import asyncio
import shutil
import tempfile
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tandem.wire.g711 import Law
from tests.e2e.cell import Cell
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.programs import PATIENCE_S
from tests.e2e.test_secrets import (
    Hunt,
    agent,
    caller,
    check_digits,
    ended,
    hunt_for,
    leaks,
    open_files,
    process_texts,
    regular_files,
    start,
    talk,
    two_menus,
)


@pytest.fixture
def memory() -> Iterator[Path]:
    """A directory on tmpfs."""
    folder = Path(tempfile.mkdtemp(prefix="tandem-e2e-", dir="/dev/shm"))
    yield folder
    shutil.rmtree(folder)


@pytest.fixture
def cell(freeswitch_prefix: Path, tmp_path: Path, memory: Path) -> Iterator[Cell]:
    """A cell whose FreeSWITCH logs what it logs by default."""
    switch = FreeSwitch(freeswitch_prefix, tmp_path / "switch", memory=memory, rtp_timeout_ms=4000)
    del switch.settings["log_level"]
    made = Cell(tmp_path / "cell", switch=switch)
    try:
        yield made
    finally:
        made.stop()


class Found:
    """What there is of it, on disks and in memory: a path, and what stands there."""

    def __init__(self, cell: Cell, hunt: Hunt, temporary: Path, begun: float, memory: Path) -> None:
        self._cell, self._hunt, self._temporary, self._begun = cell, hunt, temporary, begun
        self._memory = (memory, cell.plain_recordings.parent)

    async def now(self) -> tuple[set[tuple[str, str]], set[str]]:
        """On disks; and the directories in memory where there is anything."""
        switch = self._cell.switch
        assert switch is not None
        found = await leaks(self._cell, self._hunt, self._temporary, self._begun)
        places = list(regular_files(switch.home))
        if switch.program is not None:
            places += [*open_files(switch.pid), *process_texts(switch.pid)]
        found |= await asyncio.to_thread(self._hunt.in_files, places)
        on_disk, in_memory = set(), set()
        for path, what in found:
            real = Path(path).readlink() if path.startswith("/proc/") and "/fd/" in path else Path(path)
            if any(real.is_relative_to(folder) for folder in self._memory):
                in_memory.add(real.parent.name)
            else:
                on_disk.add((str(real), what))
        return on_disk, in_memory


async def test_private_values_are_on_no_disk(cell: Cell, tmp_path: Path, memory: Path) -> None:
    """During talks, while their phones fall silent with no Tandem process alive, and when all of it has ended."""
    begun, temporary, log_dir = time.time(), tmp_path / "temporary", cell.data_dir / "log"
    assert cell.switch is not None
    start(cell, temporary)
    async with cell.centre() as centre, AsyncExitStack() as phones:
        await two_menus(centre)
        ann, bob = await agent(centre, "ann", 1785, Law.MU), await agent(centre, "bob", 2015, Law.A)
        first = await talk(cell, centre, phones, caller("the first caller", 1135, Law.MU), ann, "7")
        second = await talk(cell, centre, phones, caller("the second caller", 1465, Law.A), bob, "3")
        found = Found(cell, hunt_for(centre, (first, second)), temporary, begun, memory)
        on_disk, in_memory = await found.now()
        assert on_disk == set()
        assert {"recordings"} <= in_memory <= {"recordings", "db"}, "the hunt finds what is there"
        cell.kill_media()
        cell.kill_control()
    async with asyncio.timeout(PATIENCE_S):
        while len(list(cell.switch.cdrs.iterdir())) < 2:
            await asyncio.sleep(0.1)
    on_disk, in_memory = await found.now()
    assert on_disk == set()
    assert {"recordings", "cdr"} <= in_memory <= {"recordings", "cdr", "db"}
    await check_digits(log_dir, first, second)

    start(cell, temporary)
    async with cell.rest(centre.key) as rest:
        for one in (first, second):
            await ended(rest, centre.tenant, one.contact)
    assert cell.control is not None
    assert cell.media is not None
    assert (cell.control.stop(), cell.media.stop()) == (0, 0)
    cell.switch.stop()
    on_disk, in_memory = await found.now()
    assert on_disk == set()
    assert in_memory <= {"cdr", "db"}
