"""`changed` gives what `dataclasses.replace` gives."""

from __future__ import annotations

import dataclasses
from dataclasses import replace

import pytest

from tandem.core.changed import changed
from tandem.core.values import dataclass
from tandem.session.domain.contact import states as st


@dataclass(frozen=True, slots=True)
class _Three:
    a: int
    b: str = "b"
    c: tuple[int, ...] = ()


def test_it_is_what_replace_gives_and_the_first_value_stays() -> None:
    value = _Three(1)
    assert changed(value, c=(2,), a=5) == replace(value, c=(2,), a=5)
    assert value == _Three(1)


@dataclasses.dataclass(frozen=True)
class _Plain:
    a: int
    b: int = 2


def test_a_class_of_the_library_itself() -> None:
    assert changed(_Plain(1), b=3) == _Plain(1, 3)


@dataclass(frozen=True, slots=True)
class _One:
    value: int


def test_a_class_of_one_field_whatever_it_is_called() -> None:
    assert changed(_One(1), value=2) == _One(2)


def test_a_field_that_is_not_there_is_an_error() -> None:
    with pytest.raises(TypeError):
        changed(_Three(1), d=1)
    with pytest.raises(TypeError):
        changed(_Plain(1), d=1)


def test_every_state_with_fields_can_be_changed() -> None:
    """A class with a field outside `__init__` would put values in wrong places."""
    for cls in st.STATES:
        fields = getattr(cls, "__dataclass_fields__", {})
        assert all(field.init and not field.kw_only for field in fields.values()), cls
