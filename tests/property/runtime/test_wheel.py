"""The wheel against a list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tandem.runtime.wheel import BUCKET_MS, Wheel
from tests.support.budget import examples

AT = st.one_of(st.integers(0, 5 * BUCKET_MS), st.integers(0, 10**9))


@given(st.lists(st.tuples(st.booleans(), AT), max_size=60))
@examples(200)
def test_due_is_what_a_list_would_say(steps: list[tuple[bool, int]]) -> None:
    wheel, naive, count = Wheel(), [], 0
    for arming, at in steps:
        if arming:
            count += 1
            wheel.arm(f"k{count}", at)
            naive.append((at, f"k{count}"))
        else:
            due = sorted(entry for entry in naive if entry[0] <= at)
            assert wheel.due(at) == due
            naive = [entry for entry in naive if entry[0] > at]
        assert len(wheel) == len(naive)
        assert wheel.next_ms() == min((at for at, _ in naive), default=None)


def test_a_key_armed_again_while_due_comes_next_time() -> None:
    wheel = Wheel()
    wheel.arm("a", 10)
    assert wheel.due(10) == [(10, "a")]
    wheel.arm("a", 5)  # in the past: due at once
    assert wheel.next_ms() == 5
    assert wheel.due(10) == [(5, "a")]
    assert wheel.due(10**9) == []
