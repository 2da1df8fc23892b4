"""The tail against a plain list of everything."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tandem.adapters.sqlite.tail import MAX_TAIL_BYTES, MAX_TAIL_RECORDS, Tail
from tandem.core.ports.log import Stored


def records(first: int, sizes: list[int]) -> list[Stored]:
    """Records of these sizes, offsets from `first` on."""
    return [Stored(first + at, b"x" * size) for at, size in enumerate(sizes)]


@given(st.integers(0, 5), st.lists(st.lists(st.sampled_from([1, 100, 70_000, 700_000]), min_size=1, max_size=5)))
def test_after_is_all_records_above_or_none(last: int, batches: list[list[int]]) -> None:
    tail = Tail(last)
    everything: list[Stored] = []
    for sizes in batches:
        batch = records(tail.last + 1, sizes)
        everything += batch
        tail.extend(batch)
        assert tail.last == everything[-1].offset
    for position in range(tail.last):
        kept = tail.after(position)
        assert kept is None or kept == [record for record in everything if record.offset > position]
    assert not tail.after(tail.last)


def test_it_stays_within_its_limits() -> None:
    tail = Tail(0)
    for size in (1, 5000):
        for _ in range(60):
            tail.extend(records(tail.last + 1, [size] * 50))
            kept = next(kept for position in range(tail.last) if (kept := tail.after(position)) is not None)
            assert len(kept) <= MAX_TAIL_RECORDS
            assert sum(len(record.body) for record in kept) <= MAX_TAIL_BYTES
    assert tail.after(tail.last - 1)


def test_a_record_larger_than_the_tail_is_in_the_file_alone() -> None:
    tail = Tail(7)
    tail.extend(records(8, [MAX_TAIL_BYTES + 1]))
    assert tail.last == 8
    assert tail.after(7) is None


def test_a_restart_forgets_what_it_had() -> None:
    tail = Tail(0)
    tail.extend(records(1, [1, 1]))
    tail.restart(5)
    assert (tail.last, tail.after(1), tail.after(4)) == (5, None, None)
    tail.extend(records(6, [1]))
    assert tail.after(5) == records(6, [1])
