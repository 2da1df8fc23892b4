"""What a soak run looks at every few seconds: the processes from outside (/proc) and from inside (/metrics),
and what they have written."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

import httpx

from tests.e2e.cell import Cell

Sample = dict[str, float]
"""Values by name: `control.rss` is of a process, `live` of the whole part."""

PAGE = os.sysconf("SC_PAGE_SIZE")
SUMMED = {
    "tandem_inputs_waiting": "waiting",
    "tandem_commits_in_flight": "in_flight",
    "tandem_effects_pending": "pending",
    "tandem_contacts": "live",
    "tandem_contacts_started_total": "started",
    "tandem_contacts_ended_total": "ended",
    "tandem_contacts_turned_away_total": "turned_away",
    "tandem_queue_length": "in_line",
    "tandem_view_lag_commits": "view_lag",
    "tandem_inbox_lag_commits": "inbox_lag",
    "tandem_commits_total": "commits",
    "tandem_shard_faults_total": "faults",
    "tandem_shard_lost_total": "lost",
    "tandem_series_folded_total": "series_folded",
    "tandem_media_events_kept": "events_kept",
    "tandem_media_command_keys": "command_keys",
    "tandem_media_legs": "legs",
    "tandem_recordings_spooled": "spooled",
    "tandem_rtp_late_ticks_total": "late_frames",
}
"""Metrics that are added up over their labels, and what the sum is called."""
OF_A_PROCESS = {
    "tandem_tasks": "tasks",
    "tandem_gc_seconds_total": "gc_s",
    "tandem_loop_stall_max_seconds": "stall_s",
}
"""Metrics of each process of its own."""
ROWS = "tandem_shard_rows{"
NO_FAULT = 'what="fair_turns"'
"""Counted beside the faults: turns that ended for another tenant's sake."""
FULL_COLLECTIONS = 'tandem_gc_runs_total{generation="2"}'


@dataclass(frozen=True, slots=True)
class Watched:
    """One cell: its processes by name, where their metrics are, and what it writes."""

    pids: Mapping[str, int]
    metrics: Mapping[str, str] = field(default_factory=dict)
    written: Mapping[str, tuple[Path, str]] = field(default_factory=dict)
    """Directory, and what the names of its files begin with."""

    async def sample(self, client: httpx.AsyncClient) -> Sample:
        """Now. A process that is gone has no values, which the verdict sees."""
        found: Sample = {}
        for name, pid in self.pids.items():
            found |= {f"{name}.{what}": value for what, value in of_process(pid).items()}
        for name, url in self.metrics.items():
            text = (await client.get(url)).text
            for what, value in of_metrics(text, name):
                found[what] = found.get(what, 0.0) + value
        for name, (directory, prefix) in self.written.items():
            found[f"{name}_bytes"] = size_of(directory, prefix)
        return found


def of_process(pid: int) -> Sample:
    """Memory that is resident (bytes), open files, threads, processor seconds of a process; empty if it is gone."""
    root = Path(f"/proc/{pid}")
    try:
        pages = int((root / "statm").read_text().split()[1])
        fields = (root / "stat").read_text().rpartition(")")[2].split()
        files = sum(1 for _ in (root / "fd").iterdir())
    except (FileNotFoundError, ProcessLookupError):
        return {}
    ticks = int(fields[11]) + int(fields[12])
    cpu_s = ticks / os.sysconf("SC_CLK_TCK")
    return {"rss": pages * PAGE, "files": files, "threads": int(fields[17]), "cpu_s": cpu_s}


def of_metrics(text: str, process: str) -> Iterator[tuple[str, float]]:
    """What is wanted of an exposition in the text format; sums are the reader's."""
    for line in text.splitlines():
        series, _, value = line.rpartition(" ")
        name = series.partition("{")[0]
        if name in SUMMED and NO_FAULT not in series:
            yield SUMMED[name], float(value)
        elif name in OF_A_PROCESS:
            yield f"{process}.{OF_A_PROCESS[name]}", float(value)
        elif series.startswith(ROWS):
            what = series.partition('what="')[2].partition('"')[0]
            yield f"rows.{what}", float(value)
        elif series == FULL_COLLECTIONS:
            yield f"{process}.gc_full", float(value)


def cell_files(data_dir: Path) -> dict[str, tuple[Path, str]]:
    """What a cell writes, by kind; each database with its side files."""
    log = data_dir / "log"
    found = {name: (log, f"{name}.db") for name in ("log", "keys", "views")} | {"log_wal": (log, "log.db-wal")}
    return found | {name: (data_dir / name, "") for name in ("blobs", "media")}


def size_of(directory: Path, prefix: str = "") -> float:
    """Bytes of all files below a directory, some of which may go meanwhile."""
    total = 0
    for path in directory.rglob(f"{prefix}*"):
        try:
            total += path.stat().st_size if path.is_file() else 0
        except FileNotFoundError:
            continue  # a snapshot or a segment that was tidied up just now
    return float(total)


def stop_cell(cell: Cell) -> None:
    """End its processes. Idempotent."""
    if cell in Cell.running:
        cell.stop()


def media_metrics(data_dir: Path) -> str:
    """Where the media node of a cell says that its metrics are."""
    return str(json.loads((data_dir / "run" / "media-metrics.json").read_text())["metrics"])
