"""Passwords and shared secrets that an operator puts into files."""

from __future__ import annotations

from pathlib import Path

MAX_BYTES = 1024


class BadSecretFile(Exception):
    """A file holds no secret that can be used; the text names the setting and says what to do."""


def read_secret(setting: str, path: Path) -> str:
    """The one line of a file that only this user can read. Raises `BadSecretFile`."""
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
            mode = path.stat().st_mode
    except OSError as error:
        raise BadSecretFile(f"{setting} {path} cannot be read: {error.strerror}") from error
    if mode & 0o077:
        raise BadSecretFile(f"{setting} {path} can be read by others: chmod 600 {path}")
    text = data.decode("utf-8", "replace").strip()
    if not text or len(data) > MAX_BYTES or not text.isprintable():
        raise BadSecretFile(f"{setting} {path} holds no secret: one line of printable characters")
    return text
