"""Where a contract suite runs: one adapter, its storage, and what may happen to both.

A new adapter joins a suite with a world of its own; the suites know nothing else of it.
"""

from __future__ import annotations

import asyncio
import functools
import hashlib
import resource
import shutil
import sqlite3
from collections.abc import Awaitable, Callable, Iterator, Sequence
from contextlib import AbstractContextManager, closing, contextmanager, nullcontext
from pathlib import Path
from typing import Any, Protocol, TypeVar

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.memory import (
    BlobTable,
    KeyTable,
    MemoryBlobs,
    MemoryKeys,
    MemoryLog,
    MemoryPartitions,
    MemoryStore,
    RowTables,
)
from tandem.adapters.sqlite import SqliteKeys, SqliteLog, SqliteStore
from tandem.adapters.system import SystemEntropy
from tandem.core.ports.blobs import Blobs
from tandem.core.ports.keys import Keys
from tandem.core.ports.log import Log
from tandem.core.ports.store import Store

Port = TypeVar("Port")
Suite = TypeVar("Suite")
AnyWorld = TypeVar("AnyWorld", bound="World[Any]")


class World(Protocol[Port]):
    """An adapter on storage that outlives it."""

    patience_s: float
    """How long to wait for what must come. Long for a busy machine; no test waits for it to pass."""

    async def open(self) -> Port:
        """The adapter, on what the storage holds."""
        ...

    async def crash(self, adapter: Port) -> None:
        """The adapter's process dies. Afterwards `open` finds what such a death leaves."""
        ...

    def broken(self) -> AbstractContextManager[None]:
        """A time in which the storage takes no more than a few KiB, like a full disk."""
        ...


class LogWorld(World[Log], Protocol):
    """A world of a log."""

    def stalled(self, log: Log) -> AbstractContextManager[None]:
        """A time in which the storage finishes nothing."""
        ...

    def round_trips(self, log: Log) -> int | None:
        """How often records have gone to the storage so far; None where that cannot be seen."""
        ...


class KeysWorld(World[Keys], Protocol):
    """A world of keys."""

    def wrapped(self, key_id: str) -> bytes | None:
        """A key as the adapter's files hold it; None where there are no files."""
        ...

    def files(self) -> Sequence[bytes]:
        """All that the adapter's files hold at this moment."""
        ...

    def read_by_others(self) -> AbstractContextManager[None]:
        """Meanwhile another program reads the adapter's files, as a backup does."""
        ...


def clause(test: Callable[[Suite, AnyWorld], Awaitable[None]]) -> Callable[[Suite, AnyWorld], None]:
    """A test of a suite, run on a loop of its own. One that hangs fails, and a lone failure
    comes without the groups that tasks wrap around it."""

    @functools.wraps(test)
    def run(self: Suite, world: AnyWorld) -> None:
        async def body() -> None:
            try:
                async with asyncio.timeout(3 * world.patience_s):
                    await test(self, world)
            except TimeoutError:
                raise AssertionError(f"{test.__name__} hangs") from None

        try:
            asyncio.run(body())
        except BaseExceptionGroup as group:
            raise _lone(group) from None

    return run


def _lone(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup) and len(error.exceptions) == 1:
        error = error.exceptions[0]
    return error


@contextmanager
def full_disk(limit_bytes: int = 96 * 1024) -> Iterator[None]:
    """No file of this process grows beyond the limit (setrlimit(2), RLIMIT_FSIZE)."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit_bytes, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@contextmanager
def full_table(table: MemoryPartitions | KeyTable | BlobTable | RowTables) -> Iterator[None]:
    """The same for storage in memory."""
    table.full = True
    try:
        yield
    finally:
        table.full = False


class MemoryLogWorld:
    patience_s = 20.0

    def __init__(self) -> None:
        self.partitions = MemoryPartitions()

    async def open(self) -> MemoryLog:
        return MemoryLog(self.partitions)

    async def crash(self, adapter: MemoryLog) -> None:
        adapter.crash()

    def broken(self) -> AbstractContextManager[None]:
        return full_table(self.partitions)

    @contextmanager
    def stalled(self, log: MemoryLog) -> Iterator[None]:
        log.hold()
        try:
            yield
        finally:
            log.release()

    def round_trips(self, log: MemoryLog) -> int | None:
        return log.round_trips


class MemoryKeysWorld:
    patience_s = 20.0

    def __init__(self) -> None:
        self.table = KeyTable(SystemEntropy())

    async def open(self) -> MemoryKeys:
        return MemoryKeys(self.table)

    async def crash(self, adapter: MemoryKeys) -> None:
        """Its table is all there is."""

    def broken(self) -> AbstractContextManager[None]:
        return full_table(self.table)

    def wrapped(self, key_id: str) -> bytes | None:
        return None

    def files(self) -> Sequence[bytes]:
        return ()

    def read_by_others(self) -> AbstractContextManager[None]:
        return nullcontext()


class MemoryBlobsWorld:
    patience_s = 20.0

    def __init__(self) -> None:
        self.table = BlobTable()

    async def open(self) -> MemoryBlobs:
        return MemoryBlobs(self.table)

    async def crash(self, adapter: MemoryBlobs) -> None:
        """Its table is all there is."""

    def broken(self) -> AbstractContextManager[None]:
        return full_table(self.table)


class MemoryStoreWorld:
    patience_s = 20.0

    def __init__(self) -> None:
        self.tables = RowTables()

    async def open(self) -> MemoryStore:
        return MemoryStore(self.tables)

    async def crash(self, adapter: MemoryStore) -> None:
        """Its tables are all there is."""

    def broken(self) -> AbstractContextManager[None]:
        return full_table(self.tables)


class DirectoryWorld:
    """Storage in a directory. What a killed process leaves is what the files hold at that moment: a copy of them."""

    patience_s = 20.0

    def __init__(self, root: Path) -> None:
        self._root = root
        self._lives = 1

    @property
    def directory(self) -> Path:
        return self._root / f"life-{self._lives}"

    async def crash(self, adapter: Log | Keys | Blobs | Store) -> None:
        before = self.directory
        self._lives += 1
        shutil.copytree(before, self.directory)
        await adapter.close()

    def broken(self) -> AbstractContextManager[None]:
        return full_disk()


class SqliteLogWorld(DirectoryWorld):
    async def open(self) -> SqliteLog:
        return await SqliteLog.open(self.directory)

    @contextmanager
    def stalled(self, log: SqliteLog) -> Iterator[None]:
        with closing(sqlite3.connect(self.directory / "log.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            yield
            other.execute("ROLLBACK")

    def round_trips(self, log: SqliteLog) -> int | None:
        return _commits_in(self.directory / "log.db-wal")


def _commits_in(wal: Path) -> int:
    """Transactions in a WAL: frames of its salt that name a database size (https://sqlite.org/fileformat2.html#walformat)."""
    data = wal.read_bytes()
    page_bytes = int.from_bytes(data[8:12], "big")
    salt = data[16:24]
    frames = (data[at : at + 24] for at in range(32, len(data), 24 + page_bytes))
    return sum(1 for frame in frames if frame[8:16] == salt and int.from_bytes(frame[4:8], "big"))


class SqliteKeysWorld(DirectoryWorld):
    async def open(self) -> SqliteKeys:
        return await SqliteKeys.open(self.directory, entropy=SystemEntropy())

    def wrapped(self, key_id: str) -> bytes | None:
        digest = hashlib.sha256(key_id.encode()).digest()
        with closing(sqlite3.connect(self.directory / "keys.db")) as connection:
            row = connection.execute("SELECT wrapped FROM key WHERE digest = ?", (digest,)).fetchone()
        return bytes(row[0])

    def files(self) -> Sequence[bytes]:
        return [path.read_bytes() for path in sorted(self.directory.iterdir()) if path.name.startswith("keys.db")]

    @contextmanager
    def read_by_others(self) -> Iterator[None]:
        with closing(sqlite3.connect(self.directory / "keys.db", isolation_level=None)) as backup:
            backup.execute("BEGIN")
            backup.execute("SELECT count(*) FROM key").fetchone()
            yield


class LocalBlobsWorld(DirectoryWorld):
    async def open(self) -> LocalBlobs:
        return await LocalBlobs.open(self.directory)


class SqliteStoreWorld(DirectoryWorld):
    async def open(self) -> SqliteStore:
        return await SqliteStore.open(self.directory)
