"""Waiting for something to become true, without polling."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from typing import TypeVar

Found = TypeVar("Found")


class News:
    """Wakes those who wait whenever something has changed."""

    def __init__(self) -> None:
        self._changed = asyncio.Event()

    def tell(self) -> None:
        """Something has changed."""
        changed, self._changed = self._changed, asyncio.Event()
        changed.set()

    async def when(self, ready: Callable[[], Found | None]) -> Found:
        """Wait until `ready` gives something true, and give that. Put a time-out around it."""
        while not (found := ready()):
            await self._changed.wait()
        return found
