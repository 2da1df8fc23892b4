"""The log is the arbiter: one judgement for every reader (rule 5; L3, L4)."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tandem.core.arbiter import Arbiter
from tandem.core.commit import Claim, Commit, Record
from tests.support.budget import examples


def commit(epoch: int, n: int) -> Commit:
    return Commit(epoch, n, 0, "", 0, "1")


RECORDS = st.lists(
    st.one_of(
        st.builds(Claim, st.integers(0, 4), st.sampled_from("ab"), st.just("s")),
        st.builds(commit, st.integers(0, 4), st.integers(0, 5)),
    ),
    max_size=60,
)


def read(records: list[Record], judge: Arbiter | None = None) -> tuple[Arbiter, list[Record]]:
    """What a reader that starts here takes for counted."""
    judge, counted = judge or Arbiter(), []
    for record in records:
        if judge.counts(record):
            judge = judge.after(record)
            counted.append(record)
    return judge, counted


@given(RECORDS)
@examples(200)
def test_counted_records_are_one_unbroken_line(records: list[Record]) -> None:
    _, counted = read(records)
    claims = [record for record in counted if isinstance(record, Claim)]
    commits = [record for record in counted if isinstance(record, Commit)]
    assert [claim.epoch for claim in claims] == list(range(1, len(claims) + 1))
    assert [record.n for record in commits] == list(range(1, len(commits) + 1))
    epoch = 0
    for record in counted:
        epoch = record.epoch if isinstance(record, Claim) else epoch
        assert record.epoch == epoch


@given(RECORDS, st.integers(0, 60))
@examples(150)
def test_a_reader_that_goes_on_from_a_snapshot_judges_like_one_from_the_start(records: list[Record], cut: int) -> None:
    whole, counted = read(records)
    middle, first = read(records[:cut])
    end, second = read(records[cut:], middle)
    assert (end, first + second) == (whole, counted)


@given(RECORDS, st.lists(st.integers(0, 60), max_size=10))
@examples(100)
def test_a_record_delivered_again_is_void(records: list[Record], again: list[int]) -> None:
    """A retried append must not count twice: after a record, the same record never counts at once."""
    judge = Arbiter()
    for record in records:
        if judge.counts(record):
            judge = judge.after(record)
            assert not judge.counts(record)


@given(RECORDS, st.data())
@examples(150)
def test_void_records_may_as_well_not_be_there(records: list[Record], data: st.DataObject) -> None:
    end, counted = read(records)
    assert read(counted) == (end, counted)


@given(st.lists(st.tuples(st.sampled_from("abc"), st.integers(0, 3)), max_size=60))
@examples(150)
def test_of_owners_that_write_late_only_one_counts_at_a_time(steps: list[tuple[str, int]]) -> None:
    """Each owner believes what it last read: 0 claims, 1 reads the log, 2 and 3 commit. Whatever
    they write late, all readers agree and every commit that counts is the current owner's."""
    log: list[tuple[str, Record]] = []
    view = {owner: (0, Arbiter(), 0, 0) for owner in "abc"}  # read up to, judge, own epoch, own n
    for owner, step in steps:
        at, judge, epoch, n = view[owner]
        if step == 1:
            for who, record in log[at:]:
                if judge.counts(record):
                    judge = judge.after(record)
                    if isinstance(record, Claim):
                        epoch, n = (record.epoch, judge.n) if who == owner else (0, 0)
            at = len(log)
        elif step == 0:
            log.append((owner, Claim(judge.epoch + 1, owner, "s")))
        elif epoch:
            n += 1
            log.append((owner, commit(epoch, n)))
        view[owner] = (at, judge, epoch, n)
    judge = Arbiter()
    for who, record in log:
        if judge.counts(record):
            judge = judge.after(record)
            assert who == judge.owner
