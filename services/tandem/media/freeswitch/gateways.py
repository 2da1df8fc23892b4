"""Carriers: what FreeSWITCH is told of each in a file of its own, and which numbers may be called through it.

Sources: mod_sofia's parse_gateways, switch_xml.c (preprocessor, switch_xml_decode) and sofia-sip's
auc_credentials, FreeSWITCH 1.10.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass, field

MARK = "tandem_gateway"
"""The variable of a gateway that says which version of its file FreeSWITCH has, and that it is ours."""
EMERGENCY = "emergency"
"""The gateway of the dialplan's emergency calls."""
OURS = "<!-- Tandem's media agent wrote this from media.gateways."
"""How a file of ours begins. Any other one is somebody else's."""
MAX_PASSWORD = 100
"""Characters; FreeSWITCH has 256 for realm, user and password together."""
NUMBER = re.compile(r"\+[1-9][0-9]{6,14}")
"""A number that can be called: E.164, with its country."""
_PASSWORD = re.compile(rf"[\x21-\x39\x3b-\x7e]{{1,{MAX_PASSWORD}}}")
_TOKEN = re.compile(rf'name="{MARK}" value="([0-9a-f]{{1,64}})"')
_PLAIN = re.compile(r"[^A-Za-z0-9.,@_+-]")


def is_password(text: str) -> bool:
    """Whether FreeSWITCH can be told that password: it ends one at a colon."""
    return _PASSWORD.fullmatch(text) is not None


def token_in(text: str) -> str | None:
    """The version of a file; None for one that is not ours."""
    found = _TOKEN.search(text) if text.startswith(OURS) else None
    return None if found is None else found[1]


@dataclass(frozen=True, slots=True)
class Gateway:
    """A carrier. `settings` has said that each value is of a form that is harmless where it stands."""

    name: str
    proxy: str
    port: int = 0
    realm: str = ""
    transport: str = "udp"
    username: str = ""
    password: str = field(default="", repr=False)
    register: bool = False
    codecs: tuple[str, ...] = ("PCMA", "PCMU")
    srtp: str = "no"
    caller_id: str = ""
    caller_in_from: bool = True
    international: str = "+"
    tenants: tuple[str, ...] = ()
    destinations: tuple[str, ...] = ()
    calls_max: int = 30
    ping_s: int = 30

    # ------------------------------------------------------------------ the file

    def file(self, token: str) -> str:
        """The file that FreeSWITCH reads, as the version of that name."""
        lines = [f"{OURS}{self.name}: change it there. -->", "<include>", f'  <gateway name="{_quoted(self.name)}">']
        lines += ["    <variables>"]
        lines += [_line("variable", name, value, ' direction="outbound"') for name, value in self._variables(token)]
        lines += ["    </variables>", "    <params>"]
        lines += [_line("param", name, value) for name, value in self._params()]
        return "\n".join([*lines, "    </params>", "  </gateway>", "</include>", ""])

    def _variables(self, token: str) -> Iterator[tuple[str, str]]:
        yield MARK, token
        yield "absolute_codec_string", ",".join(self.codecs)
        if self.srtp != "no":
            yield "rtp_secure_media", self.srtp
        if self.name != EMERGENCY:
            # A carrier that redirects would have us call whatever address it names.
            yield "outbound_redirect_fatal", "true"

    def _params(self) -> Iterator[tuple[str, str]]:
        proxy = f"{self.proxy}:{self.port}" if self.port else self.proxy
        yield "proxy", proxy
        yield "realm", self.realm or self.proxy
        yield "from-domain", self.realm or self.proxy
        yield "register-transport", self.transport
        yield "register", "true" if self.register else "false"
        if self.username:
            yield "username", self.username
        if self.password:
            yield "password", self.password
        yield "caller-id-in-from", "true" if self.caller_in_from else "false"
        # Whom a caller of the carrier's dialled: a gateway that is registered is called by its own name.
        yield "extension", "auto_to_user"
        if self.ping_s and self.name != EMERGENCY:
            yield "ping", str(self.ping_s)

    # ------------------------------------------------------------------ who may call what

    def serves(self, tenant: str) -> bool:
        """Whether that tenant may call through it."""
        return tenant in self.tenants

    def reaches(self, number: str) -> bool:
        """Whether that number may be called through it: the longest beginning that fits decides."""
        fits = [entry for entry in self.destinations if number.startswith(entry.removeprefix("!"))]
        return bool(fits) and not max(fits, key=lambda entry: len(entry.removeprefix("!"))).startswith("!")

    def dialled(self, number: str) -> str:
        """A number as the carrier takes it."""
        return self.international + number.removeprefix("+")


def _line(tag: str, name: str, value: str, more: str = "") -> str:
    return f'      <{tag} name="{name}" value="{_quoted(value)}"{more}/>'


def _quoted(text: str) -> str:
    """For an attribute. `$` and the rest too, for the preprocessor reads the file before anybody knows it is XML."""
    return _PLAIN.sub(lambda found: f"&#{ord(found[0])};", text)
