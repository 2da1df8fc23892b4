"""What a shard has appended and not read back yet, and what waits for it (rule 5)."""

from __future__ import annotations

from collections import deque
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass

from tandem.runtime.outputs import Output, Perform


@dataclass(slots=True)
class Appended:
    """A record under way: the number of its commit, its bytes, what may leave once it is durable, and
    the tenants whose state it changes."""

    n: int
    body: bytes
    held: list[Output]
    tenants: frozenset[str]


class InFlight:
    """Records under way, oldest first. `len` of it counts them."""

    def __init__(self) -> None:
        self._records: deque[Appended] = deque()

    def __len__(self) -> int:
        return len(self._records)

    def __iter__(self) -> Iterator[Appended]:
        return iter(self._records)

    def add(self, n: int, body: bytes, held: Iterable[Output] = (), tenants: frozenset[str] = frozenset()) -> Appended:
        """A record that is being appended."""
        record = Appended(n, body, list(held), tenants)
        self._records.append(record)
        return record

    def comes_back(self, body: bytes) -> Appended | None:
        """The oldest, if this is it; it stays until `landed`."""
        return self._records[0] if self._records and self._records[0].body == body else None

    def landed(self) -> None:
        """The oldest was read back and counts."""
        self._records.popleft()

    def newest(self) -> Appended | None:
        """None if all that there is is durable."""
        return self._records[-1] if self._records else None

    def newest_of(self, tenants: Collection[str]) -> Appended | None:
        """The newest that changes the state of one of them."""
        return next((record for record in reversed(self._records) if not record.tenants.isdisjoint(tenants)), None)

    def leaving(self) -> set[str]:
        """Keys of the effects that leave with what is under way."""
        return {output.key for record in self._records for output in record.held if isinstance(output, Perform)}

    def clear(self) -> None:
        """Nobody waits for any of it."""
        self._records.clear()
