"""A client's repeats are exact (spine 3): the same answer, for 24 hours and the last 10,000."""

from __future__ import annotations

from tandem.core.commit import Part, Reply
from tandem.runtime.ledger import MAX_REQUESTS, REQUEST_TTL_MS, Ledger
from tests.support.bench import Bench, reason, value
from tests.support.toy import toy_group


def _asked(bench: Bench, script: str, request: str = "k1/Do/r1", digest: str = "d1", tenant: str = "t1") -> object:
    handle = bench.ask("toy/a", script, request, digest, tenant)
    bench.settle()
    return handle


def test_a_repeat_gets_the_same_answer_and_changes_nothing() -> None:
    bench = Bench().live()
    first = value(bench.answer(_asked(bench, "say:x;answer")))
    records = len(bench.log)
    again = value(bench.answer(_asked(bench, "say:x;answer")))
    assert (again, bench.words("toy/a"), len(bench.log)) == (first, ("x",), records)


def test_a_repeat_gets_the_same_answer_from_the_successor() -> None:
    bench = Bench().live()
    first = value(bench.answer(_asked(bench, "say:x;answer")))
    successor = Bench("b", log=bench.log, keys=bench.keys).live()
    assert value(successor.answer(_asked(successor, "say:x;answer"))) == first
    assert successor.words("toy/a") == ("x",)


def test_a_repeat_while_the_first_is_in_flight_waits_with_it() -> None:
    bench = Bench().live()
    handles = [bench.ask("toy/a", "say:x;answer", "r", "d")]
    bench.turn()
    handles.append(bench.ask("toy/a", "say:x;answer", "r", "d"))
    bench.turn()
    assert [bench.answer(handle) for handle in handles] == [None, None]
    bench.settle()
    assert [value(bench.answer(handle)).value for handle in handles] == ["x", "x"]


def test_a_repeat_in_one_turn_is_decided_once() -> None:
    bench = Bench().live()
    handles = [bench.ask("toy/a", "say:x;answer", "r", "d") for _ in range(3)]
    bench.settle()
    assert [value(bench.answer(handle)).value for handle in handles] == ["x"] * 3


def test_another_request_under_the_same_id_is_told_so() -> None:
    bench = Bench().live()
    _asked(bench, "say:x;answer", digest="d1")
    assert reason(bench.answer(_asked(bench, "say:y;answer", digest="d2"))) == "REQUEST_ID_REUSED"
    assert bench.words("toy/a") == ("x",)


def test_ids_of_tenants_are_apart() -> None:
    bench = Bench().live()
    _asked(bench, "say:x;answer", digest="d1")
    assert value(bench.answer(_asked(bench, "say:y;answer", digest="d2", tenant="t2"))).value == "y"


def test_a_rejected_request_leaves_no_record_and_is_judged_anew() -> None:
    bench = Bench().live()
    records = len(bench.log)
    assert reason(bench.answer(_asked(bench, "reject"))) == "NOT_IN_USE"
    assert len(bench.log) == records
    assert value(bench.answer(_asked(bench, "say:x;answer"))).value == "x"


def test_a_command_that_changes_nothing_is_answered_without_a_record() -> None:
    bench = Bench().live()
    records = len(bench.log)
    assert reason(bench.answer(_asked(bench, ""))) == "NOT_IN_USE"
    handle = bench.ask("nobody/x", "say:x")
    bench.settle()
    assert reason(bench.answer(handle)) == "UNKNOWN_NAME"
    assert len(bench.log) == records


def test_a_request_is_remembered_for_a_day() -> None:
    bench = Bench().live()
    _asked(bench, "say:x;answer")
    bench.pass_ms(REQUEST_TTL_MS)
    assert reason(bench.answer(_asked(bench, "say:y;answer", digest="d2"))) == "REQUEST_ID_REUSED"
    bench.pass_ms(1)
    assert value(bench.answer(_asked(bench, "say:y;answer", digest="d2"))).value == "x y"
    assert value(bench.answer(_asked(bench, "say:y;answer", digest="d2"))).value == "x y"
    bench.same()


def _reply(request: str, time_ms: int) -> Reply:
    return Reply("t1", request, "d", time_ms, Part("toy.said", b""))


def test_so_many_are_remembered_oldest_first() -> None:
    ledger = Ledger(toy_group())
    for index in range(MAX_REQUESTS + 5):
        ledger.apply_reply(_reply(f"r{index}", index))
    requests = ledger.requests["t1"]
    assert len(requests) == MAX_REQUESTS
    assert next(iter(requests)) == "r5"


def test_an_id_used_anew_stands_among_the_newest() -> None:
    ledger = Ledger(toy_group())
    for request, at in (("r1", 0), ("r2", 1000), ("r1", REQUEST_TTL_MS)):
        ledger.apply_reply(_reply(request, at))
    ledger.apply_reply(_reply("r3", REQUEST_TTL_MS + 1001))
    assert list(ledger.requests["t1"]) == ["r1", "r3"]
