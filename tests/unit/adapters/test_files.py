"""Small files, whole or not there."""

from __future__ import annotations

import stat
from pathlib import Path

import pytest

from tandem.adapters.files import create_whole, make_directory, replace_whole


def mode(path: Path) -> int:
    """Permission bits."""
    return stat.S_IMODE(path.stat().st_mode)


def test_a_directory_and_what_is_above_it_is_its_owner_s_alone(tmp_path: Path) -> None:
    make_directory(tmp_path / "a" / "b")
    make_directory(tmp_path / "a" / "b")
    assert (mode(tmp_path / "a"), mode(tmp_path / "a" / "b")) == (0o700, 0o700)


def test_a_file_is_made_once(tmp_path: Path) -> None:
    create_whole(tmp_path / "key", b"first")
    with pytest.raises(FileExistsError):
        create_whole(tmp_path / "key", b"second")
    assert (tmp_path / "key").read_bytes() == b"first"
    assert mode(tmp_path / "key") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["key"]


def test_a_file_is_replaced_as_a_whole(tmp_path: Path) -> None:
    replace_whole(tmp_path / "marker", b"first")
    replace_whole(tmp_path / "marker", b"second")
    assert (tmp_path / "marker").read_bytes() == b"second"
    assert mode(tmp_path / "marker") == 0o600
    assert [path.name for path in tmp_path.iterdir()] == ["marker"]
