"""Small files that must be whole or not there, and directories that must remember them."""

from __future__ import annotations

import os
import secrets
from contextlib import suppress
from itertools import takewhile
from pathlib import Path

FILE_MODE = 0o600
DIRECTORY_MODE = 0o700


def sync(path: Path) -> None:
    """Bring a file, or a directory's entries, to the disk (fsync(2))."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def make_directory(path: Path) -> None:
    """Make a directory and what is missing above it, durably; only its owner may look."""
    missing = takewhile(lambda part: not part.is_dir(), (path, *path.parents))
    for part in reversed([*missing]):
        with suppress(FileExistsError):
            part.mkdir(mode=DIRECTORY_MODE)
        sync(part.parent)


def create_whole(path: Path, content: bytes) -> None:
    """Make a file with this content, durable on return. Raises FileExistsError, and then changes nothing."""
    temporary = _written_beside(path, content)
    try:
        os.link(temporary, path)
    finally:
        temporary.unlink()
    sync(path.parent)


def replace_whole(path: Path, content: bytes) -> None:
    """Give a file this content; after a crash it has the old one or the new one, whole."""
    _written_beside(path, content).replace(path)
    sync(path.parent)


def _written_beside(path: Path, content: bytes) -> Path:
    temporary = path.with_name(f".{path.name}.{secrets.token_hex(8)}")
    descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, FILE_MODE)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(content)
            file.flush()
            os.fsync(descriptor)
    except BaseException:
        temporary.unlink()
        raise
    return temporary
