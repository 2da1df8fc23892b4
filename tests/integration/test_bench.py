"""The benchmarks work: tiny sizes that measure nothing, but every figure comes of work that was counted."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.load import bench

FIELDS = {"name": str, "value": float, "unit": str, "peer": str, "goal": str, "note": str}


@pytest.fixture(scope="module")
def out(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """`bench.json` of a tiny run of what needs no more than a second or two each."""
    file = tmp_path_factory.mktemp("bench") / "bench.json"
    assert bench.main(["row1", "row2", "row3", "row5", "row6", "esl", "--tiny", "--out", str(file)]) == 0
    return file


def _of(out: Path) -> dict[str, dict[str, Any]]:
    return {one["name"]: one for one in json.loads(out.read_bytes())}


def test_the_file_is_a_list_of_figures_with_their_peers(out: Path) -> None:
    for one in _of(out).values():
        assert set(one) == {*FIELDS, "peer_value", "ratio", "met"}
        assert all(isinstance(one[field], kind) for field, kind in FIELDS.items())
        assert (one["peer_value"] is None) == (one["ratio"] is None) == (not one["peer"])
        if one["ratio"] is not None:
            assert one["ratio"] == pytest.approx(one["value"] / one["peer_value"], rel=1e-2)
        assert one["met"] in (None, True, False)
        assert bool(one["goal"]) == (one["met"] is not None)


def test_a_contact_has_all_events_of_the_first_call(out: Path) -> None:
    """Recording fewer is no way to be quicker."""
    note = _of(out)["row2.contacts_per_core_s"]["note"]
    found = {what: float(count) for count, what in re.findall(r"([\d.]+) (events|inputs|effects)", note)}
    assert found["events"] >= 17 and found["inputs"] >= 12 and found["effects"] >= 9
    assert "40 contacts a round" in note


def test_offers_were_made_and_contacts_lived(out: Path) -> None:
    figures = _of(out)
    assert "20 offers" in figures["row1.offer_p99_ms"]["note"] and "100 waiting" in figures["row1.offer_p99_ms"]["note"]
    assert "302 aggregates" in figures["row5.live_again_s"]["note"]
    assert "ticks" in figures["row6.loop_stall_p999_ms"]["note"]
    assert 500 < figures["row6.bytes_waiting"]["value"] < figures["row6.bytes_talking"]["value"] < 20_000


def test_every_event_that_was_sent_was_read(out: Path) -> None:
    figures = _of(out)
    names = [f"esl.{which}{how}_events_per_core_s" for which in ("all", "subscribed") for how in ("", "_whole")]
    assert all(figures[name]["value"] > 0 and figures[name]["peer_value"] > 0 for name in names)
    assert "bytes an event" in figures["esl.all_events_per_core_s"]["note"]


def test_what_was_not_run_again_stays_in_the_file(out: Path) -> None:
    before = _of(out)
    assert bench.main(["row3", "--tiny", "--out", str(out)]) == 0
    after = _of(out)
    assert set(after) == set(before) and after["row5.live_again_s"] == before["row5.live_again_s"]


def test_a_row_that_is_not_there_is_named() -> None:
    with pytest.raises(SystemExit):
        bench.main(["row77"])
