"""Whose input comes next: tenants in turn, each with its own in order (rule 4; pitfalls L6).

Who begins to wait goes behind everybody; who had a turn and still waits, too. So between two
turns of a tenant every other one that waits has exactly one, however much each brings.

What waits is bounded. A client's command above its tenant's share is refused, so that the
client hears of it. Events of media nodes are never refused: a node keeps what is not
acknowledged and sends some of each tenant's at a time (`media.agent_io`); it refuses new calls
of a tenant whose events wait there for too long, or are too many.
Messages of other groups stay in their log until there is room (`driver.BACKLOG`).
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable

from tandem.runtime.step import Offer

MAX_INPUTS = 64
"""Inputs in one step: bounds the size of a commit, and the time (some 20 ms) in which the
loop can do nothing else."""
MAX_ALONE = 16
"""Inputs in one step of a tenant that has the shard for itself: a quarter of the events that a node has under way
(`media.agent_io`), so that decisions, disk and link work at the same time. With 64 a contact costs a quarter less
processor time, but they wait for each other: with 32 the wait for an agent was 0.5 s in place of 0.2 (p99, at 450
calls a second)."""
MAX_SHARED = 8
"""Inputs of one tenant in one step where it has shard mates: they wait some 2 ms for its turn. For a tenant
alone it would make twice the commits, and cost it a sixth of what it gets done."""
TOGETHER_MS = 1_000
"""Tenants who had turns in the same such span, or in two that follow each other, share the shard."""
MAX_CLIENTS = 1_000
"""Commands of one tenant's clients that wait; some 300 ms of work."""


class Earlier:
    """What waited at a moment. A tenant's inputs wait in their order, so that it is enough to count them."""

    def __init__(self, waiting: dict[str, int]) -> None:
        self._waiting = waiting

    @property
    def over(self) -> bool:
        """None of it waits any more."""
        return not self._waiting

    def less(self, tenant: str) -> None:
        """The tenant's first has had its turn."""
        if tenant in self._waiting:
            self._waiting[tenant] -= 1
            if not self._waiting[tenant]:
                del self._waiting[tenant]


class Turns:
    """What waits to be decided. `len` of it counts all."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[Offer]] = {}
        self._clients: dict[str, int] = {}
        self._count = 0
        self._span = 0
        self._lately: dict[str, int] = {}  # tenant -> inputs of it that were decided in this span
        self._before: dict[str, int] = {}  # and in the one before
        self._had: list[str] = []  # a turn in the last round
        self._resting: frozenset[str] = frozenset()
        self.cut = 0
        """Turns of the last round that ended while their tenant still had something to say."""
        self._earlier: list[Earlier] = []

    def __len__(self) -> int:
        return self._count

    @property
    def ready(self) -> bool:
        """Whether somebody waits who does not rest."""
        return any(tenant not in self._resting for tenant in self._waiting)

    def rest(self) -> bool:
        """Who had a turn in the last round, and lately more than an equal part of all there were, has no
        other before all are `rested`; False if that is nobody."""
        together = self._lately.keys() | self._before.keys()
        total = sum(self._lately.values()) + sum(self._before.values())
        self._resting |= {tenant for tenant in self._had if self._decided(tenant) * len(together) > total}
        return bool(self._resting)

    def _decided(self, tenant: str) -> int:
        return self._lately.get(tenant, 0) + self._before.get(tenant, 0)

    def rested(self) -> None:
        """See `rest`."""
        self._resting = frozenset()

    def has_room(self, tenant: str) -> bool:
        """Whether another command of a client of that tenant may wait."""
        return self._clients.get(tenant, 0) < MAX_CLIENTS

    def add(self, offer: Offer) -> None:
        """It waits behind its tenant's others."""
        self._waiting.setdefault(offer.tenant, deque()).append(offer)
        self._count += 1
        if offer.handle is not None:
            self._clients[offer.tenant] = self._clients.get(offer.tenant, 0) + 1

    def round(self, decide: Callable[[Offer], bool], over: Callable[[Offer], bool], now_ms: int) -> int:
        """Give each tenant that waits and does not rest its turn, until a step is full; how many were decided.

        `decide(offer)` says False if it cannot be decided now: it and its tenant's others go on
        waiting, at their place. One that is `over` needs no decision any more.
        """
        shared = max(len(self._waiting), len(self._lately), len(self._before)) > 1
        most = MAX_SHARED if shared else MAX_ALONE
        taken = self.cut = 0
        self._had = []
        for tenant in [tenant for tenant in self._waiting if tenant not in self._resting]:
            if taken >= MAX_INPUTS:
                break
            decided = self._turn(tenant, min(most, MAX_INPUTS - taken), decide, over)
            if decided:
                self._note(tenant, decided, now_ms)
            taken += decided
        return taken

    def _note(self, tenant: str, decided: int, now_ms: int) -> None:
        span = now_ms // TOGETHER_MS
        if span != self._span:
            self._before = self._lately if span == self._span + 1 else {}
            self._span, self._lately = span, {}
        self._lately[tenant] = self._lately.get(tenant, 0) + decided
        self._had.append(tenant)

    def _turn(self, tenant: str, most: int, decide: Callable[[Offer], bool], over: Callable[[Offer], bool]) -> int:
        waiting = self._waiting[tenant]
        taken = 0
        while waiting and taken < most:
            if not over(waiting[0]):
                if not decide(waiting[0]):
                    break
                taken += 1
            self._forget(waiting.popleft())
        if not waiting:
            del self._waiting[tenant]
        elif taken:
            self.cut += taken == most
            self._waiting[tenant] = self._waiting.pop(tenant)
        return taken

    def earlier(self) -> Earlier:
        """All that waits now, and nothing that comes later."""
        earlier = Earlier({tenant: len(waiting) for tenant, waiting in self._waiting.items()})
        if not earlier.over:
            self._earlier.append(earlier)
        return earlier

    def _forget(self, offer: Offer) -> None:
        if self._earlier:
            for earlier in self._earlier:
                earlier.less(offer.tenant)
            self._earlier = [earlier for earlier in self._earlier if not earlier.over]
        self._count -= 1
        if offer.handle is not None:
            self._clients[offer.tenant] -= 1
            if not self._clients[offer.tenant]:
                del self._clients[offer.tenant]
