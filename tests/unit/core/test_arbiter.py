"""Who owns a shard, told by its records alone."""

from __future__ import annotations

import pytest

from tandem.core.arbiter import Arbiter
from tandem.core.commit import Claim, Commit


def _commit(epoch: int, n: int) -> Commit:
    return Commit(epoch, n, 0, "", 0, "1")


def test_an_empty_log_has_no_owner_and_counts_no_commit() -> None:
    assert not Arbiter().counts(_commit(0, 1))
    assert not Arbiter().counts(_commit(1, 1))
    assert Arbiter().counts(Claim(1, "a", "s"))
    assert not Arbiter().counts(Claim(2, "a", "s"))


def test_the_late_claimant() -> None:
    """L3: B wins claim 6 and stalls; D claims 7 and works; B wakes and claims 7, too late."""
    judge = Arbiter(5, "a", 40).after(Claim(6, "b", "s")).after(Claim(7, "d", "s")).after(_commit(7, 41))
    for late in (Claim(7, "b", "s"), Claim(6, "b", "s"), _commit(6, 41), _commit(6, 42)):
        assert not judge.counts(late)
    assert judge.counts(_commit(7, 42))
    assert judge == Arbiter(7, "d", 41)


def test_n_goes_on_across_epochs() -> None:
    judge = Arbiter().after(Claim(1, "a", "s")).after(_commit(1, 1)).after(Claim(2, "b", "s"))
    assert not judge.counts(_commit(2, 1))
    assert judge.after(_commit(2, 2)) == Arbiter(2, "b", 2)


def test_what_an_owner_decided_ahead_of_a_newer_claim_is_void() -> None:
    """L4: 41 is on its way when B's claim lands first."""
    judge = Arbiter(5, "a", 40).after(Claim(6, "b", "s"))
    assert not judge.counts(_commit(5, 41))


def test_a_skipped_or_repeated_number_is_void() -> None:
    judge = Arbiter(1, "a", 7)
    assert [n for n in range(12) if judge.counts(_commit(1, n))] == [8]


def test_a_void_record_cannot_be_applied() -> None:
    with pytest.raises(ValueError, match="void"):
        Arbiter().after(_commit(1, 1))
