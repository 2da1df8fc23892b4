"""What a phone does with a call that comes in. Pure."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Answers:
    """Rings, and answers after so many seconds."""

    after_s: float = 1.0


@dataclass(frozen=True, slots=True)
class Declines:
    """Rings, and refuses after so many seconds: 603 declines, 486 is busy."""

    status: int = 603
    after_s: float = 0.0


@dataclass(frozen=True, slots=True)
class RingsForEver:
    """Nobody is at the desk."""


@dataclass(frozen=True, slots=True)
class Vanishes:
    """Rings, and loses its network after so many seconds: it neither sends nor hears from then on."""

    after_s: float = 0.0


Manner = Answers | Declines | RingsForEver | Vanishes
"""What a phone does with a call that comes in."""
