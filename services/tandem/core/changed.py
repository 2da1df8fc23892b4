"""A frozen value with some fields changed, as `dataclasses.replace` gives it, and ten times quicker
for what `core.values` makes."""

from __future__ import annotations

import dataclasses
from typing import Any, TypeVar

from msgspec import Struct, structs

T = TypeVar("T")


def changed(value: T, /, **fields: Any) -> T:
    """The value with these fields. Raises TypeError for a field that it has not."""
    if isinstance(value, Struct):
        return structs.replace(value, **fields)
    return dataclasses.replace(value, **fields)  # type: ignore[type-var]
