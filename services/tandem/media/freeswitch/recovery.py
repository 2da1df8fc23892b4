"""Rows of callers who are taken over, on their way into FreeSWITCH's own database. Nothing is written on the loop."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

from tandem.media.freeswitch.board import RecoveryRow

Insert = Callable[[str, str, str, str], str]
"""`adapters.freeswitch_core.insert_call`."""


class Recovery:
    """Writes rows. One thread, in their order."""

    def __init__(self, insert: Insert | None) -> None:
        self._insert = insert or _nowhere
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "recovery-rows")

    def write(self, row: RecoveryRow, then: Callable[[str, str], None]) -> None:
        """`then` is called on the loop with the channel, and why it could not be written."""
        given = (row.directory, row.switch, row.channel, row.row)
        writing = self._loop.run_in_executor(self._thread, self._insert, *given)
        writing.add_done_callback(lambda done: None if done.cancelled() else then(row.channel, done.result()))

    def close(self) -> None:
        """Give the thread back."""
        self._thread.shutdown(wait=True)


def _nowhere(directory: str, switch: str, channel: str, row: str) -> str:
    return "this agent was started without a way to FreeSWITCH's database"
