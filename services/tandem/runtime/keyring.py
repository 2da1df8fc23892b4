"""The data keys that a shard has at hand: those of what lives, and unused ones written ahead."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Mapping

from tandem.core.ports.log import Partition
from tandem.core.seal import AUDIO
from tandem.runtime.outputs import LoadKeys

KEY_BLOCK = 256
"""Pairs of data keys written ahead; a refill is asked for when half are used."""
FIRST_BLOCK = 16
"""As many for a takeover to begin with: it waits for them, and all shards of a process come at once."""


class KeyRing:
    """Keys by id. `load` is told what is to be allocated and got; `loaded` is its answer.

    `sealed`: whether anything of the shard's needs a key of its own.
    """

    def __init__(self, partition: Partition, sealed: bool, load: Callable[[LoadKeys], None]) -> None:
        self._partition, self._sealed, self._load = partition, sealed, load
        self._keys: dict[str, bytes] = {}
        self._unused: deque[str] = deque()
        self._number = self._epoch = self._low = 0
        self.loading = False
        """Whether keys were asked for and are not here yet."""
        self.incomplete = False
        """Whether keys of what was taken over are not here yet."""

    def __len__(self) -> int:
        """Keys in memory."""
        return len(self._keys)

    @property
    def unused(self) -> int:
        """Pairs of keys that no aggregate has yet."""
        return len(self._unused)

    def begin(self, epoch: int, of_aggregates: Iterable[str], known: Mapping[str, bytes]) -> None:
        """The shard is ours under this epoch: have the keys of what lives, of which some may be
        `known`, and unused ones."""
        self._epoch = epoch
        wanted = dict.fromkeys(key for of in of_aggregates for key in (of, of + AUDIO))
        self._keys = {key: known[key] for key in wanted if key in known}
        missing = tuple(key for key in wanted if key not in known)
        self._ask(FIRST_BLOCK, missing)
        self.incomplete = bool(missing)

    def loaded(self, allocated: dict[str, bytes], got: dict[str, bytes]) -> None:
        """What `load` was asked for."""
        self._keys.update(got)
        self._keys.update(allocated)
        self._unused.extend(key for key in allocated if not key.endswith(AUDIO))
        self.loading = self.incomplete = False

    def get(self, key_id: str) -> bytes | None:
        """A loaded key."""
        return self._keys.get(key_id)

    def fresh(self) -> str | None:
        """An id whose keys nobody has used; None until some have been written."""
        if len(self._unused) < self._low and not self.loading:
            self._ask(KEY_BLOCK)
        return self._unused.popleft() if self._unused else None

    def forget(self, ended: Iterable[str]) -> None:
        """Nothing that lives is sealed with these any more."""
        for key in ended:
            self._keys.pop(key, None)
            self._keys.pop(key + AUDIO, None)

    def _ask(self, block: int, get: tuple[str, ...] = ()) -> None:
        first, self._number, self._low = self._number, self._number + block, block // 2
        numbers = range(first, first + block) if self._sealed else ()
        fresh = tuple(f"{self._partition}/{self._epoch}/{i}{end}" for i in numbers for end in ("", AUDIO))
        if fresh or get:
            self.loading = True
            self._load(LoadKeys(fresh, get))
