"""A value of `core.values` is in every way what the library's own frozen dataclass is."""

from __future__ import annotations

import dataclasses
from typing import Any

import msgspec
import pytest

from tandem.core import values


def _made(make: Any) -> tuple[type[Any], type[Any]]:
    """The same two classes by either hand."""

    @make(frozen=True, slots=True)
    class Leg:
        """A leg."""

        node: str
        key: bytes = dataclasses.field(repr=False)
        digits: tuple[str, ...] = ()
        notes: list[str] = dataclasses.field(default_factory=list)

        @property
        def name(self) -> str:
            return f"{self.node}/{len(self.digits)}"

        def __str__(self) -> str:
            return self.name

    @make(frozen=True, slots=True)
    class Gone:
        """Nothing."""

    return Leg, Gone


LIBRARY, OURS = _made(dataclasses.dataclass), _made(values.dataclass)


def test_the_class_says_of_itself_what_a_dataclass_says() -> None:
    for theirs, ours in zip(LIBRARY, OURS, strict=True):
        assert [(f.name, f.repr, f.type) for f in dataclasses.fields(ours)] == [
            (f.name, f.repr, f.type) for f in dataclasses.fields(theirs)
        ]
        assert ours.__match_args__ == theirs.__match_args__
        for name in ("__name__", "__qualname__", "__module__", "__doc__", "__annotations__"):
            assert getattr(ours, name) == getattr(theirs, name), name


def test_values_behave_alike() -> None:
    for (leg, gone), is_struct in ((LIBRARY, False), (OURS, True)):
        value = leg("n1", b"k", ("1",))
        assert isinstance(value, msgspec.Struct) is is_struct
        assert repr(value).endswith("Leg(node='n1', digits=('1',), notes=[])")
        assert (str(value), value.name) == ("n1/1", "n1/1")
        assert value == leg(node="n1", key=b"k", digits=("1",)) != leg("n2", b"k", ("1",))
        assert dataclasses.replace(value, node="n2").node == "n2"
        assert dataclasses.asdict(value)["digits"] == ("1",)
        assert leg("n1", b"k").notes is not leg("n1", b"k").notes
        assert gone() == gone()
        assert hash(gone()) == hash(gone())
        match value:
            case leg(node="n1", digits=(one,)):
                assert one == "1"
            case _:
                pytest.fail("it did not match")
        with pytest.raises(AttributeError):
            value.node = "n3"
        with pytest.raises(TypeError):
            leg("n1")
        with pytest.raises(TypeError):
            leg("n1", b"k", nodes=1)


def test_other_options_are_the_librarys_own() -> None:
    @values.dataclass(slots=True)
    class Open:
        count: int = 0

    @values.dataclass
    class Plain:
        count: int = 0

    @values.dataclass(frozen=True)
    class Dict:
        count: int = 2

    for cls in (Open, Plain):
        value = cls()
        value.count = 2
        assert value == cls(2)
    assert not any(issubclass(cls, msgspec.Struct) for cls in (Open, Plain, Dict))
    assert vars(Dict()) == {"count": 2}
