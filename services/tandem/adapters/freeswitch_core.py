"""FreeSWITCH's own database, as far as a node that takes calls over writes it: the table `recovery`."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

CORE = "core.db"
"""The database's name, below the directory of `-db`."""
BUSY_S = 5.0
"""How long FreeSWITCH may hold its database; it does for milliseconds."""
RUNTIME = "moved"
"""In place of the life of FreeSWITCH that a row is of. It takes up those that are not of its own."""
TECHNOLOGY, PROFILE = "sofia", "tandem"


def insert_call(directory: str, switch: str, channel: str, row: str) -> str:
    """Put a call in; empty, or why not. Rows that are not of the life `switch` go: FreeSWITCH would take up those calls
    too, and they are over."""
    path = Path(directory) / CORE
    try:
        with closing(sqlite3.connect(f"file:{path}?mode=rw", timeout=BUSY_S, isolation_level=None, uri=True)) as core:
            core.execute("BEGIN IMMEDIATE")
            core.execute("DELETE FROM recovery WHERE runtime_uuid <> ?", (switch,))
            core.execute(
                "INSERT INTO recovery (runtime_uuid, technology, profile_name, hostname, uuid, metadata) "
                "VALUES (?, ?, ?, ?, ?, ?)",
                (RUNTIME, TECHNOLOGY, PROFILE, RUNTIME, channel, row),
            )
            core.execute("COMMIT")
    except sqlite3.Error as error:
        return f"{path} cannot be written ({error}): the agent must run as the user that FreeSWITCH runs as"
    return ""
