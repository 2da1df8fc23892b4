"""A cell's log and keys, only read: beside a running Tandem, or after one that was killed."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from tandem.adapters.sqlite.cell_key import load
from tandem.adapters.sqlite.database import read_only
from tandem.adapters.sqlite.keys import SCHEMA as KEYS
from tandem.adapters.sqlite.keys import wrapped_key
from tandem.adapters.sqlite.log import SCHEMA as LOG
from tandem.core.ports.log import LogFailed, Partition, Stored
from tandem.core.seal import unwrap

BATCH = 512
"""Records read at a time: a long read would keep the owner's checkpoints from ending."""


class LogFile:
    """The records of `log.db` in a directory. Raises `CannotOpen` for what is no log of ours."""

    def __init__(self, directory: Path) -> None:
        self._path = directory / LOG.file
        self._connection = read_only(directory, LOG)

    def end(self, partition: Partition) -> int:
        """Offset of the last record, 0 for none."""
        query = "SELECT coalesce(max(offset), 0) FROM record WHERE partition = ?"
        end: int = self._connection.execute(query, (str(partition),)).fetchone()[0]
        return end

    def records(self, partition: Partition, after: int, end: int) -> Iterator[Stored]:
        """Records above `after` up to `end`. Raises `LogFailed` when the file cannot be read."""
        query = "SELECT offset, body FROM record WHERE partition = ? AND offset > ? AND offset <= ? ORDER BY offset"
        while after < end:
            try:
                with closing(self._connection.execute(f"{query} LIMIT {BATCH}", (str(partition), after, end))) as rows:
                    batch = [Stored(offset, body) for offset, body in rows]
            except sqlite3.Error as error:
                raise LogFailed(f"{self._path} could not be read: {error}") from error
            if not batch:
                raise LogFailed(f"{self._path} lacks records {after + 1} to {end} of {partition}")
            yield from batch
            after = batch[-1].offset

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()


class KeyFile:
    """Data keys of a cell. Without the cell key there are none, and all reads as erased."""

    def __init__(self, directory: Path, cell_key_file: Path | None = None) -> None:
        key_file = cell_key_file or directory / "cell.key"
        self._connection = read_only(directory, KEYS)
        self._cell_key = load(key_file) if key_file.exists() else None

    @property
    def opens(self) -> bool:
        """Whether the cell key is there."""
        return self._cell_key is not None

    def get(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Those that are not destroyed. Raises `core.seal.Damaged` for another cell's key."""
        if self._cell_key is None:
            return {}
        wrapped = {key_id: wrapped_key(self._connection, key_id) for key_id in ids}
        return {key_id: unwrap(self._cell_key, key_id, key) for key_id, key in wrapped.items() if key is not None}

    def close(self) -> None:
        """Idempotent."""
        self._connection.close()
