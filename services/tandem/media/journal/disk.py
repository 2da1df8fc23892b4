"""The journal's bytes on a disk, and the node key in memory (spine 4)."""

from __future__ import annotations

import fcntl
import os
import stat
from collections.abc import Callable, Mapping
from contextlib import suppress
from pathlib import Path
from typing import Self

KEY_BYTES = 32
"""AES-256."""

ROOM_MB = 16
"""A journal of 4 MB and its copy while it is rewritten, twice."""

MOUNTS = Path("/proc/self/mountinfo")
"""The kernel's mount table (proc(5))."""

_IN_MEMORY = ("tmpfs", "ramfs")


class JournalInUse(Exception):
    """Another agent writes this journal."""


class NoJournal(Exception):
    """The journal can neither be read nor made."""

    def __init__(self, path: Path, error: OSError) -> None:
        super().__init__(
            f"the journal {path} can neither be read nor made ({error.strerror or error}): this user must be able to "
            f"read and write it, with {ROOM_MB} MB free on its disk; or set data_dir to a disk that has them"
        )


class BadNodeKey(Exception):
    """The node key cannot be had, or would not be safe. The message says what to change."""


class DiskStore:
    """One file and its lock. Made on a directory that is there; closed by `close`."""

    def __init__(self, path: Path) -> None:
        """Raises `JournalInUse`, OSError."""
        self._path = path
        self._lock = os.open(path.with_name(path.name + ".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(self._lock)
            raise JournalInUse(
                f"another media agent writes {path}: stop it, or give this one a directory of its own"
            ) from error
        self._file = -1
        self._size = 0

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def read(self) -> bytes:
        """See `JournalStore`."""
        return self._path.read_bytes() if self._path.exists() else b""

    def append(self, data: bytes) -> None:
        """See `JournalStore`. A kill leaves a beginning of `data` at most, which a reader takes
        for torn; a full disk too, and the next call cuts that off first."""
        if os.fstat(self._file).st_size != self._size:
            os.ftruncate(self._file, self._size)
        _write_all(self._file, data)
        self._size += len(data)

    def replace(self, data: bytes) -> None:
        """See `JournalStore`. A new file takes the old one's name."""
        fresh = self._path.with_name(self._path.name + ".new")
        file = os.open(fresh, os.O_RDWR | os.O_CREAT | os.O_TRUNC | os.O_APPEND | os.O_CLOEXEC, 0o600)
        try:
            _write_all(file, data)
            fresh.replace(self._path)
        except OSError:
            os.close(file)
            with suppress(OSError):  # the room that it takes is wanted; the next one is written over it
                fresh.unlink()
            raise
        if self._file >= 0:
            os.close(self._file)
        self._file, self._size = file, len(data)

    def close(self) -> None:
        """Give the file and its lock back. Idempotent."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1


def _write_all(file: int, data: bytes) -> None:
    view = memoryview(data)
    while view:
        view = view[os.write(file, view) :]


def default_node_key_file(environment: Mapping[str, str]) -> Path:
    """`$XDG_RUNTIME_DIR/tandem/node.key`, else a directory of the user's own in `/dev/shm`."""
    runtime = environment.get("XDG_RUNTIME_DIR", "")
    # Others can write beside it, so the directory is checked when it is used.
    own = Path(runtime) / "tandem" if runtime else Path(f"/dev/shm/tandem-{os.geteuid()}")  # noqa: S108
    return own / "node.key"


def node_key(
    path: Path, entropy: Callable[[int], bytes], *, allow_on_disk: bool = False, mounts: Path = MOUNTS
) -> bytes:
    """The key of this node, made at the first start: 0600, in a directory of ours, on tmpfs.

    Raises `BadNodeKey`.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        _check_directory(path.parent)
        kind = file_system(path.parent, mounts)
        if kind not in _IN_MEMORY and not allow_on_disk:
            raise BadNodeKey(
                f"media.node_key_file {path} lies on {kind}, not in memory: with it a disk would tell what calls "
                f"said. Set it to a file on tmpfs, for example {_example()}; or set media.allow_node_key_on_disk if "
                "whoever has this disk may know"
            )
        if not path.exists():
            _make(path, entropy(KEY_BYTES))
        return _read(path)
    except OSError as error:
        raise BadNodeKey(
            f"media.node_key_file {path} cannot be used ({error.strerror}): set it to a file in a directory of this "
            f"user on tmpfs, for example {_example()}"
        ) from error


def in_memory(directory: Path, mounts: Path = MOUNTS) -> bool:
    """Whether what stands there is gone with the host's power. Raises OSError."""
    return file_system(directory, mounts) in _IN_MEMORY


def _example() -> Path:
    """A place that is right for this user on any Linux."""
    return default_node_key_file({})


def _check_directory(directory: Path) -> None:
    status = directory.lstat()
    shared = stat.S_IMODE(status.st_mode) & 0o022
    if stat.S_ISDIR(status.st_mode) and status.st_uid == os.geteuid() and shared and not status.st_mode & stat.S_ISVTX:
        raise BadNodeKey(
            f"media.node_key_file: others can write to {directory} and exchange the key there: chmod 700 {directory}"
        )
    if not stat.S_ISDIR(status.st_mode) or status.st_uid != os.geteuid() or shared:
        # /dev/shm itself, a link, another user's directory: nothing that a chmod should mend.
        raise BadNodeKey(
            f"media.node_key_file: {directory} is not a directory of this user alone, so others could put another "
            f"key there. Set media.node_key_file to a file in one, for example {_example()}; Tandem makes it"
        )


def _make(path: Path, key: bytes) -> None:
    """Whole or not at all, and of two that start at once the first makes it."""
    own = path.with_name(f"{path.name}.{os.getpid()}")
    descriptor = os.open(own, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        _write_all(descriptor, key)
    finally:
        os.close(descriptor)
    try:
        path.hardlink_to(own)
    except FileExistsError:
        return
    finally:
        own.unlink()


def _read(path: Path) -> bytes:
    descriptor = os.open(path, os.O_RDONLY | os.O_NOFOLLOW | os.O_CLOEXEC)
    try:
        status = os.fstat(descriptor)
        if status.st_uid != os.geteuid():
            raise BadNodeKey(
                f"media.node_key_file {path} belongs to user {status.st_uid}, and this is user {os.geteuid()}: start "
                "the node as that user, or remove the file (what the node has not handed over is then lost)"
            )
        if stat.S_IMODE(status.st_mode) & 0o077:
            raise BadNodeKey(
                f"media.node_key_file {path} has mode {stat.S_IMODE(status.st_mode):04o}, so others can read it: "
                f"chmod 600 {path}"
            )
        key = os.read(descriptor, KEY_BYTES + 1)
    finally:
        os.close(descriptor)
    if len(key) != KEY_BYTES:
        raise BadNodeKey(
            f"media.node_key_file {path} has not {KEY_BYTES} bytes, so it is no node key: name another file, or remove "
            "this one (what the node has not handed over is then lost)"
        )
    return key


def file_system(path: Path, mounts: Path = MOUNTS) -> str:
    """The kind of file system that holds `path` (`tmpfs`, `ext4`), as the mount table says;
    `unknown` where there is none."""
    if not mounts.exists():
        return "unknown"
    place = path.resolve()
    best, kind = -1, "unknown"
    for line in mounts.read_text().splitlines():
        before, _, after = line.partition(" - ")
        mount = Path(before.split(" ")[4].encode().decode("unicode_escape"))
        # A later mount on the same place hides the earlier.
        if len(mount.parts) >= best and place.is_relative_to(mount):
            best, kind = len(mount.parts), after.split(" ")[0]
    return kind
