"""The carriers of the settings, with their passwords."""

from __future__ import annotations

from collections.abc import Iterator

from tandem.media.freeswitch.gateways import MAX_PASSWORD, Gateway, is_password
from tandem.runtime.config import Config
from tandem.targets.secret_file import BadSecretFile, read_secret


def gateways_of(config: Config) -> Iterator[Gateway]:
    """Each of `media.gateways`. Raises `BadSecretFile`."""
    for name, given in config.media.gateways.items():
        password = ""
        if given.password_file is not None:
            setting = f"media.gateways.{name}.password_file"
            password = read_secret(setting, given.password_file)
            if not is_password(password):
                raise BadSecretFile(
                    f"{setting} {given.password_file} holds no password that FreeSWITCH can take: up to {MAX_PASSWORD} "
                    "characters of ASCII, without blanks and colons"
                )
        yield Gateway(
            name, given.proxy, given.port, given.realm, given.transport, given.username, password, given.register,
            _listed(given.codecs), given.srtp, given.caller_id, given.caller_id_in == "from", given.international,
            _listed(given.tenants), _listed(given.destinations), given.calls_max, given.ping_s,
        )  # fmt: skip


def _listed(text: str) -> tuple[str, ...]:
    return tuple(part.strip() for part in text.split(",") if part.strip())
