"""How many aggregates of a kind a tenant has: the number that quotas live of."""

from __future__ import annotations

from tandem.runtime.aggregates import Aggregate, Aggregates
from tandem.runtime.restore import restore
from tests.support.bench import Bench
from tests.support.toy import Toy, toy_group


def test_what_is_over_does_not_count_though_its_step_is_not_written_yet() -> None:
    kind = toy_group().kinds["toy"]
    there = Aggregates()
    there["t1", "toy/a"] = one = Aggregate(kind, Toy())
    there["t1", "toy/a"] = one  # another event of it
    there["t1", "toy/b"] = Aggregate(kind, Toy())
    there["t2", "toy/a"] = Aggregate(kind, Toy())
    assert (there.living("t1", "toy"), there.living("t2", "toy"), there.living("t1", "vault")) == (2, 1, 0)
    one.state = Toy(over=True)
    there["t1", "toy/a"] = one
    assert there.living("t1", "toy") == 1
    del there["t1", "toy/a"]
    assert there.living("t1", "toy") == 1
    del there["t1", "toy/b"], there["t2", "toy/a"]
    assert (there, there._living, there._counted) == ({}, {}, set())


def test_owner_fold_and_snapshot_count_alike() -> None:
    bench = Bench().live()
    for stream, script in (("toy/a", "say:x"), ("toy/b", "say:x"), ("toy/c", "say:x;over"), ("toy/b", "over")):
        bench.do(stream, script)
    bench.settle()
    folded = bench.folded()
    restored = restore(bench.group, folded.parts())
    assert [ledger.aggregates.living("t1", "toy") for ledger in (bench.shard.ledger, folded, restored)] == [1, 1, 1]
