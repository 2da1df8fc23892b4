"""States to canonical bytes and back (rule 11)."""

from __future__ import annotations

from contextlib import suppress
from enum import StrEnum
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.ports.media import Cause
from tandem.core.seal import Secret
from tandem.routing.domain import desk
from tandem.runtime.canonical import Canonical, NotCanonical
from tandem.session.domain import reception
from tandem.session.domain.contact import states
from tests.support.budget import examples
from tests.support.small_cell import live_group
from tests.support.values import plain

CANONICAL = live_group().canonical
CLASSES = tuple(dict.fromkeys((*states.STATES, *reception.STATES, *desk.STATES)))
FROZEN = [cls for cls in CLASSES if not issubclass(cls, StrEnum)]


@pytest.mark.parametrize("cls", FROZEN, ids=lambda cls: f"{cls.__module__.rsplit('.', 1)[-1]}.{cls.__name__}")
def test_round_trip(cls: type) -> None:
    @given(plain(cls, CLASSES))
    @examples(10)
    def trip(value: Any) -> None:
        body = CANONICAL.encode(value)
        back = CANONICAL.decode(body)
        assert back == value and type(back) is type(value)
        assert CANONICAL.encode(back) == body

    trip()


@given(st.lists(st.one_of(st.none(), st.booleans(), st.integers(-(2**63), 2**63 - 1), st.text(), st.binary())))
@examples(60)
def test_tuples_of_plain_values(values: list[Any]) -> None:
    back = CANONICAL.decode(CANONICAL.encode(tuple(values)))
    assert back == tuple(values)
    assert [type(value) for value in back] == [type(value) for value in values]


@given(st.binary(max_size=40))
@examples(300)
def test_garbage_is_refused_in_one_way(body: bytes) -> None:
    with suppress(NotCanonical):
        CANONICAL.decode(body)


class Foreign(StrEnum):
    A = "A"


@pytest.mark.parametrize(
    "value", [1.5, [1], {"a": 1}, {1}, Foreign.A, Secret(b"x"), object(), (1, (2.0,))], ids=lambda v: type(v).__name__
)
def test_what_has_no_place_in_a_state_is_refused_by_its_type(value: Any) -> None:
    with pytest.raises(NotCanonical, match="may not stand in a state"):
        CANONICAL.encode(value)


def test_a_class_of_another_release_is_refused_by_its_name() -> None:
    with pytest.raises(NotCanonical, match="Call"):
        Canonical(Cause).decode(CANONICAL.encode(states.Call("c", "n", "1", Secret(b"") and None, "f", 1, 2)))  # type: ignore[arg-type]


def test_two_classes_of_one_name_are_refused() -> None:
    twin = type("Cause", (), {})
    with pytest.raises(NotCanonical, match="two state classes are called Cause"):
        Canonical(Cause, twin)


def test_a_field_with_a_default_may_be_added() -> None:
    older = Canonical(states.New, states.Waiting, states.Call, states.Place)
    call = states.Call("c", "n", "1", None, "f", 1, 2)  # type: ignore[arg-type]
    place = states.Place("q", "s", (), 0, 1, 0, "m")
    body = older.encode(states.Waiting(call, place))
    assert b"recordings" in body
    without = body.replace(b"\xaarecordings\x91\x00", b"").replace(b"\x97\xa7Waiting", b"\x95\xa7Waiting")
    assert older.decode(without) == states.Waiting(call, place)
