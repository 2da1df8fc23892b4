"""Work that goes on beside a block, and has ended when the block is left."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Coroutine
from contextlib import asynccontextmanager
from typing import Any


@asynccontextmanager
async def beside(work: Coroutine[Any, Any, None]) -> AsyncIterator[None]:
    """Have `work` run while inside. It is cancelled at the end of the block, and waited for; if it fails the block is
    cancelled, and both failures are raised in a group."""
    async with asyncio.TaskGroup() as tasks:
        running = tasks.create_task(work)
        yield
        running.cancel()
