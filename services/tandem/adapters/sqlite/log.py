"""The `Log` port in one SQLite file, for a cell of one control process (spine 1)."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import AsyncIterator, Coroutine, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from pathlib import Path

from tandem.adapters.checks import check_body
from tandem.adapters.files import sync
from tandem.adapters.sqlite.checkpoint import Checkpointer
from tandem.adapters.sqlite.database import CannotOpen, LogMissing, Schema, connect, prepare
from tandem.adapters.sqlite.lock import CellLock, hold
from tandem.adapters.sqlite.records import ends, fetch
from tandem.adapters.sqlite.tail import Tail
from tandem.adapters.threads import Bell, GroupCommit, Overloaded, Stopped, to_the_end
from tandem.core.ports.log import LogClosed, LogFailed, Partition, Stored

SCHEMA = Schema(
    file="log.db",
    application_id=0x544E444C,  # "TNDL"
    version=1,
    statements=(
        """
        CREATE TABLE record (partition TEXT NOT NULL, offset INTEGER NOT NULL, body BLOB NOT NULL,
                             PRIMARY KEY (partition, offset)) WITHOUT ROWID
        """,
    ),
    precious=True,
    witnesses=("keys.db",),
    missing=LogMissing,
)
INSERT_ONE, ANOTHER = "INSERT INTO record VALUES (?, ?, ?)", ", (?, ?, ?)"


class SqliteLog:
    """The log of a cell. Made by `open`.

    One thread commits the appends of all partitions together with synchronous=FULL; only
    after COMMIT has returned are they seen by readers, the writer's own among them. Readers
    that keep up are served from memory, others from the file by a second thread. A third
    one makes the checkpoints.
    """

    def __init__(self, directory: Path, lock: CellLock) -> None:
        self._path = directory / SCHEMA.file
        self._writer: sqlite3.Connection | None = None
        self._writing = threading.Lock()
        """Held during each commit, see `Checkpointer`."""
        self._state = threading.Lock()
        """Guards the tails (which the writer's thread alone changes), the bell and `_ended`."""
        self._tails: dict[str, Tail] = {}
        self._bell = Bell()
        self._ended = False
        self._closing = False
        self._shutting = threading.Lock()
        with ExitStack() as undo:
            undo.callback(lock.release)
            undo.callback(self._disconnect)
            self._writer = prepare(directory, SCHEMA, synchronous="FULL")
            self._outlast_power()
            self._learn_ends(self._writer)
            self._checkpoints = Checkpointer(self._path, self._writing)
            undo.callback(self._checkpoints.close)
            self._reader = connect(self._path, synchronous="FULL", read_only=True)
            undo.callback(self._reader.close)
            self._fetching = ThreadPoolExecutor(1, thread_name_prefix="tandem-log-read")
            undo.callback(self._fetching.shutdown)
            undo.callback(self._end_readers)
            self._commits = GroupCommit[tuple[str, bytes], None]("tandem-log-write", self._commit)
            undo.callback(self._commits.close)
            self._undo = undo.pop_all()
            """All that `close` ends, last made first."""

    @classmethod
    async def open(cls, directory: Path, *, wait: bool = False, lock: CellLock | None = None) -> SqliteLog:
        """The log of the cell in `directory`, made at the first start. It takes the cell's lock, if it
        is not given it, and gives it back in the end.

        Raises `LogBusy` if another process holds it; with `wait` waits for that one's end
        instead. Raises `LogMissing`, `ForeignFile` or `NewerSchema`, which say what to do.
        """
        lock = lock or await hold(directory, wait=wait)
        opening = asyncio.get_running_loop().run_in_executor(None, cls, directory, lock)
        try:
            return await to_the_end(opening)
        except asyncio.CancelledError:
            if opening.done() and opening.exception() is None:
                await opening.result().close()
            raise

    def append(self, partition: Partition, body: bytes) -> Coroutine[None, None, None]:
        """See the port. The record takes its place in the order when this is called, not when it is awaited."""
        check_body(body)
        try:
            answer = self._commits.submit((str(partition), body), len(body))
        except Stopped:
            raise LogClosed from None
        except Overloaded as error:
            raise LogFailed(str(error)) from error
        return _answered(answer)

    async def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        """See the port. Raises `LogFailed` when the file cannot be read.

        A reader is but a position: what it gets next stands in the tail or in the file.
        """
        self._refuse_if_closed()
        topic = str(partition)
        while True:
            with self._state:
                if self._ended:
                    return
                source = self._next(topic, after)
            match source:
                case asyncio.Future():
                    await self._woken(topic, source)
                    continue
                case Future():
                    batch = await asyncio.wrap_future(source)
                case _:
                    batch = source
            after = batch[-1].offset
            yield batch

    async def end(self, partition: Partition) -> int:
        """See the port."""
        self._refuse_if_closed()
        with self._state:
            return self._last(str(partition))

    async def close(self) -> None:
        """See the port. Empties the WAL and gives the cell's lock back."""
        self._closing = True
        await asyncio.to_thread(self._shut)

    def _refuse_if_closed(self) -> None:
        if self._closing:
            raise LogClosed

    def _last(self, topic: str) -> int:
        tail = self._tails.get(topic)
        return tail.last if tail else 0

    # Reading. `_next` runs on a reader's loop and holds `_state`.

    def _next(self, topic: str, after: int) -> asyncio.Future[None] | Sequence[Stored] | Future[Sequence[Stored]]:
        """What a reader at `after` has to do: wait for the bell, take these records, or wait for the file."""
        last = self._last(topic)
        if last <= after:
            return self._bell.listen(topic)
        kept = self._tails[topic].after(after)
        return kept if kept is not None else self._fetching.submit(self._fetch, topic, after, last)

    async def _woken(self, topic: str, waiter: asyncio.Future[None]) -> None:
        try:
            await waiter
        finally:
            with self._state:
                self._bell.leave(topic, waiter)

    def _fetch(self, topic: str, after: int, last: int) -> Sequence[Stored]:
        """Records of the file above `after` and up to `last`, one batch of them."""
        return fetch(self._reader, self._path, topic, after, last)

    # Writing. All of this runs in the writer's thread (and once in `__init__`).

    def _commit(self, items: Sequence[tuple[str, bytes]]) -> Sequence[None]:
        """Store a batch in one transaction, then show it to the readers."""
        with self._writing:
            try:
                connection = self._connected()
                records = self._number(items)
                # One statement is its own transaction. Each call into SQLite gives up the interpreter and
                # waits for it again behind a loop that is busy: a call a row made commits ten times slower.
                connection.execute(INSERT_ONE + ANOTHER * (len(items) - 1), _values(records))
            except (sqlite3.Error, CannotOpen) as error:
                self._disconnect()
                raise LogFailed(f"{len(items)} records may not be stored in {self._path}: {error}") from error
            self._checkpoints.committed(sum(len(body) for _, body in items))
        with self._state:
            for topic, stored in records.items():
                self._tails.setdefault(topic, Tail(0)).extend(stored)
            self._bell.ring(records)
        return [None] * len(items)

    def _number(self, items: Sequence[tuple[str, bytes]]) -> dict[str, list[Stored]]:
        """The batch by partition, with the offsets that follow what is durable."""
        records: dict[str, list[Stored]] = {}
        for topic, body in items:
            stored = records.setdefault(topic, [])
            stored.append(Stored(self._last(topic) + len(stored) + 1, body))
        return records

    def _connected(self) -> sqlite3.Connection:
        """The writer's connection. A new one after a failure takes the file's word for what is
        stored: an append that was in doubt stands there or not."""
        if self._writer is None:
            connection = connect(self._path, synchronous="FULL")
            try:
                self._learn_ends(connection)
            except BaseException:
                connection.close()
                raise
            self._writer = connection
        return self._writer

    def _disconnect(self) -> None:
        """Closing rolls back what was under way."""
        if self._writer is not None:
            self._writer.close()
            self._writer = None

    def _learn_ends(self, connection: sqlite3.Connection) -> None:
        """Take over the last offset of each partition."""
        for topic, last in ends(connection):
            with self._state:
                tail = self._tails.setdefault(topic, Tail(0))
                if tail.last > last:
                    raise LogFailed(f"{self._path} ends at {last} of {topic}, but {tail.last} was durable: restore it")
                if tail.last < last:
                    tail.restart(last)
                    self._bell.ring([topic])

    def _outlast_power(self) -> None:
        """What a killed process wrote may be with the kernel alone, and is about to be called durable."""
        sync(self._path)
        wal = self._path.with_name(self._path.name + "-wal")
        if wal.exists():
            sync(wal)
        sync(self._path.parent)

    # Closing.

    def _shut(self) -> None:
        with self._shutting:
            self._undo.close()

    def _end_readers(self) -> None:
        with self._state:
            self._ended = True
            self._bell.ring_all()


def _values(records: dict[str, list[Stored]]) -> list[str | int | bytes]:
    rows = ((topic, record.offset, record.body) for topic, stored in records.items() for record in stored)
    return [value for row in rows for value in row]


async def _answered(answer: asyncio.Future[None]) -> None:
    await answer
