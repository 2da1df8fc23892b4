"""Whether a soak run held: what grows, what is stuck, what is not accounted for. Pure.

A series is judged by its last two quarters: the median of the fourth against the median of the third.
The first half is warm-up (caches, the allocator, tables that fill up to their limit), and a median does
not see the teeth of the garbage collector. `Growth.each` is what that is for each contact that ended in
between: a contact that stayed in memory would cost some 1,700 bytes or more (row 6 of the benchmarks).
"""

from __future__ import annotations

import statistics
from collections.abc import Sequence
from dataclasses import dataclass

from tests.load.sampler import Sample

EACH_MAX = 170.0
"""Bytes of memory a contact that ended: a tenth of what one costs that stays. At such a rate less is noise."""
NOISE = 2e6
"""Bytes by which a process differs from itself: with so few contacts that they would hide in it, a run was too short
to say more."""
SHARE_MAX = 0.25
"""By which a queue may be longer. One that grows evenly from nothing is longer by 0.4."""
QUEUES = {
    "waiting": 100.0, "in_flight": 16.0, "pending": 200.0, "live": 100.0, "view_lag": 200.0, "inbox_lag": 200.0,
    "events_kept": 500.0, "command_keys": 500.0, "spooled": 10.0,
}  # fmt: skip
"""What must not grow, and by how much it may without being a trend."""
COUNTS = ("files", "threads", "tasks")
COUNTS_SLACK = 16.0
"""Connections that come and go."""
FILES_A_LEG = 4.0
"""Sockets and the spool of one leg: more legs at the end are more files."""


@dataclass(frozen=True, slots=True)
class Growth:
    """From the third quarter of a run to its fourth."""

    third: float
    fourth: float
    contacts: float
    """That ended from the middle of the one to the middle of the other."""

    @property
    def by(self) -> float:
        """How much."""
        return self.fourth - self.third

    @property
    def each(self) -> float:
        """How much for each contact that ended."""
        return self.by / max(1.0, self.contacts)


@dataclass(frozen=True, slots=True)
class Verdict:
    """One line at the end: what was looked at, what was found, and whether that is as it must be."""

    name: str
    found: str
    held: bool


def growth(samples: Sequence[Sample], name: str) -> Growth | None:
    """Of a series; None if it is too short to have quarters."""
    rows = [sample for sample in samples if name in sample]
    if len(rows) < 8:
        return None
    quarter = len(rows) // 4
    third, fourth = rows[-2 * quarter : -quarter], rows[-quarter:]
    middles = [statistics.median(row.get("ended", 0.0) for row in rows) for rows in (third, fourth)]
    medians = [statistics.median(row[name] for row in rows) for rows in (third, fourth)]
    return Growth(medians[0], medians[1], middles[1] - middles[0])


def judged(part: str, samples: Sequence[Sample]) -> list[Verdict]:
    """What the samples of a part say."""
    names = sorted({name for sample in samples for name in sample})
    found: list[Verdict] = []
    for name in names:
        grown = growth(samples, name)
        if grown is None:
            continue
        process, _, what = name.rpartition(".")
        if what == "rss":
            found.append(_memory(f"{part} {process}", grown))
        elif what in COUNTS and process:
            legs = growth(samples, "legs")
            more = FILES_A_LEG * max(0.0, legs.by) if legs is not None and what == "files" else 0.0
            found.append(_bounded(f"{part} {process}: {what}", grown, COUNTS_SLACK + more))
        elif name in QUEUES:
            found.append(
                _bounded(f"{part}: {name.replace('_', ' ')}", grown, max(QUEUES[name], SHARE_MAX * grown.third))
            )
    last = samples[-1] if samples else {}
    for name in ("lost", "faults"):
        found.append(Verdict(f"{part}: shard {name}", f"{last.get(name, 0):.0f}", not last.get(name, 0)))
    processes = {name.rpartition(".")[0] for name in names if name.endswith(".rss")}
    gone = sorted(process for process in processes if f"{process}.rss" not in last)
    found.append(Verdict(f"{part}: processes that died", ", ".join(gone) or "0", not gone))
    return found


def counted(name: str, wrong: Sequence[str], of: int) -> Verdict:
    """Things that must not be; the first few are named."""
    named = f": {'; '.join(wrong[:5])}" if wrong else ""
    return Verdict(name, f"{len(wrong)} of {of:,}{named}", not wrong)


def _memory(name: str, grown: Growth) -> Verdict:
    held = grown.each <= EACH_MAX or grown.by <= NOISE
    said = (
        f"{grown.third / 1e6:.1f} -> {grown.fourth / 1e6:.1f} MB from the third to the fourth quarter, "
        f"{grown.each:+.0f} B for each of {grown.contacts:,.0f} contacts that ended"
    )
    return Verdict(f"{name}: memory", said, held)


def _bounded(name: str, grown: Growth, slack: float) -> Verdict:
    return Verdict(name, f"{grown.third:.0f} -> {grown.fourth:.0f}", grown.by <= slack)
