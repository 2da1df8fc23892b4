"""Reading the records of `log.db`, for its owner and for who only follows it."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from contextlib import closing
from pathlib import Path

from tandem.core.ports.log import LogFailed, Stored

MAX_FETCH_RECORDS = 512
MAX_FETCH_BYTES = 1024 * 1024
"""What a reader takes from the file at a time (or one record)."""


def ends(connection: sqlite3.Connection) -> Iterator[tuple[str, int]]:
    """(partition, last offset) of each, by a step per partition and not per record."""
    next_topic = "SELECT min(partition) FROM record WHERE partition > ?"
    last_offset = "SELECT max(offset) FROM record WHERE partition = ?"
    topic = ""
    while topic := connection.execute(next_topic, (topic,)).fetchone()[0]:
        yield topic, connection.execute(last_offset, (topic,)).fetchone()[0]


def fetch(connection: sqlite3.Connection, path: Path, topic: str, after: int, last: int) -> Sequence[Stored]:
    """Records above `after` and up to `last`, one batch of them. Raises `LogFailed` if there are none."""
    batch: list[Stored] = []
    size = 0
    query = "SELECT offset, body FROM record WHERE partition = ? AND offset > ? AND offset <= ? ORDER BY offset"
    try:
        with closing(connection.execute(query, (topic, after, last))) as rows:
            for offset, body in rows:
                batch.append(Stored(offset, body))
                size += len(body)
                if len(batch) >= MAX_FETCH_RECORDS or size >= MAX_FETCH_BYTES:
                    break
    except sqlite3.Error as error:
        raise LogFailed(f"{path} could not be read: {error}") from error
    if not batch:
        raise LogFailed(f"{path} has lost records {after + 1} to {last} of {topic}: restore it from a backup")
    return batch
