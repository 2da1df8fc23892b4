"""A real node that cannot store its recordings for hours, while a contact of them is erased."""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from contextlib import AsyncExitStack
from functools import partial
from pathlib import Path

import pytest

from tests.e2e.cell import SHARDS, Cell, Centre
from tests.e2e.crowd import PATIENCE_S, Crowd
from tests.e2e.kill_checks import all_contacts
from tests.e2e.rest import Json, Refused
from tests.e2e.test_retention import erased

HOURS_LATER = "wall=7200000,boot=5000"
"""The clocks of another boot, two hours later: a contact waits one for its recording."""


def blobs_of(cell: Cell) -> list[Path]:
    """Recordings that stand in Blobs, whole or in part."""
    names = cell.data_dir / "blobs" / "names"
    found = [path for path in names.rglob("*") if path.is_file() and "recordings" in str(path)]
    return found + [
        path for path in (cell.data_dir / "blobs" / "incoming").rglob("*") if path.is_file() and path.stat().st_size
    ]


def put_away(cell: Cell) -> Callable[[], object]:
    """The node's own place in Blobs, so that it cannot store anything until the answer is called."""
    assert cell.media is not None
    (lock,) = [
        path
        for path in (cell.data_dir / "blobs" / "incoming").iterdir()
        if path.is_dir() and is_open(path, cell.media.pid)
    ]
    away = cell.data_dir / "away"
    lock.rename(away)
    return lambda: away.rename(lock)


def is_open(path: Path, pid: int) -> bool:
    """Whether a process holds it, or something in it."""
    return any(str(fd.resolve()).startswith(str(path)) for fd in Path(f"/proc/{pid}/fd").iterdir())


def spooled(cell: Cell) -> list[Path]:
    """Recordings that the node still has."""
    return list(cell.data_dir.rglob("*.sealed"))


async def until_completed(centre: Centre, contact: Json) -> None:
    """Until nothing more happens to it."""
    async with asyncio.timeout(PATIENCE_S):
        while "contact.completed" not in await types_of(centre, contact):
            await asyncio.sleep(0.1)


async def types_of(centre: Centre, contact: Json) -> list[str]:
    """Its events."""
    found = await centre.rest.get(f"{contact['name']}/events", pageSize=200)
    return [event["type"] for event in found["events"]]


async def test_what_an_erased_contact_s_node_stores_late_is_deleted_and_others_are_heard(own_cell: Cell) -> None:
    own_cell.start()
    async with AsyncExitStack() as stack, own_cell.centre("ann") as centre:
        crowd = Crowd(own_cell, centre, random.Random(1), stack)
        ann = await crowd.agent("ann", 0)
        back = put_away(own_cell)
        for _ in range(2):
            call, ringing = await crowd.talk_sitters("1", ann)
            crowd.hang_up(call)
            await ringing.until_over()
        async with asyncio.timeout(PATIENCE_S):
            while len(await all_contacts(centre, "LIFE_ENDED")) < 2:
                await asyncio.sleep(0.1)
        own_cell.kill_control()
        own_cell.start_control(TANDEM_CLOCK=HOURS_LATER)
        await asyncio.to_thread(own_cell.wait_ready)
        kept, gone = await all_contacts(centre, "LIFE_ENDED")
        for contact in (kept, gone):
            await until_completed(centre, contact)
        assert len(spooled(own_cell)) == 2
        answer = await centre.rest.post(f"{gone['name']}:erase")
        assert answer["caller"]["visibility"] == "VISIBILITY_ERASED"
        back()
        async with asyncio.timeout(PATIENCE_S):
            while spooled(own_cell) or len(await recordings(centre)) < 2:
                await asyncio.sleep(0.1)
            while len(blobs_of(own_cell)) != 1:
                await asyncio.sleep(0.1)
        shown = {found["contact"]: found for found in await recordings(centre)}
        assert shown[gone["name"]]["erased"] is True
        assert (await centre.rest.download(shown[kept["name"]]["name"]))[:4] == b"RIFF"
        with pytest.raises(Refused) as refused:
            await centre.rest.download(shown[gone["name"]]["name"])
        assert (refused.value.status, refused.value.reason) == (410, "ERASED")
        (named,) = (await centre.rest.get(kept["name"]))["recordings"]
        assert named == shown[kept["name"]]["name"]
        assert (await types_of(centre, kept))[-1] == "late.stored"
        own_cell.kill_media()
        own_cell.start_media()  # and nothing comes again
        assert own_cell.control is not None
        await asyncio.to_thread(partial(own_cell.control.wait_line, "media node up", count=2 * SHARDS))
        await crowd.agent("ann", 0)
        assert (len(blobs_of(own_cell)), len(await recordings(centre))) == (1, 2)
    assert len(erased(own_cell.data_dir / "log")) == 1


async def recordings(centre: Centre) -> list[Json]:
    """All of the centre."""
    found: list[Json] = (await centre.rest.get(f"{centre.tenant}/recordings"))["recordings"]
    return found
