"""A bad adapter and the clause that must catch it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

PATIENCE_S = 0.5
"""How long a clause waits for what a bad adapter never gives."""


@dataclass(frozen=True, slots=True)
class Planted:
    """A bad adapter and the clause that must catch it."""

    suite: type
    clause: str
    defect: Callable[[], object]

    def __str__(self) -> str:
        return f"{self.suite.__name__}-{self.clause.removeprefix('test_')}-{getattr(self.defect, '__name__', '')}"
