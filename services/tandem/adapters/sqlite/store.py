"""The `Store` port in a SQLite file of its own: no view's write delays a commit of the log."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tandem.adapters.checks import check_page
from tandem.adapters.keyorder import Key, decode, encode, span
from tandem.adapters.sqlite.database import Schema, connect, prepare
from tandem.adapters.threads import Bell, GroupCommit, Overloaded, Stopped, to_the_end
from tandem.core.ports.store import Delete, Put, Row

SCHEMA = Schema(
    file="views.db",
    application_id=0x544E4456,  # "TNDV"
    version=1,
    statements=(
        """
        CREATE TABLE row (tbl TEXT NOT NULL, key BLOB NOT NULL, value BLOB NOT NULL,
                          PRIMARY KEY (tbl, key)) WITHOUT ROWID
        """,
        """
        CREATE TABLE position (view TEXT NOT NULL, partition TEXT NOT NULL, position INTEGER NOT NULL,
                               PRIMARY KEY (view, partition)) WITHOUT ROWID
        """,
    ),
    precious=False,
)

Value = TypeVar("Value")


@dataclass(frozen=True, slots=True)
class _Projection:
    """Rows to write (None: to delete) and the position they bring a view to."""

    view: str
    partition: str
    position: int
    rows: tuple[tuple[str, bytes, bytes | None], ...]


@dataclass(frozen=True, slots=True)
class _Drop:
    view: str
    tables: tuple[str, ...]


class SqliteStore:
    """The views of a cell. Made by `open`, after the log (see the package).

    One thread commits projections in groups, another reads. synchronous=NORMAL: a power cut
    may take the newest transactions, rows and positions alike, and they are projected again.
    """

    def __init__(self, directory: Path) -> None:
        self._state = threading.Lock()
        """Guards the positions (which the writer's thread alone changes), the bell and `_closed`."""
        self._positions: dict[tuple[str, str], int] = {}
        self._bell = Bell()
        self._closed = False
        self._shutting = threading.Lock()
        with ExitStack() as undo:
            self._writer = prepare(directory, SCHEMA, synchronous="NORMAL")
            undo.callback(self._writer.close)
            # On the writer's own connection, so that no checkpoint ever runs beside a commit (see `checkpoint`).
            self._writer.execute("PRAGMA wal_autocheckpoint=1000")
            for view, partition, position in self._writer.execute("SELECT view, partition, position FROM position"):
                self._positions[view, partition] = position
            self._reader = connect(directory / SCHEMA.file, synchronous="NORMAL", read_only=True)
            undo.callback(self._reader.close)
            self._reading = ThreadPoolExecutor(1, thread_name_prefix="tandem-store-read")
            undo.callback(self._reading.shutdown)
            self._commits = GroupCommit[_Projection | _Drop, bool]("tandem-store-write", self._commit)
            undo.callback(self._commits.close)
            self._undo = undo.pop_all()
            """All that `close` ends, last made first."""

    @classmethod
    async def open(cls, directory: Path) -> SqliteStore:
        """The views in `directory`, made if they are not there. Raises `CannotOpen`, which says what to do."""
        opening = asyncio.get_running_loop().run_in_executor(None, cls, directory)
        try:
            return await to_the_end(opening)
        except asyncio.CancelledError:
            if opening.done() and opening.exception() is None:
                await opening.result().close()
            raise

    async def project(self, view: str, partition: str, position: int, writes: Sequence[Put | Delete]) -> bool:
        """See the port. Raises OSError when the disk fails; then nothing was projected, or all."""
        rows = tuple((write.table, encode(write.key), _value(write)) for write in writes)
        size = sum(len(key) + len(value or b"") for _, key, value in rows)
        return await self._submit(_Projection(view, partition, position, rows), size)

    async def position(self, view: str, partition: str) -> int:
        """See the port."""
        with self._opened():
            return self._positions.get((view, partition), 0)

    async def wait(self, view: str, partition: str, position: int, timeout_s: float) -> bool:
        """See the port."""
        try:
            async with asyncio.timeout(timeout_s):
                while not await self._moved(view, partition, position):
                    pass
        except TimeoutError:
            return False
        return True

    async def get(self, table: str, key: Key) -> bytes | None:
        """See the port. Raises OSError when the disk fails."""
        encoded = encode(key)
        rows = await self._read(lambda: self._select("SELECT value FROM row WHERE tbl = ? AND key = ?", table, encoded))
        return rows[0][0] if rows else None

    async def scan(
        self, table: str, prefix: Key, *, after: Key | None = None, limit: int = 100, descending: bool = False
    ) -> Sequence[Row]:
        """See the port. Raises OSError when the disk fails."""
        check_page(limit)
        low, high = span(prefix, after, descending)
        order = "DESC" if descending else "ASC"
        query = f"SELECT key, value FROM row WHERE tbl = ? AND key >= ? AND key < ? ORDER BY key {order} LIMIT ?"  # noqa: S608 - one of two words
        rows = await self._read(lambda: self._select(query, table, low, high, limit))
        return [Row(decode(key), value) for key, value in rows]

    async def drop(self, view: str, tables: Sequence[str]) -> None:
        """See the port. Raises OSError when the disk fails; then nothing was dropped, or all."""
        await self._submit(_Drop(view, tuple(tables)), 0)

    async def close(self) -> None:
        """See the port. Projections under way are committed first."""
        with self._state:
            self._closed = True
            self._bell.ring_all()
        await asyncio.to_thread(self._shut)

    @contextmanager
    def _opened(self) -> Iterator[None]:
        """Holds `_state` of a store that is open. Raises RuntimeError."""
        with self._state:
            if self._closed:
                raise RuntimeError("the store was closed")
            yield

    async def _moved(self, view: str, partition: str, position: int) -> bool:
        """True if the view stands at `position` or above, False once it has moved."""
        topic = (view, partition)
        with self._opened():
            if self._positions.get(topic, 0) >= position:
                return True
            waiter = self._bell.listen(topic)
        try:
            await waiter
        finally:
            with self._state:
                self._bell.leave(topic, waiter)
        return False

    async def _submit(self, item: _Projection | _Drop, size: int) -> bool:
        try:
            return await self._commits.submit(item, size)
        except Stopped:
            raise RuntimeError("the store was closed") from None
        except Overloaded as error:
            raise OSError(str(error)) from error

    async def _read(self, work: Callable[[], Value]) -> Value:
        with self._opened():
            reading = self._reading.submit(work)
        return await asyncio.wrap_future(reading)

    def _shut(self) -> None:
        with self._shutting:
            self._undo.close()

    # The reader's thread.

    def _select(self, query: str, *values: object) -> list[tuple[bytes, ...]]:
        with _storage_errors(), closing(self._reader.execute(query, values)) as rows:
            return rows.fetchall()

    # The writer's thread.

    def _commit(self, items: Sequence[_Projection | _Drop]) -> Sequence[bool]:
        positions = dict(self._positions)
        with _storage_errors():
            # A failing disk may have kept the last one from being rolled back.
            self._roll_back()
            self._writer.execute("BEGIN IMMEDIATE")
            try:
                done = [self._apply(item, positions) for item in items]
                self._writer.execute("COMMIT")
            except sqlite3.Error:
                self._roll_back()
                raise
        with self._state:
            moved = [topic for topic, position in positions.items() if self._positions.get(topic) != position]
            self._positions = positions
            self._bell.ring(moved)
        return done

    def _roll_back(self) -> None:
        if self._writer.in_transaction:
            self._writer.execute("ROLLBACK")

    def _apply(self, item: _Projection | _Drop, positions: dict[tuple[str, str], int]) -> bool:
        match item:
            case _Projection(view, partition, position, rows):
                if positions.get((view, partition), 0) >= position:
                    return False
                for table, key, value in rows:
                    if value is None:
                        self._writer.execute("DELETE FROM row WHERE tbl = ? AND key = ?", (table, key))
                    else:
                        self._writer.execute("INSERT OR REPLACE INTO row VALUES (?, ?, ?)", (table, key, value))
                self._writer.execute("INSERT OR REPLACE INTO position VALUES (?, ?, ?)", (view, partition, position))
                positions[view, partition] = position
            case _Drop(view, tables):
                self._writer.executemany("DELETE FROM row WHERE tbl = ?", [(table,) for table in tables])
                self._writer.execute("DELETE FROM position WHERE view = ?", (view,))
                for topic in [topic for topic in positions if topic[0] == view]:
                    del positions[topic]
        return True


def _value(write: Put | Delete) -> bytes | None:
    return write.value if isinstance(write, Put) else None


@contextmanager
def _storage_errors() -> Iterator[None]:
    """What SQLite reports, as the port says it."""
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(f"views.db: {error}") from error
