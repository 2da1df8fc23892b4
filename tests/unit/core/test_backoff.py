"""Pauses between attempts."""

from __future__ import annotations

from tandem.core.backoff import Backoff


def test_pauses_double_up_to_the_limit_and_begin_anew_after_a_success():
    backoff = Backoff(0.2, 1.0)
    assert [backoff.pause_s(1.0) for _ in range(5)] == [0.2, 0.4, 0.8, 1.0, 1.0]
    backoff.reset()
    assert backoff.pause_s(1.0) == 0.2


def test_chance_cuts_a_pause_to_between_half_and_all_of_it():
    backoff = Backoff(1.0, 4.0)
    assert [backoff.pause_s(chance) for chance in (0.0, 0.5, 0.0, 1.0)] == [0.5, 1.5, 2.0, 4.0]


def test_no_pause_stays_none():
    backoff = Backoff(0.0, 2.0)
    assert [backoff.pause_s(0.5) for _ in range(3)] == [0.0, 0.0, 0.0]
