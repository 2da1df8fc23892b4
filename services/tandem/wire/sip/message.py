"""SIP messages: bytes to typed values and back (RFC 3261 sections 7, 8, 20 and 25).

`parse` never raises on what a peer sends. What it returns has been checked through:
the accessors of a parsed message cannot fail. The five headers that every message
must have are fields; all others stand in `headers`, Content-Length in neither.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass

from tandem.wire.sip.grammar import Malformed, is_token, parse_number, split_list
from tandem.wire.sip.headers import NO_HEADERS, Headers, canonical_name
from tandem.wire.sip.status import phrase
from tandem.wire.sip.uri import STAR, NameAddr, Uri, Via, parse_name_addr, parse_uri, parse_via

DATAGRAM_MAX = 65_535
"""Bytes of a message: what UDP can carry."""
HEADERS_MAX = 200
"""Header lines of a message."""
LINE_MAX = 8_192
"""Characters of a line, folded lines joined."""
LIST_MAX = 70
"""Vias, routes or contacts in a message: Max-Forwards starts at 70, so no honest path is longer."""
CSEQ_MAX = 2**31 - 1
"""RFC 3261 8.1.1.5."""
EXPIRES_MAX = 2**32 - 1
"""RFC 3261 20.19."""

_START_REQUEST = re.compile(r"([^ ]+) ([^ ]+) SIP/([0-9]+\.[0-9]+)", re.IGNORECASE)
_START_RESPONSE = re.compile(r"SIP/([0-9]+\.[0-9]+) ([1-6][0-9]{2}) (.*)", re.IGNORECASE | re.DOTALL)
_CSEQ = re.compile(r"([0-9]{1,10})\s+(\S+)")
_FOLD = re.compile(r"\r\n[ \t]+")
_TAG = re.compile(r";\s*tag\s*=", re.IGNORECASE)
_CORE = ("Via", "From", "To", "Call-ID", "CSeq", "Content-Length")
_SINGLE = frozenset(
    {
        "from",
        "to",
        "call-id",
        "cseq",
        "max-forwards",
        "content-length",
        "content-type",
        "expires",
        "min-expires",
    }
)
_ADDRESS_LISTS = ("Contact", "Route", "Record-Route")


@dataclass(frozen=True, slots=True)
class CSeq:
    """A CSeq value."""

    number: int
    method: str

    def __str__(self) -> str:
        return f"{self.number} {self.method}"


@dataclass(frozen=True, slots=True)
class Request:
    """A request."""

    method: str
    uri: Uri
    vias: tuple[Via, ...]
    from_: NameAddr
    to: NameAddr
    call_id: str
    cseq: CSeq
    headers: Headers = NO_HEADERS
    body: bytes = b""

    def contacts(self) -> tuple[NameAddr, ...]:
        """Contact values; `STAR` as URI of the only one for `*`."""
        return addresses(self.headers, "Contact")

    def max_forwards(self) -> int | None:
        """Max-Forwards, None if absent."""
        return _number(self.headers, "Max-Forwards", 255)

    def to_bytes(self) -> bytes:
        """For the wire. `ValueError` if a value holds CR or LF, or a name is no token."""
        if not is_token(self.method):
            raise ValueError(f"{self.method!r} is no SIP method: use letters, digits and -.!%*_+`'~")
        return _serialise(f"{self.method} {self.uri} SIP/2.0", self)


@dataclass(frozen=True, slots=True)
class Response:
    """A response."""

    status: int
    reason: str
    vias: tuple[Via, ...]
    from_: NameAddr
    to: NameAddr
    call_id: str
    cseq: CSeq
    headers: Headers = NO_HEADERS
    body: bytes = b""

    def contacts(self) -> tuple[NameAddr, ...]:
        """Contact values."""
        return addresses(self.headers, "Contact")

    def to_bytes(self) -> bytes:
        """For the wire. `ValueError` if a value holds CR or LF, or a name is no token."""
        return _serialise(f"SIP/2.0 {self.status} {self.reason}", self)


@dataclass(frozen=True, slots=True)
class Refusal:
    """The answer to a request that could not be read: what can be told of it goes back as it came."""

    status: int
    reason: str
    via: Via
    """The topmost Via: the way back."""

    copied: tuple[tuple[str, str], ...]
    """The other Vias, From, To, Call-ID and CSeq, word for word, those that are there (8.2.6.2)."""

    def to_bytes(self, via: Via, tag: str, server: str) -> bytes:
        """For the wire: `via` filled in, `tag` for a To that has none, and who we are."""
        lines = [f"SIP/2.0 {self.status} {self.reason}", f"Via: {via}"]
        for name, value in self.copied:
            untagged = name == "To" and not _TAG.search(value)
            lines.append(f"{name}: {value};tag={tag}" if untagged else f"{name}: {value}")
        lines += [f"Server: {server}", "Content-Length: 0"]
        return _join(lines) + b"\r\n\r\n"


@dataclass(frozen=True, slots=True)
class ParseError:
    """Why a datagram is not a message."""

    reason: str
    """Made of our own words; holds nothing of what the peer sent."""

    where: str
    """The header or part that is at fault."""

    reply: Refusal | None = None
    """What to send back (400 or 505), if this was a request that can be answered, and not an ACK."""


Message = Request | Response


def parse(data: bytes) -> Message | ParseError:
    """Parse one datagram. Never raises."""
    if len(data) > DATAGRAM_MAX:
        return ParseError(f"longer than {DATAGRAM_MAX} bytes", "datagram")
    head, blank, rest = data.partition(b"\r\n\r\n")
    try:
        start, headers = _read_head(head if blank else head.removesuffix(b"\r\n"))
    except Malformed as error:
        return ParseError(error.reason, error.where)
    try:
        return _read_message(start, headers, rest if blank else None)
    except Malformed as error:
        return ParseError(error.reason, error.where, _refusal(start, headers, error))


def addresses(headers: Headers, name: str) -> tuple[NameAddr, ...]:
    """All values of an address list header (Contact, Route, Record-Route) of a parsed message."""
    values: list[NameAddr] = []
    for line in headers.all(name):
        values += [parse_name_addr(value, name) for value in _split(line, name)]
    return tuple(values)


def tokens(headers: Headers, name: str) -> list[str]:
    """The values of a header that is a list of words (Require, Supported, Allow); bad ones as they are."""
    return [word.strip() for line in headers.all(name) for word in line.split(",") if word.strip()]


def expires_of(headers: Headers) -> int | None:
    """Expires in seconds; None if absent."""
    return _number(headers, "Expires", EXPIRES_MAX)


def respond_to(
    request: Request,
    status: int,
    *,
    to_tag: str | None = None,
    reason: str | None = None,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes = b"",
) -> Response:
    """A response to `request` (RFC 3261 8.2.6). `to_tag` is used if the request has none."""
    to = request.to if to_tag is None or request.to.tag else request.to.with_tag(to_tag)
    stamp = request.headers.get("Timestamp") if status == 100 else None
    pairs = (*headers, ("Timestamp", stamp)) if stamp is not None else tuple(headers)
    return Response(
        status,
        phrase(status) if reason is None else reason,
        request.vias,
        request.from_,
        to,
        request.call_id,
        request.cseq,
        Headers.of(*pairs),
        body,
    )


def _read_head(head: bytes) -> tuple[str, Headers]:
    try:
        text = head.decode("utf-8")
    except UnicodeDecodeError:
        raise Malformed("not UTF-8", "headers") from None
    start, _, rest = text.partition("\r\n")
    lines = _FOLD.sub(" ", rest).split("\r\n") if rest else []
    if len(lines) > HEADERS_MAX:
        raise Malformed(f"more than {HEADERS_MAX} lines", "headers")
    pairs = []
    for line in (start, *lines):
        if len(line) > LINE_MAX:
            raise Malformed(f"a line longer than {LINE_MAX} characters", "headers")
        if "\r" in line or "\n" in line:
            raise Malformed("CR or LF alone", "headers")
    for line in lines:
        name, colon, value = line.partition(":")
        name = name.rstrip(" \t")
        if not colon or not is_token(name):
            raise Malformed("a line that is no header", "headers")
        pairs.append((canonical_name(name), value.strip(" \t")))
    return start, Headers(tuple(pairs))


def _read_message(start: str, headers: Headers, rest: bytes | None) -> Message:
    if rest is None:
        raise Malformed("no empty line after the headers", "datagram")
    is_response = start[:4].upper() == "SIP/"
    match = (_START_RESPONSE if is_response else _START_REQUEST).fullmatch(start)
    if match is None:
        raise Malformed("bad start line", "start line")
    if match[1 if is_response else 3] != "2.0":
        raise Malformed("not SIP/2.0", "version")
    core = _read_core(headers)
    _check(headers)
    others = headers.without(*_CORE)
    body = _read_body(headers.get("Content-Length"), rest)
    if is_response:
        return Response(int(match[2]), match[3], *core, others, body)
    if core[4].method != match[1]:
        raise Malformed("not the method of the request", "CSeq")
    uri = parse_uri(match[2], "Request-URI")
    if uri.headers:
        raise Malformed("headers, which belong into other URIs", "Request-URI")  # 19.1.1
    return Request(match[1], uri, *core, others, body)


def _read_core(headers: Headers) -> tuple[tuple[Via, ...], NameAddr, NameAddr, str, CSeq]:
    """The five headers that a response repeats."""
    vias = tuple(parse_via(value) for line in headers.all("Via") for value in _split(line, "Via"))
    if not vias:
        raise Malformed("missing", "Via")
    sender = parse_name_addr(_required(headers, "From"), "From")
    to = parse_name_addr(_required(headers, "To"), "To")
    call_id = _required(headers, "Call-ID")
    if not call_id or " " in call_id or "\t" in call_id:
        raise Malformed("bad value", "Call-ID")
    match = _CSEQ.fullmatch(_required(headers, "CSeq"))
    if match is None or not is_token(match[2]):
        raise Malformed("bad value", "CSeq")
    return vias, sender, to, call_id, CSeq(parse_number(match[1], CSEQ_MAX, "CSeq"), match[2])


def _check(headers: Headers) -> None:
    """Make sure that no accessor of the finished message can fail."""
    seen: list[str] = []
    for name, _ in headers:
        key = name.lower()
        if key in _SINGLE:
            if key in seen:
                raise Malformed("more than once", name)
            seen.append(key)
    for name in _ADDRESS_LISTS:
        values = addresses(headers, name)
        if len(values) > LIST_MAX or (len(values) > 1 and any(value.uri is STAR for value in values)):
            raise Malformed(f"more than {LIST_MAX} values, or '*' among others", name)
    _number(headers, "Max-Forwards", 255)
    _number(headers, "Expires", EXPIRES_MAX)


def _read_body(length: str | None, rest: bytes) -> bytes:
    """Content-Length over UDP (RFC 3261 18.3): what is beyond it is dropped, a short body is an error."""
    if length is None:
        return rest
    size = parse_number(length, DATAGRAM_MAX, "Content-Length")
    if size > len(rest):
        raise Malformed("body shorter than Content-Length", "Content-Length")
    return rest[:size]


def _refusal(start: str, headers: Headers, error: Malformed) -> Refusal | None:
    """The 400 or 505 that a request at fault gets, if its top Via can be read."""
    method = start.partition(" ")[0]
    if start[:4].upper() == "SIP/" or method == "ACK":
        return None
    first, *others = headers.all("Via") or [""]
    try:
        top, *below = split_list(first, "Via")
        via = parse_via(top)
    except Malformed:
        below = []
        sent_by = _sent_by(first)
        if sent_by is None:
            return None
        via = sent_by
    copied = [("Via", value) for value in (*below, *others)]
    for name in ("From", "To", "Call-ID", "CSeq"):
        value = headers.get(name)
        if value is not None:
            copied.append((name, value))
    if error.where == "version":
        return Refusal(505, phrase(505), via, tuple(copied))
    return Refusal(400, f"{phrase(400)} ({error.where}: {error.reason})", via, tuple(copied))


def _sent_by(value: str) -> Via | None:
    """The way back, if no more of a Via can be read (RFC 4475 3.1.2.1)."""
    try:
        return parse_via(value.partition(";")[0].partition(",")[0])
    except Malformed:
        return None


def _serialise(start: str, message: Message) -> bytes:
    lines = [
        start,
        *(f"Via: {via}" for via in message.vias),
        f"From: {message.from_}",
        f"To: {message.to}",
        f"Call-ID: {message.call_id}",
        f"CSeq: {message.cseq}",
    ]
    for name, value in message.headers:
        if not is_token(name):
            raise ValueError(f"{name!r} is no header name: use letters, digits and -.!%*_+`'~")
        lines.append(f"{name}: {value}")
    lines.append(f"Content-Length: {len(message.body)}")
    return _join(lines) + b"\r\n\r\n" + message.body


def _join(lines: list[str]) -> bytes:
    text = "\r\n".join(lines)
    # One count over the whole instead of a check of each value: a CR or LF inside any of them shows here.
    if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
        raise ValueError("a header value holds CR or LF: remove it before the value goes to the wire")
    return text.encode()


def _split(line: str, name: str) -> list[str]:
    values = split_list(line, name)
    if len(values) > LIST_MAX:
        raise Malformed(f"more than {LIST_MAX} values", name)
    return values


def _required(headers: Headers, name: str) -> str:
    values = headers.all(name)
    if len(values) != 1:
        raise Malformed("more than once" if values else "missing", name)
    return values[0]


def _number(headers: Headers, name: str, limit: int) -> int | None:
    value = headers.get(name)
    return None if value is None else parse_number(value, limit, name)
