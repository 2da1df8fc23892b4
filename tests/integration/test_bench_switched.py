"""The rows on real FreeSWITCH, as far as they go without one: their arithmetic, and the same load on the built-in node.
(`tests/e2e/freeswitch/test_load_rows.py` runs them whole.)"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from xml.etree import ElementTree

import pytest

from tests.e2e.cell import Cell
from tests.e2e.freeswitch.node import CONFIG
from tests.load import bench, row_calls, row_queued
from tests.load.real_callcenter import LINE, MENU, QUEUES, with_callcenter
from tests.load.row_calls import Load
from tests.load.row_queued import OURS, THEIRS, Block, Collections, Moments
from tests.load.switched import Counted, counted, running


@pytest.fixture
def cell(tmp_path: Path) -> Iterator[Cell]:
    """On the built-in node."""
    with running(tmp_path / "cell", None) as cell:
        yield cell


# ------------------------------------------------------------------- which rows run


def test_without_a_freeswitch_its_rows_are_left_out_by_name() -> None:
    rows, left_out = bench.chosen((), "")
    assert left_out == ["queued", "calls"] and set(rows) | set(left_out) == set(bench.ROWS)
    assert bench.chosen(["row3", "calls"], "") == (["row3"], ["calls"])
    assert bench.chosen((), "/opt/freeswitch") == (list(bench.ROWS), [])


def test_a_row_that_cannot_run_is_an_error_where_it_is_asked_for_alone(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.delenv("TANDEM_FREESWITCH", raising=False)
    with pytest.raises(SystemExit):
        bench.main(["queued", "--tiny"])
    assert "queued: TANDEM_FREESWITCH has to name" in capsys.readouterr().err


# ------------------------------------------------------------------- queued


def test_the_peer_stands_beside_our_own_dialplan(tmp_path: Path) -> None:
    """Its numbers come before the one that takes any; the rest is ours, unchanged."""
    made = with_callcenter(tmp_path / "config")
    ours = ElementTree.parse(CONFIG / "dialplan/arrivals.xml").getroot()
    both = ElementTree.parse(made / "dialplan/arrivals.xml").getroot()
    names = [one.get("name") for one in both]
    assert names == ["emergency", "draining", "peer menu", "peer line", "arrival"]
    assert [ElementTree.tostring(one) for one in both if not str(one.get("name")).startswith("peer")] == [
        ElementTree.tostring(one) for one in ours
    ]
    assert [one.get("expression") for one in both.iterfind("extension/condition")][2:4] == [f"^{MENU}$", f"^{LINE}$"]
    queues = ElementTree.parse(made / "autoload_configs/callcenter.conf.xml").iterfind("queues/queue")
    assert tuple(queue.get("name") for queue in queues) == QUEUES


def collected(caller: str, application: str = "play_and_get_digits") -> bytes:
    block = f"Event-Name: CHANNEL_EXECUTE_COMPLETE\nApplication: {application}\nCaller-Caller-ID-Number: {caller}\n\n"
    return f"Content-Length: {len(block)}\nContent-Type: text/event-plain\n\n{block}".encode()


def test_a_caller_is_queued_when_freeswitch_has_the_digit_and_not_later() -> None:
    moments = Moments()
    socket = Collections("secret", moments)
    socket.data_received(collected("1", "answer") + collected("2"))
    first = dict(moments.queued)
    assert set(first) == {"2"}
    socket.data_received(collected("2") + collected("1"))
    assert moments.queued["2"] == first["2"] and set(moments.queued) == {"1", "2"}


def test_who_was_sent_nobody_counts_with_the_time_that_they_waited() -> None:
    moments = Moments(queued={"1": 10.0, "2": 11.0}, invited={"1": 10.25})
    assert moments.ms(["1", "2"], moments.queued) == [250.0, 1000 * row_queued.OFFERED_S]
    with pytest.raises(AssertionError, match="no digit was taken of"):
        moments.ms(["3"], moments.queued)


def test_a_goal_that_is_not_met_says_by_how_much() -> None:
    late = 1000 * row_queued.OFFERED_S
    found = {
        (OURS, 0): Block([10.0], [50.0]), (THEIRS, 0): Block([60.0], [100.0]),
        (OURS, 1000): Block([10.0, 10.0, 20.0], [50.0]), (THEIRS, 1000): Block([900.0, 900.0, late], [950.0]),
    }  # fmt: skip
    alone = {0: [1.0], 1000: [2.0, 2.5, 3.0]}
    idle, busy = row_queued.figures_of(found, alone, 20, 180)
    assert (idle.met, idle.goal, idle.ratio) == (None, "", pytest.approx(0.1667))
    assert (busy.met, busy.value, busy.peer_value) == (False, 10.0, 900.0)
    assert "1 not offered in 30 s" in busy.note and "90 times quicker" in busy.note
    assert "not met: FreeSWITCH's own 2.5 ms" in busy.note
    found[THEIRS, 1000] = Block([1000.0], [1050.0])
    assert row_queued.figures_of(found, alone, 20, 180)[1].met


async def test_callers_reach_agents_who_are_free_and_the_invite_is_seen(cell: Cell) -> None:
    async with cell.centre(queues={"sales": ("ann", "bob"), "held": ()}) as centre:
        side = await row_queued.tandem_side(centre)
        async with row_queued.floor(cell, centre, ("ann", "bob")) as floor:
            callers = await floor.calls(side.menu, 3)
            times = floor.moments.ms(callers, floor.moments.pressed)
            assert len(times) == 3 and all(0 < ms < 1000 * row_queued.OFFERED_S for ms in times)
        await side.until_waiting(0)


# ------------------------------------------------------------------- calls


def test_the_last_line_of_sipps_statistics_counts(tmp_path: Path) -> None:
    file = tmp_path / "stat.csv"
    file.write_text(
        "StartTime;SuccessfulCall(P);SuccessfulCall(C);FailedCall(P);FailedCall(C);\n"
        "1;2;2;0;0;\n"
        "1;3;5;1;1;\n"
    )  # fmt: skip
    assert counted(file) == Counted(5, 1)


def test_one_call_that_is_not_whole_at_one_end_meets_no_goal() -> None:
    cpu = {"control": 1.0, "media": 2.0, "switch": 10.0}
    whole = Load(500, Counted(500, 0), Counted(500, 0), {"OUTCOME_HANDLED": 500}, cpu, 26.0)
    accounted, control, agent = row_calls.figures_of(whole)
    assert accounted.met and (control.value, control.peer_value, agent.value) == (2.0, 20.0, 4.0)
    for part in (
        Load(500, Counted(499, 1), Counted(500, 0), {"OUTCOME_HANDLED": 500}, cpu, 26.0),
        Load(500, Counted(500, 0), Counted(501, 0), {"OUTCOME_HANDLED": 500}, cpu, 26.0),
        Load(500, Counted(500, 0), Counted(500, 0), {"OUTCOME_HANDLED": 499, "OUTCOME_ABANDONED": 1}, cpu, 26.0),
    ):
        accounted, *_ = row_calls.figures_of(part)
        assert accounted.met is False and "not met: callers" in accounted.note


@pytest.mark.needs("sipp")
async def test_sipp_counts_every_call_from_the_menu_to_the_agents_end(cell: Cell, tmp_path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("SIPp sends a digit through a raw socket, which only root may open")
    async with cell.centre("ann", "bob", "cid") as centre:
        found = await row_calls.load(cell, centre, tmp_path, 4, warm_up=1)
    assert found.whole, found
    assert set(found.cpu_s) == {"control", "media"}
