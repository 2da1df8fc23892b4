"""The FreeSWITCH that `tandem up` starts: what is made ready, what it is told, and what is said when it cannot."""

from __future__ import annotations

import os
from pathlib import Path

import pytest
from msgspec.structs import replace

from tandem.client.up import parts_of
from tandem.runtime.config import Config, FreeSwitch, Media, Sip
from tandem.targets import switch
from tandem.targets.switch import NoFreeswitch, become_freeswitch, prepare


@pytest.fixture
def config(tmp_path: Path) -> Config:
    binary = tmp_path / "fs" / "bin" / "freeswitch"
    binary.parent.mkdir(parents=True)
    binary.write_text("#!/bin/sh\n")
    binary.chmod(0o755)
    freeswitch = FreeSwitch(prefix=tmp_path / "fs", port=18021, lookup_port=18022)
    key = tmp_path / "memory" / "node.key"
    media = Media(freeswitch=freeswitch, fallback="503", node_key_file=key, allow_node_key_on_disk=True)
    return Config(data_dir=tmp_path / "var", sip=Sip(port=15060), media=media)


def test_the_agent_is_told_and_the_password_is_this_users_alone_and_stays(config: Config) -> None:
    told = prepare(config)
    password = Path(told["TANDEM_MEDIA__FREESWITCH__PASSWORD_FILE"])
    assert told["TANDEM_MEDIA__BACKEND"] == "freeswitch"
    assert password.stat().st_mode & 0o777 == 0o600
    before = password.read_text()
    assert len(before.strip()) >= 32
    assert prepare(config) == told
    assert password.read_text() == before
    assert Path(told["TANDEM_MEDIA__FREESWITCH__CDR_DIR"]).is_dir()


def test_what_it_is_started_with(config: Config, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    prepare(config)
    begun: list[tuple[Path, list[str], dict[str, str]]] = []
    monkeypatch.setattr(os, "execve", lambda *given: begun.append(given))
    mask = os.umask(0o022)
    try:
        become_freeswitch(config, {"TANDEM_FS_MAX_CALLERS": "7", "TANDEM_FS_FALLBACK": "apology", "HOME": "/h"})
        assert os.umask(0o022) == 0o077
    finally:
        os.umask(mask)
    [(binary, arguments, environment)] = begun
    assert (str(binary), "-nc") == (arguments[0], arguments[3])
    place = {name: Path(arguments[arguments.index(f"-{name}") + 1]) for name in ("db", "temp", "log")}
    assert place["log"] == config.freeswitch_dir / "log"
    # What tells who talks to whom lies beside the node key.
    for folder in (place["db"], place["temp"], Path(environment["TANDEM_FS_CDR_DIR"])):
        assert folder.is_relative_to(tmp_path / "memory")
        assert folder.stat().st_mode & 0o777 == 0o700
    assert {name: environment[f"TANDEM_FS_{name}"] for name in ("SIP_PORT", "ESL_PORT", "FALLBACK_AFTER_S")} == {
        "SIP_PORT": "15060", "ESL_PORT": "18021", "FALLBACK_AFTER_S": "20",
    }  # fmt: skip
    assert environment["TANDEM_FS_DIRECTORY_URL"] == "http://127.0.0.1:18022/directory"
    assert environment["TANDEM_FS_ESL_PASSWORD"] == (config.freeswitch_dir / "esl.password").read_text().strip()
    # Whoever sets one of its settings by hand wins.
    assert (environment["TANDEM_FS_FALLBACK"], environment["TANDEM_FS_MAX_CALLERS"]) == ("apology", "7")


def test_every_setting_that_it_is_told_is_one(config: Config) -> None:
    prepare(config)
    known = (switch.CONFIGURATION / "settings.xml").read_text()
    for name in switch._settings(config):
        assert f'${name}"' in known, name


def test_what_is_missing_is_said(config: Config, tmp_path: Path) -> None:
    (tmp_path / "fs/bin/freeswitch").chmod(0o644)
    with pytest.raises(NoFreeswitch, match="no bin/freeswitch in it that can be run"):
        prepare(config)
    with pytest.raises(NoFreeswitch, match="prefix is not set"):
        prepare(Config(data_dir=tmp_path))


def test_it_believes_whom_the_system_does_or_whom_it_is_told(config: Config, tmp_path: Path) -> None:
    system, own = tmp_path / "system.pem", tmp_path / "own.pem"
    for file in (system, own):
        file.write_text("certificates")
    switch_ = replace(config.media.freeswitch, carrier_ca_file=own)
    told = replace(config, media=replace(config.media, freeswitch=switch_))
    place = config.freeswitch_dir / "certs/cafile.pem"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(switch, "SYSTEM_AUTHORITIES", (str(tmp_path / "nowhere"), str(system)))
        for given, file in ((config, system), (told, own), (config, system)):
            prepare(given)
            assert place.readlink() == file
    own.unlink()
    with pytest.raises(NoFreeswitch, match=r"own\.pem: there is no such file"):
        prepare(told)
    own.touch()
    place.unlink()
    place.write_text("laid down by hand")
    prepare(config)
    assert place.read_text() == "laid down by hand"
    with pytest.raises(NoFreeswitch, match="which is yours"):
        prepare(told)


def test_it_is_a_part_and_the_agent_alone_is_told(config: Config) -> None:
    told = {"TANDEM_MEDIA__BACKEND": "freeswitch"}
    parts = parts_of(None, demo=True, standby=False, allow_faults=False, switch=told)
    assert [part.name for part in parts] == ["freeswitch", "media", "control", "robots"]
    assert [dict(part.environment) for part in parts] == [{}, told, {}, {}]
    assert parts[0].arguments == ("run", "freeswitch")
    assert "freeswitch" not in [part.name for part in parts_of(None, demo=False, standby=False, allow_faults=False)]
