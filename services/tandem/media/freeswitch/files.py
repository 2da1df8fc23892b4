"""Files that FreeSWITCH writes and the agent takes: recordings and call records. No file work is done on the loop."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Collection, Iterable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from tandem.core.ports.blobs import Blobs
from tandem.core.ports.entropy import Entropy
from tandem.core.recording import CHANNELS, CHUNK_BYTES, SALT_BYTES, Header, Sealer
from tandem.media.builtin.spool import FileSpool
from tandem.media.freeswitch import records
from tandem.media.freeswitch.board import Seal
from tandem.media.freeswitch.recorder import SUFFIX, file_of
from tandem.media.freeswitch.recovery import Insert
from tandem.wire import esl

_log = logging.getLogger(__name__)

SPENT_AFTER_S = 2.0
"""A record is written a moment after the event that tells of its channel's end."""
SWEPT_AFTER_S = 60.0
"""What a gap has left is asked for in the first seconds after it."""
SPENT_MAX = 10_000
"""Records that wait to be removed; beyond it the next sweep has them."""


@dataclass(frozen=True, slots=True)
class Files:
    """Where they are."""

    spool_dir: Path
    """Sealed recordings until they are stored; outlives the process."""

    cdr_dir: Path
    """Call records."""

    blobs: Blobs
    entropy: Entropy
    gateways_dir: Path | None = None
    """Gateways' files; None leaves them to others."""
    upload_retry_max_s: float = 60.0
    """Longest pause between two tries to store a recording."""
    insert: Insert | None = None
    """Puts a call into FreeSWITCH's database; with None nobody is taken over."""


class Tapes:
    """Recordings as FreeSWITCH wrote them, in memory, until they are sealed."""

    def __init__(self, files: Files, directory: Path, spool: FileSpool) -> None:
        """Makes the directory, for its owner's eyes alone. Raises OSError."""
        directory.mkdir(mode=0o700, parents=True, exist_ok=True)
        self._directory = directory
        self._entropy = files.entropy
        self._spool = spool

    def seal(self, seal: Seal) -> None:
        """Seal it and store it. What an earlier life had sealed whole is stored as it is."""
        plain = Path(seal.file)
        if plain.exists():
            header = Header(self._entropy.secret(SALT_BYTES))
            self._spool.take(seal.name, lambda: _sealed(plain, header, seal), truncated=seal.truncated)
        else:
            self._spool.finish(seal.name, truncated=seal.truncated)

    def drop(self, name: str) -> None:
        """It is stored, or lost: nothing plain is left of it."""
        (self._directory / file_of(name)).unlink(missing_ok=True)

    def sweep(self, known: Collection[str]) -> None:
        """Remove what belongs to no recording: nobody has its key."""
        self._spool.sweep(known)
        wanted = {file_of(name) for name in known}
        for path in self._directory.glob(f"*{SUFFIX}"):
            if path.name not in wanted:
                path.unlink(missing_ok=True)


def _sealed(plain: Path, header: Header, seal: Seal) -> Iterator[bytes]:
    """The sealed file; what was plain is removed when all of it was taken."""
    sealer = Sealer(header, seal.key, seal.name)
    yield header.pack()
    with plain.open("rb") as file:
        while frames := file.read(CHUNK_BYTES):
            # A frame that was cut by a full memory is none.
            whole = frames[: len(frames) // CHANNELS * CHANNELS]
            if whole:
                yield sealer.seal(whole)
    plain.unlink()


class Records:
    """The spool of call records. One thread reads and removes."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory
        self._loop = asyncio.get_running_loop()
        self._thread = ThreadPoolExecutor(1, "call-records")
        self._spent: list[str] = []
        self._removing: asyncio.TimerHandle | None = None
        self._sweeping: asyncio.TimerHandle | None = None

    def find(self, channel: str, then: Callable[[str, esl.Event | None], None]) -> None:
        """Read a channel's record; `then` is called on the loop."""
        reading = self._loop.run_in_executor(self._thread, self._read, channel)
        reading.add_done_callback(lambda done: None if done.cancelled() else then(channel, done.result()))

    def spent(self, channels: Iterable[str]) -> None:
        """Records that nobody will want: they tell who called whom."""
        self._spent += channels
        del self._spent[SPENT_MAX:]
        if self._spent and self._removing is None:
            self._removing = self._loop.call_later(SPENT_AFTER_S, self._remove_spent)

    def sweep(self) -> None:
        """Remove what a gap has left, once nobody can want it: also of channels that nobody knew."""
        listing = self._loop.run_in_executor(self._thread, self._listed)
        listing.add_done_callback(lambda done: None if done.cancelled() else self._sweep_later(done.result()))

    def _sweep_later(self, names: list[str]) -> None:
        if self._sweeping is not None:
            self._sweeping.cancel()
        self._sweeping = self._loop.call_later(SWEPT_AFTER_S, lambda: self._thread.submit(self._remove, names))

    def close(self) -> None:
        """Give the thread back; what is left is swept by the next life."""
        for handle in (self._removing, self._sweeping):
            if handle is not None:
                handle.cancel()
        self._thread.shutdown(wait=True)

    def _remove_spent(self) -> None:
        self._removing = None
        spent, self._spent = self._spent, []
        self._thread.submit(self._remove, spent)

    def _path(self, channel: str) -> Path:
        return self._directory / (channel.replace("/", "_") + records.SUFFIX)

    def _read(self, channel: str) -> esl.Event | None:
        try:
            with self._path(channel).open("rb") as file:
                return records.event_of(file.read(records.MAX_BYTES))
        except OSError:
            return None  # FreeSWITCH died before it wrote one

    def _listed(self) -> list[str]:
        try:
            return [path.name.removesuffix(records.SUFFIX) for path in self._directory.glob(f"*{records.SUFFIX}")]
        except OSError as error:
            _log.warning("call records in %s cannot be listed: %s", self._directory, error)
            return []

    def _remove(self, channels: list[str]) -> None:
        for channel in channels:
            try:
                self._path(channel).unlink(missing_ok=True)
            except OSError as error:
                _log.warning("call record of channel %s cannot be removed: %s", channel, error)
                return
