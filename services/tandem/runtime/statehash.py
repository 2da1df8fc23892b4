"""The state hash: the sum mod 2^128 of digests of all rows of a state (rule 7, spine 6).

A sum, so that only rows that changed since the last one are digested again. It belongs to the
state after one commit: the first of each minute of shard time is such a point, for the owner and
for everyone who folds the log. The owner digests a few rows at a time and commits what comes out;
the others compare.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Iterable, Iterator

from tandem.core.values import dataclass
from tandem.runtime.past import Key, Past, Row, Section

HASH_EVERY_MS = 60_000
"""A point in each stretch of shard time of this length in which something is committed."""
MAX_WRONG = 100
"""Differences remembered of one fold; a state that differs once mostly differs for ever."""
_MODULUS = 1 << 128

Present = Callable[[Section, Key], Row | None]


def digest_of(body: bytes) -> int:
    """Of one row's canonical bytes."""
    return int.from_bytes(hashlib.blake2b(body, digest_size=16).digest(), "big")


def total(bodies: Iterable[bytes]) -> int:
    """The hash of a state that has these rows."""
    return sum(map(digest_of, bodies)) % _MODULUS


@dataclass(frozen=True, slots=True)
class Point:
    """The state after commit `n`, which is `since`."""

    n: int
    head: Row
    since: Past


@dataclass(frozen=True, slots=True)
class Differs:
    """A recorded hash that a fold of the log does not give."""

    n: int
    recorded: bytes
    computed: bytes


class StateHash:
    """Goes from point to point with a ledger. `value` is the sum at the last one that is finished."""

    def __init__(self, encode: Callable[[Row], bytes], past: Past) -> None:
        self._encode = encode
        self.value = 0
        self._head = 0  # digest of the head in `value`
        self._past = past  # the moment of `value`
        self.point: Point | None = None
        self._working = False
        self.checked = 0
        self.missed = 0  # recorded hashes for which this fold has no point
        self.wrong: list[Differs] = []

    def begin(self, value: int, head: Row, past: Past) -> None:
        """The state is a restored one, whose rows have this sum."""
        self.value, self._head, self._past, self.point = value, self._digest(head), past, None

    def _digest(self, row: Row) -> int:
        return digest_of(self._encode(row))

    @property
    def free(self) -> bool:
        """Whether a new point may be taken: not while one is being digested."""
        return not self._working

    @property
    def due(self) -> bool:
        """Whether a point waits to be digested."""
        return self.point is not None and not self._working

    def reached(self, point: Point, row: Present) -> None:
        """The state is at a point. One before it that nobody asked for is passed over."""
        if self.point is not None:
            self._past = self._past.joined(point.since, row)
        self.point = point

    def work(self, row: Present) -> Iterator[None]:
        """Digest what changed up to the point, a row at a time; the state may go on in between."""
        point, self._working = self.point, True
        assert point is not None, "a point is due"
        value = self.value - self._head
        earlier: list[Past] = []
        for past in self._past.until(point.since):
            for section, rows in past.sections.items():
                for key, was in rows.items():
                    if any(key in other.sections.get(section, ()) for other in earlier):
                        continue
                    now = point.since.row(section, key, row)
                    if was is not None:
                        value -= self._digest(was)
                    if now is not None:
                        value += self._digest(now)
                    yield
            earlier.append(past)
        self._head = self._digest(point.head)
        self.value = (value + self._head) % _MODULUS
        self._past, self.point, self._working = point.since, None, False

    @property
    def kept(self) -> int:
        """Rows that changed since the last point that is finished."""
        return sum(len(rows) for past in self._past.until(None) for rows in past.sections.values())

    @property
    def written(self) -> bytes:
        """The value, as it is committed."""
        return self.value.to_bytes(16, "big")

    def check(self, n: int, recorded: bytes, row: Present) -> None:
        """The log says what the hash after commit `n` was."""
        if self.point is None or self.point.n != n or self._working:
            self.missed += 1
            return
        for _ in self.work(row):
            pass
        self.checked += 1
        if self.written != recorded and len(self.wrong) < MAX_WRONG:
            self.wrong.append(Differs(n, recorded, self.written))
