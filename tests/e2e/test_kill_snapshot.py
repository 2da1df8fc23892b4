"""kill -9 in the middle of a snapshot with 10,000 contacts in the state (spine 10)."""

from __future__ import annotations

import asyncio
import signal
import time

import pytest

from tandem.core.points import Point
from tests.e2e import programs
from tests.e2e.cell import Cell, Centre
from tests.e2e.many_calls import Node, many_calls

CONTACTS = 10_000
PASSES = (4, 12)
"""Blocks of the snapshot that stand when the process dies. The state of one shard has more of them."""
PATIENCE_S = 300
ENOUGH = 1_000_000
"""Commits: no snapshot."""


async def ready(cell: Cell, **kill: str) -> None:
    """The next life of the control plane, until it serves."""
    cell.start_control(**kill)
    await asyncio.to_thread(cell.wait_ready)


async def killed(cell: Cell, at: str) -> None:
    """A life that ends at a pass of the point, as soon as it has taken over."""
    cell.start_control(TANDEM_KILL_AT=at)
    assert cell.control is not None
    control = cell.control
    end = time.monotonic() + PATIENCE_S
    while control.alive:
        assert time.monotonic() < end, f"{at} was not reached:\n{control.output}"
        await asyncio.sleep(0.1)
    assert await asyncio.to_thread(control.wait_end) == -signal.SIGKILL, control.output
    assert f"TANDEM_KILL_AT={at} reached" in control.output
    cell.kill_control()


def parts(cell: Cell) -> tuple[int, int]:
    """(blocks, manifests) of the snapshots of live shards."""
    names = [path for path in (cell.data_dir / "blobs" / "names").rglob("*") if "live" in str(path) and path.is_file()]
    return sum("part-" in path.name for path in names), sum(path.name == "manifest" for path in names)


@pytest.mark.builtin("no media node takes ten thousand callers: they are scripted, in the test's own process")
@pytest.mark.timeout(900)  # a minute alone, five on a machine with ten times the load
async def test_a_kill_in_a_snapshot_of_ten_thousand_contacts(own_cell: Cell, monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody loses their call or their place, and the state is the log's."""
    monkeypatch.setattr(programs, "PATIENCE_S", PATIENCE_S)
    own_cell.set(log__snapshot_commits=ENOUGH)
    own_cell.set(limits__tenant__live_contacts=2 * CONTACTS, limits__tenant__setups_per_s=10_000)
    own_cell.set(limits__tenant__setup_burst=10_000)
    async with many_calls(own_cell) as node:
        await ready(own_cell)
        async with own_cell.centre("ann", timeout="60s", tries=9) as centre:
            began = time.monotonic()
            await node.call(centre.number, CONTACTS)
            took_s, away = time.monotonic() - began, node.media.turned_away
            print(f"\n{CONTACTS} callers in line after {took_s:.0f} s, {away} calls turned away before that")
            first = await in_line(centre)
            own_cell.kill_control()
            own_cell.set(log__snapshot_commits=10)
            for nth in PASSES:
                _, whole = parts(own_cell)
                await killed(own_cell, f"{Point.IN_SNAPSHOT}:{nth}")
                assert len(node.media.legs()) == CONTACTS, "a call ended"
                assert parts(own_cell)[1] == whole, "the kill was in a snapshot and not after it"
            await ready(own_cell)
            assert await in_line(centre) == first, "the same callers at the front, who came when they came"
            await alive(node, centre)
        end = time.monotonic() + PATIENCE_S
        while parts(own_cell)[1] == 0:
            assert time.monotonic() < end, "no snapshot is finished"
            await asyncio.sleep(0.2)
        own_cell.kill_control()
    verified = await asyncio.to_thread(own_cell.command, "admin", "verify")
    print(verified.stdout)
    assert verified.returncode == 0, verified.stdout
    assert "live/" in verified.stdout and "from commit" in verified.stdout


async def in_line(centre: Centre) -> list[tuple[str, str]]:
    """The first of the line: (contact, since when)."""
    page = await centre.rest.get(f"{centre.queue}/waiting", pageSize=100)
    return [(row["contact"], row["enqueueTime"]) for row in page["waiting"]]


async def alive(node: Node, centre: Centre) -> None:
    """Nobody was told to hang up; who hangs up is let go."""
    assert node.media.told_to_hang_up == []
    assert len(node.media.legs()) == CONTACTS
    front, _ = (await in_line(centre))[0]
    node.media.hang_up(front.rpartition("/")[2])
    end = time.monotonic() + PATIENCE_S
    while (await in_line(centre))[0][0] == front:
        assert time.monotonic() < end, "the owner does not hear the phones any more"
        await asyncio.sleep(0.1)
