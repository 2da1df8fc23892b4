"""A cell's log beside the process that writes it, followed without a lock and without a write."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
from collections.abc import AsyncIterator, Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TypeVar, TypeVarTuple

from tandem.adapters.sqlite.database import CannotOpen, read_only
from tandem.adapters.sqlite.log import SCHEMA
from tandem.adapters.sqlite.reading import KeyFile
from tandem.adapters.sqlite.records import ends, fetch
from tandem.adapters.threads import to_the_end
from tandem.core.ports.log import LogFailed, Partition, Stored
from tandem.core.seal import Damaged

LOOK_S = 0.02
"""Between two looks whether the writer has committed. The writer of another process cannot wake us,
and who follows serves nobody: what comes between the last look and a takeover is read after it."""

Value = TypeVar("Value")
Args = TypeVarTuple("Args")

_log = logging.getLogger(__name__)


class FollowedLog:
    """Reads as the port's `read` does, a look late. `run` is a task of whoever made it; while the file
    is not there yet, or cannot be read, there is nothing new.

    Each look and each batch is a read transaction of its own, so that the writer's checkpoints are
    never kept waiting.
    """

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tandem-log-follow")
        self._connection: sqlite3.Connection | None = None
        self._version = -1
        self._ends: dict[str, int] = {}
        self._looked = asyncio.Event()
        self._said = ""

    async def run(self) -> None:
        """Look, until cancelled."""
        while True:
            if await self._in_thread(self._look):
                self._looked.set()
                self._looked = asyncio.Event()
            await asyncio.sleep(LOOK_S)

    async def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        """Records above `after`, in order, in batches, for ever. Raises `LogFailed` when the file
        cannot be read, or lacks some."""
        topic = str(partition)
        while True:
            last = self._ends.get(topic, 0)
            if last <= after:
                await self._looked.wait()
                continue
            batch = await self._in_thread(self._fetch, topic, after, last)
            after = batch[-1].offset
            yield batch

    async def end(self, partition: Partition) -> int:
        """Offset of the last record now, 0 for none."""
        await self._in_thread(self._look)
        return self._ends.get(str(partition), 0)

    async def close(self) -> None:
        """Let go of the file; nobody reads any more."""
        await self._in_thread(self._disconnect)
        self._thread.shutdown(wait=False)

    async def _in_thread(self, work: Callable[[*Args], Value], *args: *Args) -> Value:
        return await to_the_end(asyncio.get_running_loop().run_in_executor(self._thread, work, *args))

    # All below runs in the thread.

    def _look(self) -> bool:
        """Whether there is something new."""
        try:
            if self._connection is None:
                self._connection, self._version = read_only(self._directory, SCHEMA), -1
            version: int = self._connection.execute("PRAGMA data_version").fetchone()[0]
            if version == self._version:
                return False
            self._ends, self._version = dict(ends(self._connection)), version
        except (CannotOpen, sqlite3.Error) as error:
            # It is being made, or is of another release: whoever takes the cell over says what to do.
            self._disconnect()
            self._say(str(error))
            return False
        return True

    def _say(self, why: str) -> None:
        if why != self._said:
            self._said = why
            _log.info("the log cannot be followed yet: %s", why)

    def _fetch(self, topic: str, after: int, last: int) -> Sequence[Stored]:
        if self._connection is None:
            raise LogFailed(f"{self._directory / SCHEMA.file} could not be read: {self._said}")
        return fetch(self._connection, self._directory / SCHEMA.file, topic, after, last)

    def _disconnect(self) -> None:
        if self._connection is not None:
            self._connection.close()
            self._connection = None


class FollowedKeys:
    """Data keys of a cell beside the process that writes them."""

    def __init__(self, directory: Path, cell_key_file: Path | None = None) -> None:
        self._directory, self._cell_key_file = directory, cell_key_file
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="tandem-keys-follow")
        self._file: KeyFile | None = None

    async def get(self, ids: Sequence[str]) -> dict[str, bytes]:
        """Those that are there and not destroyed; none while the file cannot be read: who takes the
        cell over asks again."""
        return await to_the_end(asyncio.get_running_loop().run_in_executor(self._thread, self._get, ids))

    async def close(self) -> None:
        """Let go of the file."""
        await to_the_end(asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect))
        self._thread.shutdown(wait=False)

    def _get(self, ids: Sequence[str]) -> dict[str, bytes]:
        try:
            if self._file is None:
                self._file = KeyFile(self._directory, self._cell_key_file)
            found = self._file.get(ids)
            if self._file.opens:
                return found
        except (CannotOpen, Damaged, OSError, sqlite3.Error) as error:
            _log.warning("keys.db cannot be followed: %s", error)
        self._disconnect()
        return {}

    def _disconnect(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None
