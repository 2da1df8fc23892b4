"""The retention policy at work: a sweep over contacts that are over, in the order of the log.

The log says which contact ended when and under which key; `Keys` says whether that key is still
there. So the sweep needs no memory that could be lost: a pass that is cut off, repeated or begun
anew asks for the same erasures, and each is decided by the policy in its shard. Views have no
part in it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Sequence
from dataclasses import dataclass

import structlog

from tandem.core.commit import Commit
from tandem.core.errors import NO_OWNER, NOT_IN_USE, Rejected
from tandem.core.ports.clock import Clock
from tandem.core.ports.keys import Keys
from tandem.core.seal import AUDIO
from tandem.runtime.driver import ShardDriver
from tandem.runtime.host import Host
from tandem.runtime.ledger import Ledger
from tandem.runtime.retry_driver import Retry
from tandem.runtime.step import Offer
from tandem.session.domain.erasure import (
    EraseDue,
    EraseOrder,
    ErasureBegun,
    ErasureScope,
    order_of,
    stream_of,
)
from tandem.session.domain.retention import RETENTION, Retention
from tandem.session.eraser import Eraser
from tandem.session.events import BEGUN, ERASED, EVENTS

_log = structlog.get_logger(__name__)

SOURCE = "retention"
OVER = ("contact.completed", "contact.turned_away")
CONNECTED = "contact.connected"
"""A recording begins."""
REFUSED = "media.note_refusal"
"""A call that never had a leg: nothing is known of who called."""
PAGE = 256
"""Contacts whose keys are looked up at once."""
COMMITS_A_TURN = 32
"""Commits that are read before other work gets its turn."""
AGAIN_FIRST_S, AGAIN_MAX_S = 5.0, 300.0
"""Pauses after a pass that was cut off: no owner, or a disk that failed."""


@dataclass(frozen=True, slots=True)
class Over:
    """A contact to which nothing more happens, with its data key."""

    tenant: str
    contact: str
    key: str
    ended_ms: int
    recorded: bool


class Lives:
    """Which contacts of some tenants ended, out of a stretch of the log."""

    def __init__(self, tenants: Collection[str]) -> None:
        self._tenants = tenants
        self._open: dict[tuple[str, str], tuple[str, int]] = {}  # -> key, number of the commit that began it
        self._recorded: set[tuple[str, str]] = set()

    def take(self, commit: Commit) -> list[Over]:
        """The contacts that the commit ended, and that began in the stretch."""
        for taken in commit.inputs:
            begins = taken.key and taken.part.type != REFUSED and taken.stream.startswith("contact/")
            if begins and taken.tenant in self._tenants:
                self._open[taken.tenant, taken.stream] = (taken.key, commit.n)
        completed = []
        for envelope in commit.events:
            place = (envelope.tenant, envelope.stream)
            if envelope.type == CONNECTED and place in self._open:
                self._recorded.add(place)
            if envelope.type in OVER:
                completed.append(place)
        # Who was set aside is over without such an event.
        places = dict.fromkeys((*completed, *((ended.tenant, ended.stream) for ended in commit.ended)))
        return [self._over(place, commit.shard_time_ms) for place in places if place in self._open]

    def _over(self, place: tuple[str, str], ended_ms: int) -> Over:
        key, _ = self._open.pop(place)
        recorded = place in self._recorded
        self._recorded.discard(place)
        return Over(place[0], place[1].partition("/")[2], key, ended_ms, recorded)

    def resume(self, n: int) -> int:
        """After which commit to begin next time, if `n` was the last: before the first contact
        that has begun and not ended."""
        return min((begun - 1 for _, begun in self._open.values()), default=n)


@dataclass(frozen=True, slots=True)
class _Place:
    """Up to where the contacts of these tenants have been seen to."""

    n: int
    tenants: frozenset[str]


class Sweep:
    """Passes over one shard's log. `run` is a task of whoever made it."""

    def __init__(
        self, host: Host, driver: ShardDriver, keys: Keys, eraser: Eraser, clock: Clock, every_s: float
    ) -> None:
        self._host, self._driver, self._keys, self._eraser = host, driver, keys, eraser
        self._clock, self._every_s = clock, every_s
        self._places: dict[tuple[ErasureScope, int], _Place] = {}

    async def run(self) -> None:
        """What was erased stays so; then a pass every so often, until cancelled."""
        held, retry = False, Retry(AGAIN_FIRST_S, AGAIN_MAX_S)
        while True:
            await self._driver.live()
            try:
                if not held:
                    await self.hold()
                    held = True
                await self.once()
            except (Rejected, OSError) as error:
                _log.warning("a retention sweep was cut off", partition=str(self._driver.partition), error=str(error))
                await retry.pause()
            else:
                retry.reset()
                await asyncio.sleep(self._every_s)

    async def hold(self) -> None:
        """Destroy again what the log says is erased and what is there all the same: a backup of the
        keys was restored. Raises `Rejected`, OSError."""
        _, until_n = await self._driver.query(lambda ledger: None)
        partition, begun = self._driver.partition, dict[tuple[str, str], ErasureBegun]()
        erased: list[tuple[str, EraseOrder]] = []
        if not until_n:
            return
        async for _, commit in self._host.tail(partition.group, partition.shard):
            for envelope in commit.events:
                place = (envelope.tenant, envelope.stream)
                if envelope.type == BEGUN:
                    begun[place] = EVENTS.decode(envelope.part)
                elif envelope.type == ERASED and place in begun:
                    erased.append((envelope.tenant, order_of(begun.pop(place))))
            if len(erased) >= PAGE:
                await self._erase_again(erased)
                erased.clear()
            if commit.n >= until_n:
                break
            if commit.n % COMMITS_A_TURN == 0:
                await asyncio.sleep(0)
        await self._erase_again(erased)

    async def _erase_again(self, erased: Sequence[tuple[str, EraseOrder]]) -> None:
        there = await self._keys.get([key for _, order in erased for key in order.keys])
        back = [(tenant, order) for tenant, order in erased if there.keys() & {*order.keys}]
        if back:
            _log.warning("erased again: their keys were back, from a backup", contacts=len(back))
            await self._eraser.erase(back)

    async def once(self) -> None:
        """Ask for the erasure of all that is due. Raises `Rejected` when the shard is lost, OSError."""
        policies, n = await self._driver.query(_policies)
        if not self._driver.is_live:
            raise Rejected(NO_OWNER, "the shard was lost")
        now_ms = self._driver.shard_time(self._clock.boottime_ms())  # the last commit may be long ago
        classes: dict[tuple[ErasureScope, int], set[str]] = {}
        for tenant, policy in policies.items():
            for scope in ErasureScope:
                kept_ms = policy.kept_ms(scope is ErasureScope.RECORDINGS)
                if kept_ms is not None:
                    classes.setdefault((scope, kept_ms), set()).add(tenant)
        self._places = {terms: place for terms, place in self._places.items() if terms in classes}
        for (scope, kept_ms), tenants in classes.items():
            await self._pass(scope, kept_ms, frozenset(tenants), now_ms - kept_ms, n)

    async def _pass(
        self, scope: ErasureScope, kept_ms: int, tenants: frozenset[str], until_ms: int, until_n: int
    ) -> None:
        """One pass for all tenants with the same terms, from where the last one ended."""
        place = self._places.get((scope, kept_ms))
        n = place.n if place is not None and tenants <= place.tenants else 0
        partition, lives, due = self._driver.partition, Lives(tenants), list[Over]()
        if n < until_n:
            async for _, commit in self._host.tail(partition.group, partition.shard, n):
                if commit.shard_time_ms > until_ms:
                    break
                n = commit.n
                due += lives.take(commit)
                if len(due) >= PAGE:
                    await self._order(due, scope)
                    due.clear()
                if n >= until_n:
                    break
                if n % COMMITS_A_TURN == 0:
                    await asyncio.sleep(0)
        await self._order(due, scope)
        self._places[scope, kept_ms] = _Place(lives.resume(n), tenants)

    async def _order(self, due: Sequence[Over], scope: ErasureScope) -> None:
        audio = scope is ErasureScope.RECORDINGS
        suffix = AUDIO if audio else ""
        wanted = [over for over in due if over.recorded or not audio]
        there = await self._keys.get([over.key + suffix for over in wanted])
        for over in wanted:
            if over.key + suffix in there:
                await self._eraser.room()
                await self._ask(over, scope)

    async def _ask(self, over: Over, scope: ErasureScope) -> None:
        command = EraseDue(over.contact, over.key, scope, over.ended_ms)
        try:
            await self._driver.ask(Offer(SOURCE, 0, over.tenant, stream_of(over.contact, scope), command))
        except Rejected as error:
            if error.reason is not NOT_IN_USE:  # it is under way, or the policy has changed since
                raise


def _policies(ledger: Ledger) -> dict[str, Retention]:
    """The policy of each tenant that has one."""
    return {tenant: row.state for (tenant, stream), row in ledger.aggregates.items() if stream == RETENTION}
