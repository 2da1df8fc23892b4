"""`make soak MINUTES=60`: load for a long time at the highest rate that holds, and whether anything grows,
sticks or is lost.

    python -m tests.load.soak --minutes 60 [--only phones|plane] [--lines 20] [--rate 0] [--part 0.85]
                              [--nice 5] [--out FILE]

Two parts run beside each other for the whole time, each a cell of its own:

    phones  the whole product with the built-in media node, and real SIP phones with real audio
    plane   the control plane over the real link with `media_stub`, at 85 % of the highest rate that held
            for some seconds (searched for first, while the phones already talk)

The phones come first where processors are few: with --nice the plane's processes run at that niceness.
Every 10 s both are sampled; the samples, the search and the verdicts go into FILE (var/soak.json), the
curves into a picture beside it. Exit code 1 if a verdict is not as it must be.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import random
import sys
import time
from collections.abc import Sequence
from contextlib import AsyncExitStack
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from tests.load.figures import machine, scratch, tell
from tests.load.plot import Chart, Curve, picture
from tests.load.rates import Probe
from tests.load.sampler import Sample
from tests.load.soak_phones import Phones, phones_part
from tests.load.soak_plane import PART, Plane, plane_part
from tests.load.verdicts import Verdict, growth, judged

EVERY_S = 10.0
SEED = 20260103
PARTS = ("phones", "plane")
COLUMNS = (
    ("ended/s", "ended_s"), ("live", "live"), ("waiting", "waiting"), ("in flight", "in_flight"),
    ("pending", "pending"), ("view lag", "view_lag"), ("control MB", "control.rss"), ("node MB", "node.rss"),
    ("files", "control.files"), ("threads", "control.threads"), ("tasks", "control.tasks"),
    ("stall ms", "control.stall_s"), ("gc ms/s", "control.gc_s_s"), ("log MB", "log_bytes"),
)  # fmt: skip
"""Of the table: what stands above, and the name of the value."""
MB = 1e6
HEAD_EVERY = 20


@dataclass
class Series:
    """The samples of a part."""

    part: str
    source: Phones | Plane
    samples: list[Sample] = field(default_factory=list)

    async def take(self, since_s: float) -> Sample:
        """Another sample."""
        found = await self.source.sample()
        found["at_s"] = time.monotonic() - since_s
        found["node.rss"] = found.get("media.rss", found.get("stub.rss", 0.0))
        if self.samples:
            before = self.samples[-1]
            apart = found["at_s"] - before["at_s"]
            found["ended_s"] = (found.get("ended", 0.0) - before.get("ended", 0.0)) / apart
            found["control.gc_s_s"] = (found.get("control.gc_s", 0.0) - before.get("control.gc_s", 0.0)) / apart
        self.samples.append(found)
        return found


@dataclass
class Soak:
    """What a run has found; written to the file as it stands."""

    minutes: float
    machine: str
    rate: float = 0.0
    search: list[Probe] = field(default_factory=list)
    samples: dict[str, list[Sample]] = field(default_factory=dict)
    did: dict[str, int] = field(default_factory=dict)
    verdicts: list[Verdict] = field(default_factory=list)

    def write(self, out: Path) -> None:
        """Whole or not at all."""
        out.parent.mkdir(parents=True, exist_ok=True)
        fresh = out.with_suffix(".new")
        fresh.write_text(json.dumps(asdict(self), indent=1) + "\n", encoding="utf-8")
        fresh.replace(out)


async def soak(given: argparse.Namespace) -> Soak:
    """Run the parts for the time, then let them tell."""
    found = Soak(given.minutes, machine())
    parts = PARTS if given.only is None else (given.only,)
    with scratch() as directory:
        async with AsyncExitStack() as stack:
            series: list[Series] = []
            if "phones" in parts:
                phones = await stack.enter_async_context(phones_part(_home(directory, "phones"), given.lines, SEED))
                series.append(Series("phones", phones))
                tell("the phones are at work")
            if "plane" in parts:
                home, rng = _home(directory, "plane"), random.Random(SEED)
                os.nice(given.nice)
                plane = await stack.enter_async_context(plane_part(home, rng))
                series.append(Series("plane", plane))
                tell("the control plane is up; looking for the highest rate that holds")
                found.rate = given.rate
                if not found.rate:
                    highest, found.search = await plane.find_rate()
                    found.rate = given.part * highest
                if not found.rate:
                    raise SystemExit("no rate holds here: the search is above")
                tell(f"{found.rate:.0f} contacts a second for {given.minutes:g} minutes")
                await plane.begin(found.rate)
            await _hold(series, 60 * given.minutes, found, given.out)
            for one in reversed(series):  # the plane's load ends first
                tell(f"{one.part}: the last calls end, and all are counted")
                found.verdicts += judged(one.part, one.samples)
                found.verdicts += await one.source.verdicts()
                if isinstance(one.source, Phones):
                    found.did = one.source.did
    return found


async def _hold(series: Sequence[Series], seconds: float, found: Soak, out: Path) -> None:
    begun = time.monotonic()
    console = Console(stderr=True, width=200)
    found.samples = {one.part: one.samples for one in series}
    turn = 0
    while time.monotonic() < begun + seconds:
        for one in series:
            row = await one.take(begun)
            _tell(console, one.part, row, seconds, head=turn % HEAD_EVERY == 0 and one is series[0])
        found.write(out)
        turn += 1
        await asyncio.sleep(max(0.0, min(begun + turn * EVERY_S, begun + seconds) - time.monotonic()))


def _tell(console: Console, part: str, row: Sample, seconds: float, *, head: bool) -> None:
    if head:
        console.print(f"{'':16}" + "".join(f"{title:>11}" for title, _ in COLUMNS), style="bold", highlight=False)
    cells = []
    for _, name in COLUMNS:
        value = row.get(name, 0.0)
        if name.endswith((".rss", "_bytes")):
            value /= MB
        elif name.endswith(("stall_s", "gc_s_s")):
            value *= 1000
        cells.append(f"{value:>11,.0f}")
    done = f"{row['at_s'] / 60:5.1f}/{seconds / 60:.0f}m"
    console.print(f"{part:7}{done:9}" + "".join(cells), highlight=False, soft_wrap=True)


# ------------------------------------------------------------------- what is shown at the end


def draw(found: Soak) -> str:
    """Memory, queues and rate over time."""

    def curve(part: str, name: str, title: str, scale: float = 1.0) -> Curve:
        rows = [row for row in found.samples.get(part, []) if name in row]
        return Curve(title, [(row["at_s"], row[name] / scale) for row in rows])

    memory = [curve(p, f"{w}.rss", f"{p}: {w}", MB) for p, w in
              (("phones", "control"), ("phones", "media"), ("plane", "control"), ("plane", "stub"))]  # fmt: skip
    queues = [("waiting", "inputs waiting"), ("pending", "effects pending"), ("live", "contacts live"),
              ("view_lag", "commits, history behind"), ("command_keys", "keys at the node")]  # fmt: skip
    charts = [
        Chart("resident memory, MB", [one for one in memory if one.points]),
        *(Chart(f"{p}: queues", [curve(p, n, t) for n, t in queues if curve(p, n, t).points]) for p in found.samples),
        *(Chart(f"{p}: contacts ended a second", [curve(p, "ended_s", "ended")]) for p in found.samples),
        Chart("plane: from arrival to answer, p99, and from in line to ring, p50 (ms)",
              [curve("plane", "answer_p99_ms", "answer"), curve("plane", "offer_p50_ms", "ring")]),
    ]  # fmt: skip
    return picture(f"{found.minutes:g} minutes; plane at {found.rate:.0f} contacts a second", charts)


def show(found: Soak) -> None:
    """For people."""
    console = Console(width=180)
    for part, samples in found.samples.items():
        for line in _sums(part, samples):
            console.print(line, highlight=False)
    if found.did:
        console.print(f"phones did: {', '.join(f'{what} {n}' for what, n in sorted(found.did.items()))}")
    table = Table(title="Verdict", title_justify="left", show_header=False)
    for one in found.verdicts:
        table.add_row("[green]held[/]" if one.held else "[red]VIOLATED[/]", one.name, one.found)
    console.print(table)


def _sums(part: str, samples: Sequence[Sample]) -> list[str]:
    """Rates and bytes a contact over the run."""
    if len(samples) < 2:
        return []
    first, last = samples[0], samples[-1]
    ended, seconds = last.get("ended", 0.0) - first.get("ended", 0.0), last["at_s"] - first["at_s"]
    lines = [f"{part}: {ended:,.0f} contacts ended in {seconds / 60:.1f} minutes, {ended / seconds:.1f}/s"]
    for name in sorted(name for name in last if name.endswith("_bytes")):
        grown = last[name] - first.get(name, 0.0)
        each = f"{grown / ended:,.0f} B a contact" if ended else ""
        day = f"{86_400 * grown / seconds / 1e9:.1f} GB a day at this rate"
        lines.append(f"  {name.removesuffix('_bytes'):8} {last[name] / MB:10,.1f} MB, {each}, {day}")
    for name in sorted(name for name in last if name.startswith("rows.")):
        if (grown := growth(samples, name)) is not None:
            lines.append(f"  {name:22} {grown.third:12,.0f} -> {grown.fourth:,.0f}")
    cpu = [f"{n.rpartition('.')[0]} {100 * (last[n] - first[n]) / seconds:.0f} %" for n in last if n.endswith(".cpu_s")]
    return [*lines, f"  of a core: {', '.join(cpu)}"]


def _home(directory: Path, name: str) -> Path:
    home = directory / name
    home.mkdir()
    return home


def parse(arguments: Sequence[str] | None = None) -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--only", choices=PARTS)
    parser.add_argument("--lines", type=int, default=20, help="callers at a time, most of the time")
    parser.add_argument("--rate", type=float, default=0, help="contacts a second of the plane, instead of a search")
    parser.add_argument("--part", type=float, default=PART, help="of the rate found, what is held for the time")
    parser.add_argument("--nice", type=int, default=5, help="niceness of the plane's processes beside the phones")
    parser.add_argument("--out", type=Path, default=Path("var/soak.json"))
    return parser.parse_args(arguments)


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print and write; 1 if a verdict is not as it must be."""
    given = parse(arguments)
    found: Any = asyncio.run(soak(given))
    found.write(given.out)
    given.out.with_suffix(".svg").write_text(draw(found), encoding="utf-8")
    show(found)
    wrong = [one for one in found.verdicts if not one.held]
    print(f"{len(wrong)} of {len(found.verdicts)} verdicts violated; samples in {given.out}", file=sys.stderr)
    return 1 if wrong else 0


if __name__ == "__main__":
    raise SystemExit(main())
