"""A budget of the loop's time for what is not urgent (pitfalls: "public API on the owner's loop").

In `run all` the API shares a loop with the owners of shards. An offer, from the event that sets it
off to the order that leaves, takes some six turns of the loop; if each of them began requests, it
would wait for as many of them. So one request begins, or goes on with its answer, and then some
turns belong to others; who waits is let in tenant by tenant. Turns in which nothing else is to be
done take microseconds, so this costs little throughput.
"""

from __future__ import annotations

import asyncio
from collections import deque

from tandem.core.errors import TOO_MANY, Rejected

TURNS = 6
"""Of so many turns of the loop one is for a request: about a millisecond of work."""
MAX_WAITING = 500
"""Requests of one tenant in line; some seconds of work, beyond which clients give up anyway."""


class Turnstile:
    """Lets callers through on the running loop."""

    def __init__(self) -> None:
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        self._rest = 0  # turns that belong to others

    async def pass_through(self, tenant: str) -> None:
        """Until it is the caller's turn. Raises `Rejected` if too many of the tenant's wait."""
        if not self._waiting and not self._rest:
            self._take_turn()
            return
        if len(self._waiting.get(tenant, ())) >= MAX_WAITING:
            raise Rejected(TOO_MANY, "too many requests of this tenant wait; repeat in a second")
        await self._in_line(tenant, first=False)

    async def go_on(self, tenant: str) -> None:
        """Until it is the turn of one that has begun: ahead of those of its tenant that have not. Where
        nobody waits it is at once, and who comes next waits for both."""
        if self._waiting:
            await self._in_line(tenant, first=True)
        elif self._rest:
            self._rest = TURNS
        else:
            self._take_turn()

    async def _in_line(self, tenant: str, first: bool) -> None:
        line = self._waiting.setdefault(tenant, deque())
        turn = asyncio.get_running_loop().create_future()
        if first:
            line.appendleft(turn)
        else:
            line.append(turn)
        if not self._rest:
            self._take_turn()
        await turn

    def _take_turn(self) -> None:
        self._rest = TURNS
        asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._rest -= 1
        if self._rest:
            asyncio.get_running_loop().call_soon(self._turn)
        elif self._let_one_in():
            self._take_turn()

    def _let_one_in(self) -> bool:
        while self._waiting:
            tenant, line = next(iter(self._waiting.items()))
            turn = line.popleft()
            del self._waiting[tenant]
            if line:
                self._waiting[tenant] = line  # behind the other tenants
            if not turn.done():  # its client has not gone
                turn.set_result(None)
                return True
        return False
