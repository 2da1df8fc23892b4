"""Checkpoints beside the writer: the WAL is copied into the database without stopping commits.

SQLite up to 3.51.2 can corrupt a database when a checkpoint begins on a WAL that is already
copied whole while a commit on another connection starts that WAL anew
(https://sqlite.org/wal.html#the_wal_reset_bug). So a checkpoint beside the writer begins only
if a commit was made wholly after the last one ended: such a WAL is not copied whole, and a
commit cannot start it anew before the checkpoint is through.
"""

from __future__ import annotations

import logging
import sqlite3
import threading
from pathlib import Path

from tandem.adapters.sqlite.database import connect

CHECKPOINT_BYTES = 4 * 1024 * 1024
"""About so much is written to the WAL between two checkpoints."""
COMMIT_BYTES = 16 * 1024
"""Of the WAL for each commit, however small its records: it takes whole pages, those that lead to the
records among them (measured: 18 kB for a commit of 2 kB). With few calls each input has a commit
of its own, and records alone would let the WAL grow to 25 times what was meant."""
TRUNCATE_BYTES = 32 * 1024 * 1024
"""A WAL this long is emptied while commits wait: under steady writing it would
never be, and a successor reads all of it before it starts."""

_log = logging.getLogger(__name__)


class Checkpointer:
    """A thread with a connection of its own. `writing` is held by the writer during each commit."""

    def __init__(self, path: Path, writing: threading.Lock) -> None:
        self._wal = path.with_name(path.name + "-wal")
        self._writing = writing
        self._fresh_bytes = 0
        self._due = threading.Event()
        self._stopping = False
        self._connection = connect(path, synchronous="FULL")
        # Waiting for a reader would mean polling it; the next time is soon enough.
        self._connection.execute("PRAGMA busy_timeout=0")
        self._thread = threading.Thread(target=self._run, name="tandem-log-checkpoint", daemon=True)
        self._thread.start()

    def committed(self, size: int) -> None:
        """Note `size` bytes of records. Called by the writer, holding `writing`, after its commit."""
        self._fresh_bytes += size + COMMIT_BYTES
        if self._fresh_bytes >= CHECKPOINT_BYTES:
            self._due.set()

    def close(self) -> None:
        """Copy all and empty the WAL; the writer has ended. Blocks."""
        self._stopping = True
        self._due.set()
        self._thread.join()
        self._checkpoint("TRUNCATE")
        self._connection.close()

    def _run(self) -> None:
        while self._due.wait() and not self._stopping:
            self._due.clear()
            self._copy()

    def _copy(self) -> None:
        with self._writing:
            due = self._fresh_bytes > 0
        if due:
            self._checkpoint("PASSIVE")
            with self._writing:
                self._fresh_bytes = 0
                if self._is_long():
                    self._checkpoint("TRUNCATE")

    def _is_long(self) -> bool:
        return self._wal.exists() and self._wal.stat().st_size >= TRUNCATE_BYTES

    def _checkpoint(self, mode: str) -> None:
        try:
            self._connection.execute(f"PRAGMA wal_checkpoint({mode})").fetchone()
        except sqlite3.Error as error:
            # The records are safe in the WAL, which grows until a checkpoint succeeds.
            _log.warning("checkpoint of %s failed, the next one is tried after more writes: %s", self._wal, error)
