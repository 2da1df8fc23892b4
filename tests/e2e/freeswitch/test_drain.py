"""A FreeSWITCH with no door before it is emptied: phones and emergency calls are served all the same."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.cell import Cell
from tests.e2e.foreign import needs_sipp, register, sipp
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.freeswitch.test_config import GATEWAY, call, options
from tests.e2e.programs import free_udp_port
from tests.e2e.test_drain import order

EMERGENCY_MS = 6_000

pytestmark = needs_sipp


@pytest.fixture
def gateway() -> int:
    """The port of who takes emergency calls."""
    return free_udp_port()


@pytest.fixture
def cell(freeswitch_prefix: Path, tmp_path: Path, gateway: int) -> Iterator[Cell]:
    """A cell on a FreeSWITCH of its own, alone."""
    switch = FreeSwitch(freeswitch_prefix, tmp_path / "switch")
    (switch.gateways / "emergency.xml").write_text(GATEWAY.format(name="emergency", port=gateway))
    cell = Cell(tmp_path / "cell", switch=switch)
    try:
        cell.start()
        yield cell
    finally:
        cell.stop()


async def test_an_emergency_call_goes_out_and_is_waited_for(cell: Cell, gateway: int, tmp_path: Path) -> None:
    assert cell.switch is not None
    async with cell.centre("ann") as centre:
        assert cell.command("admin", "drain", "--no-wait").returncode == 0
        assert await options(cell.switch) == 200
        async with call(cell.switch, tmp_path / "new", "refused_when_full", centre.number) as refused:
            await refused.succeeds()
        ann = centre.agents["ann"]
        await register(tmp_path / "phone", cell.sip, ann.sip_user, ann.password, free_udp_port())
        helper = sipp(
            tmp_path / "helper", "answer_and_hang_up", cell.sip, "-d", EMERGENCY_MS, tone_hz=440, port=gateway
        )
        async with helper as helps, call(cell.switch, tmp_path / "ill", "ring_and_listen", "112") as ill:
            await ill.ear.hears(440)
            async with order(cell) as drain:
                await asyncio.to_thread(
                    drain.wait_line, "0 left, 0 of them talking, 0 waiting; an emergency call goes on"
                )
                assert [line for line in drain.lines if "nobody is left" in line] == []
                await ill.succeeds()
                await helps.succeeds()
                await asyncio.to_thread(drain.wait_line, "nobody is left, it can be stopped")
