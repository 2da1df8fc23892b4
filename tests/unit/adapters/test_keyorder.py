"""Encoded keys sort as the port orders keys."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.adapters.keyorder import MAX_KEY_BYTES, Key, decode, encode, span

TEXTS = st.text(st.one_of(st.sampled_from("\x00\x01ab\xff"), st.characters(exclude_categories=["Cs"])), max_size=8)
INTS = st.integers(-(2**63), 2**63 - 1)
KEYS = st.builds(lambda tenant, rest: (tenant, *rest), TEXTS, st.lists(TEXTS | INTS, max_size=4))


def by_part(key: Key) -> list[tuple[int, int, list[int]]]:
    """The port's order in words that Python sorts by."""
    return [(0, part, []) if isinstance(part, int) else (1, 0, [*map(ord, part)]) for part in key]


@given(KEYS)
def test_a_key_comes_back(key: Key) -> None:
    assert decode(encode(key)) == key


@given(KEYS, KEYS)
def test_bytes_sort_as_keys_do(one: Key, other: Key) -> None:
    assert (encode(one) < encode(other)) == (by_part(one) < by_part(other))


@given(KEYS, KEYS)
def test_a_span_holds_the_keys_of_a_prefix_and_no_others(prefix: Key, key: Key) -> None:
    low, high = span(prefix, None, False)
    assert (low <= encode(key) < high) == (key[: len(prefix)] == prefix)
    assert low <= encode((*prefix, *key)) < high


@given(KEYS, st.lists(TEXTS | INTS, max_size=2), KEYS, st.booleans())
def test_a_span_begins_beyond_a_key(prefix: Key, rest: list[str | int], after: Key, descending: bool) -> None:
    key = (*prefix, *rest)
    low, high = span(prefix, after, descending)
    beyond = by_part(key) < by_part(after) if descending else by_part(key) > by_part(after)
    assert (low <= encode(key) < high) == beyond


@pytest.mark.parametrize("key", [(), (1,), (1, "t"), ("t", 2**63), ("t", -(2**63) - 1), ("t", "x" * MAX_KEY_BYTES)])
def test_a_key_that_cannot_be_is_refused(key: Key) -> None:
    with pytest.raises(ValueError):
        encode(key)


@pytest.mark.parametrize("part", [True, None, 1.0, b"x", ("x",)])
def test_a_part_that_cannot_be_is_refused(part: object) -> None:
    with pytest.raises(TypeError):
        encode(("t", part))  # type: ignore[arg-type]


def test_half_a_character_is_refused() -> None:
    with pytest.raises(ValueError):
        encode(("t", "\ud800"))
