"""Carries out erasures: destroys keys, deletes recordings, and says so once no byte is left. Knows
keys and blobs, so it also looks for a recording that nobody told of.

A receiver of effects like the media nodes. What it does is idempotent, and pending until its
end is in the log: whatever crashes, the next owner orders it again.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass

import structlog

from tandem.core.decider import EffectEnded
from tandem.core.destroy import DestroyKeys
from tandem.core.errors import Rejected
from tandem.core.ports.blobs import BlobMissing, Blobs, sum_of
from tandem.core.ports.keys import Keys
from tandem.core.ports.media import Outcome
from tandem.core.recording import BadRecording, frames_in, name_of
from tandem.runtime.driver import ShardDriver
from tandem.runtime.outputs import Perform, Taken
from tandem.runtime.retry_driver import Retry
from tandem.runtime.step import Offer
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.meters import Reading
from tandem.session.domain.erasure import EraseOrder
from tandem.session.domain.late import DropRecording, FindRecording, FoundRecording

_log = structlog.get_logger(__name__)

SOURCE = "eraser"
MAX_BATCH = 64
"""Erasures in one call to `Keys`, which empties its journal once a call."""
AGAIN_FIRST_S, AGAIN_MAX_S = 1.0, 60.0
"""Pauses after storage failed."""
MAX_WAITING = 256
"""Orders that wait before a sweep is held up."""
_PAGE = 100

Order = EraseOrder | FindRecording | DropRecording | DestroyKeys
"""What it can be asked."""
Ending = EffectEnded | FoundRecording
"""What it answers."""
_DONE = EffectEnded("", Outcome.DONE)


@dataclass(frozen=True, slots=True)
class _Job:
    driver: ShardDriver
    order: Perform


class Eraser:
    """A `Receiver` for effects of kind `erase`. `run` is a task of whoever made it."""

    def __init__(self, keys: Keys, blobs: Blobs) -> None:
        self._keys, self._blobs = keys, blobs
        self._jobs: deque[_Job] = deque()
        self._known: set[str] = set()  # effect keys that wait or are being done
        self._more = asyncio.Event()
        self._less = asyncio.Event()

    # ---------------------------------------------------------------- the receiver

    def perform(self, driver: ShardDriver, order: Perform) -> None:
        """See `Receiver`. One that is under way is not begun twice."""
        if order.key not in self._known:
            self._known.add(order.key)
            self._jobs.append(_Job(driver, order))
            self._more.set()

    def introduce(self, driver: ShardDriver, node: str, epoch: int) -> None:
        """Keys and blobs know no owners."""

    def taken(self, driver: ShardDriver, taken: Taken) -> None:
        """Its outcomes are not numbered: an effect ends once."""

    def ask_legs(self, driver: ShardDriver, node: str) -> None:
        """It has none."""

    def dropped(self, driver: ShardDriver, why: str) -> None:
        """What is under way is right under any owner."""

    # ---------------------------------------------------------------- the work

    def readings(self) -> Iterator[Reading]:
        """How many are ordered and not done: a source of metrics."""
        yield Reading(names.ERASURES_PENDING, len(self._known))

    async def room(self) -> None:
        """Until so few wait that more may be ordered."""
        while len(self._jobs) >= MAX_WAITING:
            self._less.clear()
            await self._less.wait()

    async def run(self) -> None:
        """Work off what is ordered, until cancelled. What storage refuses goes to the end of the line."""
        retry = Retry(AGAIN_FIRST_S, AGAIN_MAX_S)
        while True:
            await self._more.wait()
            batch = [self._jobs.popleft() for _ in range(min(MAX_BATCH, len(self._jobs)))]
            done = await self._done(batch)
            for job, ending in done:
                await self._tell(job, ending)
            ended = {job.order.key for job, _ in done}
            self._jobs += [job for job in batch if job.order.key not in ended]
            self._less.set()
            if not self._jobs:
                self._more.clear()
            if done:
                retry.reset()
            else:
                await retry.pause()

    async def _done(self, batch: Sequence[_Job]) -> list[tuple[_Job, Ending]]:
        """Those of which no byte is left, or that were looked for, and what is told of each."""
        done = []
        payloads = [job.order.payload for job in batch]
        try:
            destroyed = [one for one in payloads if isinstance(one, EraseOrder | DestroyKeys)]
            await self._keys.destroy([key for one in destroyed for key in one.keys])
            wanted = [one.unless for one in payloads if isinstance(one, DropRecording) and one.unless]
            there = await self._keys.get(wanted) if wanted else {}
        except OSError as error:
            _log.error("keys are not destroyed yet", contacts=len(batch), error=str(error))
            return []
        for job in batch:
            try:
                ending = await self._carry_out(job.order.tenant, job.order.payload, there)
            except OSError as error:
                _log.error("recordings are not deleted yet", stream=job.order.stream, error=str(error))
            else:
                done.append((job, ending))
        return done

    async def erase(self, orders: Sequence[tuple[str, EraseOrder]]) -> None:
        """Destroy and delete what the orders of these tenants say: keys first, so that what is left
        of one that is cut off cannot be read. Raises OSError."""
        await self._keys.destroy([key for _, order in orders for key in order.keys])
        for tenant, order in orders:
            await self._delete(tenant, order)

    async def _carry_out(self, tenant: str, order: Order, there: Collection[str]) -> Ending:
        """What is left of an order once keys are destroyed; `there` are those that are not. A late
        recording is asked about after it was stored: who erases its contact later finds its blob."""
        if isinstance(order, EraseOrder):
            await self._delete(tenant, order)
        elif isinstance(order, DropRecording) and order.unless not in there:
            await self._blobs.delete(name_of(tenant, order.recording))
        elif isinstance(order, FindRecording):
            return await self._find(name_of(tenant, order.recording))
        return _DONE

    async def _find(self, name: str) -> Ending:
        try:
            size, sha256 = await sum_of(self._blobs, name)
            return FoundRecording(name, frames_in(size), size, sha256)
        except (BlobMissing, BadRecording):
            return _DONE  # not here, or not whole: its node may yet bring it

    async def _delete(self, tenant: str, order: EraseOrder) -> None:
        while found := await self._blobs.list(name_of(tenant, order.recordings), limit=_PAGE):
            for name in found:
                await self._blobs.delete(name)

    async def _tell(self, job: _Job, ending: Ending) -> None:
        """The end of the effect, once it is durable. Who owns the shard by then asks again if it was not heard."""
        order = job.order
        try:
            await job.driver.ask(Offer(SOURCE, 0, order.tenant, order.stream, ending, settles=order.key))
        except Rejected as error:
            _log.info("the end of an erasure was not taken", stream=order.stream, reason=error.reason.name)
        self._known.discard(order.key)
