"""kill -9 of the media node at the moment at which its INVITE has left and the phone's 180 has not come.

The phone is baresip behind a proxy that does it: on the INVITE it kills the node and only then hands
the INVITE on, so that whatever the phone answers meets nobody.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack
from pathlib import Path

import pytest

from tests.e2e.cell import SHARDS, Cell
from tests.e2e.crowd import Crowd
from tests.e2e.foreign import baresip, needs_baresip
from tests.e2e.kill_checks import all_contacts, whole_story
from tests.support.udp_proxy import Address, UdpProxy, Weather

AGENT_HZ = 1250
RING_LIMIT_S = 60
FINE = Weather(drop=0, double=0, delay=0)


class Executioner(UdpProxy):
    """Kills the media node when its first INVITE comes by."""

    def __init__(self, cell: Cell) -> None:
        super().__init__(("127.0.0.1", cell.sip_port), FINE, 0)
        self.done = asyncio.Event()
        self.answered = asyncio.Event()
        self._cell = cell

    def _from_node(self, port: int, data: bytes, source: Address) -> None:
        if data.startswith(b"INVITE ") and not self.done.is_set():
            self._cell.kill_media()
            self.done.set()
        super()._from_node(port, data, source)

    def _from_phone(self, port: int, data: bytes, source: Address) -> None:
        if data.startswith(b"SIP/2.0 200 ") and b"INVITE\r\n" in data:
            self.answered.set()
        super()._from_phone(port, data, source)


@pytest.mark.builtin("its calls die with it")
@needs_baresip
@pytest.mark.parametrize("answers", [False, True], ids=["it rings", "it is picked up meanwhile"])
async def test_a_phone_whose_first_answer_finds_no_node(own_cell: Cell, tmp_path: Path, answers: bool) -> None:
    """The next life ends what it finds in its journal, and the phone rings once for each offer."""
    own_cell.start()
    proxy = Executioner(own_cell)
    async with AsyncExitStack() as stack, own_cell.centre("ann", ring_timeout_s=RING_LIMIT_S) as centre:
        stack.callback(proxy.close)
        crowd = Crowd(own_cell, centre, random.Random(1), stack)
        account, registrar = centre.agents["ann"], "{}:{}".format(*proxy.near)
        phone = await stack.enter_async_context(
            baresip(tmp_path / "ann", registrar, account.sip_user, account.password, tone_hz=AGENT_HZ, answers=False)
        )
        await phone.registered()
        await centre.available("ann")
        first = await crowd.queue_sitter("1")
        await proxy.done.wait()
        await phone.until("CALL_INCOMING")
        if answers:
            phone.command("accept")
            await proxy.answered.wait()
        assert own_cell.control is not None
        own_cell.start_media()
        await asyncio.to_thread(own_cell.control.wait_line, "media node up", count=2 * SHARDS)

        await phone.until("CALL_CLOSED")
        await first.until_over()
        (contact,) = await all_contacts(centre)
        await whole_story(centre, contact["name"])
        assert (await centre.rest.get(contact["name"]))["outcome"] == "OUTCOME_MEDIA_LOST"
        assert [event["type"] for event in phone.events].count("CALL_INCOMING") == 1

        second = await crowd.queue_sitter("1")  # nobody has registered anew
        await phone.until("CALL_INCOMING", 2)
        crowd.hang_up(second)
        await phone.until("CALL_CLOSED", 2)
