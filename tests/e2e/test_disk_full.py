"""The media node's disk is full: talks go on, new calls are told so, and when there is room again all is told."""

from __future__ import annotations

import asyncio
import json
import os
import random
import subprocess
from collections.abc import Iterator
from contextlib import AsyncExitStack
from pathlib import Path

import httpx
import pytest

from tandem.__main__ import CANNOT_START
from tests.e2e import sounds
from tests.e2e.cell import Cell
from tests.e2e.crowd import PATIENCE_S, Crowd
from tests.e2e.kill_checks import whole_story

DISK = "4m"
"""Journal and spool; blobs are elsewhere."""


class Disk:
    """A small file system that a test can fill."""

    def __init__(self, place: Path) -> None:
        self.place = place
        self._filler = place / "filler"

    def fill(self) -> None:
        """To the last page."""
        with self._filler.open("ab", buffering=0) as file:
            try:
                while True:
                    file.write(bytes(4096))
            except OSError:
                return

    def make_room(self) -> None:
        """As an operator would."""
        self._filler.unlink()


@pytest.fixture
def cell_on_a_small_disk(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Cell, Disk]]:
    """A cell whose media node has a disk of its own."""
    if os.geteuid() != 0:
        pytest.skip("only root may mount a small file system")
    cell = Cell(tmp_path_factory.mktemp("own"))
    disk = Disk(cell.data_dir / "media")
    disk.place.mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=0700", "tmpfs", disk.place], check=True)
    try:
        yield cell, disk
    finally:
        cell.stop()
        subprocess.run(["umount", disk.place], check=True)


def journal_away(cell: Cell) -> str:
    """As the node's metrics have it, which is what the alert looks at."""
    return reading(cell, "tandem_media_journal_away")


def reading(cell: Cell, name: str) -> str:
    """A metric of the node."""
    place = json.loads((cell.data_dir / "run" / "media-metrics.json").read_text())
    lines = httpx.get(str(place["metrics"])).text.splitlines()
    (line,) = [line for line in lines if line.startswith(name)]
    return line.rpartition(" ")[2]


async def cut_and_stored(cell: Cell, disk: Disk) -> None:
    """The recording of the talk is cut, stored and gone from the disk: nothing of the node's makes room any more."""
    assert cell.media is not None
    await asyncio.to_thread(cell.media.wait_line, "is cut")
    async with asyncio.timeout(PATIENCE_S):
        while any((disk.place / "spool").iterdir()):
            await asyncio.sleep(0.02)


async def until_noticed(cell: Cell) -> None:
    """The node writes the time while a call is up, and so meets the full disk at the end of the journal's page."""
    async with asyncio.timeout(PATIENCE_S):
        while float(journal_away(cell)) == 0:
            await asyncio.sleep(0.02)


async def test_a_full_disk_and_room_again(cell_on_a_small_disk: tuple[Cell, Disk]) -> None:
    """A talk with a recording, a caller who comes too late, and one who comes after."""
    cell, disk = cell_on_a_small_disk
    cell.start()
    assert cell.media is not None
    async with AsyncExitStack() as stack, cell.centre("ann") as centre:
        crowd = Crowd(cell, centre, random.Random(1), stack)
        ann = await crowd.agent("ann", 0)
        caller, agent = await crowd.talk_sitters("1", ann)
        contact = (await centre.the_contact())["name"]
        await caller.until_voice()
        disk.fill()
        await cut_and_stored(cell, disk)
        disk.fill()
        await until_noticed(cell)

        late = (await crowd.caller()).dial(centre.number)
        async with asyncio.timeout(PATIENCE_S):
            assert (await late.until_over()).status == 503
            await caller.until_hears(ann.hz)
        assert caller.is_up
        assert agent.is_up

        disk.make_room()
        await asyncio.to_thread(cell.media.wait_line, "can be written again")
        assert float(journal_away(cell)) == 0
        crowd.hang_up(caller)
        await whole_story(centre, contact)
        ended = await centre.rest.get(contact)
        assert ended["outcome"] == "OUTCOME_HANDLED"
        (name,) = ended["recordings"]
        assert (await centre.rest.get(name))["truncated"] is True
        assert all(sounds.channels_of(await centre.rest.download(name)))
        again, _ = await crowd.talk_sitters("1", ann)
        crowd.hang_up(again)


async def test_a_node_that_dies_on_a_full_disk_comes_back_on_it(cell_on_a_small_disk: tuple[Cell, Disk]) -> None:
    """It knows what stood there: the phone of the talk that died with it, and who is registered."""
    cell, disk = cell_on_a_small_disk
    cell.start()
    async with AsyncExitStack() as stack, cell.centre("ann") as centre:
        crowd = Crowd(cell, centre, random.Random(1), stack)
        ann = await crowd.agent("ann", 0)
        caller, agent = await crowd.talk_sitters("1", ann)
        contact = (await centre.the_contact())["name"]
        await caller.until_voice()
        disk.fill()
        await cut_and_stored(cell, disk)
        disk.fill()
        cell.kill_media()
        disk.fill()
        media = cell.start_media()
        await asyncio.to_thread(media.wait_line, "cannot be written")
        async with asyncio.timeout(PATIENCE_S):
            await caller.until_over()
            await agent.until_over()
        assert float(journal_away(cell)) == 1
        assert float(reading(cell, "tandem_media_registrations")) == 1
        late = (await crowd.caller()).dial(centre.number)
        async with asyncio.timeout(PATIENCE_S):
            assert (await late.until_over()).status == 503

        disk.make_room()
        await asyncio.to_thread(media.wait_line, "can be written again")
        assert float(journal_away(cell)) == 0
        await whole_story(centre, contact)
        assert (await centre.rest.get(contact))["outcome"] == "OUTCOME_MEDIA_LOST"
        await centre.available("ann")
        again, _ = await crowd.talk_sitters("1", ann)
        crowd.hang_up(again)


def test_a_node_that_can_begin_no_journal_says_how_much_room_it_needs(
    cell_on_a_small_disk: tuple[Cell, Disk],
) -> None:
    cell, disk = cell_on_a_small_disk
    disk.fill()
    media = cell.start_media()
    assert media.wait_end() == CANNOT_START
    assert str(disk.place / "journal") in media.lines[-1]
    assert "16 MB free" in media.lines[-1]
    assert len(media.lines) <= 2, media.output
