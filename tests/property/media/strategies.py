"""Any value of the `Media` port's types, within its limits."""

from __future__ import annotations

from dataclasses import fields
from enum import Enum
from typing import Any, get_args, get_origin, get_type_hints

from hypothesis import strategies as st

from tandem.core.ports import media
from tandem.core.seal import Erased, Private, Sealed, Secret, Withheld

TEXT = st.text(max_size=20)
SECRETS = st.builds(Secret, st.binary(max_size=40), st.booleans())
WRITTEN = st.one_of(
    st.builds(Sealed, TEXT, st.binary(min_size=12, max_size=12), st.binary(max_size=20), st.binary(max_size=40)),
    st.just(Withheld()),
    st.just(Erased()),
)
TYPES: tuple[type, ...] = (
    *get_args(media.Verb),
    *get_args(media.MediaEvent),
    *get_args(media.ToNode),
    *get_args(media.FromNode),
)


def values(kind: Any, private: st.SearchStrategy[Private] = SECRETS | WRITTEN) -> st.SearchStrategy[Any]:
    """Values of a dataclass or a union of them."""
    if get_args(kind):
        return st.one_of([values(member, private) for member in get_args(kind)])
    hints = get_type_hints(kind)
    return st.builds(kind, *[_of(field.name, hints[field.name], private) for field in fields(kind)])


def _of(name: str, hint: Any, private: st.SearchStrategy[Private]) -> st.SearchStrategy[Any]:
    if hint == Private:
        return private
    if hint == Private | None:
        return st.none() | private
    if hint is bool:
        return st.booleans()
    if hint is int:
        return st.integers(0, media.MAX_DIGITS if name == "max_digits" else 2**31 - 1)
    if hint is str:
        return TEXT
    if get_origin(hint) is tuple:
        item = get_args(hint)
        if item[-1] is ...:
            return st.lists(_of(name, item[0], private), max_size=4).map(tuple)
        return st.tuples(*[_of(name, part, private) for part in item])
    if isinstance(hint, type) and issubclass(hint, Enum):
        return st.sampled_from(hint)
    return values(hint, private)
