"""`make bench`: every benchmark in a process of its own, a table for people, and `var/bench.json`.

    python -m tests.load.bench [row2 ...] [--tiny] [--out FILE]

A run takes about a quarter of an hour on two quiet cores. What `--out` holds of benchmarks that are not
run now stays in it, so that one can be repeated alone.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import time
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path

from rich.console import Console
from rich.table import Table

from tests.load.figures import Figure, machine

ROWS = {
    "row1": "tests.load.row1",
    "row2": "tests.load.row2",
    "row3": "tests.load.row3",
    "row4": "tests.load.row4",
    "row5": "tests.load.row5",
    "row6": "tests.load.row6",
    "row9": "tests.load.row9",
    "builtin": "tests.load.row_builtin",
    "esl": "tests.load.row_esl",
    "queued": "tests.load.row_queued",
    "calls": "tests.load.row_calls",
}
ON_FREESWITCH = ("queued", "calls")
"""These need a FreeSWITCH 1.10, which is not everywhere: TANDEM_FREESWITCH names its prefix."""
WITHOUT = "TANDEM_FREESWITCH has to name the prefix of a FreeSWITCH 1.10 for them."
OUT = Path("var/bench.json")
LIMIT_S = 900
"""A benchmark that takes longer has failed."""


def run(row: str, *, tiny: bool) -> list[Figure]:
    """The figures of one benchmark. Raises RuntimeError if it fails; what it printed stands above."""
    command = [sys.executable, "-m", ROWS[row], *(["--tiny"] if tiny else [])]
    environment = {**os.environ, "GRPC_VERBOSITY": "ERROR"}  # else it tells of each process that is started
    try:
        done = subprocess.run(command, stdout=subprocess.PIPE, timeout=LIMIT_S, check=True, env=environment)
    except (subprocess.CalledProcessError, subprocess.TimeoutExpired) as error:
        raise RuntimeError(f"{row} failed: {error}") from error
    return [Figure(**one) for one in json.loads(done.stdout)]


def merged(out: Path, found: dict[str, list[Figure]]) -> list[Figure]:
    """What the file holds of other benchmarks, and what was found now, in the order of the rows."""
    figures = {row: list(rows) for row, rows in found.items()}
    for old in json.loads(out.read_bytes()) if out.exists() else []:
        row = old["name"].partition(".")[0]
        if row in ROWS and row not in found:
            figures.setdefault(row, []).append(Figure(**old))
    return [one for row in ROWS for one in figures.get(row, [])]


def write(out: Path, figures: Sequence[Figure]) -> None:
    """Whole or not at all."""
    out.parent.mkdir(parents=True, exist_ok=True)
    fresh = out.with_suffix(".new")
    fresh.write_text(json.dumps([asdict(one) for one in figures], indent=2) + "\n", encoding="utf-8")
    fresh.replace(out)


def show(console: Console, figures: Sequence[Figure]) -> None:
    """For people: a table, and under it the sizes, counts and reasons."""
    shown = Table(title="Benchmarks", title_justify="left")
    columns = (("", "left"), ("value", "right"), ("beside it", "left"), ("ratio", "right"), ("goal", "left"))
    for name, justify in columns:
        shown.add_column(name, justify=justify, no_wrap=not name)  # type: ignore[arg-type]
    for one in figures:
        peer = "" if one.peer_value is None else f"{one.peer_value:,.4g} {one.unit}: {one.peer}"
        ratio = "" if one.ratio is None else f"{one.ratio:.3g}"
        met = {None: "", True: "[green]met[/]: ", False: "[red]not met[/]: "}[one.met]
        shown.add_row(one.name, f"{one.value:,.4g} {one.unit}", peer, ratio, f"{met}{one.goal}")
    console.print(shown)
    for one in figures:
        if one.note:
            console.print(f"[bold]{one.name}[/]: {one.note}", highlight=False, soft_wrap=True)


def chosen(asked: Sequence[str], freeswitch: str) -> tuple[list[str], list[str]]:
    """The rows that run, and those that are left out because nobody names a FreeSWITCH."""
    rows = list(asked or ROWS)
    left_out = [] if freeswitch else [row for row in rows if row in ON_FREESWITCH]
    return [row for row in rows if row not in left_out], left_out


def main(arguments: Sequence[str] | None = None) -> int:
    """Run, print and write; 1 if a benchmark failed (an unmet goal is a figure, no failure)."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("rows", nargs="*", help=f"of {', '.join(ROWS)}; default all")
    parser.add_argument("--tiny", action="store_true", help="sizes that measure nothing, to see that it works")
    parser.add_argument("--out", type=Path, default=OUT)
    given = parser.parse_args(arguments)
    if unknown := [row for row in given.rows if row not in ROWS]:
        parser.error(f"there is no {', '.join(unknown)}: choose of {', '.join(ROWS)}")
    rows, left_out = chosen(given.rows, os.environ.get("TANDEM_FREESWITCH", ""))
    if not rows:
        parser.error(f"{', '.join(left_out)}: {WITHOUT}")
    console = Console(stderr=True)
    console.print(f"Benchmarks on {machine()}")
    found, failed = {}, []
    if left_out:
        console.print(f"Left out: {', '.join(left_out)}. {WITHOUT}", highlight=False)
    for row in rows:
        begun = time.monotonic()
        console.print(f"[bold]{row}[/]")
        try:
            found[row] = run(row, tiny=given.tiny)
            write(given.out, merged(given.out, found))
        except RuntimeError as error:
            failed.append(row)
            console.print(f"[red]{error}[/]", highlight=False)
        console.print(f"  {time.monotonic() - begun:.0f} s", highlight=False)
    figures = merged(given.out, found)
    show(Console(), [one for one in figures if one.name.partition(".")[0] in found])
    met, missed = (sum(one.met is whether for one in figures) for whether in (True, False))
    console.print(f"{met} goals met, {missed} not; all figures in {given.out}", highlight=False)
    return 1 if failed else 0


if __name__ == "__main__":
    raise SystemExit(main())
