"""SDP for one audio stream: parse, serialise, offer and answer (RFC 8866, RFC 3264, RFC 4733).

`parse` and `Negotiation` never raise on what a peer sends: they return an `SdpError`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from enum import Enum

SDP_MAX = 16_384
"""Bytes of a description."""
LINES_MAX = 400
LINE_MAX = 1_024
MEDIA_MAX = 16
"""m-lines of a description."""
FORMATS_MAX = 64
"""Formats of an m-line."""

DIGITS_PAYLOAD_TYPE = 101
"""What we offer telephone-event as, until a peer has named another."""
PTIME_MS = 20
_STATIC = {"0": "PCMU", "8": "PCMA"}
_DIGITS = "telephone-event"
_ORIGIN = re.compile(r"(\S+) (\d{1,20}) (\d{1,20}) IN IP[46] (\S+)", re.ASCII)
_CONNECTION = re.compile(r"IN IP[46] ([^\s/]+)(?:/\d+){0,2}", re.ASCII)
_MEDIA = re.compile(r"([A-Za-z0-9\-]+) (\d{1,5})(?:/\d+)? ([A-Za-z0-9/\-]+)((?: \S+)*)", re.ASCII)
_RTPMAP = re.compile(r"(\d{1,3}) ([A-Za-z0-9\-_.]+)/(\d{1,6})(?:/1)?", re.ASCII)
_V4 = re.compile(r"\d{1,3}(?:\.\d{1,3}){3}", re.ASCII)
_V6 = re.compile(r"[0-9A-Fa-f:.]*:[0-9A-Fa-f:.]*")


@dataclass(frozen=True, slots=True)
class SdpError:
    """Why a description cannot be used. Holds nothing of what the peer sent; a refusal is a SIP 488."""

    reason: str
    where: str


class Direction(Enum):
    """Who sends, seen from the side that says it."""

    SENDRECV = "sendrecv"
    SENDONLY = "sendonly"
    RECVONLY = "recvonly"
    INACTIVE = "inactive"

    @property
    def sends(self) -> bool:
        """Whether the side that says it sends."""
        return self in (Direction.SENDRECV, Direction.SENDONLY)

    @property
    def receives(self) -> bool:
        """Whether the side that says it receives."""
        return self in (Direction.SENDRECV, Direction.RECVONLY)

    def against(self, other: Direction) -> Direction:
        """What is left of ours (self) when the far end says `other`."""
        return _direction(self.sends and other.receives, self.receives and other.sends)


@dataclass(frozen=True, slots=True)
class Media:
    """One m-line with what belongs to it."""

    kind: str
    port: int
    protocol: str
    formats: tuple[str, ...]
    host: str | None = None
    """Of its own c-line."""
    attributes: tuple[tuple[str, str], ...] = ()
    """a-lines in order; "" as value for a flag."""

    def all(self, name: str) -> list[str]:
        """The values of every attribute of this name."""
        return [value for key, value in self.attributes if key == name]

    def refused(self) -> Media:
        """As an answer refuses it (RFC 3264 6): port 0, formats kept."""
        return Media(self.kind, 0, self.protocol, self.formats)


@dataclass(frozen=True, slots=True)
class Description:
    """A session description."""

    session_id: str
    version: int
    host: str
    """Of the o-line."""
    media: tuple[Media, ...]
    connection: str | None = None
    """Of the c-line of the session."""
    attributes: tuple[tuple[str, str], ...] = ()
    user: str = "-"

    def to_bytes(self) -> bytes:
        """For the wire. `ValueError` if a value holds CR or LF."""
        lines = ["v=0", f"o={self.user} {self.session_id} {self.version} {_address(self.host)}", "s=-"]
        if self.connection is not None:
            lines.append(f"c={_address(self.connection)}")
        lines.append("t=0 0")
        lines += _attribute_lines(self.attributes)
        for media in self.media:
            lines.append(f"m={media.kind} {media.port} {media.protocol} {' '.join(media.formats)}")
            if media.host is not None:
                lines.append(f"c={_address(media.host)}")
            lines += _attribute_lines(media.attributes)
        text = "\r\n".join(lines)
        if text.count("\n") != len(lines) - 1 or text.count("\r") != len(lines) - 1:
            raise ValueError("an SDP value holds CR or LF: remove it before the value goes to the wire")
        return text.encode() + b"\r\n"


@dataclass(frozen=True, slots=True)
class Audio:
    """What both sides agreed on."""

    host: str
    port: int
    """Where our RTP goes."""
    codec: str
    """PCMU or PCMA."""
    payload_type: int
    digits_payload_type: int | None
    """Of telephone-event in both directions; None if the far end cannot."""
    ptime_ms: int
    """The packet time that the far end asks for."""
    direction: Direction
    """Ours."""


@dataclass(frozen=True, slots=True)
class LocalAudio:
    """What this side can and wants."""

    host: str
    """The IP literal at which we receive RTP."""
    port: int
    codecs: tuple[str, ...] = ("PCMU", "PCMA")
    """In order of preference; an answer follows the offerer's order."""
    digits: bool = True
    """Whether we take telephone-event."""


@dataclass(frozen=True, slots=True)
class Answer:
    """An answer to send, and what it agrees on."""

    sdp: bytes
    audio: Audio


class Negotiation:
    """Offers and answers of one call, from first to last (RFC 3264 5 to 8).

    Keeps what later ones must repeat: the order of the m-lines, the payload type of
    telephone-event, and the version, which goes up with every description that differs.
    """

    def __init__(self, local: LocalAudio, session_id: int) -> None:
        """`session_id`: any number below 2**63, new for each call."""
        self._local = local
        self._sent = Description(str(session_id), 0, local.host, ())
        self._index = 0
        self._digits_type = DIGITS_PAYLOAD_TYPE

    def offer(self, direction: Direction = Direction.SENDRECV) -> bytes:
        """An offer, or a new one in the same call (hold, unhold)."""
        formats = [(_payload_type(codec), codec) for codec in self._local.codecs]
        digits = self._digits_type if self._local.digits else None
        ours = _media(self._local, formats, digits, direction)
        others = [media.refused() for media in self._sent.media] or [ours]
        others[self._index] = ours
        return self._send(tuple(others))

    def answer(self, offer: bytes, direction: Direction = Direction.SENDRECV) -> Answer | SdpError:
        """Answer an offer; `direction` is what we want at most. An error changes nothing."""
        remote = parse(offer)
        if isinstance(remote, SdpError):
            return remote
        candidates = [self._agree(remote, media, direction) for media in remote.media]
        index = next((index for index, agreed in enumerate(candidates) if agreed), None)
        if index is None or (agreed := candidates[index]) is None:
            return SdpError("no audio stream with PCMU or PCMA over RTP/AVP to an IP address", "audio")
        if agreed.digits_payload_type is not None:
            self._digits_type = agreed.digits_payload_type
        formats = [(agreed.payload_type, agreed.codec)]
        media_lines = [media.refused() for media in remote.media]
        media_lines[index] = _media(self._local, formats, agreed.digits_payload_type, agreed.direction)
        self._index = index
        return Answer(self._send(tuple(media_lines)), agreed)

    def accept(self, answer: bytes) -> Audio | SdpError:
        """Take the answer to our last offer."""
        remote = parse(answer)
        if isinstance(remote, SdpError):
            return remote
        if not self._sent.media or len(remote.media) != len(self._sent.media):
            return SdpError("not as many m-lines as the offer has, or there was no offer", "answer")
        offered = self._sent.media[self._index]
        agreed = self._agree(remote, remote.media[self._index], _stated(offered.attributes) or Direction.SENDRECV)
        if agreed is None or str(agreed.payload_type) not in offered.formats:
            return SdpError("the audio stream was refused, or none of the offered codecs taken", "audio")
        return agreed

    def _agree(self, remote: Description, media: Media, wanted: Direction) -> Audio | None:
        """What this m-line of theirs and we have in common."""
        host = media.host or remote.connection
        usable = media.kind == "audio" and media.protocol == "RTP/AVP" and media.port and host and _is_literal(host)
        if not usable or host is None:
            return None
        names = _names(media)
        for number in media.formats:
            if names.get(number) in self._local.codecs:
                break
        else:
            return None
        digits = next((int(key) for key in media.formats if names.get(key) == _DIGITS), None)
        theirs = _stated(media.attributes) or _stated(remote.attributes) or Direction.SENDRECV
        if host in ("0.0.0.0", "::"):
            theirs = _direction(theirs.sends, receives=False)  # hold as RFC 2543 had it (RFC 3264 8.4)
        return Audio(
            host,
            media.port,
            names[number],
            int(number),
            digits if self._local.digits else None,
            _ptime(media),
            wanted.against(theirs),
        )

    def _send(self, media: tuple[Media, ...]) -> bytes:
        if media != self._sent.media:
            self._sent = replace(self._sent, media=media, version=self._sent.version + 1, connection=self._local.host)
        return self._sent.to_bytes()


def parse(data: bytes) -> Description | SdpError:
    """Parse a description. Never raises. Lines that do not concern us are passed over."""
    if len(data) > SDP_MAX:
        return SdpError(f"longer than {SDP_MAX} bytes", "description")
    try:
        lines = data.decode("utf-8").replace("\r\n", "\n").rstrip("\n").split("\n")
        return _read(lines)
    except UnicodeDecodeError:
        return SdpError("not UTF-8", "description")
    except _Malformed as error:
        return SdpError(error.reason, error.where)


class _Malformed(Exception):
    def __init__(self, reason: str, where: str) -> None:
        super().__init__(reason, where)
        self.reason = reason
        self.where = where


def _read(lines: list[str]) -> Description:
    if len(lines) > LINES_MAX or any(len(line) > LINE_MAX for line in lines):
        raise _Malformed(f"more than {LINES_MAX} lines, or one longer than {LINE_MAX} characters", "description")
    if lines[0] != "v=0":
        raise _Malformed("does not begin with v=0", "v")
    pairs = [(line[:1], line[2:]) for line in lines[1:]]
    if any(line[1:2] != "=" or "\r" in line for line in lines[1:]):
        raise _Malformed("a line that is not x=value", "description")
    starts = [number for number, (kind, _) in enumerate(pairs) if kind == "m"]
    if len(starts) > MEDIA_MAX:
        raise _Malformed(f"more than {MEDIA_MAX} m-lines", "m")
    ends = [*starts, len(pairs)]
    media = tuple(_read_media(pairs[start:end]) for start, end in zip(starts, ends[1:], strict=True))
    session = pairs[: ends[0]]
    origin = next((_match(_ORIGIN, value, "o") for kind, value in session if kind == "o"), None)
    if origin is None:
        raise _Malformed("missing", "o")
    user, session_id, version, host = origin.groups()
    return Description(session_id, int(version), host, media, _connection(session), _attributes(session), user)


def _read_media(pairs: list[tuple[str, str]]) -> Media:
    """An m-line and the lines that belong to it."""
    match = _match(_MEDIA, pairs[0][1], "m")
    formats = tuple(match[4].split())
    if not formats or len(formats) > FORMATS_MAX or int(match[2]) > 65_535:
        raise _Malformed(f"no format, more than {FORMATS_MAX}, or no port", "m")
    return Media(match[1], int(match[2]), match[3], formats, _connection(pairs), _attributes(pairs))


def _connection(pairs: list[tuple[str, str]]) -> str | None:
    hosts = [_match(_CONNECTION, value, "c")[1] for kind, value in pairs if kind == "c"]
    return hosts[0] if hosts else None


def _attributes(pairs: list[tuple[str, str]]) -> tuple[tuple[str, str], ...]:
    split = [value.partition(":") for kind, value in pairs if kind == "a"]
    return tuple((name, value.strip()) for name, _, value in split)


def _match(pattern: re.Pattern[str], value: str, where: str) -> re.Match[str]:
    match = pattern.fullmatch(value.strip(" "))
    if match is None:
        raise _Malformed("bad value", where)
    return match


def _attribute_lines(attributes: tuple[tuple[str, str], ...]) -> list[str]:
    return [f"a={name}:{value}" if value else f"a={name}" for name, value in attributes]


def _names(media: Media) -> dict[str, str]:
    """Payload type -> codec, of those that we know by name, at 8000 Hz."""
    names = {number: name for number, name in _STATIC.items() if number in media.formats}
    for value in media.all("rtpmap"):
        match = _RTPMAP.fullmatch(value)
        if match is None or match[1] not in media.formats or int(match[1]) > 127:
            continue
        names.pop(match[1], None)
        name = match[2].lower() if match[2].lower() == _DIGITS else match[2].upper()
        if int(match[3]) == 8000:
            names[match[1]] = name
    return names


def _media(local: LocalAudio, formats: list[tuple[int, str]], digits_type: int | None, direction: Direction) -> Media:
    attributes = [("rtpmap", f"{number} {name}/8000") for number, name in formats]
    numbers = [str(number) for number, _ in formats]
    if digits_type is not None:
        numbers.append(str(digits_type))
        attributes += [("rtpmap", f"{digits_type} {_DIGITS}/8000"), ("fmtp", f"{digits_type} 0-15")]
    attributes += [("ptime", str(PTIME_MS)), (direction.value, "")]
    return Media("audio", local.port, "RTP/AVP", tuple(numbers), None, tuple(attributes))


def _payload_type(codec: str) -> int:
    for number, name in _STATIC.items():
        if name == codec:
            return int(number)
    raise ValueError(f"no codec {codec!r}: use PCMU and PCMA")


def _stated(attributes: tuple[tuple[str, str], ...]) -> Direction | None:
    """The direction that attributes name, the last one if several."""
    found = None
    for name, value in attributes:
        if not value and name in ("sendrecv", "sendonly", "recvonly", "inactive"):
            found = Direction(name)
    return found


def _direction(sends: bool, receives: bool) -> Direction:
    if sends:
        return Direction.SENDRECV if receives else Direction.SENDONLY
    return Direction.RECVONLY if receives else Direction.INACTIVE


def _ptime(media: Media) -> int:
    for value in media.all("ptime"):
        if value.isascii() and value.isdigit() and 10 <= int(value[:4]) <= 200:
            return int(value[:4])
    return PTIME_MS


def _is_literal(host: str) -> bool:
    if _V4.fullmatch(host):
        return all(int(part) < 256 for part in host.split("."))
    return len(host) <= 45 and _V6.fullmatch(host) is not None


def _address(host: str) -> str:
    return f"IN IP{'6' if ':' in host else '4'} {host}"
