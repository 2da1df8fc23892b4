"""Files of recordings under way, and their way to Blobs (spine 8).

File work is done by one thread in the order in which it was asked for; storing goes on
in tasks, again and again until it succeeds. A file holds ciphertext alone.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
from collections.abc import AsyncIterator, Callable, Collection, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, Protocol

from tandem.core import recording
from tandem.core.ports.blobs import BlobExists, BlobMissing, Blobs, sum_of
from tandem.core.ports.media import RecordingStored
from tandem.runtime.retry_driver import Retry

_log = logging.getLogger(__name__)

SUFFIX = ".sealed"
READ_BYTES = 256 * 1024
UPLOADS = 4
"""Recordings stored at the same time."""
BEHIND_MAX = 5000
"""Pieces of work that may wait for the disk: 20 s of 50 recordings, 16 MB. More means that the
disk stands still, and the recordings fail instead of the node."""
RETRY_FIRST_S = 1.0


_Then = Callable[[str], None] | None
"""What follows on the loop's thread when a piece of work succeeded."""


class Told(Protocol):
    """What the spool tells, on the loop's thread."""

    def recording_begun(self, name: str) -> None:
        """The file is there."""

    def recording_stored(self, name: str, stored: RecordingStored) -> None:
        """The blob is there; afterwards the file is removed."""

    def recording_cut(self, name: str) -> None:
        """The disk took no more of it; what it has is marked truncated. To be finished, if it was not."""

    def recording_failed(self, name: str, reason: str) -> None:
        """It could not be kept, for a stable UPPER_SNAKE reason."""


class FileSpool:
    """Implements the node's `Spool` over a directory."""

    def __init__(self, directory: Path, blobs: Blobs, told: Told, retry_max_s: float) -> None:
        """Makes the directory, for its owner's eyes alone. Raises OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._blobs = blobs
        self._told = told
        self._retry_max_s = retry_max_s
        self._thread = ThreadPoolExecutor(1, "spool")
        self._files: dict[str, int] = {}  # touched by the thread alone
        self._behind = 0
        self._chunks_due: list[tuple[str, bytes]] = []
        self._cut: set[str] = set()
        """Recordings that lack what the disk did not take, until they are stored."""
        self._uploads: asyncio.Queue[tuple[str, bool]] = asyncio.Queue()
        self._loop = asyncio.get_running_loop()

    # ------------------------------------------------------------------ from the node

    def begin(self, name: str, header: bytes) -> None:
        """Make a new file."""
        self._do(self._begin, name, header, then=self._told.recording_begun)

    def append(self, name: str, chunk: bytes) -> None:
        """Add a sealed chunk. Those of one turn of the loop go to the thread together: to wake it costs
        more than to write."""
        if self._behind >= BEHIND_MAX:
            self._fail(name, "SPOOL_SLOW")
            return
        self._behind += 1
        self._chunks_due.append((name, chunk))
        if len(self._chunks_due) == 1:
            self._loop.call_soon(self._hand_over)

    def finish(self, name: str, *, truncated: bool = False) -> None:
        """Close the file and store it."""
        self._do(self._close, name, then=lambda name: self._uploads.put_nowait((name, truncated)))

    def take(self, name: str, source: Callable[[], Iterator[bytes]], *, truncated: bool = False) -> None:
        """Store what `source` gives, header first; it is called by the thread, and may raise OSError."""
        self._do(self._write_whole, name, source, then=lambda name: self._uploads.put_nowait((name, truncated)))

    @property
    def behind(self) -> int:
        """Pieces of work that wait for the disk."""
        return self._behind

    # ------------------------------------------------------------------ from the driver

    async def run(self) -> None:
        """Store what is finished, until cancelled."""
        async with asyncio.TaskGroup() as group:
            for _ in range(UPLOADS):
                group.create_task(self._upload_in_turn())

    def sweep(self, known: Collection[str]) -> None:
        """Remove files that belong to no recording: stored just before an earlier life ended."""
        wanted = [self._path(name) for name in known]
        for path in self._directory.glob(f"*{SUFFIX}"):
            if path not in wanted:
                path.unlink()

    def close(self) -> None:
        """Write what was asked for and end the thread."""
        self._hand_over()
        self._thread.submit(self._close_all)
        self._thread.shutdown(wait=True)

    # ------------------------------------------------------------------ the thread

    def _hand_over(self) -> None:
        """Let the thread write the chunks that came up; before anything else that is asked of it."""
        if not self._chunks_due:
            return
        chunks, self._chunks_due = self._chunks_due, []
        future = self._thread.submit(self._append_all, chunks)
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._appended, len(chunks), done))

    def _appended(self, count: int, done: Future[list[tuple[str, OSError]]]) -> None:
        self._behind -= count
        for name, error in done.result():
            _log.error("recording %s is cut (%s): free space on the disk of media.spool_dir", name, error)
            self._cut.add(name)
            self._told.recording_cut(name)

    def _do(self, work: Callable[..., None], name: str, *args: Any, then: _Then = None) -> None:
        self._hand_over()
        self._behind += 1
        future = self._thread.submit(work, name, *args)
        future.add_done_callback(lambda done: self._loop.call_soon_threadsafe(self._done, name, done, then))

    def _done(self, name: str, done: Future[None], then: _Then) -> None:
        self._behind -= 1
        error = done.exception()
        if error is None:
            if then is not None:
                then(name)
        elif isinstance(error, OSError):
            _log.error("%s", error)
            self._fail(name, "SPOOL_FAILED")
        else:
            raise error

    def _fail(self, name: str, reason: str) -> None:
        _log.error("recording %s is lost (%s): look at the disk of media.spool_dir", name, reason)
        self._thread.submit(self._discard, name)
        self._told.recording_failed(name, reason)

    def _begin(self, name: str, header: bytes) -> None:
        descriptor = os.open(self._path(name), os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        self._files[name] = descriptor
        _write(descriptor, header)

    def _write_whole(self, name: str, source: Callable[[], Iterator[bytes]]) -> None:
        """Over whatever an earlier life may have written of it."""
        descriptor = os.open(self._path(name), os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            for chunk in source():
                _write(descriptor, chunk)
        finally:
            os.close(descriptor)

    def _append_all(self, chunks: list[tuple[str, bytes]]) -> list[tuple[str, OSError]]:
        """Write each where it belongs; those that could not be."""
        failed = []
        for name, chunk in chunks:
            descriptor = self._files.get(name)
            if descriptor is None:
                continue  # it failed, and that was told
            try:
                _write(descriptor, chunk)
            except OSError as error:
                self._close(name)
                failed.append((name, error))
        return failed

    def _close(self, name: str) -> None:
        descriptor = self._files.pop(name, None)
        if descriptor is not None:
            os.close(descriptor)

    def _discard(self, name: str) -> None:
        self._close(name)
        self._path(name).unlink(missing_ok=True)

    def _close_all(self) -> None:
        for name in list(self._files):
            self._close(name)

    def _path(self, name: str) -> Path:
        return self._directory / (hashlib.sha256(name.encode()).hexdigest()[:40] + SUFFIX)

    # ------------------------------------------------------------------ to Blobs

    async def _upload_in_turn(self) -> None:
        while True:
            name, truncated = await self._uploads.get()
            await self._upload(name, truncated)

    async def _upload(self, name: str, truncated: bool) -> None:
        """Until it is stored: a blob store that is away is no reason to lose a recording."""
        retry = Retry(RETRY_FIRST_S, self._retry_max_s)
        while True:
            try:
                await self._store(name, truncated)
            except OSError as error:
                pause = retry.next_s()
                _log.warning("recording %s not stored yet (%s), next try in %g s", name, error, round(pause, 1))
                await asyncio.sleep(pause)
            else:
                return

    async def _store(self, name: str, truncated: bool) -> None:
        path = self._path(name)
        size = await self._loop.run_in_executor(self._thread, _cut_to_whole, path)
        if not size:
            await self._find_stored(name, truncated)
            return
        digest = hashlib.sha256()
        try:
            await self._blobs.put(name, self._chunks(path, digest))
        except BlobExists:
            self._told.recording_failed(name, "BLOB_EXISTS")
        else:
            self._told.recording_stored(name, _stored(name, size, digest.hexdigest(), truncated or name in self._cut))
        self._cut.discard(name)
        await self._loop.run_in_executor(self._thread, self._discard, name)

    async def _find_stored(self, name: str, truncated: bool) -> None:
        """The file is gone: an earlier life had stored it and died before that was written down. Or it is lost."""
        try:
            size, sha256 = await sum_of(self._blobs, name)
        except BlobMissing:
            self._fail(name, "SPOOL_LOST")
        else:
            self._told.recording_stored(name, _stored(name, size, sha256, truncated))

    async def _chunks(self, path: Path, digest: hashlib._Hash) -> AsyncIterator[bytes]:
        position = 0
        while chunk := await self._loop.run_in_executor(self._thread, _read, path, position):
            digest.update(chunk)
            position += len(chunk)
            yield chunk


def _stored(name: str, size: int, sha256: str, truncated: bool) -> RecordingStored:
    return RecordingStored(name.rpartition("/")[2], name, recording.frames_in(size), size, sha256, truncated)


def _cut_to_whole(path: Path) -> int:
    """Cut off a chunk that was half written when the process died; the size that is left."""
    try:
        with path.open("r+b") as file:
            size = file.seek(0, os.SEEK_END)
            file.seek(min(recording.last_chunk_at(size), size))
            whole = recording.whole_size(size, file.read())
            if whole < size:
                file.truncate(whole)
            return whole
    except FileNotFoundError:
        return 0


def _write(descriptor: int, data: bytes) -> None:
    """All of it: a full disk may take a part without an error."""
    view = memoryview(data)
    while view:
        view = view[os.write(descriptor, view) :]


def _read(path: Path, position: int) -> bytes:
    with path.open("rb") as file:
        file.seek(position)
        return file.read(READ_BYTES)
