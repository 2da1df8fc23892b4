"""The cell key, under which every data key is wrapped: one small file that only its owner may read."""

from __future__ import annotations

import stat
from pathlib import Path

from tandem.adapters.files import create_whole, make_directory
from tandem.adapters.sqlite.database import CannotOpen, FileMissing
from tandem.core.ports.entropy import Entropy
from tandem.core.ports.keys import KEY_BYTES

SETTING = "keys.cell_key_file"


class CellKeyExposed(CannotOpen):
    """Others than its owner may read the file."""


class CellKeyMissing(FileMissing):
    """Keys were wrapped, and what opens them is gone."""


class CellKeyWrong(CannotOpen):
    """The file holds no key, or not the one that this cell's keys were wrapped with."""


def load_or_make(path: Path, entropy: Entropy, *, needed: bool) -> bytes:
    """The key in `path`; made, durably and readable by its owner alone, if it is not there.

    `needed` says that keys were wrapped with it before: then it is not made. Raises
    `CannotOpen`, which says what to do; OSError when the disk fails.
    """
    if not path.exists():
        if needed:
            raise CellKeyMissing(
                f"{path} is gone, and without it no private value of this cell can be read: bring it back "
                f"from a backup, or say where it is (setting {SETTING})."
            )
        make_directory(path.parent)
        create_whole(path, entropy.secret(KEY_BYTES))
    return load(path)


def load(path: Path) -> bytes:
    """The key in `path`, which is there. Raises `CannotOpen`."""
    try:
        status, key = path.stat(), path.read_bytes()
    except OSError as error:
        raise CellKeyWrong(
            f"{path} cannot be read ({error.strerror}): it must be a file of the user that Tandem runs as "
            f"(chown, chmod 600), or say where the cell's key is (setting {SETTING})."
        ) from error
    mode = stat.S_IMODE(status.st_mode)
    if mode & (stat.S_IRWXG | stat.S_IRWXO):
        raise CellKeyExposed(f"{path} has mode {mode:04o}, so others can read this cell's key: chmod 600 {path}")
    if len(key) != KEY_BYTES:
        raise CellKeyWrong(f"{path} has {len(key)} bytes, a cell key has {KEY_BYTES}: bring it back from a backup.")
    return key
