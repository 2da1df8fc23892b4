"""What kill tests count: one row for each thing that was killed and place at which it was.

`make kill` writes the rows to `var/kill.json`; `table` makes the table of the documentation of them.
"""

from __future__ import annotations

import json
import statistics
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

STATES = ("menu", "waiting", "ringing", "talking")
"""Where callers stand; each is live at each kill."""
RANDOM = "random moments"
CONTROL, MEDIA, BOTH = "control plane", "media node", "both"


@dataclass
class Kill:
    """One kill. `gap_s`: from the kill until calls can be taken again, 0 if the next life was killed before."""

    killed: str
    where: str
    live: Counter[str] = field(default_factory=Counter)
    serving: bool = True
    """False: in the takeover, before calls could be taken."""
    gap_s: float = 0.0

    @property
    def place(self) -> str:
        """A point without its pass."""
        return self.where.partition(":")[0]

    def __str__(self) -> str:
        live = ", ".join(f"{self.live[state]} {state}" for state in STATES)
        gap = f"{self.gap_s:.1f}s" if self.gap_s else "-"
        when = "serving" if self.serving else "takeover"
        return f"{self.killed:<14} {self.where:<20} {when:<9} {gap:>6}  {live}"


Row = dict[str, Any]


def rows_of(kills: Sequence[Kill], calls: int, wrong: Mapping[str, int]) -> list[Row]:
    """A row for each place. `calls` and `wrong` are of the whole run that the kills were part of."""
    places = dict.fromkeys((kill.killed, kill.place) for kill in kills)
    return [_row([k for k in kills if (k.killed, k.place) == place], calls, wrong) for place in places]


def _row(kills: Sequence[Kill], calls: int, wrong: Mapping[str, int]) -> Row:
    gaps = [kill.gap_s for kill in kills if kill.gap_s]
    return {
        "killed": kills[0].killed,
        "at": kills[0].place,
        "times": len(kills),
        "serving": sum(kill.serving for kill in kills),
        "live": {state: min(kill.live[state] for kill in kills) for state in STATES},
        "gap_s": {"median": round(statistics.median(gaps), 2), "longest": round(max(gaps), 2)} if gaps else None,
        "calls": calls,
        "wrong": dict(wrong),
    }


def table(rows: Sequence[Row]) -> str:
    """The rows as Markdown."""
    wrongs = list(dict.fromkeys(name for row in rows for name in row["wrong"]))
    head = ["killed", "at", "times", "live at each, at least", "calls", "calls again after (median, longest)", *wrongs]
    lines = [head, ["---"] * len(head)]
    for row in rows:
        gap = row["gap_s"]
        lines.append(
            [
                row["killed"],
                row["at"],
                str(row["times"]),
                ", ".join(f"{row['live'][state]} {state}" for state in STATES),
                str(row["calls"]),
                f"{gap['median']:.1f} s, {gap['longest']:.1f} s" if gap else "the next life was killed, too",
                *(str(row["wrong"].get(name, "-")) for name in wrongs),
            ]
        )
    return "\n".join(f"| {' | '.join(line)} |" for line in lines) + "\n"


class Tally:
    """The rows of a run, written as soon as a test has its own."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._rows: list[Row] = []

    def add(self, kills: Sequence[Kill], calls: int, wrong: Mapping[str, int]) -> None:
        """What a test has counted; all of `wrong` must be zero."""
        rows = rows_of(kills, calls, wrong)
        self._rows += rows
        print("\n" + table(rows), flush=True)
        if self._path is not None:
            self._path.parent.mkdir(parents=True, exist_ok=True)
            self._path.write_text(json.dumps(self._rows, indent=2) + "\n")
        assert not any(wrong.values()), wrong
