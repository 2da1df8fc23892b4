"""Shard time never runs back, is slewed by 1 % at most, and outlives its owners (rule 9; T3)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tandem.runtime.shardtime import SLEW_PER_MILLE, Instant, ShardTime
from tests.support.budget import examples

MS = st.integers(0, 10**13)
STEPS = st.lists(st.tuples(st.integers(0, 100_000), st.integers(-(10**7), 10**7)), max_size=30)
"""(how far the boot clock runs on, how far the wall clock is set besides)"""


def _instants(start: Instant, steps: list[tuple[int, int]]) -> list[Instant]:
    found = [start]
    for ran, set_by in steps:
        last = found[-1]
        found.append(Instant(last.boottime_ms + ran, last.wall_ms + ran + set_by, last.boot_id))
    return found


@given(MS, MS, MS, MS, STEPS, st.booleans())
@examples(150)
def test_never_back_and_slewed_slowly(
    last: int, boottime: int, gap: int, wall: int, steps: list[tuple[int, int]], same_boot: bool
) -> None:
    start = Instant(boottime + gap if same_boot else gap, wall, "b1" if same_boot else "b2")
    time, _ = ShardTime.going_on(last, "b1", boottime, start)
    before = time.at(start)
    assert before >= last
    first, elapsed = before, 0
    for earlier, now in zip(instants := _instants(start, steps), instants[1:], strict=False):
        ran = now.boottime_ms - earlier.boottime_ms
        moment = time.at(now)
        assert moment >= before
        # What was not used of the allowance may be used later, so the bound holds over the whole way.
        elapsed += ran
        drift = abs((moment - first) - elapsed)
        assert drift <= elapsed * SLEW_PER_MILLE // 1000 + 1
        before = moment


@given(st.integers(1, 10**13), MS, MS, MS)
@examples(100)
def test_on_the_same_boot_it_goes_on_exactly(last: int, boottime: int, gap: int, wall: int) -> None:
    now = Instant(boottime + gap, wall, "b1")
    time, stepped = ShardTime.going_on(last, "b1", boottime, now)
    assert (time.at(now), stepped) == (last + gap, False)
    assert time.of(boottime) == last


@given(MS, MS, MS, MS)
@examples(100)
def test_on_another_boot_it_is_the_later_of_commit_and_clock(last: int, old: int, boottime: int, wall: int) -> None:
    now = Instant(boottime, wall, "b2")
    time, stepped = ShardTime.going_on(last, "b1", old, now)
    assert time.at(now) == max(last, wall)
    assert stepped == (0 < last < wall)


@given(st.integers(1, 10**12), st.integers(-20_000, 20_000))
@examples(60)
def test_it_comes_to_the_owners_clock_in_the_end(last: int, ahead: int) -> None:
    now = Instant(10_000, last + ahead, "b1")
    time, _ = ShardTime.going_on(last, "b1", 10_000, now)
    needed = abs(ahead) * 1000 // SLEW_PER_MILLE
    for part in (needed // 2, needed + 1000):
        now = Instant(now.boottime_ms + part, now.wall_ms + part, "b1")
        time.at(now)
    assert time.at(now) == now.wall_ms


@given(st.integers(10**10, 10**12), st.integers(0, 10**9), st.integers(0, 10**9))
@examples(60)
def test_an_event_of_the_past_keeps_its_own_time(last: int, since: int, gap: int) -> None:
    now = Instant(10**9 + gap, last + gap, "b1")
    time, _ = ShardTime.going_on(last, "b1", 10**9, now)
    at = time.at(now)
    assert time.of(now.boottime_ms - since) == at - since


@given(st.integers(1, 10**12), MS, st.integers(0, 10**6), st.integers(0, 10**6))
@examples(60)
def test_after_another_boot_no_event_is_older_than_the_last_commit(last: int, wall: int, since: int, gap: int) -> None:
    now = Instant(10**6 + gap, wall, "b2")
    time, _ = ShardTime.going_on(last, "b1", 5, now)
    at = time.at(now)
    assert time.of(now.boottime_ms - since) == max(at - since, last)
