"""The wheel against a list."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tandem.runtime.wheel import BUCKET_MS, EMPTY_MAX, Wheel
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


@given(st.lists(st.tuples(st.sampled_from("awtd"), AT), max_size=60))
@examples(200)
def test_thinning_forgets_nothing_that_is_wanted(steps: list[tuple[str, int]]) -> None:
    """Armed (`a` unwanted from the start, `w` wanted), thinned, and due, in any order."""
    wheel, naive, wanted = Wheel(), [], set()
    for what, at in steps:
        if what in "aw":
            key = f"k{len(naive)}"
            wheel.arm(key, at)
            naive.append((at, key))
            wanted |= {key} if what == "w" else set()
        elif what == "t":
            wheel.thin(at % 7, wanted)
        else:
            due = wheel.due(at)
            assert [entry for entry in due if entry[1] in wanted] == sorted(
                entry for entry in naive if entry[0] <= at and entry[1] in wanted
            )
            assert set(due) <= set(naive)
            wanted -= {key for _, key in due}
    armed = [at for at, key in naive if key in wanted]
    assert not armed or wheel.next_ms() <= min(armed)


def test_what_is_settled_long_before_it_is_due_does_not_pile_up() -> None:
    """One that is due in an hour for each of many contacts, ten of which live at a time."""
    wheel, wanted = Wheel(), dict.fromkeys(["first"])
    wheel.arm("first", 10**9)
    for n in range(20_000):
        wheel.arm(f"k{n}", 3_600_000 + 20 * n)
        wanted[f"k{n}"] = None
        wanted.pop(f"k{n - 10}", None)
        wheel.thin(2, wanted)
        assert len(wheel) <= 2 * EMPTY_MAX
    assert len(wheel._order) <= 3 * EMPTY_MAX
    assert wheel.due(10**10)[-1] == (10**9, "first")
