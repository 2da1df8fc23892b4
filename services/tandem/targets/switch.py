"""A FreeSWITCH that `tandem up` starts beside the media agent, with `infra/freeswitch` as its configuration."""

from __future__ import annotations

import hashlib
import math
import os
from collections.abc import Mapping
from pathlib import Path

from tandem.adapters.system import SystemEntropy
from tandem.media.journal.disk import default_node_key_file, node_key
from tandem.runtime.config import Config
from tandem.targets.groups import PROMPTS
from tandem.targets.secret_file import read_secret

CONFIGURATION = Path(__file__).parents[3] / "infra" / "freeswitch"
DIRECTORIES = (
    "log", "run", "storage", "storage/gateways", "cache", "certs", "recordings", "scripts", "grammar",
)  # fmt: skip
"""Below its home; all but those below others are told to it by an option of the same name."""
IN_MEMORY = ("db", "temp")
"""Others, which hold who talks to whom, and digests of passwords: they and the call records lie beside the node key, on
no disk."""
PASSWORD_BYTES = 24
PASSWORD_SETTING = "media.freeswitch.password_file"  # noqa: S105 - its name
"""The setting."""

SYSTEM_AUTHORITIES = (
    "/etc/ssl/certs/ca-certificates.crt", "/etc/pki/tls/certs/ca-bundle.crt", "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
)  # fmt: skip
"""Whom the system trusts: Debian, Red Hat, SUSE, Alpine."""


class NoFreeswitch(Exception):
    """It cannot be started; the text says what to change."""


def prepare(config: Config) -> dict[str, str]:
    """Make its directories and the password of its event socket; the environment of the media agent that it is for.
    Raises `NoFreeswitch`, `BadNodeKey`, OSError."""
    _binary(config)
    home = config.freeswitch_dir
    home.mkdir(mode=0o700, parents=True, exist_ok=True)
    # Checks that others cannot reach what lies beside it.
    node_key(_node_key_file(config), SystemEntropy().secret, allow_on_disk=config.media.allow_node_key_on_disk)
    memory = _memory(config)
    for place in (*(home / name for name in DIRECTORIES), *(memory / name for name in IN_MEMORY), _records(config)):
        place.mkdir(mode=0o700, parents=True, exist_ok=True)
    password = _password_file(config)
    if config.media.freeswitch.password_file is None and not password.exists():
        new = password.with_suffix(".new")
        new.unlink(missing_ok=True)
        with os.fdopen(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w", encoding="ascii") as file:
            file.write(SystemEntropy().token(PASSWORD_BYTES) + "\n")
        new.rename(password)
    _lay_down_authorities(config)
    return {
        "TANDEM_MEDIA__BACKEND": "freeswitch",
        "TANDEM_MEDIA__FREESWITCH__PASSWORD_FILE": str(password.absolute()),
        "TANDEM_MEDIA__FREESWITCH__CDR_DIR": str(_records(config)),
    }


def _lay_down_authorities(config: Config) -> None:
    """Whom it believes, unless somebody has put a file of their own there. Raises `NoFreeswitch`, OSError."""
    given, place = config.media.freeswitch.carrier_ca_file, config.freeswitch_dir / "certs" / "cafile.pem"
    if given is not None and not given.is_file():
        raise NoFreeswitch(f"media.freeswitch.carrier_ca_file {given}: there is no such file")
    if place.exists() and not place.is_symlink():
        if given is not None:
            raise NoFreeswitch(
                f"media.freeswitch.carrier_ca_file would take the place of {place}, which is yours: add its "
                "certificates there, or remove that file"
            )
        return
    found = [path for path in (given, *map(Path, SYSTEM_AUTHORITIES)) if path is not None and path.is_file()]
    place.unlink(missing_ok=True)
    if found:
        place.symlink_to(found[0].absolute())


def become_freeswitch(config: Config, environment: Mapping[str, str]) -> None:
    """Turn this process into it: its process id is the one that the supervisor knows, and it ends with the supervisor
    as every part does. What stands in the environment as `TANDEM_FS_...` wins. Raises `NoFreeswitch`, `BadSecretFile`,
    OSError."""
    binary, home = _binary(config), config.freeswitch_dir
    os.umask(0o077)  # it keeps a copy of its configuration, password and all
    places = {name: home / name for name in DIRECTORIES if "/" not in name}
    places |= {name: _memory(config) / name for name in IN_MEMORY}
    options = [part for name, place in places.items() for part in (f"-{name}", str(place))]
    arguments = [str(binary), "-nonat", "-nf", "-nc", "-conf", str(CONFIGURATION), *options]
    os.execve(binary, arguments, {**_settings(config), **environment})  # noqa: S606 - no shell is wanted


def _binary(config: Config) -> Path:
    prefix = config.media.freeswitch.prefix
    if prefix is None:
        raise NoFreeswitch("media.freeswitch.prefix is not set: name the directory where FreeSWITCH 1.10 is installed")
    binary = prefix.absolute() / "bin" / "freeswitch"
    if not os.access(binary, os.X_OK):
        raise NoFreeswitch(f"media.freeswitch.prefix {prefix}: there is no bin/freeswitch in it that can be run")
    if not CONFIGURATION.is_dir():
        raise NoFreeswitch(
            f"FreeSWITCH's configuration is not in {CONFIGURATION}: run Tandem from its source tree, or start "
            "FreeSWITCH yourself and set media.backend"
        )
    if config.sip.port == 0:
        raise NoFreeswitch(
            "sip.port is 0, and FreeSWITCH takes no port that is free by itself: set it, 5060 for example"
        )
    return binary


def _node_key_file(config: Config) -> Path:
    return config.media.node_key_file or default_node_key_file(os.environ)


def _memory(config: Config) -> Path:
    """A directory of this FreeSWITCH's own; a user may run several."""
    own = hashlib.sha256(str(config.freeswitch_dir).encode()).hexdigest()[:16]
    return _node_key_file(config).absolute().parent / f"freeswitch-{own}"


def _records(config: Config) -> Path:
    return (config.media.freeswitch.cdr_dir or _memory(config) / "cdr").absolute()


def _password_file(config: Config) -> Path:
    return config.media.freeswitch.password_file or config.freeswitch_dir / "esl.password"


def _settings(config: Config) -> dict[str, str]:
    """Of `infra/freeswitch/settings.xml`."""
    media, given = config.media, config.media.freeswitch
    settings: dict[str, object] = {
        "sip_ip": config.sip.host, "sip_port": config.sip.port, "rtp_ip": config.sip.host,
        "esl_port": given.port, "esl_password": read_secret(PASSWORD_SETTING, _password_file(config)),
        "directory_url": f"http://127.0.0.1:{given.lookup_port}/directory",
        "fallback": "apology" if media.fallback == "apology" else "refuse",
        "fallback_after_s": math.ceil(media.fallback_after_s),
        "prompts_dir": (media.prompts_dir or PROMPTS).absolute(),
        "cdr_dir": _records(config),
    }  # fmt: skip
    if media.rtp_port_max:
        settings |= {"rtp_port_min": media.rtp_port_min, "rtp_port_max": media.rtp_port_max}
    return {f"TANDEM_FS_{name.upper()}": str(value) for name, value in settings.items()}
