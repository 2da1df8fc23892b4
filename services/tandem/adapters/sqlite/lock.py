"""One control process a cell: a kernel lock on `log.lock` (flock(2)).

The kernel frees it when its holder dies, whatever the death, so that a second process which
waits in flock takes over within milliseconds.
"""

from __future__ import annotations

import asyncio
import fcntl
import logging
import os
import threading
from pathlib import Path

from tandem.adapters.files import FILE_MODE, make_directory
from tandem.adapters.sqlite.database import CannotOpen
from tandem.adapters.threads import tell

_log = logging.getLogger(__name__)

LOCK = "log.lock"
_PID_BYTES = 20


class LogBusy(CannotOpen):
    """Another process holds the cell."""


class CellLock:
    """The lock, held until `release` or the end of the process."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor: int | None = descriptor
        os.ftruncate(descriptor, 0)
        os.pwrite(descriptor, str(os.getpid()).encode("ascii"), 0)

    def release(self) -> None:
        """Let the next one in. Idempotent."""
        if self._descriptor is not None:
            os.close(self._descriptor)
            self._descriptor = None


async def hold(directory: Path, *, wait: bool) -> CellLock:
    """Take the lock; with `wait`, once its holder is gone, else at once or with `LogBusy`.

    A cancelled wait leaves a daemon thread in the kernel's queue (flock cannot be called
    off); it gives the lock back the moment it gets it.
    """
    path = directory / LOCK
    descriptor = await asyncio.to_thread(_open, path)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        holder = os.pread(descriptor, _PID_BYTES, 0).decode("ascii", "replace") or "unknown"
        if wait:
            _log.info("%s is held by process %s; this one waits for the lock", path, holder)
            return await _Place(descriptor).lock()
        os.close(descriptor)
        raise LogBusy(
            f"{path} is held by another Tandem, process {holder}: stop that one, start this one with --standby "
            "to wait for its end, or give this one a directory of its own (setting log.dir or data_dir)."
        ) from None
    return CellLock(descriptor)


def _open(path: Path) -> int:
    make_directory(path.parent)
    return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, FILE_MODE)


class _Place:
    """A place in the kernel's queue for the lock."""

    def __init__(self, descriptor: int) -> None:
        self._descriptor = descriptor
        self._loop = asyncio.get_running_loop()
        self._reached: asyncio.Future[None] = self._loop.create_future()
        self._deciding = threading.Lock()
        self._wanted = True
        self._locked = False
        threading.Thread(target=self._wait, name="tandem-log-lock", daemon=True).start()

    async def lock(self) -> CellLock:
        """Wait in the queue. Cancelled, the place is given up."""
        try:
            await self._reached
        except asyncio.CancelledError:
            with self._deciding:
                self._wanted = False
                if self._locked:
                    os.close(self._descriptor)
            raise
        return CellLock(self._descriptor)

    def _wait(self) -> None:
        fcntl.flock(self._descriptor, fcntl.LOCK_EX)
        with self._deciding:
            self._locked = True
            if not self._wanted or not tell(self._loop, self._arrive):
                os.close(self._descriptor)

    def _arrive(self) -> None:
        if not self._reached.done():
            self._reached.set_result(None)
