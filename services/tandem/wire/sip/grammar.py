"""The small pieces of SIP's grammar that every header shares (RFC 3261 section 25)."""

from __future__ import annotations

import re

Params = tuple[tuple[str, str | None], ...]
"""Parameters in order; None as value means a parameter without `=`. Quoted values are unquoted."""

PARAMS_MAX = 64
"""Parameters of one header value or URI."""

_TOKEN = re.compile(r"[A-Za-z0-9\-.!%*_+`'~]+")
_NUMBER = re.compile(r"[0-9]{1,10}")
# A parameter's value is a quoted string or anything that needs no quotes (hosts and IPv6 references included).
# Possessive quantifiers (*+): a long run of blanks must not be tried in every division.
_PARAM = re.compile(
    r"""\s*+([A-Za-z0-9\-.!%*_+`'~]++)\s*+(?:=\s*+("(?:[^"\\]|\\.)*+"|[^\s;,"<>]*+)\s*+)?(?:;|$)""", re.DOTALL
)
_QUOTED = re.compile(r'"((?:[^"\\]|\\.)*+)"', re.DOTALL)
_ESCAPED = re.compile(r"\\(.)", re.DOTALL)
_PLAIN_VALUE = re.compile(r"[A-Za-z0-9\-.!%*_+`'~\[\]:]+")


class Malformed(Exception):
    """A peer broke the grammar. Never leaves the package: parsers turn it into a `ParseError`."""

    def __init__(self, reason: str, where: str) -> None:
        super().__init__(reason, where)
        self.reason = reason
        self.where = where


def is_token(text: str) -> bool:
    """Whether `text` is a token: a method, a header's name, a parameter's name."""
    return _TOKEN.fullmatch(text) is not None


def parse_number(text: str, limit: int, where: str) -> int:
    """A decimal number from 0 to `limit`."""
    text = text.strip()
    if not _NUMBER.fullmatch(text):
        raise Malformed("not a number", where)
    value = int(text)
    if value > limit:
        raise Malformed(f"above {limit}", where)
    return value


def split_list(text: str, where: str) -> list[str]:
    """Split a comma-separated header value; commas in quotes and in <> do not count."""
    if "," not in text:
        return [text.strip()]
    parts = []
    start = i = 0
    while i < len(text):
        char = text[i]
        if char == '"':
            i = _end_of_quotes(text, i, where)
        elif char == "<":
            i = text.find(">", i)
            if i < 0:
                raise Malformed("'<' without '>'", where)
        elif char == ",":
            parts.append(text[start:i].strip())
            start = i + 1
        i += 1
    parts.append(text[start:].strip())
    if "" in parts:
        raise Malformed("empty list element", where)
    return parts


def parse_params(text: str, where: str) -> Params:
    """Parse `;a=b;c` (with or without the first semicolon)."""
    text = text.strip().removeprefix(";")
    if not text.strip():
        return ()
    params: list[tuple[str, str | None]] = []
    position = 0
    while position < len(text):
        match = _PARAM.match(text, position)
        if match is None or len(params) == PARAMS_MAX:
            raise Malformed("bad parameter" if match is None else f"more than {PARAMS_MAX} parameters", where)
        name, value = match.groups()
        if value is not None and value.startswith('"'):
            value = unescape(value[1:-1])
        params.append((name, value))
        position = match.end()
    return tuple(params)


def format_params(params: Params) -> str:
    """The inverse of `parse_params`, with the first semicolon."""
    return "".join(f";{name}" if value is None else f";{name}={_format_value(value)}" for name, value in params)


def get_param(params: Params, name: str) -> str | None:
    """The value of a parameter, "" for one without a value, None if it is not there."""
    for key, value in params:
        if key.lower() == name:
            return value or ""
    return None


def unescape(text: str) -> str:
    """The content of a quoted string, without its backslashes."""
    return _ESCAPED.sub(r"\1", text) if "\\" in text else text


def quote(text: str) -> str:
    """`text` as a quoted string."""
    return '"' + text.replace("\\", "\\\\").replace('"', '\\"') + '"'


def split_quoted(text: str, where: str) -> tuple[str, str]:
    """Take the quoted string that `text` begins with; returns its content and the rest."""
    match = _QUOTED.match(text)
    if match is None:
        raise Malformed("quotes not closed", where)
    return unescape(match[1]), text[match.end() :]


def _end_of_quotes(text: str, start: int, where: str) -> int:
    match = _QUOTED.match(text, start)
    if match is None:
        raise Malformed("quotes not closed", where)
    return match.end() - 1


def _format_value(value: str) -> str:
    return value if _PLAIN_VALUE.fullmatch(value) else quote(value)
