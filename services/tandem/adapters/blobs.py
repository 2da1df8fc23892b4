"""The `Blobs` port in a directory of this host. Several processes may share it.

A blob is written under `incoming/` on the same file system, brought to the disk, and only
then linked to its name, which fails if the name is taken. So whole or not at all is the
file system's promise. Directories of names end in `+`, which no name holds, so that `a` and
`a/b` can both stand; what a segment's directory is called sorts as the port wants it by
comparing it with a slash in place of the `+`.
"""

from __future__ import annotations

import asyncio
import fcntl
import os
import secrets
import shutil
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from itertools import islice
from pathlib import Path
from typing import BinaryIO, TypeVar, TypeVarTuple

from tandem.adapters.checks import check_name, check_page, check_range
from tandem.adapters.files import DIRECTORY_MODE, FILE_MODE, make_directory, sync
from tandem.adapters.threads import to_the_end
from tandem.core.ports.blobs import BlobExists, BlobMissing

CHUNK_BYTES = 256 * 1024
THREADS = 4
"""Disk operations at a time."""
LINK_ATTEMPTS = 16
"""Against `delete`s that take an emptied directory away between its making and the link."""

Value = TypeVar("Value")
Args = TypeVarTuple("Args")


class LocalBlobs:
    """Blobs in a directory. Made by `open`."""

    def __init__(self, root: Path) -> None:
        make_directory(root / "names")
        make_directory(root / "incoming")
        self._names = root / "names"
        self._incoming, self._lock = _own_directory(root / "incoming")
        self._threads = ThreadPoolExecutor(THREADS, thread_name_prefix="tandem-blobs")
        self._closed = False

    @classmethod
    async def open(cls, root: Path) -> LocalBlobs:
        """The blobs under `root`, made if it is not there. What processes that died were writing is removed."""
        return await asyncio.to_thread(cls, root)

    async def put(self, name: str, content: bytes | AsyncIterator[bytes]) -> None:
        """See the port. Raises OSError when the disk fails; then nothing is stored."""
        check_name(name)
        arriving = _Arriving(self._incoming / secrets.token_hex(8))
        try:
            await self._run(arriving.create)
            if isinstance(content, bytes):
                await self._run(arriving.write, content)
            else:
                async for chunk in content:
                    await self._run(arriving.write, chunk)
            await self._run(self._publish, arriving, name)
        finally:
            if self._closed:
                arriving.discard()
            else:
                await self._run(arriving.discard)

    async def size(self, name: str) -> int:
        """See the port. Raises OSError when the disk fails."""
        check_name(name)
        try:
            return (await self._run(self._path(name).stat)).st_size
        except FileNotFoundError:
            raise BlobMissing(name) from None

    async def read(self, name: str, start: int = 0, length: int | None = None) -> AsyncIterator[bytes]:
        """See the port. Raises OSError when the disk fails."""
        check_name(name)
        check_range(start, length)
        leaving = _Leaving(self._path(name), start, length)
        try:
            while chunk := await self._run(leaving.chunk):
                yield chunk
        except FileNotFoundError:
            raise BlobMissing(name) from None
        finally:
            leaving.close()

    async def list(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[str]:
        """See the port. Raises OSError when the disk fails."""
        check_page(limit)
        return await self._run(self._page, prefix, after, limit)

    async def delete(self, name: str) -> None:
        """See the port. Raises OSError when the disk fails."""
        check_name(name)
        await self._run(self._remove, name)

    async def close(self) -> None:
        """See the port. Waits for what the threads are doing."""
        if not self._closed:
            self._closed = True
            await asyncio.to_thread(self._shut)

    async def _run(self, work: Callable[[*Args], Value], *args: *Args) -> Value:
        if self._closed:
            raise RuntimeError("the blobs were closed")
        return await to_the_end(asyncio.get_running_loop().run_in_executor(self._threads, work, *args))

    # Everything below runs in a thread.

    def _path(self, name: str) -> Path:
        *directories, leaf = name.split("/")
        return self._names.joinpath(*(f"{directory}+" for directory in directories), leaf)

    def _publish(self, arriving: _Arriving, name: str) -> None:
        """Bring what was written to the disk and give it its name."""
        arriving.sync()
        path = self._path(name)
        for _ in range(LINK_ATTEMPTS):
            try:
                make_directory(path.parent)
                os.link(arriving.path, path)
            except FileNotFoundError:
                continue
            except FileExistsError:
                if not _same(arriving.path, path):
                    raise BlobExists(f"another content stands under {name}") from None
            # All the way up, and also for a name that stood there: another process may have
            # made name and directories a moment ago and not come so far.
            for directory in self._above(path):
                _sync_if_there(directory)
            return
        raise OSError(f"{path.parent} is taken away again and again")

    def _above(self, path: Path) -> Sequence[Path]:
        """The directories of a blob, innermost first; the last one holds all names."""
        return [self._names / directory for directory in path.relative_to(self._names).parents]

    def _page(self, prefix: str, after: str, limit: int) -> Sequence[str]:
        return [*islice(_names(self._names, "", prefix, after), limit)]

    def _remove(self, name: str) -> None:
        path = self._path(name)
        try:
            path.unlink()
        except FileNotFoundError:
            return
        # Where another delete was quicker, the directory above remembers that this one is gone.
        next(filter(_sync_if_there, self._above(path)))
        for directory in self._above(path)[:-1]:
            try:
                directory.rmdir()
            except OSError:
                # Not empty, or gone.
                return

    def _shut(self) -> None:
        self._threads.shutdown()
        shutil.rmtree(self._incoming)
        os.close(self._lock)


def _sync_if_there(directory: Path) -> bool:
    try:
        sync(directory)
    except FileNotFoundError:
        return False
    return True


def _own_directory(incoming: Path) -> tuple[Path, int]:
    """A directory for what this process writes, and the lock that shows that it lives.

    Directories whose lock is free are of dead processes, and go. All of it under one lock,
    so that nobody's directory is seen before its lock is held.
    """
    guard = os.open(incoming / "lock", os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)
    try:
        fcntl.flock(guard, fcntl.LOCK_EX)
        for directory in incoming.iterdir():
            if directory.is_dir():
                _remove_if_dead(directory)
        own = incoming / secrets.token_hex(8)
        own.mkdir(mode=DIRECTORY_MODE)
        lock = os.open(own, os.O_RDONLY | os.O_CLOEXEC)
        fcntl.flock(lock, fcntl.LOCK_EX)
    finally:
        os.close(guard)
    return own, lock


def _remove_if_dead(directory: Path) -> None:
    try:
        lock = os.open(directory, os.O_RDONLY | os.O_CLOEXEC)
    except FileNotFoundError:
        # Its process has just taken it away.
        return
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        shutil.rmtree(directory)
    except BlockingIOError:
        return
    finally:
        os.close(lock)


class _Arriving:
    """A blob on its way in. Each method but `discard` runs in a thread, one after another."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: BinaryIO | None = None

    def create(self) -> None:
        descriptor = os.open(self.path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
        self._file = os.fdopen(descriptor, "wb", buffering=0)

    def write(self, chunk: bytes) -> None:
        assert self._file
        left = memoryview(chunk)
        while left:
            left = left[self._file.write(left) :]

    def sync(self) -> None:
        assert self._file
        os.fsync(self._file.fileno())

    def discard(self) -> None:
        """The end of every blob's way in: its name, if it got one, is another link."""
        self.path.unlink(missing_ok=True)
        if self._file:
            self._file.close()


class _Leaving:
    """A blob on its way out: `length` bytes (None: all) from `start`."""

    def __init__(self, path: Path, start: int, length: int | None) -> None:
        self._path = path
        self._start = start
        self._left = length
        self._file: BinaryIO | None = None

    def chunk(self) -> bytes:
        """The next bytes, none at the end. Raises FileNotFoundError the first time."""
        if self._file is None:
            self._file = self._path.open("rb")
            self._file.seek(self._start)
        chunk = self._file.read(CHUNK_BYTES if self._left is None else min(CHUNK_BYTES, self._left))
        if self._left is not None:
            self._left -= len(chunk)
        return chunk

    def close(self) -> None:
        if self._file:
            self._file.close()


def _same(one: Path, other: Path) -> bool:
    with one.open("rb") as left, other.open("rb") as right:
        while True:
            chunk = left.read(CHUNK_BYTES)
            if chunk != right.read(CHUNK_BYTES):
                return False
            if not chunk:
                return True


def _names(directory: Path, path: str, prefix: str, after: str) -> Iterator[str]:
    """Names below a directory in order, passing over what lies outside `prefix` and `after`."""
    try:
        with os.scandir(directory) as entries:
            segments = sorted(entry.name.replace("+", "/") for entry in entries)
    except FileNotFoundError:
        # Emptied and taken away by a delete since its name was read.
        return
    for segment in segments:
        name = path + segment
        if not name.endswith("/"):
            if name > after and name.startswith(prefix):
                yield name
        elif _may_hold(name, prefix, after):
            yield from _names(directory / f"{segment[:-1]}+", name, prefix, after)


def _may_hold(path: str, prefix: str, after: str) -> bool:
    """Whether names that begin with `path` can have the prefix and lie beyond `after`."""
    return (path.startswith(prefix) or prefix.startswith(path)) and (path > after or after.startswith(path))
