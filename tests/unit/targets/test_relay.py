"""The relay of a cell's settings."""

from __future__ import annotations

from pathlib import Path

import pytest

from tandem.adapters.system import SystemClock
from tandem.runtime.config import Config, Relay
from tandem.runtime.settings import BadConfig, load
from tandem.targets.relay import BadRelaySecret, issuer, open_relay


def test_without_settings_there_is_none() -> None:
    assert issuer(open_relay(Relay()), SystemClock()) is None


def test_the_secret_is_the_first_line_of_its_file(tmp_path: Path) -> None:
    file = tmp_path / "turn.secret"
    file.write_text("a secret of coturn\nand a remark\n")
    relay = open_relay(Relay(urls="turn:a:3478, turns:b:5349?transport=tcp", secret_file=file))
    assert relay.secret == b"a secret of coturn"
    assert relay.urls == ("turn:a:3478", "turns:b:5349?transport=tcp")
    issue = issuer(relay, SystemClock())
    assert issue is not None
    before = SystemClock().wall_ms() // 1000
    assert issue("ann.acme").expires_s >= before + relay.lifetime_s


@pytest.mark.parametrize("written", [None, "", "\n", "short\n"])
def test_a_secret_that_is_not_there_or_can_be_guessed_is_refused(tmp_path: Path, written: str | None) -> None:
    file = tmp_path / "turn.secret"
    if written is not None:
        file.write_text(written)
    with pytest.raises(BadRelaySecret, match=r"turn\.secret"):
        open_relay(Relay(urls="turn:a", secret_file=file))


@pytest.mark.parametrize("setting", ["URLS=turn:a", "SECRET_FILE=/x", "URLS=http://a", "LIFETIME_S=1"])
def test_half_a_relay_is_refused(setting: str) -> None:
    name, _, value = setting.partition("=")
    with pytest.raises(BadConfig):
        load(Config, None, {f"TANDEM_RELAY__{name}": value})
