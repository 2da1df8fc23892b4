"""The relay of a cell's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem.adapters.system import SystemClock
from tandem.runtime.config import Config, Relay
from tandem.runtime.settings import BadConfig, load
from tandem.targets.relay import issuer, open_relay
from tandem.targets.secret_file import BadSecretFile


def test_without_settings_there_is_none() -> None:
    assert issuer(open_relay(Relay()), SystemClock()) is None


def secret_in(file: Path, written: str, mode: int = 0o600) -> Path:
    file.touch(mode=0o600)
    file.write_text(written)
    file.chmod(mode)
    return file


def test_the_secret_is_what_its_file_holds(tmp_path: Path) -> None:
    file = secret_in(tmp_path / "turn.secret", "a secret of coturn\n")
    relay = open_relay(Relay(urls="turn:a:3478, turns:b:5349?transport=tcp", secret_file=file))
    assert relay.secret == b"a secret of coturn"
    assert relay.urls == ("turn:a:3478", "turns:b:5349?transport=tcp")
    issue = issuer(relay, SystemClock())
    assert issue is not None
    before = SystemClock().wall_ms() // 1000
    assert issue("ann.acme").expires_s >= before + relay.lifetime_s


@pytest.mark.parametrize("written", [None, "", "\n", "short\n", "a secret of coturn\nand a remark\n"])
def test_a_secret_that_is_not_there_or_can_be_guessed_is_refused(tmp_path: Path, written: str | None) -> None:
    file = tmp_path / "turn.secret"
    if written is not None:
        secret_in(file, written)
    with pytest.raises(BadSecretFile, match=r"relay\.secret_file .*turn\.secret"):
        open_relay(Relay(urls="turn:a", secret_file=file))


def test_a_secret_that_others_can_read_is_refused(tmp_path: Path) -> None:
    file = secret_in(tmp_path / "turn.secret", "a secret of coturn\n", 0o644)
    with pytest.raises(BadSecretFile, match="chmod 600"):
        open_relay(Relay(urls="turn:a", secret_file=file))


@pytest.mark.parametrize("setting", ["URLS=turn:a", "SECRET_FILE=/x", "URLS=http://a", "LIFETIME_S=1"])
def test_half_a_relay_is_refused(setting: str) -> None:
    name, _, value = setting.partition("=")
    with pytest.raises(BadConfig):
        load(Config, None, {f"TANDEM_RELAY__{name}": value})
