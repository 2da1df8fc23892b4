"""A moment of a shard's state, kept while the state goes on (spine 6).

A state is read as rows: (section, key) -> a frozen row. From a moment on, whoever changes a
row first keeps it as it was then. So the state of that moment can be taken row by row later:
what was kept, and the present rows of all that did not change. Beginning a moment costs the
same however large the state is.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Iterator
from typing import Any

Section = tuple[str, ...]
"""`aggregate`; `row`, tenant, stream and table; `mark`; `pending`; `request` and tenant."""
Key = Any
Row = tuple[Any, ...]


class Past:
    """Rows as they were at one moment, of those that have changed since; None for a row that
    was not there. Whoever is about to change a row puts it there, the first time. A later moment
    goes on in `next`."""

    __slots__ = ("next", "sections")

    def __init__(self) -> None:
        self.sections: defaultdict[Section, dict[Key, Row | None]] = defaultdict(dict)
        self.next: Past | None = None

    def until(self, end: Past | None) -> Iterator[Past]:
        """This moment and the later ones before `end`."""
        past: Past | None = self
        while past is not None and past is not end:
            yield past
            past = past.next

    def row(self, section: Section, key: Key, now: Callable[[Section, Key], Row | None]) -> Row | None:
        """A row as it was at this moment."""
        for past in self.until(None):
            rows = past.sections.get(section)
            if rows is not None and key in rows:
                return rows[key]
        return now(section, key)

    def changed(self, section: Section, end: Past | None = None) -> dict[Key, Row | None]:
        """The rows of a section that changed since, as they were."""
        found: dict[Key, Row | None] = {}
        for past in self.until(end):
            for key, row in past.sections.get(section, {}).items():
                found.setdefault(key, row)
        return found

    def joined(self, end: Past | None, now: Callable[[Section, Key], Row | None]) -> Past:
        """All that changed between this moment and `end` as one; without rows that came and went."""
        whole = Past()
        whole.next = end
        for past in self.until(end):
            for section, rows in past.sections.items():
                there = whole.sections[section]
                for key, row in rows.items():
                    there.setdefault(key, row)
        for section, there in whole.sections.items():
            gone = [key for key, row in there.items() if row is None and now(section, key) is None]
            for key in gone:
                del there[key]
        return whole
