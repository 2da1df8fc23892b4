"""Loads the prompts that a node can play."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from pathlib import Path

from tandem.wire.wav import Audio, BadWav, read_wav

MANIFEST = "manifest.json"
MAX_PROMPTS = 1000
"""Of one directory; all are held in memory, in both laws."""


class BadPrompts(Exception):
    """A prompt that the manifest names cannot be played; the text says which and why."""


def load_prompts(directory: Path) -> Mapping[str, Audio]:
    """The prompts of a directory by name. Raises `BadPrompts`.

    The manifest maps a name to `{"file": ..., "sha256": ...}`; a file that is not the one
    that was listed is refused, as a caller would hear it before anybody else.
    """
    return {name: _load(path, sha256) for name, (path, sha256) in _listed(directory).items()}


def prompt_files(directory: Path) -> Mapping[str, Path]:
    """Where the prompts of a directory are, by name. Raises `BadPrompts`."""
    return {name: path for name, (path, _) in _listed(directory).items()}


def _listed(directory: Path) -> dict[str, tuple[Path, str]]:
    path = directory / MANIFEST
    try:
        manifest = json.loads(path.read_bytes())
        entries = {name: (directory / entry["file"], entry["sha256"]) for name, entry in manifest.items()}
    except (OSError, ValueError, KeyError, TypeError, AttributeError) as error:
        raise BadPrompts(
            f"{path} cannot be read ({error!r}): set media.prompts_dir to a directory with prompts"
        ) from error
    if len(entries) > MAX_PROMPTS:
        raise BadPrompts(f"{path} lists {len(entries)} prompts, the limit is {MAX_PROMPTS}")
    return entries


def _load(path: Path, sha256: str) -> Audio:
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadPrompts(f"{path} cannot be read: {error.strerror}") from error
    if hashlib.sha256(data).hexdigest() != sha256:
        raise BadPrompts(f"{path} is not the file that {MANIFEST} lists: restore it, or update its sha256 there")
    try:
        return read_wav(data)
    except BadWav as error:
        raise BadPrompts(f"{path}: {error}") from error
