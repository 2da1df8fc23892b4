"""Seals: no two places share a nonce or a binding."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from tandem.core.seal import Secret, associated, nonce, seal, unseal
from tests.support.budget import examples

PLACE = st.tuples(st.integers(0, 2**32 - 1), st.integers(0, 2**48 - 1), st.integers(0, 2**16 - 1))
NAME = st.text(st.characters(exclude_characters="\n", exclude_categories=("Cs",)), max_size=8)


@given(PLACE, PLACE)
@examples(200)
def test_nonces_differ_where_places_do(one: tuple[int, int, int], other: tuple[int, int, int]) -> None:
    assert (nonce(*one) == nonce(*other)) == (one == other)


@given(st.tuples(NAME, NAME, st.integers(0, 99), NAME), st.tuples(NAME, NAME, st.integers(0, 99), NAME))
@examples(200)
def test_bindings_differ_where_places_do(one: tuple[str, str, int, str], other: tuple[str, str, int, str]) -> None:
    assert (associated(*one) == associated(*other)) == (one == other)


@given(st.binary(max_size=200), st.binary(min_size=32, max_size=32), PLACE, NAME)
@examples(60)
def test_round_trip(value: bytes, key: bytes, place: tuple[int, int, int], stream: str) -> None:
    aad = associated("t", stream, 1, "x")
    assert unseal(seal(Secret(value), "k", key, nonce(*place), aad), key) == value
