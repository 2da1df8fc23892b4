"""Pending effects: what is replaced, settled and over, in one step or in several, is the same for
the owner, for who folds the log, and for who begins with a snapshot."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tests.support.bench import BOOT, Bench
from tests.support.budget import examples
from tests.support.toy import NODE

LATER = BOOT.wall_ms + 10**6
PIECES = st.sampled_from(
    ["act:x", "act:y", f"wake:x:{LATER}", "settle:x", "settle:y", "tell:toy/b:act:x", "over", "bang"]
)
INPUTS = st.lists(st.tuples(st.lists(PIECES, min_size=1, max_size=4), st.booleans()), min_size=1, max_size=8)


@given(INPUTS)
@examples(80)
def test_pending_is_one_thing_for_everybody(inputs: list[tuple[list[str], bool]]) -> None:
    bench = Bench(nodes=(NODE,)).live()
    for pieces, together in inputs:
        bench.do("toy/a", ";".join(pieces))
        if not together:
            bench.settle()
            bench.same()
    bench.settle()
    bench.same()
    pending = bench.shard.ledger.pending
    assert {key for names in bench.shard.ledger.names.values() for key in names.values()} == set(pending)
    done = {perform.key for perform in bench.performed()}
    assert {key for key, row in pending.items() if row.effect.kind == "media"} <= done, "pending and never asked for"
