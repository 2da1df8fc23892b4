"""Opening SQLite files that are ours, and refusing all others.

Each file says what it is by its application id and how it is built by its user version.
`cell.json` lists the files without which a cell would have lost something: one that is
listed and not there is an accident, and starting empty would make it a lasting one.
"""

from __future__ import annotations

import json
import os
import sqlite3
import threading
from dataclasses import dataclass
from pathlib import Path

from tandem.adapters.files import FILE_MODE, make_directory, replace_whole, sync

MARKER = "cell.json"
MARKER_FORMAT = 1

_marking = threading.Lock()


class CannotOpen(Exception):
    """The directory is not in a state that Tandem may write to. The message says what to do."""


class FileMissing(CannotOpen):
    """A file that the cell had is gone or empty."""


class LogMissing(FileMissing):
    """The log is gone while the rest of the cell is there."""


class ForeignFile(CannotOpen):
    """Something stands where our file should, and it is not ours."""


class NewerSchema(CannotOpen):
    """A newer Tandem wrote this file."""


@dataclass(frozen=True, slots=True)
class Schema:
    """A database of Tandem. `precious`: the cell is not whole without it. `witnesses` are
    files that prove that this one was there before."""

    file: str
    application_id: int
    version: int
    statements: tuple[str, ...]
    precious: bool
    witnesses: tuple[str, ...] = ()
    missing: type[FileMissing] = FileMissing


def connect(path: Path, *, synchronous: str, read_only: bool = False) -> sqlite3.Connection:
    """A connection that may move between threads, but serves one at a time.

    Checkpoints are left to the caller. Temporary data stays in memory, so that no private
    byte reaches a file that nobody clears. Raises `ForeignFile`, sqlite3.Error.
    """
    mode = "ro" if read_only else "rw"
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode={mode}", uri=True, isolation_level=None, check_same_thread=False, timeout=5.0
    )
    try:
        connection.execute(f"PRAGMA synchronous={synchronous}")
        connection.execute("PRAGMA wal_autocheckpoint=0")
        connection.execute("PRAGMA temp_store=MEMORY")
    except sqlite3.DatabaseError as error:
        connection.close()
        if error.sqlite_errorcode == sqlite3.SQLITE_NOTADB:
            raise ForeignFile(f"{path} is no SQLite file: move it away or choose another directory.") from error
        raise
    return connection


def prepare(directory: Path, schema: Schema, *, synchronous: str) -> sqlite3.Connection:
    """A connection to a database that is there, ours and of a version we know; made if it never was.

    It stays open: closing the last connection of a long WAL would copy all of it before the
    next one could start. Raises `CannotOpen`; OSError or sqlite3.Error when the disk fails.
    """
    make_directory(directory)
    path = directory / schema.file
    # Not by sqlite3, whose files the whole group may read.
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE))
    connection = connect(path, synchronous=synchronous)
    try:
        if _is_blank(connection):
            _refuse_to_begin_again(directory, schema)
            _create(connection, path, schema)
        else:
            _check(connection, path, schema)
        if schema.precious:
            _mark(directory, schema.file)
    except BaseException:
        connection.close()
        raise
    return connection


def read_only(directory: Path, schema: Schema) -> sqlite3.Connection:
    """A connection that only reads, beside the process that writes. Raises `CannotOpen`; sqlite3.Error."""
    path = directory / schema.file
    if not path.exists():
        raise schema.missing(f"{path} is not there: is {directory} the log directory of a cell (setting log.dir)?")
    connection = connect(path, synchronous="FULL", read_only=True)
    try:
        _check(connection, path, schema)
    except BaseException:
        connection.close()
        raise
    return connection


def _is_blank(connection: sqlite3.Connection) -> bool:
    """Nothing there, or what a crash in the middle of `_create` leaves."""
    tables: int = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    return tables == 0 and _pragma(connection, "application_id") == 0


def _refuse_to_begin_again(directory: Path, schema: Schema) -> None:
    witnesses = [file for file in schema.witnesses if (directory / file).exists()]
    if schema.file in _marked(directory):
        witnesses.append(MARKER)
    if witnesses:
        raise schema.missing(
            f"{directory / schema.file} is gone or empty, but {' and '.join(witnesses)} of the same cell are there. "
            f"Tandem does not begin anew over what is left: bring {schema.file} back from a backup, or, "
            f"to give up this cell's past for good, move the whole directory {directory} away."
        )


def _create(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    connection.execute("PRAGMA journal_mode=WAL")
    connection.execute("BEGIN IMMEDIATE")
    for statement in schema.statements:
        connection.execute(statement)
    connection.execute(f"PRAGMA application_id={schema.application_id}")
    connection.execute(f"PRAGMA user_version={schema.version}")
    connection.execute("COMMIT")
    sync(path)
    sync(path.parent)


def _check(connection: sqlite3.Connection, path: Path, schema: Schema) -> None:
    if _pragma(connection, "application_id") != schema.application_id:
        raise ForeignFile(
            f"{path} is a SQLite file, but not Tandem's {schema.file}: move it away or choose another directory."
        )
    version = _pragma(connection, "user_version")
    if version != schema.version:
        raise NewerSchema(
            f"{path} has schema {version}, this Tandem knows {schema.version}: start the newer Tandem that wrote it."
        )


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    value: int = connection.execute(f"PRAGMA {name}").fetchone()[0]
    return value


def _marked(directory: Path) -> list[str]:
    """The files that the cell has had. Raises `CannotOpen` for a marker that cannot be read."""
    path = directory / MARKER
    if not path.exists():
        return []
    try:
        marker = json.loads(path.read_bytes())
        form, files = marker["format"], marker["files"]
    except (ValueError, KeyError, TypeError) as error:
        raise CannotOpen(f"{path} cannot be read ({error}): bring it back from a backup.") from error
    if form != MARKER_FORMAT:
        raise NewerSchema(f"{path} has format {form}, this Tandem knows {MARKER_FORMAT}: start the newer Tandem.")
    return list(files)


def _mark(directory: Path, file: str) -> None:
    with _marking:
        files = _marked(directory)
        if file not in files:
            marker = {"format": MARKER_FORMAT, "files": sorted([*files, file])}
            replace_whole(directory / MARKER, json.dumps(marker).encode() + b"\n")
