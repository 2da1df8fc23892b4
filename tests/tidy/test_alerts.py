"""Every alert has its runbook, every runbook its alert, and what an alert looks at is counted."""

from __future__ import annotations

import re

from tandem.runtime.counts import NAMES
from tests.tidy.source import ROOT

ALERTS = sorted((ROOT / "infra" / "observability" / "alerts").glob("*.yaml"))
RUNBOOKS = ROOT / "docs" / "runbooks"
WHAT = re.compile(r'tandem_shard_(faults_total|holds)\{what=~?"([a-z_|]+)"\}')


def _field(text: str, name: str) -> list[str]:
    return re.findall(rf"^\s+(?:- )?{name}: (.+)$", text, re.MULTILINE)


def test_there_is_one_alert_per_file_with_all_that_it_needs():
    assert ALERTS
    for path in ALERTS:
        text = path.read_text(encoding="utf-8")
        for name in ("alert", "expr", "severity", "summary", "description", "runbook_url"):
            assert len(_field(text, name)) == 1, f"{path.name}: {name}"
        assert _field(text, "severity")[0] in ("warning", "critical")


def test_every_alert_has_its_runbook_and_the_other_way_round():
    pages = {path.name for path in RUNBOOKS.glob("*.md")} - {"README.md"}
    named = set()
    index = (RUNBOOKS / "README.md").read_text(encoding="utf-8")
    for path in ALERTS:
        text = path.read_text(encoding="utf-8")
        (page,), (alert,) = _field(text, "runbook_url"), _field(text, "alert")
        assert page == f"docs/runbooks/{path.stem}.md"
        assert (RUNBOOKS / f"{path.stem}.md").read_text(encoding="utf-8").startswith(f"# {alert}\n"), page
        assert f"| `{alert}` | [{path.stem}]({path.stem}.md) | {_field(text, 'severity')[0]} |" in index
        named.add(f"{path.stem}.md")
    assert pages == named


def test_every_runbook_says_what_it_means_what_callers_hear_and_what_to_do():
    for path in RUNBOOKS.glob("*.md"):
        if path.name != "README.md":
            heads = re.findall(r"^## (.+)$", path.read_text(encoding="utf-8"), re.MULTILINE)
            assert heads[0] == "What it means" and heads[-1] == "What to do", path.name
            assert re.fullmatch(r"What callers( of that tenant)? hear", heads[1]), path.name


def test_what_alerts_look_at_in_a_shard_is_counted():
    for path in ALERTS:
        for metric, names in WHAT.findall(path.read_text(encoding="utf-8")):
            for name in names.split("|"):
                assert (f"{name}_now" if metric == "holds" else name) in NAMES, f"{path.name}: {name}"
