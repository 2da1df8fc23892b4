"""The journal's file: append-only, sealed with the node key, no fsync.

It must survive the agent, not the host, so the page cache is enough; and the node key lies in
memory, so that a disk taken out of the host tells nothing (spine 4).

The file is a head of `MAGIC` and a 16-byte salt, then records: length (4 bytes), CRC-32 of the
length (4), and that many bytes of AES-256-GCM ciphertext of a MessagePack list of changes. The
file's own key is derived from node key and salt, the nonce is the record's place, and every start
and every rewriting makes a new file, so no nonce is used twice. What an agent writes in one turn
is one record: a death in the middle of it leaves none of it. Only the last record can be torn;
anything else that does not check is damage.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Protocol

import msgspec

from tandem.core.seal import NONCE_BYTES, Damaged, Sealed, Secret, fingerprint, seal, unseal
from tandem.media.journal.changes import BadChange, Opened, decode_change, encode_change
from tandem.media.journal.state import JournalState

MAGIC = b"TANDEMJ1"
SALT_BYTES = 16
MAX_RECORD_BYTES = 64 * 1024 * 1024
"""One turn of the agent; a directory of the largest size is half of that. A longer length is damage."""
COMPACT_FROM_BYTES = 4 * 1024 * 1024
"""A smaller file is not worth rewriting: reading it takes some tens of milliseconds."""
COMPACT_FACTOR = 4
"""Rewrite when the file has grown to this many times its live part: at most a third more is written."""

_FRAME = 8
_ROWS_PER_RECORD = 1000


class Unreadable(Exception):
    """The journal cannot be taken up: damaged, or sealed with another node key. A new
    incarnation begins, and owners end the legs that the node does not list."""


class JournalStore(Protocol):
    """Where the bytes stand."""

    def read(self) -> bytes:
        """All bytes, empty if there are none yet."""
        ...

    def append(self, data: bytes) -> None:
        """Add to the end. Raises OSError, and then what is left of `data` counts for nothing."""
        ...

    def replace(self, data: bytes) -> None:
        """Put `data` in place of everything, whole or not at all. Raises OSError."""
        ...


class MemoryStore:
    """Bytes of a simulated node: they outlive the agent object."""

    def __init__(self, data: bytes = b"") -> None:
        self.data = data

    def read(self) -> bytes:
        """See `JournalStore`."""
        return self.data

    def append(self, data: bytes) -> None:
        """See `JournalStore`."""
        self.data += data

    def replace(self, data: bytes) -> None:
        """See `JournalStore`."""
        self.data = data


@dataclass(frozen=True, slots=True)
class _Fresh:
    """A whole file and its key."""

    data: bytes
    file_key: bytes = field(repr=False)
    records: int


class Journal:
    """An open journal. Make one with `open_journal`."""

    def __init__(self, store: JournalStore, node_key: bytes, entropy: Callable[[int], bytes]) -> None:
        self._store = store
        self._node_key = node_key
        self._entropy = entropy
        self._file_key = b""
        self._records = 0
        self._size = 0
        self._compact_at = 0
        self._unwritten: _Fresh | None = None

    @property
    def is_written(self) -> bool:
        """Whether the file that this life begins with is there; see `open_journal`."""
        return self._unwritten is None

    def catch_up(self) -> None:
        """Write the file that this life begins with, if that is not there yet. Raises OSError."""
        if self._unwritten is not None:
            self._put(self._unwritten)
            self._unwritten = None

    def append(self, changes: Sequence[bytes]) -> None:
        """Write the changes of one turn, all or none. Raises OSError (a full disk); the same
        call again is then the way to go on."""
        self.catch_up()
        record = _seal_record(self._file_key, self._records, changes)
        self._store.append(record)
        self._records += 1
        self._size += len(record)

    def overgrown(self) -> bool:
        """Whether most of the file is of no use any more."""
        return self._size > self._compact_at

    def rewrite(self, state: JournalState) -> None:
        """Write the fold anew, under a new key. Raises OSError; the old file then stands."""
        self._put(self._fresh(state))

    def take_up(self, state: JournalState) -> None:
        """Begin with what an earlier life left. If that cannot be written now, its file stands, and what
        this life begins with is written before anything else."""
        self._unwritten = self._fresh(state)
        with suppress(OSError):
            self.catch_up()

    def _fresh(self, state: JournalState) -> _Fresh:
        salt = self._entropy(SALT_BYTES)
        file_key = _file_key(self._node_key, salt)
        rows = list(state.rows())
        parts = [rows[start : start + _ROWS_PER_RECORD] for start in range(0, len(rows), _ROWS_PER_RECORD)]
        data = b"".join([MAGIC, salt, *(_seal_record(file_key, place, part) for place, part in enumerate(parts))])
        return _Fresh(data, file_key, len(parts))

    def _put(self, fresh: _Fresh) -> None:
        self._store.replace(fresh.data)
        self._file_key, self._records, self._size = fresh.file_key, fresh.records, len(fresh.data)
        self._compact_at = max(COMPACT_FROM_BYTES, COMPACT_FACTOR * self._size)


def open_journal(
    store: JournalStore, node_key: bytes, entropy: Callable[[int], bytes], incarnation: str
) -> tuple[Journal, JournalState, str]:
    """Take up what stands in the store, or begin anew under `incarnation`.

    The third value says why it began anew, empty if it did not. What was read is taken up also on a
    full disk: the journal then is not written yet (`Journal.is_written`), and goes on when there is
    room. Raises OSError if it can neither be read nor made.
    """
    anew = ""
    try:
        data = store.read()
        state = load(data, node_key)
        if not data:
            anew = "there was no journal"
    except Unreadable as error:
        state = JournalState()
        anew = str(error)
    if anew:
        opened = Opened(incarnation)
        state.apply(opened, encode_change(opened))
    journal = Journal(store, node_key, entropy)
    if anew:
        journal.rewrite(state)
    else:
        journal.take_up(state)
    return journal, state, anew


def load(data: bytes, node_key: bytes) -> JournalState:
    """The fold of a journal's bytes; a torn last record does not count. Raises `Unreadable`."""
    state = JournalState()
    if not data:
        return state
    head = len(MAGIC) + SALT_BYTES
    if len(data) < head or not data.startswith(MAGIC):
        raise Unreadable("the file is no journal of this release")
    file_key = _file_key(node_key, data[len(MAGIC) : head])
    try:
        for changes in _records(data, head, file_key):
            for encoded in changes:
                state.apply(decode_change(encoded), encoded)
    except BadChange as error:
        raise Unreadable(str(error)) from error
    if not state.incarnation:
        raise Unreadable("the journal does not say which incarnation it is of")
    return state


def _records(data: bytes, at: int, file_key: bytes) -> list[list[bytes]]:
    records: list[list[bytes]] = []
    while len(data) - at >= _FRAME:
        length_bytes = data[at : at + 4]
        length = int.from_bytes(length_bytes, "big")
        if zlib.crc32(length_bytes) != int.from_bytes(data[at + 4 : at + _FRAME], "big") or length > MAX_RECORD_BYTES:
            raise Unreadable(f"the journal is damaged in its record {len(records)}")
        end = at + _FRAME + length
        if end > len(data):
            break
        records.append(_open_record(file_key, len(records), data[at + _FRAME : end]))
        at = end
    return records


def _file_key(node_key: bytes, salt: bytes) -> bytes:
    return bytes.fromhex(fingerprint(b"tandem media journal", node_key, salt))


def _seal_record(file_key: bytes, place: int, changes: Sequence[bytes]) -> bytes:
    plain = Secret(msgspec.msgpack.encode(changes))
    sealed = seal(plain, "node", file_key, place.to_bytes(NONCE_BYTES, "big"), MAGIC).data
    if len(sealed) > MAX_RECORD_BYTES:
        raise OSError(f"one turn of the agent makes {len(sealed)} bytes, over the limit of {MAX_RECORD_BYTES}")
    length = len(sealed).to_bytes(4, "big")
    return length + zlib.crc32(length).to_bytes(4, "big") + sealed


def _open_record(file_key: bytes, place: int, sealed: bytes) -> list[bytes]:
    try:
        plain = unseal(Sealed("node", place.to_bytes(NONCE_BYTES, "big"), MAGIC, sealed), file_key)
    except Damaged as error:
        raise Unreadable(f"record {place} of the journal is damaged, or sealed with another node key") from error
    assert isinstance(plain, bytes), "it was opened with a key"
    try:
        return msgspec.msgpack.decode(plain, type=list[bytes])
    except msgspec.MsgspecError as error:
        raise Unreadable(f"record {place} of the journal is no list of changes") from error
