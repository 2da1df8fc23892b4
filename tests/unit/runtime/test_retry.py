"""The pauses of a loop that tries again: within what was said, and not the same for two."""

from __future__ import annotations

from tandem.runtime.retry_driver import Retry


def test_pauses_grow_between_half_and_all_of_what_they_may_be() -> None:
    retry = Retry(0.5, 2.0)
    for most in (0.5, 1.0, 2.0, 2.0):
        assert most / 2 <= retry.next_s() <= most
    retry.reset()
    assert retry.next_s() <= 0.5


def test_those_that_failed_together_do_not_come_back_together() -> None:
    assert len({Retry(1.0, 1.0).next_s() for _ in range(20)}) > 1
