"""Who has held up the loop rests while others are at work (`runtime.pace`; pitfalls L6)."""

from __future__ import annotations

from tandem.core.commit import Commit
from tandem.runtime import log_codec
from tandem.runtime.turns import MAX_SHARED, TOGETHER_MS
from tests.support.bench import Bench
from tests.support.toy import NODE


def _live() -> Bench:
    bench = Bench(nodes=(NODE,)).live()
    bench.left.clear()
    bench.appended.clear()
    return bench


def _say(bench: Bench, tenant: str, many: int = 1) -> None:
    for index in range(many):
        bench.do("toy/a", f"say:{index}", tenant=tenant)


def _steps(bench: Bench) -> list[list[str]]:
    """The tenants of each step's inputs."""
    commits = map(log_codec.decode, bench.appended)
    return [[taken.tenant for taken in commit.inputs] for commit in commits if isinstance(commit, Commit)]


def test_while_a_storm_rests_its_neighbour_is_decided_at_once_and_the_storm_keeps_its_place() -> None:
    bench = _live()
    _say(bench, "calm")
    _say(bench, "storm", 10 * MAX_SHARED)
    bench.one_turn()
    assert bench.shard.rest()
    _say(bench, "calm2")
    bench.one_turn()
    assert not bench.shard.busy, "nobody may be decided now"
    bench.one_turn()
    assert bench.shard.waiting == 9 * MAX_SHARED
    bench.shard.rested()
    bench.one_turn()
    storm = ["storm"] * MAX_SHARED
    assert _steps(bench) == [["calm", *storm], ["calm2"], storm]


def test_each_neighbour_waits_for_one_turn_of_a_storm_whatever_stands_behind_it() -> None:
    bench = _live()
    _say(bench, "storm", 100 * MAX_SHARED)
    for round_ in range(20):
        bench.one_turn()
        _say(bench, "calm")
        bench.one_turn()
        assert "calm" in _steps(bench)[-1], f"in round {round_}"
        assert bench.shard.rest()
        bench.shard.rested()


def test_who_is_alone_or_has_been_for_a_while_does_not_rest() -> None:
    bench = _live()
    _say(bench, "storm", 3 * MAX_SHARED)
    bench.one_turn()
    assert not bench.shard.rest()
    _say(bench, "calm")
    bench.one_turn()
    assert bench.shard.rest()
    bench.shard.rested()
    bench.pass_ms(2 * TOGETHER_MS)
    _say(bench, "storm", MAX_SHARED)
    bench.one_turn()
    assert not bench.shard.rest()
