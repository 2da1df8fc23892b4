"""Packets of one phone that come late or not at all: what FreeSWITCH fills in must not cost the other phone more.

Without `rtp-rewrite-timestamps` a talk's packets keep the times of the phone that sent them, and what fills in for one
that is 20 ms late has times of FreeSWITCH's own, half a second ahead: what comes after it looks too late to be played.
"""

from __future__ import annotations

import asyncio
import random
from contextlib import AsyncExitStack

from tandem.client.call import PhoneCall
from tests.e2e.cell import Cell
from tests.e2e.crowd import Crowd
from tests.e2e.freeswitch.test_kill import cell as cell  # the fixture

HICCUPS = 10
HICCUP_S, APART_S = 0.06, 0.2


def too_late(call: PhoneCall) -> int:
    """Packets that a phone could not play any more, by their times."""
    assert call._ear is not None
    return call._ear._buffer.late


async def test_a_hiccup_of_one_phone_is_no_silence_for_the_other(cell: Cell) -> None:
    async with AsyncExitStack() as stack, cell.centre("ann") as centre:
        crowd = Crowd(cell, centre, random.Random(1), stack)
        talk = await crowd.talk_sitters("1", await crowd.agent("ann", 0))
        before = [too_late(call) for call in talk]
        for call in talk:
            for _ in range(HICCUPS):
                call.mute()
                await asyncio.sleep(HICCUP_S)
                call.mute(False)
                await asyncio.sleep(APART_S)
        assert [too_late(call) for call in talk] == before
        assert [call.is_up for call in talk] == [True, True]
