"""FreeSWITCH's own database, into which rows of callers are put who are taken over. Nothing is written on the loop."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path

from tandem.media.freeswitch.board import RecoveryRow

CORE = "core.db"
"""The database's name, below the directory of `-db`."""
BUSY_S = 5.0
"""How long FreeSWITCH may hold its database; it does for milliseconds."""
RUNTIME = "moved"
"""In place of the life of FreeSWITCH that a row is of. It takes up those that are not of its own."""
TECHNOLOGY, PROFILE = "sofia", "tandem"


class Recovery:
    """Writes rows. One thread, in their order."""

    def __init__(self) -> None:
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "recovery-rows")

    def write(self, row: RecoveryRow, then: Callable[[str, str], None]) -> None:
        """`then` is called on the loop with the channel, and why it could not be written."""
        writing = self._loop.run_in_executor(self._thread, insert, row)
        writing.add_done_callback(lambda done: None if done.cancelled() else then(row.channel, done.result()))

    def close(self) -> None:
        """Give the thread back."""
        self._thread.shutdown(wait=True)


def insert(row: RecoveryRow) -> str:
    """Put it in; empty, or why not. Rows of earlier lives go: FreeSWITCH would take up those calls too, and they are
    over."""
    path = Path(row.directory) / CORE
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=rw", timeout=BUSY_S, isolation_level=None, uri=True)) as core:
            core.execute("BEGIN IMMEDIATE")
            core.execute("DELETE FROM recovery WHERE runtime_uuid <> ?", (row.switch,))
            core.execute(
                "INSERT INTO recovery (runtime_uuid, technology, profile_name, hostname, uuid, metadata) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (RUNTIME, TECHNOLOGY, PROFILE, RUNTIME, row.channel, row.row),
            )
            core.execute("COMMIT")
    except sqlite3.Error as error:
        return f"{path} cannot be written ({error}): the agent must run as the user that FreeSWITCH runs as"
    return ""
