"""A media agent that stands still under load: FreeSWITCH keeps what it tells, and nothing is lost.

Both sides are asked: the node for the line that it logs when it drops events or ends a listener
(mod_event_socket.c), the history for each call.
"""

from __future__ import annotations

import asyncio
import random
import signal
from collections import Counter
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.e2e.cell import Cell, Centre
from tests.e2e.crowd import PATIENCE_S, Crowd
from tests.e2e.foreign import needs_sipp, sipp
from tests.e2e.freeswitch.test_kill import cell as cell  # the fixture
from tests.e2e.kill_checks import all_contacts
from tests.e2e.test_observed import Samples, node_metrics, scraped, total

STALL_S = 30
CALLS_PER_S = 20
GAVE_UP = ("OUTCOME_LEFT_IN_FLOW", "ENDED_BY_CALLER")
TURNED_AWAY = ("OUTCOME_REFUSED", "ENDED_BY_NODE")
"""Of the calls that are told all at once, those for which events of the tenant had waited for too long."""
DROPPED = ("Lost [", "Killing listener")
"""What FreeSWITCH logs, whoever listens."""


def read(cell: Cell) -> Samples:
    """The media node's metrics."""
    return scraped(node_metrics(cell))[0]


async def ends(centre: Centre, count: int) -> Counter[tuple[str, str]]:
    """How the contacts ended, once so many have."""
    async with asyncio.timeout(PATIENCE_S):
        while True:
            over = [one for one in await all_contacts(centre) if one["state"] == "STATE_ENDED"]
            if len(over) >= count:
                return Counter((one["outcome"], one["endedBy"]) for one in over)
            await asyncio.sleep(0.1)


@needs_sipp
@pytest.mark.timeout(300)
async def test_an_agent_that_stands_still_loses_nothing_and_is_not_put_out(cell: Cell, tmp_path: Path) -> None:
    """Every call that rang and gave up meanwhile is told, over the same connection, and on record; a talk goes on."""
    async with AsyncExitStack() as stack, cell.centre("ann") as centre:
        crowd = Crowd(cell, centre, random.Random(1), stack)
        talk = await crowd.talk_sitters("1", await crowd.agent("ann", 0))
        assert cell.media is not None and cell.switch is not None
        count = STALL_S * CALLS_PER_S
        cell.media.send(signal.SIGSTOP)
        try:
            many = ("-r", CALLS_PER_S, "-m", count, "-timeout", 2 * STALL_S)
            async with sipp(
                tmp_path / "callers", "ring_and_cancel", cell.sip, "-s", centre.number, *many, caller="4917000099"
            ) as callers:
                assert await asyncio.to_thread(callers.program.wait_end, 2 * STALL_S) == 0, callers.program.output
        finally:
            cell.media.send(signal.SIGCONT)
        async with asyncio.timeout(PATIENCE_S):
            while total(read(cell), "tandem_media_calls_total") < 1 + count:
                await asyncio.sleep(0.1)
        told = cell.media.lines
        assert [line for line in told if "EVENTS_LOST" in line or "has ended" in line or "NO_HEARTBEAT" in line] == []
        assert [line for line in cell.switch.lines if any(words in line for words in DROPPED)] == []
        found = await ends(centre, count)
        assert found.total() == count and set(found) <= {GAVE_UP, TURNED_AWAY}, found
        assert [call.is_up for call in talk] == [True, True]
        assert total(read(cell), "tandem_media_legs") == 2
