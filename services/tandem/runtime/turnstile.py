"""A budget per turn of the loop for what is not urgent (pitfalls: "public API on the owner's loop").

In `run all` the API shares a loop with the owners of shards. If a thousand requests were begun in
one turn, a caller's offer would wait for all of them. So each turn begins a few, tenants one after
another, and then looks for other work; the others wait in line.
"""

from __future__ import annotations

import asyncio
from collections import deque

from tandem.core.errors import TOO_MANY, Rejected

PER_TURN = 1
"""Requests begun in one turn: about a millisecond of work. With nothing else to do the next turn
comes at once, so this costs no throughput."""
MAX_WAITING = 500
"""Requests of one tenant in line; some seconds of work, beyond which clients give up anyway."""


class Turnstile:
    """Lets callers through on the running loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._passed = 0
        self._turning = False

    async def pass_through(self, tenant: str) -> None:
        """Until it is the caller's turn. Raises `Rejected` if too many of the tenant's wait."""
        if not self._waiting and self._passed < PER_TURN:
            self._passed += 1
            self._turn_on()
            return
        if len(self._waiting.get(tenant, ())) >= MAX_WAITING:
            raise Rejected(TOO_MANY, "too many requests of this tenant wait; repeat in a second")
        await self._in_line(tenant, first=False)

    async def go_on(self, tenant: str) -> None:
        """Until it is the turn of one that has begun: ahead of those of its tenant that have not."""
        await self._in_line(tenant, first=True)

    async def _in_line(self, tenant: str, first: bool) -> None:
        line = self._waiting.setdefault(tenant, deque())
        turn = asyncio.get_running_loop().create_future()
        if first:
            line.appendleft(turn)
        else:
            line.append(turn)
        self._turn_on()
        await turn

    def _turn_on(self) -> None:
        if not self._turning:
            self._turning = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._passed, self._turning = 0, False
        while self._waiting and self._passed < PER_TURN:
            tenant, line = next(iter(self._waiting.items()))
            turn = line.popleft()
            del self._waiting[tenant]
            if line:
                self._waiting[tenant] = line  # behind the other tenants
            if not turn.done():  # its client has not gone
                turn.set_result(None)
                self._passed += 1
        if self._passed:
            self._turn_on()
