"""ESL, the event socket of FreeSWITCH: bytes to frames and back, sans-I/O.

A frame is a block of header lines, an empty line and, where Content-Length says so, a body of
so many bytes. The body of a plain event is a second block of headers whose values are
percent-encoded, and perhaps a body of its own. An event has 60 headers and more, of which a
reader wants a few: they are found when they are asked for, in the bytes as they came, and a
value is decoded only then, so that no value can pass for a header.

Nothing here raises on what the peer sends: what cannot be read is one `Broken`, after which a
connection reads no more, because nobody can tell where the next frame begins.

Sources: FreeSWITCH 1.10 mod_event_socket.c (read_packet, parse_command) and switch_event.c
(switch_event_serialize, switch_event_serialize_json).
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

MAX_HEAD_BYTES: Final = 256 * 1024
"""A frame's own headers are two lines; the answer to `connect` is a whole channel, some 16 KB."""
MAX_BODY_BYTES: Final = 16 * 1024 * 1024
"""The longest body is `show channels` of a full node: 10,000 rows of 1.2 KB."""
ARRAY: Final = "ARRAY::"
ARRAY_SEPARATOR: Final = "|:"

_BLANK: Final = b"\n\n"
_EVENT_HEAD: Final = re.compile(rb"Content-Length: ([0-9]{1,9})\nContent-Type: text/event-plain\n\n").match
"""The head of nearly all frames; any other, and one in another order, is read line by line."""
_ESCAPE = re.compile(r"(?:%[0-9A-Fa-f]{2})+")


@dataclass(frozen=True, slots=True)
class AuthWanted:
    """`auth/request`: the switch waits for the password."""


@dataclass(frozen=True, slots=True)
class Reply:
    """`command/reply`: the answer to one command, in the order of the commands."""

    text: str
    """As `+OK accepted` or `-ERR invalid`; decoded."""

    headers: Mapping[str, str]

    @property
    def ok(self) -> bool:
        """Whether the switch took the command."""
        return self.text.startswith("+OK")

    @property
    def job(self) -> str:
        """Job-UUID of a `bgapi`, empty otherwise."""
        return self.headers.get("Job-UUID", "")


@dataclass(frozen=True, slots=True)
class ApiReply:
    """`api/response`: what an `api` command printed."""

    text: str

    @property
    def ok(self) -> bool:
        """Whether the command did not say that it failed; many print no `+OK`."""
        return not self.text.startswith(("-ERR", "-USAGE"))


@dataclass(frozen=True, slots=True)
class Disconnected:
    """`text/disconnect-notice`: the switch closes the connection, or its call ended and it lingers."""

    text: str
    linger: bool


@dataclass(frozen=True, slots=True)
class Rejected:
    """`text/rude-rejection`: the switch's access list does not let us in."""

    text: str


@dataclass(frozen=True, slots=True)
class Other:
    """A frame of a type that we did not ask for, as `log/data`."""

    content_type: str
    text: str


@dataclass(frozen=True, slots=True)
class Broken:
    """The stream cannot be read on: close it. `reason` is stable, `detail` for people."""

    reason: str
    detail: str


class Event:
    """An event with its headers on demand. A header that is not there is None."""

    __slots__ = ()

    def get(self, name: str) -> str | None:
        """A header's value, decoded. Names are those of FreeSWITCH, case and all."""
        raise NotImplementedError

    def values(self, name: str) -> tuple[str, ...]:
        """All values of a header that may be an array, in their order; none if it is not there."""
        value = self.get(name)
        if value is None:
            return ()
        return tuple(value.removeprefix(ARRAY).split(ARRAY_SEPARATOR)) if value.startswith(ARRAY) else (value,)

    @property
    def body(self) -> str:
        """The event's own body, as the result of a job; empty if it has none."""
        raise NotImplementedError

    @property
    def name(self) -> str:
        """As CHANNEL_PARK, or for CUSTOM the subclass: sofia::register."""
        name = self.get("Event-Name") or ""
        return (self.get("Event-Subclass") or name) if name == "CUSTOM" else name

    @property
    def sequence(self) -> int | None:
        """Event-Sequence: goes up by one with every event that the switch fires, sent to us or not."""
        value = self.get("Event-Sequence")
        return int(value) if value is not None and value.isascii() and value.isdecimal() else None


class PlainEvent(Event):
    """`text/event-plain`. Keeps the bytes of the frame, with the line feed before the first header."""

    __slots__ = ("_headers", "_raw")

    def __init__(self, raw: bytes) -> None:
        self._raw = raw
        self._headers = 0
        """So far there are headers, as far as anybody has looked: the event's own body does not begin before it."""

    def get(self, name: str) -> str | None:
        raw = self._raw
        key = _key(name)
        # The first one, as switch_event_get_header does: an event that is fired again has some twice.
        start = raw.find(key)
        if start > self._headers:
            if raw.find(_BLANK, self._headers, start + 1) >= 0:
                return None
            self._headers = start
        elif start < 0:
            return None
        start += len(key)
        return _decoded(raw[start : raw.find(b"\n", start)].decode("utf-8", "replace"))

    @property
    def body(self) -> str:
        _, _, body = self._raw.partition(_BLANK)
        return body.decode("utf-8", "replace")

    def headers(self) -> dict[str, str]:
        """All of them, for logs and tests."""
        lines = self._raw.partition(_BLANK)[0].decode("utf-8", "replace").split("\n")
        pairs = (line.partition(": ") for line in lines if line)
        headers: dict[str, str] = {}
        for name, _, value in pairs:
            headers.setdefault(name, _decoded(value))
        return headers


def _decoded(value: str) -> str:
    """A percent-encoded value; what is no escape stands for itself, what is no UTF-8 becomes U+FFFD."""
    if "%" not in value:
        return value
    return _ESCAPE.sub(lambda run: bytes.fromhex(run[0].replace("%", "")).decode("utf-8", "replace"), value)


@lru_cache(maxsize=1024)
def _key(name: str) -> bytes:
    return b"\n%b: " % name.encode()


class JsonEvent(Event):
    """`text/event-json`: the same event in another dress."""

    __slots__ = ("_fields",)

    def __init__(self, fields: Mapping[str, str]) -> None:
        self._fields = fields

    def get(self, name: str) -> str | None:
        return self._fields.get(name)

    @property
    def body(self) -> str:
        return self._fields.get("_body", "")

    def headers(self) -> dict[str, str]:
        """All of them, for logs and tests."""
        return {name: value for name, value in self._fields.items() if name != "_body"}


Frame = AuthWanted | Reply | ApiReply | PlainEvent | JsonEvent | Disconnected | Rejected | Other | Broken


class EslReader:
    """Bytes of one connection, in any pieces, to frames in their order.

    Frames are cut out of each piece as it came; only the beginning of one that is not whole is kept.
    """

    def __init__(self, max_head: int = MAX_HEAD_BYTES, max_body: int = MAX_BODY_BYTES) -> None:
        self._max_head, self._max_body = max_head, max_body
        self._kept = bytearray()
        """The beginning of a frame."""
        self._wanted = 0
        """How long that frame will be; 0 while its head is not whole."""
        self._broken = False

    def receive_data(self, data: bytes) -> list[Frame]:
        """Take bytes and return the frames that are whole. After a `Broken` there are none."""
        frames: list[Frame] = []
        at = 0
        if self._kept:
            at = self._wanted - len(self._kept) if self._wanted else len(data)
            if not self._keep(data[:at]):
                return frames
            begun = bytes(self._kept)
            self._kept.clear()
            self._cut(begun, 0, frames)
        if at < len(data) and not self._broken:
            self._cut(data, at, frames)
        return frames

    def _keep(self, data: bytes) -> bool:
        """Keep more of the frame that has begun; whether it can be read on."""
        known = len(self._kept)
        self._kept += data
        if self._wanted:
            return len(self._kept) >= self._wanted
        return self._kept.find(_BLANK, known - 1) >= 0 or len(self._kept) > self._max_head

    def _cut(self, data: bytes, at: int, frames: list[Frame]) -> None:
        """Read the frames from `at` on, and keep what is left."""
        while at >= 0:
            event = _EVENT_HEAD(data, at)
            if event is None or (size := int(event[1])) > self._max_body or (end := event.end() + size) > len(data):
                at = self._cut_any(data, at, frames)
            else:
                frames.append(PlainEvent(data[event.end() - 1 : end]))
                at = end

    def _cut_any(self, data: bytes, at: int, frames: list[Frame]) -> int:
        """Read one frame of any kind; where the next one begins, or -1 if there is none to be read."""
        while data.startswith(b"\n", at):
            at += 1  # some replies end with one empty line more than they owe
        blank = data.find(_BLANK, at)
        if (len(data) - 1 if blank < 0 else blank) - at >= self._max_head:
            return self._break(frames, "HEAD_TOO_LONG", f"over {self._max_head} bytes of headers")
        head = data[at : blank + 1]
        size = _length(head)
        if size is None or size > self._max_body:
            what = "no number" if size is None else f"over {self._max_body} bytes"
            return self._break(frames, "BAD_LENGTH", f"Content-Length is {what}: {head[:200]!r}")
        end = blank + 2 + size
        if blank < 0 or end > len(data):
            self._kept += data[at:]
            self._wanted = 0 if blank < 0 else end - at
            return -1
        # From the empty line's feed on, so that the first header of an event is found like the others.
        frame = _frame(head, data[blank + 1 : end])
        if isinstance(frame, Broken):
            return self._break(frames, frame.reason, frame.detail)
        frames.append(frame)
        return end

    def _break(self, frames: list[Frame], reason: str, detail: str) -> int:
        self._broken = True
        frames.append(Broken(reason, detail))
        return -1


def _length(head: bytes) -> int | None:
    """Content-Length of a head, 0 if it has none, None if it is no number of at most 9 digits."""
    start = 0 if head.startswith(b"Content-Length: ") else head.find(b"\nContent-Length: ") + 1
    if not start and not head.startswith(b"Content-Length: "):
        return 0
    digits = head[start + 16 : head.find(b"\n", start)]
    return int(digits) if digits.isdigit() and len(digits) <= 9 else None


def _frame(head: bytes, body: bytes) -> Frame:
    """`body` begins with the line feed before it."""
    if b"Content-Type: text/event-plain\n" in head:
        return PlainEvent(body)
    headers = dict(_headers(head))
    text = body[1:].decode("utf-8", "replace")
    match headers.get("Content-Type"):
        case None:
            return Broken("NO_CONTENT_TYPE", f"a frame without a type: {head[:200]!r}")
        case "auth/request":
            return AuthWanted()
        case "command/reply":
            if "Reply-Text" not in headers:
                return Broken("NO_REPLY_TEXT", f"a reply without its text: {head[:200]!r}")
            return Reply(_decoded(headers["Reply-Text"]).rstrip("\n"), headers)
        case "api/response":
            return ApiReply(text)
        case "text/event-json":
            return _json_event(text)
        case "text/disconnect-notice":
            return Disconnected(text, headers.get("Content-Disposition") == "linger")
        case "text/rude-rejection":
            return Rejected(text)
        case other:
            return Other(other, text)


def _headers(head: bytes) -> list[tuple[str, str]]:
    lines = head.decode("utf-8", "replace").rstrip("\n").split("\n")
    return [(name, value) for name, colon, value in (line.partition(": ") for line in lines) if colon]


def _json_event(text: str) -> JsonEvent | Broken:
    try:
        fields = json.loads(text)
    except (ValueError, RecursionError) as error:
        return Broken("BAD_JSON", f"an event is no JSON: {error}")
    if not isinstance(fields, dict):
        return Broken("BAD_JSON", "an event is no JSON object")
    return JsonEvent({name: _json_value(value) for name, value in fields.items()})


def _json_value(value: object) -> str:
    """Arrays read as they do in a plain event; the switch writes nothing but strings otherwise."""
    if isinstance(value, list):
        return ARRAY + ARRAY_SEPARATOR.join(map(str, value))
    return value if isinstance(value, str) else json.dumps(value)


# ---------------------------------------------------------------- what we send


class BadCommand(ValueError):
    """A command holds a character that would end it early: nothing is sent."""


def command(line: str, headers: Mapping[str, str] | None = None, body: str = "") -> bytes:
    """One command with its headers and body. Raises `BadCommand` for a line feed, carriage return
    or NUL in line or headers: whoever can put one there gives the switch commands."""
    lines = [line, *(f"{name}: {value}" for name, value in (headers or {}).items())]
    for text in lines:
        if any(forbidden in text for forbidden in "\r\n\0"):
            raise BadCommand(f"a line feed, carriage return or NUL in {text!r:.200}")
    payload = body.encode()
    if payload:
        lines.append(f"Content-Length: {len(payload)}")
    return "\n".join(lines).encode() + _BLANK + payload


def bgapi(line: str, job: str) -> bytes:
    """An `api` command that answers later by a BACKGROUND_JOB event with our own Job-UUID."""
    return command(f"bgapi {line}", {"Job-UUID": job})


def execute(channel: str, application: str, argument: str, event_uuid: str = "") -> bytes:
    """Run a dialplan application on a channel; its EXECUTE and EXECUTE_COMPLETE events name
    `event_uuid` as Application-UUID. The argument goes in the body, where it may have any length."""
    headers = {"call-command": "execute", "execute-app-name": application}
    if event_uuid:
        headers["Event-UUID"] = event_uuid
    if argument:
        headers["content-type"] = "text/plain"
    return command(f"sendmsg {channel}", headers, argument)


def hang_up(channel: str, cause: str) -> bytes:
    """End a channel with a cause, as NORMAL_CLEARING."""
    return command(f"sendmsg {channel}", {"call-command": "hangup", "hangup-cause": cause})
