"""The golden traces: what real FreeSWITCH sends over ESL, byte for byte, per scenario."""

from __future__ import annotations

import re
import tarfile
from dataclasses import dataclass
from functools import cache
from pathlib import Path

ARCHIVE = Path(__file__).parents[1] / "traces" / "esl.tar.xz"
_PAIR = re.compile(r" (?=(?:var:)?[A-Za-z][\w-]*=)")


@dataclass(frozen=True, slots=True)
class Line:
    """One frame in words. A reply has `reply` alone; an event a leg (`-` for none), a name and headers."""

    reply: str = ""
    text: str = ""
    leg: str = ""
    name: str = ""
    headers: tuple[tuple[str, str], ...] = ()


@dataclass(frozen=True, slots=True)
class Trace:
    """A scenario: the bytes, the frames in words (none for scenario 19), and which letter stands for
    which channel."""

    name: str
    received: bytes
    lines: tuple[Line, ...]
    legs: dict[str, str]


@cache
def traces() -> dict[str, Trace]:
    """All scenarios by name."""
    with tarfile.open(ARCHIVE) as archive:
        files = {Path(member.name).name: archive.extractfile(member) for member in archive if member.isfile()}
        data = {name: opened.read() for name, opened in files.items() if opened is not None}
    return {
        name.removesuffix(".esl"): _trace(
            name.removesuffix(".esl"), body, data.get(name.removesuffix("esl") + "txt", b"# legs:")
        )
        for name, body in sorted(data.items())
        if name.endswith(".esl")
    }


def _trace(name: str, received: bytes, words: bytes) -> Trace:
    rows = words.decode().splitlines()
    legs = next(row for row in rows if row.startswith("# legs:")).removeprefix("# legs:")
    return Trace(
        name,
        received,
        tuple(_line(row) for row in rows if row.strip() and not row.startswith("#")),
        dict(pair.split("=", 1) for pair in legs.split()),
    )


def _line(row: str) -> Line:
    reply = re.fullmatch(r" +\[([^]]+)] ?(.*)", row)
    if reply is not None:
        return Line(reply=reply[1], text=reply[2])
    _, leg, name, *rest = re.split(r" {2,}", row.strip(), maxsplit=3)
    pairs = _PAIR.split(" " + rest[0]) if rest else []
    return Line(leg=leg, name=name, headers=tuple(_pair(pair) for pair in pairs if pair.strip()))


def _pair(text: str) -> tuple[str, str]:
    name, _, value = text.strip().partition("=")
    return name, value
