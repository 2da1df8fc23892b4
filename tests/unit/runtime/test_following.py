"""What a standby hands over, and what it does not."""

from __future__ import annotations

import pytest

from tandem.core.commit import Claim, Commit, Envelope, Part
from tandem.core.ports.log import Partition, Stored
from tandem.runtime import log_codec
from tandem.runtime.following import Following, OtherShape
from tandem.runtime.ledger import BadHistory
from tandem.runtime.log_codec import BadRecord
from tests.support.toy import toy_group

OTHER = Partition("other", 0)


def _claimed() -> Following:
    following = Following(toy_group(), follows=(OTHER,))
    following.fold(Stored(1, log_codec.encode(Claim(1, "a", toy_group().shape))))
    return following


def test_all_that_was_taken_whole_is_handed_over() -> None:
    following = _claimed()
    following.fold(Stored(4, log_codec.encode(Commit(1, 1, 100, "boot", 10, "tandem"))))
    ahead = following.ahead()
    assert ahead is not None
    assert (ahead.loaded.offset, ahead.loaded.ledger.arbiter.n) == (4, 1)


def test_a_history_that_was_folded_half_is_not() -> None:
    following = _claimed()
    event = Envelope("e1", "t1", "stranger/x", 1, 100, "c", "", "", Part("stranger.came", b""))
    with pytest.raises(BadHistory):
        following.fold(Stored(2, log_codec.encode(Commit(1, 1, 100, "boot", 10, "tandem", events=(event,)))))
    assert following.ahead() is None


@pytest.mark.parametrize("where", ["own", "of another"])
def test_a_record_that_is_none_ends_it(where: str) -> None:
    following = _claimed()
    damaged = Stored(2, b"\xff\xff")
    with pytest.raises(BadRecord):
        _ = following.fold(damaged) if where == "own" else following.take_message(OTHER, damaged)
    assert following.ahead() is None


def test_a_log_of_another_grouping_is_not_followed() -> None:
    following = Following(toy_group())
    with pytest.raises(OtherShape, match="otherwise"):
        following.fold(Stored(1, log_codec.encode(Claim(1, "a", "otherwise"))))
    assert following.ahead() is None
