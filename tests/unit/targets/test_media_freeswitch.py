"""What the settings of FreeSWITCH must hold before the media process begins."""

from __future__ import annotations

from pathlib import Path
from typing import Any, cast

import pytest

from tandem.runtime.config import Config
from tandem.runtime.settings import load
from tandem.targets.gateways import Rereading
from tandem.targets.media_freeswitch import BadSwitch, freeswitch_backend
from tandem.targets.secret_file import BadSecretFile

NOTHING = cast("Any", None)


def backend(home: Path, password: bytes | None, mode: int = 0o600, **more: str) -> object:
    variables = {"TANDEM_DATA_DIR": str(home), "TANDEM_MEDIA__BACKEND": "freeswitch", **more}
    if password is not None:
        file = home / "password"
        file.touch(mode=0o600)
        file.write_bytes(password)
        file.chmod(mode)
        variables["TANDEM_MEDIA__FREESWITCH__PASSWORD_FILE"] = str(file)
    return freeswitch_backend(load(Config, None, variables), NOTHING, NOTHING, NOTHING, NOTHING, Rereading(Config))


def test_a_password_that_only_we_can_read_is_taken(tmp_path: Path) -> None:
    assert callable(backend(tmp_path, b"a-password\n"))


@pytest.mark.parametrize(
    ("password", "mode", "says"),
    [
        (b"a-password", 0o644, "chmod 600"),
        (b"  \n", 0o600, "holds no secret"),
        (b"two\nlines", 0o600, "holds no secret"),
        (b"x" * 2000, 0o600, "holds no secret"),
    ],
)
def test_others_are_refused_and_it_says_what_to_do(tmp_path: Path, password: bytes, mode: int, says: str) -> None:
    with pytest.raises(BadSecretFile, match=says):
        backend(tmp_path, password, mode)


def test_without_a_password_it_is_said_where_one_belongs(tmp_path: Path) -> None:
    with pytest.raises(BadSwitch, match="password_file is not set"):
        backend(tmp_path, None)


def test_a_missing_file_is_named(tmp_path: Path) -> None:
    with pytest.raises(BadSecretFile, match="nowhere cannot be read: No such file"):
        backend(tmp_path, None, TANDEM_MEDIA__FREESWITCH__PASSWORD_FILE="/nowhere")


def carrier(home: Path, password: bytes, mode: int = 0o600) -> dict[str, str]:
    file = home / "carrier"
    file.touch(mode=0o600)
    file.write_bytes(password)
    file.chmod(mode)
    settings = {"PROXY": "sip.carrier.test", "USERNAME": "acme", "PASSWORD_FILE": str(file)}
    return {f"TANDEM_MEDIA__GATEWAYS__NORTH__{name}": value for name, value in settings.items()}


def test_a_carriers_password_is_read_from_its_file(tmp_path: Path) -> None:
    more = carrier(tmp_path, b'secret$"<&>\n')
    assert callable(backend(tmp_path, b"a-password", **more))


@pytest.mark.parametrize(
    ("password", "mode", "says"),
    [
        (b"secret", 0o640, "media.gateways.north.password_file .* chmod 600"),
        (b"se:cret", 0o600, "media.gateways.north.password_file .* without blanks and colons"),
        (b"se cret", 0o600, "without blanks and colons"),
        ("geh\u00e4im".encode(), 0o600, "without blanks and colons"),
        (b"x" * 101, 0o600, "up to 100 characters"),
        (b"", 0o600, "holds no secret"),
    ],
)
def test_a_carriers_password_that_cannot_be_is_refused(tmp_path: Path, password: bytes, mode: int, says: str) -> None:
    with pytest.raises(BadSecretFile, match=says):
        backend(tmp_path, b"a-password", **carrier(tmp_path, password, mode))


async def test_a_file_of_somebody_elses_stops_the_start_and_is_named(tmp_path: Path) -> None:
    foreign = tmp_path / "freeswitch/storage/gateways/north.xml"
    foreign.parent.mkdir(parents=True)
    foreign.write_text('<gateway name="north"/>')
    build = cast("Any", backend(tmp_path, b"a-password", TANDEM_MEDIA__GATEWAYS__NORTH__PROXY="sip.carrier.test"))
    with pytest.raises(BadSwitch, match=f"{foreign} was not written by Tandem"):
        async with build(NOTHING):
            pass
