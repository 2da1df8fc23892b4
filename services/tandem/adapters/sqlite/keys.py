"""The `Keys` port in a SQLite file of its own, each key wrapped by the cell key (spine 4).

Erasure is by overwriting. A key's row is never moved or removed: rows are only added at the
end, and a destroyed key's bytes are replaced in place by as many zeros. (Deleting rows makes
SQLite move others between pages, where copies stay behind that secure_delete does not see.)
The row that is left is the tombstone: it holds nothing but the hash of the id.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import sqlite3
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

from tandem.adapters.checks import check_block
from tandem.adapters.sqlite.cell_key import SETTING, CellKeyWrong, load_or_make
from tandem.adapters.sqlite.database import Schema, prepare
from tandem.adapters.threads import to_the_end
from tandem.core.ports.entropy import Entropy
from tandem.core.ports.keys import KEY_BYTES, KeyExists
from tandem.core.seal import NONCE_BYTES, Damaged, unwrap, wrap

SCHEMA = Schema(
    file="keys.db",
    application_id=0x544E444B,  # "TNDK"
    version=1,
    statements=(
        "CREATE TABLE key (slot INTEGER PRIMARY KEY, digest BLOB NOT NULL UNIQUE, wrapped BLOB NOT NULL)",
        "CREATE TABLE proof (wrapped BLOB NOT NULL)",
    ),
    precious=True,
)
WRAPPED_BYTES = NONCE_BYTES + KEY_BYTES + 16
"""Nonce, ciphertext and GCM tag."""
DESTROYED = bytes(WRAPPED_BYTES)
WAL_PAGES = 1000
"""Pages of 4 kB in the WAL before they are copied into the file: a block of keys is some 200, because
their digests lie all over the index."""
SWEEP_RETRY_S = 0.05
"""Between two attempts to empty a WAL that another program reads: it cannot wake us."""
DESTROY_PATIENCE_S = 30.0
"""How long `destroy` waits for such a program, then it says so: who asked tries again."""

_PROOF_ID = "cell"
_log = logging.getLogger(__name__)
Value = TypeVar("Value")


@dataclass(slots=True)
class _Block:
    """Ids that are to be allocated together, and why they could not be."""

    ids: Sequence[str]
    error: Exception | None = None


class SqliteKeys:
    """The keys of a cell. Made by `open`, after the log (see the package). One thread owns the connection."""

    def __init__(
        self,
        thread: ThreadPoolExecutor,
        connection: sqlite3.Connection,
        cell_key: bytes,
        entropy: Entropy,
        destroy_patience_s: float,
    ) -> None:
        self._thread = thread
        self._connection = connection
        self._cell_key = cell_key
        self._entropy = entropy
        self._destroy_patience_s = destroy_patience_s
        self._closed = False
        self._waiting: deque[_Block] = deque()

    @classmethod
    async def open(
        cls,
        directory: Path,
        *,
        entropy: Entropy,
        cell_key_file: Path | None = None,
        destroy_patience_s: float = DESTROY_PATIENCE_S,
    ) -> SqliteKeys:
        """The keys of the cell in `directory`, made at the first start like the cell key
        (by default `cell.key` in there).

        Raises `CannotOpen`, which says what to do: files missing, foreign, newer, or readable by others.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="tandem-keys")
        key_file = cell_key_file or directory / "cell.key"
        try:
            opening = asyncio.get_running_loop().run_in_executor(thread, _open, directory, key_file, entropy)
            connection, cell_key = await to_the_end(opening)
        except BaseException:
            thread.shutdown(wait=False)
            raise
        return cls(thread, connection, cell_key, entropy, destroy_patience_s)

    async def allocate(self, ids: Sequence[str]) -> None:
        """See the port. Raises OSError when the disk fails; then nothing, or all, is allocated."""
        check_block(ids)
        block = _Block(ids)
        self._waiting.append(block)
        await self._run(self._allocate_waiting)
        if block.error is not None:
            raise block.error

    async def get(self, ids: Sequence[str]) -> dict[str, bytes]:
        """See the port. Raises OSError when the disk fails, `Damaged` for altered bytes."""
        return await self._run(lambda: self._get(ids))

    async def destroy(self, ids: Sequence[str]) -> None:
        """See the port. While another program reads the file the answer waits; other calls go on.
        One that reads for longer than the patience is an OSError: the keys do not open any more,
        but their bytes may still be there until a later `destroy` or start succeeds."""
        await self._run(lambda: self._overwrite(ids))
        if await self._run(self._sweep):
            return
        _log.warning("the erasure of keys waits for another program to stop reading keys.db")
        try:
            async with asyncio.timeout(self._destroy_patience_s):
                while not await self._run(self._sweep):  # noqa: ASYNC110 - it has no event for us
                    await asyncio.sleep(SWEEP_RETRY_S)
        except TimeoutError:
            raise OSError(
                f"keys.db: another program has read it for {self._destroy_patience_s:g} s, so the bytes of destroyed "
                "keys cannot be overwritten: end that program (a backup, a sqlite3 shell)"
            ) from None

    async def close(self) -> None:
        """See the port."""
        if not self._closed:
            self._closed = True
            closing = asyncio.get_running_loop().run_in_executor(self._thread, self._connection.close)
            self._thread.shutdown(wait=False)
            await to_the_end(closing)

    async def _run(self, work: Callable[[], Value]) -> Value:
        if self._closed:
            raise RuntimeError("the keys were closed")
        return await to_the_end(asyncio.get_running_loop().run_in_executor(self._thread, work))

    # Everything below runs in the thread.

    def _allocate_waiting(self) -> None:
        """All blocks that wait, in one commit if it can be: at a takeover every shard wants one."""
        blocks: list[_Block] = []
        while self._waiting:
            blocks.append(self._waiting.popleft())
        error = self._failure([key_id for block in blocks for key_id in block.ids]) if blocks else None
        for block in blocks:
            # A key that exists is of one block: the others shall not hear of it.
            alone = isinstance(error, KeyExists) and len(blocks) > 1
            block.error = self._failure(block.ids) if alone else error

    def _failure(self, ids: Sequence[str]) -> Exception | None:
        """Allocate; why it could not be."""
        try:
            self._allocate(ids)
        except (KeyExists, OSError) as error:
            return error
        return None

    def _allocate(self, ids: Sequence[str]) -> None:
        with _storage_errors():
            rows = [(_digest(key_id), self._new_key(key_id)) for key_id in ids]
            self._begin()
            try:
                self._connection.executemany("INSERT INTO key (digest, wrapped) VALUES (?, ?)", rows)
                self._connection.execute("COMMIT")
            except sqlite3.IntegrityError:
                self._roll_back()
                raise KeyExists(f"of {len(ids)} key ids at least one was used before: {ids[0]} ...") from None
            except sqlite3.Error:
                self._roll_back()
                raise

    def _new_key(self, key_id: str) -> bytes:
        return wrap(self._cell_key, key_id, self._entropy.secret(KEY_BYTES), self._entropy.secret(NONCE_BYTES))

    def _get(self, ids: Sequence[str]) -> dict[str, bytes]:
        keys = {}
        with _storage_errors():
            for key_id in ids:
                wrapped = wrapped_key(self._connection, key_id)
                if wrapped is not None:
                    keys[key_id] = unwrap(self._cell_key, key_id, wrapped)
        return keys

    def _overwrite(self, ids: Sequence[str]) -> None:
        with _storage_errors():
            self._begin()
            try:
                rows = [(DESTROYED, _digest(key_id)) for key_id in ids]
                self._connection.executemany("UPDATE key SET wrapped = ? WHERE digest = ?", rows)
                self._connection.execute("COMMIT")
            except sqlite3.Error:
                self._roll_back()
                raise

    def _sweep(self) -> bool:
        """Bring the overwritten pages into the file and empty the WAL, which holds the old ones.
        False while another program reads."""
        with _storage_errors():
            return _emptied_wal(self._connection)

    def _begin(self) -> None:
        # A failing disk may have kept the last one from being rolled back.
        self._roll_back()
        self._connection.execute("BEGIN IMMEDIATE")

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


def _open(directory: Path, key_file: Path, entropy: Entropy) -> tuple[sqlite3.Connection, bytes]:
    connection = prepare(directory, SCHEMA, synchronous="FULL")
    try:
        connection.execute("PRAGMA secure_delete=ON")
        # `destroy` waits for readers itself, so that other calls go on.
        connection.execute("PRAGMA busy_timeout=0")
        # Beside no other writer: see `checkpoint`. A start empties the WAL, and should find little in it.
        connection.execute(f"PRAGMA wal_autocheckpoint={WAL_PAGES}")
        proof = connection.execute("SELECT wrapped FROM proof").fetchone()
        cell_key = load_or_make(key_file, entropy, needed=proof is not None)
        if proof is None:
            wrapped = wrap(cell_key, _PROOF_ID, bytes(KEY_BYTES), entropy.secret(NONCE_BYTES))
            connection.execute("INSERT INTO proof VALUES (?)", (wrapped,))
        else:
            _prove(cell_key, proof[0], key_file)
        # A process that died between overwriting and emptying left the old bytes in the WAL.
        _emptied_wal(connection)
    except BaseException:
        connection.close()
        raise
    return connection, cell_key


def _prove(cell_key: bytes, wrapped: bytes, key_file: Path) -> None:
    try:
        unwrap(cell_key, _PROOF_ID, wrapped)
    except Damaged as error:
        raise CellKeyWrong(
            f"{key_file} is another cell's key: give the one that this cell was begun with (setting {SETTING})."
        ) from error


def wrapped_key(connection: sqlite3.Connection, key_id: str) -> bytes | None:
    """A key as it stands in the file, None for one that is unknown or destroyed."""
    row = connection.execute("SELECT wrapped FROM key WHERE digest = ?", (_digest(key_id),)).fetchone()
    return None if row is None or row[0] == DESTROYED else row[0]


def _emptied_wal(connection: sqlite3.Connection) -> bool:
    busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    return busy == 0


def _digest(key_id: str) -> bytes:
    return hashlib.sha256(key_id.encode()).digest()


@contextmanager
def _storage_errors() -> Iterator[None]:
    """What SQLite reports, as the port says it."""
    try:
        yield
    except sqlite3.Error as error:
        raise OSError(f"keys.db: {error}") from error
