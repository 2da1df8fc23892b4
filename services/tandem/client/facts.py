"""What a phone knows of its calls: the only witness of the kill tests (spine 12). Pure.

Times are seconds of CLOCK_MONOTONIC, one time for all processes of a host.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from enum import StrEnum

TOLERANCE_HZ = 8.0
"""A tone counts as heard within this of its frequency; phones' tones are 20 Hz apart or more."""


class Way(StrEnum):
    """Who began the call."""

    OUT = "out"
    IN = "in"


class By(StrEnum):
    """Who ended the call."""

    SELF = "self"
    FAR = "far"
    LOST = "lost"
    """Nobody: a request in the dialog got no answer."""


class Sound(StrEnum):
    """What a piece of audio was."""

    TONE = "tone"
    OTHER = "other"
    """Loud and no pure tone: speech or music."""
    SILENCE = "silence"
    STALL = "stall"
    """The phone itself did not run, so it cannot say."""


@dataclass(frozen=True, slots=True)
class Heard:
    """A stretch of one kind of sound. `hz` is 0 unless it is a tone."""

    sound: Sound
    start: float
    end: float
    hz: float = 0.0

    @property
    def seconds(self) -> float:
        """How long."""
        return self.end - self.start

    def is_tone(self, hz: float) -> bool:
        """Whether it is that tone."""
        return self.sound is Sound.TONE and abs(self.hz - hz) <= TOLERANCE_HZ


@dataclass(frozen=True, slots=True)
class Pressed:
    """A digit that was sent."""

    digit: str
    at: float


@dataclass(frozen=True, slots=True)
class Quiet:
    """From `start` to `end` the phone sent nothing by its own will: muted, or on hold."""

    start: float
    end: float


@dataclass(frozen=True, slots=True)
class CallFacts:
    """One dialog as one phone lived through it. A time is None if it did not come to that."""

    phone: str
    """The phone's user."""
    voice_hz: float
    """The tone that it speaks with; 0 for none."""
    way: Way
    number: str
    """What was dialled; of a call that came in the user that was asked for."""
    caller: str
    """The number that calls, as this phone knows it: how both sides of a talk are found."""
    offer: str
    """X-Tandem-Offer of the INVITE; empty for a caller."""
    began: float
    dialog: str = ""
    """This phone's tag in the dialog: unique."""
    rang: float | None = None
    answered: float | None = None
    ended: float | None = None
    by: By | None = None
    status: int = 0
    """The final SIP status that ended it; 0 if a BYE did."""
    detail: str = ""
    """The far end's reason."""
    pressed: tuple[Pressed, ...] = ()
    quiet: tuple[Quiet, ...] = ()
    heard: tuple[Heard, ...] = ()

    def tones(self, hz: float) -> Iterator[Heard]:
        """The stretches in which that tone was heard."""
        return (heard for heard in self.heard if heard.is_tone(hz))

    def first(self, hz: float) -> float | None:
        """When that tone was heard first."""
        return next((heard.start for heard in self.tones(hz)), None)

    def last(self, hz: float) -> float | None:
        """Until when that tone was heard last."""
        ends = [heard.end for heard in self.tones(hz)]
        return ends[-1] if ends else None

    def seconds(self, hz: float) -> float:
        """How long that tone was heard in all."""
        return sum(heard.seconds for heard in self.tones(hz))

    def voices(self) -> tuple[float, ...]:
        """The tones in the order in which they were first heard."""
        found: list[float] = []
        for heard in self.heard:
            if heard.sound is Sound.TONE and not any(heard.is_tone(hz) for hz in found):
                found.append(heard.hz)
        return tuple(found)

    def silences(self, start: float, end: float) -> Iterator[Heard]:
        """The stretches of silence between two times, cut to them."""
        for heard in self.heard:
            first, last = max(heard.start, start), min(heard.end, end)
            if heard.sound is Sound.SILENCE and first < last:
                yield Heard(Sound.SILENCE, first, last)

    def longest_silence(self, start: float, end: float) -> float:
        """Seconds of the longest silence between two times."""
        return max((heard.seconds for heard in self.silences(start, end)), default=0.0)
