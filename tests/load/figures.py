"""What a benchmark finds: figures, each beside a peer that was measured in the same run."""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Coroutine, Iterator, Sequence
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

CONTACTS = int(os.environ.get("BENCH_CONTACTS", "100000"))
"""Contacts in line where a goal speaks of 100,000. A machine that is too busy may be given fewer; the
goal then counts as not met."""
FULL = 100_000


@dataclass(frozen=True, slots=True)
class Figure:
    """One line of the table. `ratio` is value to peer_value; `met` is None where there is no goal."""

    name: str
    value: float
    unit: str
    peer: str = ""
    peer_value: float | None = None
    ratio: float | None = None
    goal: str = ""
    met: bool | None = None
    note: str = ""
    """Sizes and counts of the run, and why a goal was not met."""


@dataclass(frozen=True, slots=True)
class Scale:
    """How much is done: `tiny` sizes show that a benchmark works, and measure nothing."""

    tiny: bool = False

    def __call__(self, full: int, tiny: int) -> int:
        """A size."""
        return tiny if self.tiny else full


def fewer(contacts: int) -> str:
    """Why a goal of 100,000 is not met by fewer; empty for as many."""
    return "" if contacts >= FULL else f"; not met: only {contacts:,} contacts were made in this run"


def figure(
    name: str,
    value: float,
    unit: str,
    *,
    peer: str = "",
    peer_value: float | None = None,
    goal: str = "",
    met: bool | None = None,
    note: str = "",
) -> Figure:
    """With the ratio worked out."""
    ratio = None if not peer_value else _short(value / peer_value)
    shown = None if peer_value is None else _short(peer_value)
    return Figure(name, _short(value), unit, peer, shown, ratio, goal, met, note)


def _short(value: float) -> float:
    return float(f"{value:.4g}")


def share(values: Sequence[float], part: float) -> float:
    """A quantile: 0.5 the median, 0.99 what one in a hundred exceeds."""
    ordered = sorted(values)
    return ordered[min(int(len(ordered) * part), len(ordered) - 1)]


def median(values: Sequence[float]) -> float:
    """Of several rounds."""
    return statistics.median(values)


def spread(values: Sequence[float]) -> str:
    """The rounds behind a median, for a note."""
    return f"rounds {', '.join(f'{value:.4g}' for value in values)}"


def machine() -> str:
    """What the figures were measured on."""
    load = os.getloadavg()[0]
    return f"{os.cpu_count()} cores, Python {platform.python_version()}, load average {load:.1f} at the start"


@contextmanager
def scratch() -> Iterator[Path]:
    """A directory on the disk that `BENCH_DIR` or the system names; nothing is left of it."""
    with tempfile.TemporaryDirectory(prefix="tandem-bench-", dir=os.environ.get("BENCH_DIR")) as name:
        yield Path(name)


def home_in(directory: Path, name: str) -> Path:
    """A fresh place for a control plane and its node."""
    home = directory / name
    (home / "run").mkdir(mode=0o700, parents=True)
    return home


def tell(text: str) -> None:
    """A line of progress, for people."""
    print(f"  {text}", file=sys.stderr, flush=True)


def run_row(row: Callable[[Scale], list[Figure] | Coroutine[Any, Any, list[Figure]]], doc: str | None) -> None:
    """The command line of one benchmark: figures as JSON on stdout, progress on stderr."""
    import uvloop

    quiet()
    parser = argparse.ArgumentParser(description=doc)
    parser.add_argument("--tiny", action="store_true", help="sizes that measure nothing, to see that it works")
    found = row(Scale(parser.parse_args().tiny))
    figures = found if isinstance(found, list) else uvloop.run(found)
    print(json.dumps([asdict(one) for one in figures]))


def quiet() -> None:
    """No log lines between the figures."""
    import logging

    import structlog

    logging.basicConfig(level=logging.ERROR)
    structlog.configure(wrapper_class=structlog.make_filtering_bound_logger(logging.ERROR))


class Cpu:
    """Processor seconds of this process, all threads."""

    def __init__(self) -> None:
        self._begun, self._wall = time.process_time(), time.perf_counter()

    @property
    def used_s(self) -> float:
        """Since it was made."""
        return time.process_time() - self._begun

    @property
    def wall_s(self) -> float:
        """By the clock."""
        return time.perf_counter() - self._wall
