"""When SIPp takes calls. It says nothing of it, and a call that comes too early finds nobody."""

from __future__ import annotations

import asyncio

from tests.e2e.foreign import HOST, Sipp
from tests.e2e.freeswitch.process import bound
from tests.e2e.programs import PATIENCE_S


async def listens(phone: Sipp, port: int) -> None:
    """Until it has its port."""
    async with asyncio.timeout(PATIENCE_S):
        while ("udp", HOST, port) not in bound(phone.program.pid):
            await asyncio.sleep(0.02)
