"""Ids made of data."""

from __future__ import annotations

from tandem.core.ids import derived_id


def test_the_same_parts_give_the_same_id_for_ever() -> None:
    """Offers of a log that was written before must be derived as they were."""
    assert derived_id("live/0/media/m1/i1/t1/5.0.1", "0", size=12) == "t54p6kfg44yj"


def test_other_parts_give_other_ids() -> None:
    parts = [("a", "b"), ("ab",), ("a", "b", ""), ("", "a", "b"), ("b", "a")]
    assert len({derived_id(*part) for part in parts}) == len(parts)


def test_size_and_alphabet() -> None:
    for size in (1, 12, 16, 52):
        id_ = derived_id("x", size=size)
        assert len(id_) == size
        assert set(id_) <= set("abcdefghijklmnopqrstuvwxyz234567")
