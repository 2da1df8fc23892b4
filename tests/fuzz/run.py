"""Fuzzes targets one after another, each in a process of its own: `make fuzz RUNS=... SECONDS=...`.

Prints a table: runs, runs a second, edges covered, inputs that reached something new, and how
much the process grew from the first input to the last. Ends with 1 if a target failed; the input
is then in var/fuzz/, to be kept in tests/fuzz/corpus/ with its fix.
"""

from __future__ import annotations

import argparse
import importlib.util
import os
import re
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

from tests.fuzz.table import TARGETS

HOME = Path("var/fuzz")
NICE = 10
GROWTH_MAX_MB = 64
"""From the first input to the last. What libFuzzer keeps itself, the inputs that reached something, is some MB."""
_STATUS = re.compile(r"^#(\d+)\s+(\w+)\s+cov: (\d+) ft: \d+ corp: (\d+)/\S+.*rss: (\d+)Mb", re.MULTILINE)


@dataclass(frozen=True, slots=True)
class Result:
    """What a target's run came to."""

    name: str
    runs: int
    seconds: float
    edges: int
    corpus: int
    growth_mb: int
    fault: str
    """Why it failed; empty if it did not."""


def fuzz(name: str, runs: int, seconds: int, seed: int) -> Result:
    """Fuzz one target in a process of its own."""
    HOME.mkdir(parents=True, exist_ok=True)
    log = HOME / f"{name}.log"
    options = [f"-runs={runs}" if runs else "", f"-max_total_time={seconds}" if seconds else "", f"-seed={seed}"]
    command = [sys.executable, "-m", "tests.fuzz.one", name, str(HOME / name), *filter(None, options)]
    begun = time.monotonic()
    with log.open("wb") as output:
        done = subprocess.run(
            command, stdout=output, stderr=subprocess.STDOUT, check=False, preexec_fn=lambda: os.nice(NICE)
        )
    took = time.monotonic() - begun
    return result_of(name, log.read_text("utf-8", "replace"), done.returncode, took)


def result_of(name: str, log: str, code: int, seconds: float) -> Result:
    """What libFuzzer's lines and exit code say. A crash, an input that takes over a minute or 1 GB (`one`) ends
    it with a code; a process that grows with its inputs is seen here."""
    found = _STATUS.findall(log)
    first = next((status for status in found if status[1] == "INITED"), None)
    if first is None:
        return Result(name, 0, seconds, 0, 0, 0, "it did not begin")
    last = found[-1]
    growth = int(last[4]) - int(first[4])
    fault = f"exit code {code}" if code else f"it grew by {growth} MB" if growth > GROWTH_MAX_MB else ""
    return Result(name, int(last[0]), seconds, int(last[2]), int(last[3]), growth, fault)


def main() -> int:
    """The table; 1 if a target failed, 2 if there is no fuzzer for this Python."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--runs", type=int, default=0, help="inputs of each target")
    parser.add_argument("--seconds", type=int, default=0, help="longest time of each target")
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("targets", nargs="*", metavar="TARGET", help=f"of {', '.join(TARGETS)}; all by default")
    options = parser.parse_args()
    if importlib.util.find_spec("atheris") is None:
        version = f"{sys.version_info.major}.{sys.version_info.minor}"
        print(f"atheris is not installed: it has no wheel for Python {version} here. Use Python 3.11 to 3.13 on Linux.")
        return 2
    if unknown := [name for name in options.targets if name not in TARGETS]:
        print(f"no target {', '.join(unknown)}; there are {', '.join(TARGETS)}")
        return 2
    runs = options.runs or (0 if options.seconds else 20_000)
    print(HEAD)
    results = []
    for name in options.targets or TARGETS:
        result = fuzz(name, runs, options.seconds, options.seed)
        results.append(result)
        print(_line(result), flush=True)
    print(f"{'together':<14}{sum(r.runs for r in results):>12,} in {sum(r.seconds for r in results):,.0f} s")
    return int(any(result.fault for result in results))


HEAD = f"{'target':<14}{'runs':>12}{'runs/s':>9}{'edges':>8}{'corpus':>8}{'growth MB':>11}  result"


def _line(result: Result) -> str:
    rate = result.runs / max(result.seconds, 0.001)
    verdict = f"FAILED: {result.fault}, see {HOME / result.name}.log" if result.fault else "ok"
    numbers = f"{result.runs:>12,}{rate:>9,.0f}{result.edges:>8}{result.corpus:>8}{result.growth_mb:>11}"
    return f"{result.name:<14}{numbers}  {verdict}"


if __name__ == "__main__":
    sys.exit(main())
