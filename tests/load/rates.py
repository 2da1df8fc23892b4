"""The highest rate that holds: doubled until one does not, then halved in between. Pure but for the probe."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass

ANSWER_MAX_S = 1.0
"""A caller who hears nothing for longer has noticed."""
COMMITS_EACH = 10
"""Of a contact, about, while there is time for one an input: history may be a second behind."""
STEP = 0.1
"""Two rates that differ by less are one: a machine's mood does more."""


@dataclass(frozen=True, slots=True)
class Probe:
    """A rate that was tried for some seconds."""

    rate: float
    why_not: str
    """Why it did not hold; empty if it did."""
    told: str = ""
    """What was measured."""


async def highest(probe: Callable[[float], Awaitable[Probe]], first: float, most: float) -> tuple[float, list[Probe]]:
    """The highest rate that held, 0 if none did, and all that were tried. None above `most` is tried."""
    tried: list[Probe] = []
    low, high, rate = 0.0, 0.0, first
    while True:
        tried.append(await probe(rate))
        if tried[-1].why_not:
            high = rate
        else:
            low = rate
        if low >= most or (high and high - low <= STEP * high):
            return low, tried
        if not low:
            if rate < first / 8:
                return 0.0, tried
            rate /= 2
        else:
            rate = (low + high) / 2 if high else min(2 * rate, most)


def why_not(
    rate: float, dialled_s: float, refused: float, live: tuple[float, float], lag: tuple[float, float], answer_s: float
) -> str:
    """Why a rate does not hold, "" if it does: calls that are refused, queues that grow from the middle of the
    probe to its end, or callers who wait. `live` and `lag` are each (in the middle, at the end); `answer_s` is
    the p99."""
    if dialled_s < 0.95 * rate:
        return f"the callers' own process came to {dialled_s:.0f}/s alone"
    if refused:
        return f"{refused:.0f} calls were refused"
    if live[1] > 1.3 * live[0] + rate:
        return f"{live[0]:.0f} calls under way grew to {live[1]:.0f}"
    if lag[1] > 1.3 * lag[0] + COMMITS_EACH * rate:
        return f"history fell behind, from {lag[0]:.0f} to {lag[1]:.0f} commits"
    if answer_s > ANSWER_MAX_S:
        return f"a call is answered after {answer_s:.1f} s (p99)"
    return ""
