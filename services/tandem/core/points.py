"""The kill points: places where a process may die in a test (spine 10).

A driver calls `points.reach(Point.APPENDED)` at each; in production that only counts. What a
strike does is the caller's: a driver kills its own process (`runtime.faults`), the simulator
drops the object.
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from tandem.core.values import dataclass


class Point(StrEnum):
    """Where. Each lies inside a window of a fraction of a millisecond that random kills miss."""

    BEFORE_APPEND = "before_append"  # decided, not handed to the log
    APPENDED = "appended"  # handed to the log, not read back
    READ_BACK = "read_back"  # durable, no effect has left
    EFFECT_SENT = "effect_sent"  # the effect left, its event is not taken
    IN_SNAPSHOT = "in_snapshot"  # some parts of a snapshot are written, its manifest is not
    IN_CLAIM = "in_claim"  # a claim is appended, not read back
    JOURNALLED = "journalled"  # a media node wrote a command down and has not begun it


class BadKillAt(ValueError):
    """A text that names no point and pass."""


@dataclass(frozen=True, slots=True)
class KillAt:
    """The pass of a point, counted from 1, at which to strike."""

    point: Point
    nth: int


def parse_kill_at(text: str) -> KillAt:
    """`appended:3` is the third pass of `appended`. Raises `BadKillAt`, which says what is allowed."""
    name, _, count = text.partition(":")
    if name not in set(Point) or not (count.isascii() and count.isdigit()) or int(count) < 1:
        allowed = ", ".join(Point)
        raise BadKillAt(f"{text!r} is no kill point: write NAME:K with K from 1 and NAME one of {allowed}")
    return KillAt(Point(name), int(count))


class Points:
    """Counts passes and strikes at one of them."""

    def __init__(self, at: KillAt | None = None, strike: Callable[[KillAt], None] | None = None) -> None:
        if (at is None) != (strike is None):
            raise ValueError("a pass to strike at and what the strike does come together or not at all")
        self._at = at
        self._strike = strike
        self._passes = dict.fromkeys(Point, 0)

    def reach(self, point: Point) -> None:
        """The process is at `point`. Does not return if the strike does not."""
        self._passes[point] += 1
        if self._at is not None and self._strike is not None and self._at == KillAt(point, self._passes[point]):
            self._strike(self._at)

    def passes(self, point: Point) -> int:
        """How often the point was reached."""
        return self._passes[point]
