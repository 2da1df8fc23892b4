"""SIP URIs, name-addr values and Via (RFC 3261 sections 19.1, 20.10, 20.42)."""

from __future__ import annotations

import re
from dataclasses import dataclass, field, replace

from tandem.wire.sip.grammar import (
    Malformed,
    Params,
    format_params,
    get_param,
    parse_number,
    parse_params,
    quote,
    split_quoted,
)

URI_MAX = 2048
"""Characters of a URI; longer ones are refused."""

MAGIC_COOKIE = "z9hG4bK"
"""What a branch of RFC 3261 begins with."""

_HOST = r"\[[0-9A-Fa-f:.]{2,45}\]|[A-Za-z0-9_](?:[A-Za-z0-9\-._]{0,253})"
_SIP_URI = re.compile(
    r"(?i:(sips?)):"
    r'(?:([^\x00-\x20<>"@:\x7f]+)(?::([^\x00-\x20<>"@:\x7f]*))?@)?'
    rf"({_HOST})(?::([0-9]{{1,5}}))?"
    r'((?:;[^\x00-\x20<>"?\x7f]*)?)'
    r'(?:\?([^\x00-\x20<>"\x7f]*))?'
)
_OTHER_URI = re.compile(r'([A-Za-z][A-Za-z0-9+\-.]*):([^\x00-\x20<>"\x7f]+)')
_BAD_ESCAPE = re.compile(r"%(?![0-9A-Fa-f]{2})")
_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]{2})+")
_VIA = re.compile(
    # Possessive quantifiers (*+): a long run of blanks must not be tried in every division.
    r"(?i:SIP)\s*+/\s*+([0-9]\.[0-9])\s*+/\s*+([A-Za-z0-9\-.!%*_+`'~]+)\s++"
    rf"({_HOST})\s*+(?::\s*+([0-9]{{1,5}})\s*+)?(;.*)?",
    re.DOTALL,
)
_URI_PARAM_NAME = re.compile(r"[A-Za-z0-9\-_.!~*'()\[\]/:&+$%]+")
_DISPLAY = re.compile(r"[A-Za-z0-9\-.!%*_+`'~ \t\u0080-\U0010ffff]*")


@dataclass(frozen=True, slots=True)
class Uri:
    """A URI. Parts are as on the wire (escapes kept), so that it is repeated as it came."""

    host: str
    user: str | None = None
    port: int | None = None
    params: Params = ()
    scheme: str = "sip"
    password: str | None = field(default=None, repr=False)
    headers: str = ""
    opaque: str = ""
    """What follows the colon of a scheme other than sip and sips; then `host` is empty."""

    @property
    def is_sip(self) -> bool:
        """Whether the scheme is sip or sips."""
        return self.scheme in ("sip", "sips")

    @property
    def number(self) -> str:
        """The user part without escapes and user parameters, e.g. a telephone number; "" if none."""
        source = self.user or "" if self.is_sip else self.opaque
        return _unescape(source.partition(";")[0])

    def param(self, name: str) -> str | None:
        """A URI parameter by its lower-case name, "" if it has no value, None if absent."""
        return get_param(self.params, name)

    def key(self) -> tuple[str, str, str, int]:
        """What makes two URIs the same for a registrar (RFC 3261 19.1.4, parameters aside)."""
        return self.scheme, _unescape(self.user or self.opaque), self.host.lower(), self.port or 0

    def __str__(self) -> str:
        if not self.is_sip:
            return f"{self.scheme}:{self.opaque}" if self.opaque else self.scheme
        user = "" if self.user is None else self.user if self.password is None else f"{self.user}:{self.password}"
        return "".join(
            (
                self.scheme,
                ":",
                f"{user}@" if user else "",
                self.host,
                "" if self.port is None else f":{self.port}",
                "".join(f";{name}" if value is None else f";{name}={value}" for name, value in self.params),
                f"?{self.headers}" if self.headers else "",
            )
        )


STAR = Uri(host="", scheme="*")
"""The `*` of `Contact: *` (remove all bindings)."""


@dataclass(frozen=True, slots=True)
class NameAddr:
    """A From, To, Contact, Route or Record-Route value: display name, URI, header parameters."""

    uri: Uri
    display: str = ""
    params: Params = ()

    @property
    def tag(self) -> str | None:
        """The tag parameter; None if absent or empty."""
        return get_param(self.params, "tag") or None

    def param(self, name: str) -> str | None:
        """A header parameter by its lower-case name, "" if it has no value, None if absent."""
        return get_param(self.params, name)

    def with_tag(self, tag: str) -> NameAddr:
        """The same with this tag in place of any other."""
        others = tuple(pair for pair in self.params if pair[0].lower() != "tag")
        return replace(self, params=(*others, ("tag", tag)))

    def __str__(self) -> str:
        if self.uri is STAR:
            return "*"
        name = f"{quote(self.display)} " if self.display else ""
        return f"{name}<{self.uri}>{format_params(self.params)}"


@dataclass(frozen=True, slots=True)
class Via:
    """One Via value."""

    host: str
    port: int | None = None
    params: Params = ()
    transport: str = "UDP"
    version: str = "2.0"

    @property
    def branch(self) -> str:
        """The branch, "" if there is none (RFC 2543)."""
        return get_param(self.params, "branch") or ""

    def param(self, name: str) -> str | None:
        """A parameter by its lower-case name, "" if it has no value, None if absent."""
        return get_param(self.params, name)

    def seen_from(self, host: str, port: int) -> Via:
        """With `received` and `rport` as a server fills them in (RFC 3261 18.2.1, RFC 3581 4)."""
        rport = self.param("rport") is not None
        others = [pair for pair in self.params if pair[0].lower() not in ("received", "rport")]
        if rport:
            others.append(("rport", str(port)))
        if rport or self.host.strip("[]") != host:
            others.append(("received", host))
        return replace(self, params=tuple(others))

    def reply_address(self) -> tuple[str, int]:
        """Where a response goes (RFC 3261 18.2.2, RFC 3581 4). `maddr` is not followed: no multicast here."""
        rport = self.param("rport")
        port = int(rport) if rport and rport.isascii() and rport.isdigit() else self.port or 5060
        return self.param("received") or self.host.strip("[]"), port

    def __str__(self) -> str:
        port = "" if self.port is None else f":{self.port}"
        return f"SIP/{self.version}/{self.transport} {self.host}{port}{format_params(self.params)}"


def parse_uri(text: str, where: str = "URI") -> Uri:
    """Parse any URI; sip and sips ones into their parts. Raises `Malformed`."""
    if len(text) > URI_MAX:
        raise Malformed(f"longer than {URI_MAX} characters", where)
    if "%" in text and _BAD_ESCAPE.search(text):
        raise Malformed("bad escape in URI", where)
    match = _SIP_URI.fullmatch(text)
    if match is not None:
        scheme, user, password, host, port, params, headers = match.groups()
        return Uri(host, user, _port(port, where), _uri_params(params, where), scheme.lower(), password, headers or "")
    other = _OTHER_URI.fullmatch(text)
    if other is None or other[1].lower() in ("sip", "sips"):
        raise Malformed("bad URI", where)
    return Uri(host="", scheme=other[1].lower(), opaque=other[2])


def parse_name_addr(text: str, where: str) -> NameAddr:
    """Parse `"Display" <uri>;params` or `uri;params`. Raises `Malformed`."""
    text = text.strip()
    display = ""
    rest = text
    if text.startswith('"'):
        display, rest = split_quoted(text, where)
    opening = rest.find("<")
    if opening < 0:
        return _parse_addr_spec(rest, display, where)
    between = rest[:opening]
    if display and between.strip():
        raise Malformed("text after the display name", where)
    if not display:
        display = between.strip()
        if not _DISPLAY.fullmatch(display):
            raise Malformed("bad display name", where)
    closing = rest.find(">", opening)
    if closing < 0:
        raise Malformed("'<' without '>'", where)
    after = rest[closing + 1 :].strip()
    if after and not after.startswith(";"):
        raise Malformed("text after '>'", where)
    return NameAddr(parse_uri(rest[opening + 1 : closing], where), display, parse_params(after, where))


def parse_via(text: str) -> Via:
    """Parse one Via value. Raises `Malformed`."""
    match = _VIA.fullmatch(text.strip())
    if match is None:
        raise Malformed("bad value", "Via")
    version, transport, host, port, params = match.groups()
    return Via(host, _port(port, "Via"), parse_params(params or "", "Via"), transport.upper(), version)


def _parse_addr_spec(text: str, display: str, where: str) -> NameAddr:
    # Without <> the parameters belong to the header, and a '?' would be ambiguous (RFC 3261 20).
    if display:
        raise Malformed("display name without <>", where)
    if text == "*" and where == "Contact":
        return NameAddr(STAR)
    uri, semicolon, params = text.partition(";")
    if "?" in uri or "," in uri:
        raise Malformed("URI with '?' or ',' needs <>", where)
    return NameAddr(parse_uri(uri.strip(), where), "", parse_params(params, where) if semicolon else ())


def _uri_params(text: str, where: str) -> Params:
    if not text:
        return ()
    params: list[tuple[str, str | None]] = []
    for part in text[1:].split(";"):
        name, equals, value = part.partition("=")
        if not _URI_PARAM_NAME.fullmatch(name):
            raise Malformed("bad URI parameter", where)
        params.append((name, value if equals else None))
    return tuple(params)


def _port(text: str | None, where: str) -> int | None:
    return None if text is None else parse_number(text, 65_535, where)


def _unescape(text: str) -> str:
    if "%" not in text:
        return text
    return _ESCAPE.sub(lambda run: bytes.fromhex(run[0].replace("%", "")).decode("utf-8", "replace"), text)
