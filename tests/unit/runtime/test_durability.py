"""Nothing leaves before it is durable, and an owner that is none any more stops (rule 5; L4)."""

from __future__ import annotations

import pytest

from tandem.core.commit import Claim, Commit
from tandem.core.ports.log import Stored
from tandem.runtime import log_codec
from tandem.runtime.outputs import Lost, Perform, Taken
from tandem.runtime.shard import HEARTBEAT_MS, MAX_IN_FLIGHT, Phase, WrongShape
from tandem.runtime.step import Answered
from tests.support.bench import Bench, reason, value
from tests.support.toy import NODE, toy_group


def _lost(bench: Bench) -> str:
    (lost,) = [output for output in bench.left if isinstance(output, Lost)]
    assert bench.shard.phase is Phase.LOST
    return lost.why


def _write(bench: Bench, record: Claim | Commit) -> None:
    """Somebody else's record lands before what this owner has appended."""
    bench.log.append(Stored(len(bench.log) + 1, log_codec.encode(record)))
    bench.follow()


def test_read_back_delayed_nothing_leaves_and_many_commits_are_in_flight() -> None:
    bench = Bench(nodes=(NODE,)).live()
    bench.left.clear()
    handles = []
    for index in range(12):
        bench.do("toy/a", f"say:{index};act:o{index}")
        handles.append(bench.ask("toy/a", "say:x;answer"))
        bench.turn()
    assert len(bench.appended) == 12  # decisions run ahead of the log
    assert bench.left == []
    bench.store(5)
    bench.turn()
    kinds = [type(output) for output in bench.left]
    assert kinds.count(Perform) == kinds.count(Taken) == kinds.count(Answered) == 5
    assert bench.shard.durable == bench.shard.n - 7
    bench.settle()
    assert all(value(bench.answer(handle)) for handle in handles)
    assert [p.payload.leg for p in bench.performed()] == [f"o{index}" for index in range(12)]


def test_at_most_so_many_commits_are_in_flight_and_the_rest_waits() -> None:
    bench = Bench().live()
    for index in range(MAX_IN_FLIGHT + 20):
        bench.do("toy/a", f"say:{index}")
        bench.turn()
    assert len(bench.appended) == MAX_IN_FLIGHT
    bench.settle()
    assert len(bench.words("toy/a")) == MAX_IN_FLIGHT + 20


def test_a_newer_claim_ends_the_owner_and_what_it_decided_is_void() -> None:
    first = Bench("a").live()
    first.do("toy/a", "say:before")
    first.settle()
    first.left.clear()
    first.do("toy/a", "say:after;act:ring")
    handle = first.ask("toy/a", "say:after;answer")
    first.turn()
    second = Bench("b", log=first.log)
    second.shard.claim(second.now)
    second.turn()
    second.store()  # lands before the first owner's commit
    first.follow()
    first.store()
    first.turn()
    assert "claimed epoch 2" in _lost(first)
    assert first.answer(handle) is None
    assert first.performed() == [] and first.taken() == []
    second.settle()
    assert second.words("toy/a") == ("before",)
    second.same()


def test_a_void_commit_of_ones_own_ends_the_owner() -> None:
    """A log that lost the commit before it, whatever the reason."""
    bench = Bench().live()
    for word in ("lost", "void"):
        bench.do("toy/a", f"say:{word};act:ring")
        bench.turn()
    bench.appended.popleft()
    bench.store()
    bench.turn()
    assert "void" in _lost(bench)
    assert bench.taken() == [] and bench.performed() == []
    assert bench.folded().aggregates == {}


@pytest.mark.parametrize("in_flight", [0, 1, 2])
def test_another_writer_under_the_same_epoch_ends_the_owner(in_flight: int) -> None:
    """Two processes that were given one owner name both take the claim for theirs."""
    bench = Bench().live()
    for index in range(in_flight):
        bench.do("toy/a", f"say:{index};act:ring")
        bench.turn()
    _write(bench, Commit(1, 1, bench.shard.now_ms, "boot-1", 1, "1"))
    bench.store()
    bench.turn()
    _lost(bench)
    assert bench.performed() == [] and bench.taken() == []


def test_a_doubtful_append_ends_the_owner_and_its_number_is_never_used_again() -> None:
    bench = Bench().live()
    bench.do("toy/a", "say:in-doubt")
    bench.turn()
    doubtful = log_codec.decode(bench.appended[0])
    assert isinstance(doubtful, Commit)
    bench.shard.append_failed("disk full")
    bench.turn()
    assert _lost(bench) == "disk full"
    late = bench.appended.popleft()
    successor = Bench("a", log=bench.log).live()
    successor.do("toy/a", "say:anew")
    successor.settle()
    used = {(commit.epoch, commit.n) for commit in successor.commits()}
    assert (doubtful.epoch, doubtful.n) not in used
    successor.log.append(Stored(len(successor.log) + 1, late))  # it arrives after all: void
    successor.follow()
    assert successor.words("toy/a") == ("anew",)
    successor.same()


def test_a_lost_shard_takes_and_gives_nothing_more() -> None:
    bench = Bench().live()
    bench.shard.append_failed("gone")
    bench.turn()
    bench.left.clear()
    assert bench.shard.query(object(), lambda ledger: 1) is None
    bench.do("toy/a", "say:x")
    bench.pass_ms(HEARTBEAT_MS)
    assert bench.left == [] and not bench.appended
    with pytest.raises(ValueError, match="only a follower claims"):
        bench.shard.claim(bench.now)


def test_a_late_claim_is_void_and_its_maker_follows_on() -> None:
    first, log = Bench("a"), []
    first.log = log
    second = Bench("b", log=log)
    first.shard.claim(first.now)
    second.shard.claim(second.now)
    first.turn()
    second.turn()
    first.store()
    second.follow()
    second.store()
    assert first.shard.phase is Phase.RECOVERING
    assert second.shard.phase is Phase.FOLLOWING
    first.follow()
    assert first.shard.phase is Phase.RECOVERING  # the late claim is void for it too


def test_a_query_sees_the_applied_state_and_waits_until_that_is_durable() -> None:
    bench = Bench().live()
    bench.do("toy/a", "say:x")
    bench.turn()
    handle = object()
    assert bench.shard.query(handle, lambda ledger: ledger.aggregates["t1", "toy/a"].state.words)
    bench.turn()
    assert bench.answer(handle) is None
    bench.settle()
    assert value(bench.answer(handle)) == ("x",)
    idle = object()
    bench.shard.query(idle, lambda ledger: len(ledger.aggregates))
    bench.turn()
    assert value(bench.answer(idle)) == 1  # nothing in flight: at once


def test_a_query_of_one_tenant_waits_for_its_own_commits_alone() -> None:
    bench = Bench().live()
    commits = {}
    for tenant in ("t1", "t2"):
        bench.do("toy/a", "say:x", tenant=tenant)
        bench.turn()
        commits[tenant] = bench.shard.n
    known, mine, yours = bench.shard.durable, object(), object()
    assert bench.shard.query(mine, lambda ledger: "none", "t3") == known
    bench.turn()
    assert value(bench.answer(mine)) == "none"
    assert bench.shard.query(yours, lambda ledger: ledger.aggregates["t1", "toy/a"].state.words, "t1") == commits["t1"]
    bench.turn()
    assert bench.answer(yours) is None
    bench.store(1)
    bench.turn()
    assert value(bench.answer(yours)) == ("x",), "its own commit is durable, that of t2 is not"


def test_a_query_that_saw_a_void_commit_is_never_answered() -> None:
    bench = Bench().live()
    bench.do("toy/a", "say:x")
    bench.turn()
    handle = object()
    bench.shard.query(handle, lambda ledger: 1)
    _write(bench, Claim(2, "b", bench.group.shape))
    bench.store()
    bench.turn()
    assert bench.answer(handle) is None


def test_a_rejected_command_waits_too_for_what_it_was_judged_on() -> None:
    bench = Bench().live()
    bench.do("toy/a", "say:x")
    bench.turn()
    handle = bench.ask("toy/a", "reject")
    bench.turn()
    assert bench.answer(handle) is None
    assert len(bench.appended) == 1  # it left no record
    bench.settle()
    assert reason(bench.answer(handle)) == "NOT_IN_USE"


def test_an_effect_that_a_later_step_settled_is_not_performed_any_more() -> None:
    bench = Bench(nodes=(NODE,)).live()
    bench.do("toy/a", "act:ring")
    bench.turn()
    bench.do("toy/a", "settle:ring")
    bench.turn()
    bench.settle()
    assert bench.performed() == []
    assert bench.commits()[-2].effects[0].name == "ring"  # it was written, and a crash between would offer it
    bench.same()


def test_an_effect_that_is_settled_between_read_back_and_turn_is_not_performed() -> None:
    bench = Bench(nodes=(NODE,)).live()
    bench.do("toy/a", "act:ring")
    bench.turn()
    bench.store()
    bench.do("toy/a", "settle:ring")
    bench.settle()
    assert bench.performed() == []


def test_another_grouping_on_an_existing_log_is_refused() -> None:
    first = Bench().live()
    with pytest.raises(WrongShape, match="start it with the same grouping"):
        Bench(log=first.log, group=toy_group("toys+others"))


def test_an_idle_owner_writes_its_clocks_once_a_minute() -> None:
    bench = Bench().live()
    before = bench.shard.n
    at = bench.shard.next_ms(bench.now)
    assert at == bench.now.boottime_ms + HEARTBEAT_MS
    bench.pass_ms(HEARTBEAT_MS - 1)
    assert bench.shard.n == before
    bench.pass_ms(1)
    assert bench.shard.n == before + 1
    heartbeat = bench.commits()[-1]
    assert (heartbeat.inputs, heartbeat.events) == ((), ())
    assert (heartbeat.boottime_ms, heartbeat.boot_id) == (bench.now.boottime_ms, "boot-1")


def test_while_the_log_stalls_no_alarm_is_asked_for_at_once_again() -> None:
    bench = Bench().live()
    bench.do("toy/a", "say:x")
    bench.turn()
    appended = list(bench.appended)
    bench.appended.clear()
    bench.pass_ms(HEARTBEAT_MS + 1000)
    at = bench.shard.next_ms(bench.now)
    assert at is None or at > bench.now.boottime_ms
    bench.appended.extend(appended)
    bench.settle()
    assert bench.shard.durable == bench.shard.n
