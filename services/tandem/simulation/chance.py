"""Chance out of a seed: the same draws on every Python and every machine.

SplitMix64 (Steele, Lea and Flood, "Fast splittable pseudorandom number generators", 2014):
small, and its `fork` gives each part of the world a stream of its own, so that one more draw
in one part does not change what happens in the others.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import TypeVar

T = TypeVar("T")

_MASK = (1 << 64) - 1


class Chance:
    """A stream of draws. Not for cryptography."""

    __slots__ = ("_state",)

    def __init__(self, seed: int) -> None:
        self._state = seed & _MASK

    def fork(self, name: str) -> Chance:
        """An independent stream, the same for the same seed and name."""
        digest = hashlib.sha256(self._state.to_bytes(8, "big") + name.encode()).digest()
        return Chance(int.from_bytes(digest[:8], "big"))

    def bits(self) -> int:
        """64 bits."""
        self._state = (self._state + 0x9E3779B97F4A7C15) & _MASK
        mixed = self._state
        mixed = ((mixed ^ (mixed >> 30)) * 0xBF58476D1CE4E5B9) & _MASK
        mixed = ((mixed ^ (mixed >> 27)) * 0x94D049BB133111EB) & _MASK
        return mixed ^ (mixed >> 31)

    def below(self, limit: int) -> int:
        """0 to `limit` - 1."""
        return self.bits() % limit

    def between(self, least: int, most: int) -> int:
        """Both included."""
        return least + self.below(most - least + 1)

    def one_in(self, odds: int) -> bool:
        """True once in `odds` times."""
        return self.below(odds) == 0

    def around(self, mean: int) -> int:
        """At least 1, `mean` on average, often short and now and then long."""
        # A geometric tail by halves keeps to integers: no float may differ between machines.
        length, unit = 1 + self.below(max(1, mean)), mean
        while self.one_in(2) and length < 8 * mean:
            length += self.below(max(1, unit))
        return length

    def pick(self, choices: Sequence[T]) -> T:
        """One of them."""
        return choices[self.below(len(choices))]

    def weighted(self, choices: Sequence[tuple[T, int]]) -> T:
        """One of them, as often as its weight says."""
        at = self.below(sum(weight for _, weight in choices))
        for choice, weight in choices:
            at -= weight
            if at < 0:
                return choice
        raise AssertionError("weights are positive")


class SeededEntropy:
    """The `Entropy` port out of a seed."""

    def __init__(self, chance: Chance) -> None:
        self._chance = chance

    def token(self, size: int = 16) -> str:
        """See the port."""
        alphabet = "abcdefghijklmnopqrstuvwxyz234567"
        return "".join(self._chance.pick(alphabet) for _ in range((size * 8 + 4) // 5))

    def secret(self, size: int) -> bytes:
        """See the port."""
        return b"".join(self._chance.bits().to_bytes(8, "big") for _ in range((size + 7) // 8))[:size]
