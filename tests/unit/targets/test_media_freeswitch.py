"""What the settings of FreeSWITCH must hold before the media process begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tandem.runtime.config import Config
from tandem.runtime.settings import load
from tandem.targets.media_freeswitch import BadSwitch, freeswitch_backend

NOTHING = cast("Any", None)


def backend(home: Path, password: bytes | None, mode: int = 0o600, **more: str) -> object:
    variables = {"TANDEM_DATA_DIR": str(home), "TANDEM_MEDIA__BACKEND": "freeswitch", **more}
    if password is not None:
        file = home / "password"
        file.touch(mode=0o600)
        file.write_bytes(password)
        file.chmod(mode)
        variables["TANDEM_MEDIA__FREESWITCH__PASSWORD_FILE"] = str(file)
    return freeswitch_backend(load(Config, None, variables), NOTHING, NOTHING, NOTHING, NOTHING)


def test_a_password_that_only_we_can_read_is_taken(tmp_path: Path) -> None:
    assert callable(backend(tmp_path, b"a-password\n"))


@pytest.mark.parametrize(
    ("password", "mode", "says"),
    [
        (None, 0, "password_file is not set"),
        (b"a-password", 0o644, "chmod 600"),
        (b"  \n", 0o600, "holds no password"),
        (b"two\nlines", 0o600, "holds no password"),
        (b"x" * 2000, 0o600, "holds no password"),
    ],
)
def test_others_are_refused_and_it_says_what_to_do(tmp_path: Path, password: bytes, mode: int, says: str) -> None:
    with pytest.raises(BadSwitch, match=says):
        backend(tmp_path, password, mode)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSwitch, match="nowhere cannot be read: No such file"):
        backend(tmp_path, None, TANDEM_MEDIA__FREESWITCH__PASSWORD_FILE="/nowhere")
