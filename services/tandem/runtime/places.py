"""Places of a partition's log from which a reader may begin, so that nobody reads all of it."""

from __future__ import annotations

from collections import deque
from collections.abc import Iterable

from tandem.core.arbiter import Place

PLACE_COMMITS = 1_000
"""A reader of the log begins at most about so many commits before what it wants."""
PLACES_WRITTEN = 100
"""Such places in a snapshot: a view that is so many thousand commits behind need not read all."""
MAX_PLACES = 10_000
"""Such places kept in memory; what is older is read from the beginning of the log."""


class Places:
    """Some places of one partition, oldest first."""

    def __init__(self) -> None:
        self._places: deque[Place] = deque(maxlen=MAX_PLACES)

    def begin(self, known: Iterable[Place]) -> None:
        """Those that the newest snapshot knows. Who has been through some of the log knows better."""
        if not self._places:
            self._places.extend(known)

    def reached(self, place: Place) -> None:
        """The log was read up to here."""
        n = self._places[-1].arbiter.n if self._places else -PLACE_COMMITS
        if place.arbiter.n >= n + PLACE_COMMITS:
            self._places.append(place)

    def before(self, n: int) -> Place:
        """One from which all commits above number `n` can be read."""
        return next((place for place in reversed(self._places) if place.arbiter.n <= n), Place())

    @property
    def all(self) -> tuple[Place, ...]:
        """All that are known."""
        return tuple(self._places)

    @property
    def newest(self) -> tuple[Place, ...]:
        """Those that are written into a snapshot."""
        return tuple(self._places)[-PLACES_WRITTEN:]
