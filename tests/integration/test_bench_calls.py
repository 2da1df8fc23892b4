"""The benchmarks account for every call: what was turned away is said, what was lost fails them."""

from __future__ import annotations

import asyncio
import time
from pathlib import Path

import pytest

from tandem.runtime.turns import MAX_CLIENTS
from tests.load.calls import away, calls
from tests.load.figures import home_in
from tests.load.filler import Filler
from tests.load.media_stub import Plan, StubProcess
from tests.load.plane import NUMBER, link_of, plane

AGENTS = 20
RATE, COUNT = 200.0, 300
STILL_S = 1.2
"""The control plane does nothing for so long: what may be under way to it is used up after the first of it,
and half a second later the node turns calls away."""


async def test_who_is_turned_away_is_told_from_who_is_lost(tmp_path: Path) -> None:
    home = home_in(tmp_path, "home")
    async with StubProcess(link_of(home), home / "media") as stub, plane(home) as control:
        await control.configure(AGENTS)
        await control.idle(AGENTS)
        served = await calls(stub, control, Plan(NUMBER, 20, at_once=5))
        assert (served.talked, served.turned_away, away(served)) == (20, 0, "")

        asyncio.get_running_loop().call_soon(time.sleep, STILL_S)
        found = await calls(stub, control, Plan(NUMBER, COUNT, rate=RATE))
        assert found.turned_away > 0
        assert found.talked + found.turned_away == COUNT
        assert f"{COUNT} calls were turned away" in away(found)

        with pytest.raises(AssertionError, match="a call was lost"):
            await calls(stub, control, Plan(NUMBER, 3, at_once=3, digit="9", patience_ms=1))


def test_more_agents_come_to_work_than_commands_of_a_tenant_may_wait() -> None:
    count = MAX_CLIENTS + 200
    filler = Filler()
    filler.configure(count)
    assert filler.call(count, talk_ms=3_600_000).told.talked == count
