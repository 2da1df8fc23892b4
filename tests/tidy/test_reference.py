"""The reference is what the code says, and names of telemetry are declared before they are used."""

from __future__ import annotations

import ast
import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tandem.runtime.telemetry import names
from tests.tidy.source import PACKAGE, ROOT, name_of, parse

OBSERVABILITY = ROOT / "infra" / "observability"
LEVELS = frozenset({"debug", "info", "warning", "error", "exception", "critical"})
METRIC = re.compile(r"\btandem_[a-z0-9_]+")


def test_the_reference_is_up_to_date(tmp_path):
    made = subprocess.run(
        [sys.executable, ROOT / "scripts" / "reference.py", "--to", str(tmp_path)],
        check=False,
        capture_output=True,
        text=True,
    )
    assert made.returncode == 0, made.stderr
    fresh = {path.relative_to(tmp_path) for path in tmp_path.rglob("*") if path.is_file()}
    assert fresh
    stale = [str(name) for name in sorted(fresh) if not same(tmp_path / name, ROOT / name)]
    assert not stale, f"run `make reference`: {', '.join(stale)}"


def same(made: Path, committed: Path) -> bool:
    return committed.is_file() and made.read_bytes() == committed.read_bytes()


def declared(metric: str) -> bool:
    """Whether a metric of a query is one of ours; a histogram is asked for by its parts."""
    return metric in names.METRICS or any(
        metric == f"{name}_{part}"
        for name, row in names.METRICS.items()
        if row.kind is names.Kind.HISTOGRAM
        for part in ("bucket", "sum", "count")
    )


@pytest.mark.parametrize("folder", ["dashboards", "alerts"])
def test_dashboards_and_alerts_ask_for_declared_metrics(folder):
    unknown = [
        f"{name_of(path)}: {metric}"
        for path in sorted((OBSERVABILITY / folder).rglob("*"))
        if path.suffix in {".json", ".yaml", ".yml"}
        for metric in sorted(set(METRIC.findall(path.read_text(encoding="utf-8"))))
        if not declared(metric)
    ]
    assert not unknown, "\n".join(unknown)


def test_dashboards_are_whole():
    found = sorted((OBSERVABILITY / "dashboards").glob("*.json"))
    assert found
    for path in found:
        board = json.loads(path.read_text(encoding="utf-8"))
        assert board["uid"]
        panels = [panel for panel in board["panels"] if panel["type"] != "row"]
        assert len({panel["id"] for panel in board["panels"]}) == len(board["panels"])
        for panel in panels:
            assert panel["title"]
            assert panel["description"], panel["title"]
            assert panel["targets"]
            assert all(METRIC.search(target["expr"]) for target in panel["targets"]), panel["title"]


def events_logged(path: Path) -> Iterator[tuple[int, str]]:
    """(line, event) of every log call in a module, the event as text."""
    tree = parse(path)
    for node in ast.walk(tree):
        if isinstance(node, ast.Call) and isinstance(node.func, ast.Attribute) and node.func.attr in LEVELS:
            of = ast.unparse(node.func.value)
            if of == "_log" or of.startswith("structlog.get_logger"):
                event = node.args[0]
                yield node.lineno, event.value if isinstance(event, ast.Constant) else ast.unparse(event)


def test_log_events_are_declared():
    said = {f"names.{name}": value for name, value in vars(names).items() if isinstance(value, str)}
    unknown, used = [], set()
    for path in sorted(PACKAGE.rglob("*.py")):
        for line, event in events_logged(path):
            text = said.get(event, event)
            used.add(text)
            if text not in names.LOG_EVENTS:
                unknown.append(f"{name_of(path)}:{line}: {event}")
    assert not unknown, "declare them in runtime/telemetry/names.py: " + "; ".join(unknown)
    assert used == set(names.LOG_EVENTS), f"declared and never written: {set(names.LOG_EVENTS) - used}"


def test_metrics_that_are_declared_are_used():
    text = "\n".join(
        path.read_text(encoding="utf-8")
        for path in PACKAGE.rglob("*.py")
        if path.name != "names.py" or "wire" in path.parts
    )
    constants = {name: value for name, value in vars(names).items() if isinstance(value, names.Metric)}
    assert [name for name in constants if not re.search(rf"\bnames\.{name}\b", text)] == []
    spans = {name: value for name, value in vars(names).items() if isinstance(value, str) and value in names.SPANS}
    assert [name for name in spans if not re.search(rf"\bnames\.{name}\b", text)] == []
