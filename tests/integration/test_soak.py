"""What a soak run would say of a run: each kind of growth, of loss and of overload is seen, and calm is none."""

from __future__ import annotations

import json
import math
import os
from pathlib import Path
from types import SimpleNamespace
from xml.etree import ElementTree

import pytest

from tandem.adapters.sqlite import SqliteStore
from tandem.client.facts import By, CallFacts, Heard, Pressed, Sound, Way
from tandem.core.ports.store import Put
from tandem.core.seal import Withheld
from tandem.session.views import CONTACTS, ROWS, ContactRow, LegRow, Party, Phase
from tests.load import soak, soak_plane
from tests.load.plot import Chart, Curve, picture
from tests.load.rates import Probe, highest, why_not
from tests.load.sampler import Sample, of_metrics, of_process, size_of
from tests.load.soak_phones import expected_of
from tests.load.soak_plane import accounted
from tests.load.verdicts import growth, judged

MB = 1e6


def run(**series: object) -> list[Sample]:
    """40 samples, 100 contacts ended in each; a series is a function of the place or a number."""
    samples: list[Sample] = []
    for place in range(40):
        row: Sample = {"ended": 100.0 * place, "control.rss": 100 * MB, "waiting": 3.0}
        for name, value in series.items():
            row[name.replace("__", ".")] = float(value(place) if callable(value) else value)
        samples.append(row)
    return samples


def violated(samples: list[Sample]) -> list[str]:
    return [one.name for one in judged("plane", samples) if not one.held]


def test_a_calm_run_violates_nothing() -> None:
    teeth = run(control__rss=lambda n: 100 * MB + 8 * MB * (n % 5), pending=lambda n: 40 + n % 7, control__files=40)
    assert violated(teeth) == []


def test_a_contact_that_stays_in_memory_is_seen() -> None:
    assert violated(run(control__rss=lambda n: 100 * MB + 1.5 * 100 * n * 1700)) == ["plane control: memory"]
    assert violated(run(control__rss=lambda n: 100 * MB + 100 * n * 100)) == []
    warming = run(control__rss=lambda n: min(60, 20 + 4 * n) * MB)
    assert violated(warming) == []


@pytest.mark.parametrize("name", ["waiting", "pending", "live", "view_lag", "events_kept", "command_keys"])
def test_a_queue_that_grows_is_seen(name: str) -> None:
    assert violated(run(**{name: lambda n: 100 * n})) == [f"plane: {name.replace('_', ' ')}"]


@pytest.mark.parametrize("name", ["files", "threads", "tasks"])
def test_what_a_process_does_not_give_back_is_seen(name: str) -> None:
    assert violated(run(**{f"control__{name}": lambda n: 40 + 3 * n})) == [f"plane control: {name}"]


def test_a_process_that_died_and_a_fault_are_seen() -> None:
    samples = run(faults=0, lost=0)
    del samples[-1]["control.rss"]
    samples[-1]["faults"] = 2
    assert violated(samples) == ["plane: shard faults", "plane: processes that died"]


def test_growth_is_between_the_last_two_quarters() -> None:
    found = growth(run(x=lambda n: n), "x")
    assert found is not None
    assert (found.third, found.fourth, found.contacts) == (24.5, 34.5, 1000)
    assert math.isclose(found.each, 0.01)
    assert growth(run(x=1)[:7], "x") is None


# ------------------------------------------------------------------- the rate


async def search(holds_up_to: float, most: float = 400.0) -> float:
    async def probe(rate: float) -> Probe:
        return Probe(rate, "" if rate <= holds_up_to else "queues grow")

    found, tried = await highest(probe, 25.0, most)
    assert len(tried) <= 12
    return found


@pytest.mark.parametrize("limit", [4.0, 12.0, 25.0, 31.0, 99.0, 333.0, 399.0])
async def test_the_rate_found_holds_and_is_near_the_limit(limit: float) -> None:
    found = await search(limit)
    assert 0.85 * limit <= found <= limit


async def test_there_is_an_end_at_both_ends() -> None:
    assert await search(0.5) == 0.0
    assert await search(10_000.0) == 400.0


@pytest.mark.parametrize(
    ("said", "dialled", "refused", "live", "lag", "answer"),
    [
        ("", 50.0, 0, (40, 60), (0, 300), 0.3),
        ("came to 20/s alone", 20.0, 0, (40, 60), (0, 300), 0.3),
        ("3 calls were refused", 50.0, 3, (40, 60), (0, 300), 0.3),
        ("40 calls under way grew to 400", 50.0, 0, (40, 400), (0, 300), 0.3),
        ("from 0 to 900 commits", 50.0, 0, (40, 60), (0, 900), 0.3),
        ("after 1.5 s", 50.0, 0, (40, 60), (0, 300), 1.5),
    ],
)
def test_why_a_rate_does_not_hold(
    said: str, dialled: float, refused: int, live: tuple[int, int], lag: tuple[int, int], answer: float
) -> None:
    assert said in (why := why_not(50.0, dialled, refused, live, lag, answer))
    assert bool(said) == bool(why)


# ------------------------------------------------------------------- what phones tell of outcomes


def call(*, answered: bool = True, by: By = By.SELF, digit: str = "", hears: float = 0.0) -> CallFacts:
    return CallFacts(
        "p", 500.0, Way.OUT, "100", "49", "", 0.0, answered=1.0 if answered else None, ended=20.0, by=by,
        pressed=(Pressed(digit, 5.0),) if digit else (),
        heard=(Heard(Sound.TONE, 6.0, 9.0, hears),) if hears else (),
    )  # fmt: skip


def agent(*, answered: bool = True) -> CallFacts:
    began = 5.5
    return CallFacts("a", 700.0, Way.IN, "a", "49", "o", began, answered=6.0 if answered else None, ended=20.0)


@pytest.mark.parametrize(
    ("outcomes", "caller", "agents"),
    [
        ({"OUTCOME_HANDLED"}, call(digit="1", hears=700.0), [agent()]),
        ({"OUTCOME_ABANDONED"}, call(digit="1"), [agent(answered=False)]),
        ({"OUTCOME_ABANDONED", "OUTCOME_HANDLED"}, call(digit="1"), [agent()]),
        ({"OUTCOME_LEFT_IN_FLOW"}, call(), []),
        ({"OUTCOME_LEFT_IN_FLOW"}, call(digit="9"), []),
        ({"OUTCOME_FLOW_ENDED"}, call(digit="9", by=By.FAR), []),
        ({"none", "OUTCOME_REFUSED"}, call(answered=False, by=By.FAR), []),
    ],
)
def test_what_history_must_say(outcomes: set[str], caller: CallFacts, agents: list[CallFacts]) -> None:
    assert expected_of(caller, agents) == outcomes


# ------------------------------------------------------------------- the stub's phones against history


def contact(name: str, outcome: str, rings: int = 0, phase: Phase = Phase.ENDED, answered_ms: int = 2) -> Put:
    legs = tuple(LegRow(f"{name}.{n}", Party.AGENT, "ann", 1, answered_ms) for n in range(rings))
    row = ContactRow(name, phase, "100", Withheld(), "m1", "main", 1, 1, outcome=outcome, legs=legs)
    return Put(CONTACTS, ("t1", name), ROWS.encode(row))


@pytest.mark.parametrize(
    ("lines", "rows", "wrong"),
    [
        (["a talked 1", "b gave_up 0"], [contact("a", "HANDLED", 1), contact("b", "ABANDONED")], ""),
        (["a talked 1"], [], "calls that are no contact"),
        ([], [contact("a", "HANDLED", 1)], "contacts that no phone made"),
        (["a talked 1", "a talked 1"], [contact("a", "HANDLED", 1)], "contacts that no phone made"),
        (["a left 0"], [contact("a", "ABANDONED")], "outcomes that the phones tell otherwise"),
        (["a ended 0"], [contact("a", "FLOW_ENDED", phase=Phase.CLOSING)], "outcomes that the phones tell otherwise"),
        (["a talked 2"], [contact("a", "HANDLED", 1)], "other rings"),
        (["a talked 0"], [contact("a", "HANDLED", 1)], "other rings"),
        (["b gave_up 0"], [contact("b", "ABANDONED", 1, answered_ms=0)], ""),
        (["a refused 0"], [contact("a", "REFUSED")], ""),  # by a quota
        (["a refused 0"], [contact("x", "REFUSED")], ""),  # by the node: the contact has a name of its own
        (["a refused 0", "b refused 0"], [contact("x", "REFUSED")], "that the node refused"),
        (["a refused 0"], [contact("a", "FLOW_ENDED")], "outcomes that the phones tell otherwise"),
    ],
)
async def test_each_call_is_one_contact(tmp_path: Path, lines: list[str], rows: list[Put], wrong: str) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.project("contacts", "live/0", 1, rows)
    await store.close()
    witness = tmp_path / "witness.txt"
    witness.write_text("".join(f"{line}\n" for line in lines))
    verdicts = await accounted(witness, tmp_path, "t1", {})
    assert [wrong in one.name for one in verdicts if not one.held] == [True] * bool(wrong)


async def test_the_api_is_held_against_the_phones(tmp_path: Path) -> None:
    store = await SqliteStore.open(tmp_path)
    await store.project("contacts", "live/0", 1, [contact("a", "HANDLED", 1)])
    await store.close()
    (tmp_path / "witness.txt").write_text("a talked 1\n")
    for outcome, held in (("OUTCOME_HANDLED", True), ("OUTCOME_ABANDONED", False)):
        told = {"a": {"outcome": outcome}}
        assert all(one.held for one in await accounted(tmp_path / "witness.txt", tmp_path, "t1", told)) is held


@pytest.mark.timeout(600)
def test_a_run_of_seconds_accounts_for_every_call(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Both parts, real processes; what depends on the machine's mood is not judged here."""
    monkeypatch.setattr(soak_plane, "AGENTS", 10)
    out = tmp_path / "soak.json"
    soak.main(["--minutes", "0.3", "--rate", "4", "--lines", "4", "--nice", "0", "--out", str(out)])
    found = json.loads(out.read_text())
    assert {part: len(samples) for part, samples in found["samples"].items()} == {"phones": 2, "plane": 2}
    verdicts = {one["name"]: one for one in found["verdicts"]}
    for name in (
        "phones: calls that are not one contact, with the outcome that they tell",
        "phones: contacts of nobody",
        "phones: contacts that are not over",
        "phones: rung twice for one offer",
        "plane: calls that are no contact",
        "plane: contacts that no phone made, or more than one of a call",
        "plane: outcomes that the phones tell otherwise",
        "plane: contacts with other rings than the phones had",
        "plane: agents who still have a contact",
    ):
        assert verdicts[name]["held"], verdicts[name]
        assert not verdicts[name]["found"].startswith("0 of 0"), verdicts[name]
    assert out.with_suffix(".svg").read_text().startswith("<svg")


# ------------------------------------------------------------------- looking, and showing


def test_metrics_are_added_up_and_fair_turns_are_no_fault() -> None:
    text = """# TYPE tandem_inputs_waiting gauge
tandem_inputs_waiting{group="live",shard="0"} 2
tandem_inputs_waiting{group="live",shard="1"} 3
tandem_shard_faults_total{group="live",shard="0",what="fair_turns"} 9
tandem_shard_faults_total{group="live",shard="0",what="quarantines"} 1
tandem_shard_rows{group="live",shard="0",what="wakes"} 7
tandem_gc_runs_total{generation="1"} 5
tandem_gc_runs_total{generation="2"} 4
tandem_tasks 80"""
    found: Sample = {}
    for name, value in of_metrics(text, "control"):
        found[name] = found.get(name, 0) + value
    assert found == {"waiting": 5, "faults": 1, "rows.wakes": 7, "control.gc_full": 4, "control.tasks": 80}


def test_this_process_and_a_directory_can_be_looked_at(tmp_path: Path) -> None:
    here = SimpleNamespace(**of_process(os.getpid()))
    assert here.rss > 10 * MB and here.files >= 3 and here.threads >= 1 and here.cpu_s > 0
    assert of_process(2**22 + 1) == {}
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "log.db").write_bytes(b"12345")
    (tmp_path / "a" / "keys.db").write_bytes(b"123")
    assert size_of(tmp_path) == 8
    assert size_of(tmp_path / "a", "log.db") == 5
    assert size_of(tmp_path / "none") == 0


def test_the_picture_is_whole() -> None:
    curves = [Curve("a & b", [(0, 1.0), (60, 3.0)]), Curve("c", [(0, 0.0)])]
    made = ElementTree.fromstring(picture("1 < 2", [Chart("one", curves), Chart("empty", [Curve("d", [])])]))
    texts = ["".join(node.itertext()) for node in made.iter() if node.tag.endswith("text")]
    assert {"1 < 2", "one", "a & b", "5", "1 min"} <= set(texts)
    assert "empty" not in texts
    lines = [node.attrib["points"] for node in made.iter() if node.tag.endswith("polyline")]
    assert lines[0].split()[1].startswith("970.0,")
