"""Frozen values: `dataclasses.dataclass`, whose frozen and slotted classes are made by msgspec.

A contact is some 250 frozen values, each of which ends in the log. A frozen dataclass sets each of
its fields by a call past its own `__setattr__`, and that alone was a quarter of a contact's cost;
msgspec's structs are made ten times quicker. The classes still say of themselves what a dataclass
says: `fields`, `replace`, `asdict` and `match` take them like any other.
"""

from __future__ import annotations

import dataclasses
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from dataclasses import dataclass as dataclass
else:

    def dataclass(cls: type | None = None, /, **options: bool) -> Any:
        """See the module's text. With other options than frozen and slots it is the library's own."""

        def make(cls: type) -> type:
            if options == {"frozen": True, "slots": True} and cls.__bases__ == (object,):
                return _struct(cls)
            return dataclasses.dataclass(cls, **options)

        return make if cls is None else make(cls)


_OF_A_PLAIN_CLASS = ("__dict__", "__weakref__", "__annotations__")
_TOLD = ("__dataclass_fields__", "__dataclass_params__", "__repr__")
"""What a dataclass says of itself. All else that it needs a struct gets for itself."""


def _struct(cls: type) -> type:
    """The class as a struct, with all that it has beside its fields, and a dataclass's word of these."""
    own = dict(vars(cls))
    plain: type[Any] = dataclasses.dataclass(cls)
    fields = dataclasses.fields(plain)
    for name in (*_OF_A_PLAIN_CLASS, *(field.name for field in fields)):
        own.pop(name, None)
    namespace = own | {name: vars(plain)[name] for name in _TOLD}
    rows = [_field(field) for field in fields]
    made = msgspec.defstruct(cls.__name__, rows, namespace=namespace, module=cls.__module__, frozen=True)
    made.__qualname__ = cls.__qualname__
    return made


def _field(field: dataclasses.Field[Any]) -> tuple[str, Any] | tuple[str, Any, Any]:
    if field.default is not dataclasses.MISSING:
        return field.name, field.type, field.default
    if field.default_factory is not dataclasses.MISSING:
        return field.name, field.type, msgspec.field(default_factory=field.default_factory)
    return field.name, field.type
