"""A voice for everybody: tones that no two phones of a count share. Pure."""

from __future__ import annotations

LOWEST_HZ = 400
STEP_HZ = 40
VOICES = 75
"""Of each kind; up to 3380 Hz, what a telephone passes."""
_AGENTS_FIRST = 15
"""The first agent speaks with 1020 Hz, which a person can bear."""


def caller_hz(index: int) -> float:
    """The voice of a caller, counted from 0."""
    return float(LOWEST_HZ + STEP_HZ * (index % VOICES))


def agent_hz(index: int) -> float:
    """The voice of an agent, counted from 0: between those of callers."""
    return float(LOWEST_HZ + STEP_HZ // 2 + STEP_HZ * ((index + _AGENTS_FIRST) % VOICES))
