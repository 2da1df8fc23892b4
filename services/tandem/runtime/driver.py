"""Drives one shard on asyncio: moves records, keys, effects and answers, and decides nothing.

A `ShardDriver` follows its partition, claims it at the end, and serves until it is lost; then
it drops all state and begins anew from the log. What belongs to a receiver of effects (the
media nodes) is behind `Receiver`.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from typing import Any

import structlog

from tandem.core.arbiter import Place
from tandem.core.errors import NO_OWNER, TOO_MANY, Rejected
from tandem.core.points import Point
from tandem.core.ports.log import LogClosed, LogFailed, Partition
from tandem.runtime import log_codec
from tandem.runtime.counts import Counts
from tandem.runtime.following import Ahead
from tandem.runtime.inbox import Inbox
from tandem.runtime.keyload import load_keys
from tandem.runtime.ledger import Ledger
from tandem.runtime.outputs import (
    Append,
    AskLegs,
    Introduce,
    LoadKeys,
    Lost,
    Noted,
    Output,
    Perform,
    Rebuild,
    Taken,
)
from tandem.runtime.pace import Pace
from tandem.runtime.places import Places
from tandem.runtime.rebuild import Refold
from tandem.runtime.receiver import Receiver
from tandem.runtime.retry_driver import Retry
from tandem.runtime.service import Group
from tandem.runtime.shard import Phase, Shard
from tandem.runtime.shardtime import Instant
from tandem.runtime.shared import Shared
from tandem.runtime.statehash import Differs
from tandem.runtime.step import Answered, Offer
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.shards import Instruments, ShardWatch
from tandem.runtime.traced import Committed
from tandem.runtime.upkeep import Snapshots, in_slices

_log = structlog.get_logger(__name__)

BACKLOG = 2_000
"""Messages of other groups that wait in a shard before their tail is paused."""
RECLAIM_S = 0.2
"""Pause before a lost shard is followed and claimed again, so that two claimants do not race on."""
RECLAIM_MAX_S = 2.0
"""The longest such pause: a log that refuses every claim is asked that seldom."""


class ShardDriver:
    """One shard of one group in this process. `run` is a task of whoever made it. Its first life goes on
    from `ahead`, if this process was a standby of it."""

    def __init__(
        self,
        group: Group,
        number: int,
        shared: Shared,
        nodes: tuple[str, ...] = (),
        receivers: Mapping[str, Receiver] | None = None,
        ahead: Ahead | None = None,
    ) -> None:
        self.counts = Counts()
        self._gate, self._barred = shared.gate, False
        if shared.gate is not None:
            shared.gate.counts.append(self.counts)
        self.group, self.partition = group, Partition(group.name, number)
        self._shared, self._log, self._clock, self._points = shared, shared.log, shared.clock, shared.points
        self._nodes, self._receivers = nodes, receivers or {}
        self.watch = ShardWatch(shared.instruments or Instruments(shared.clock), self.partition)
        self._places = Places()
        self._ahead = ahead
        self._snapshots = Snapshots(group, self.partition, shared, self._places)
        self._snapshotting: asyncio.Task[None] | None = None
        self._hashing: asyncio.Task[None] | None = None
        self._shard: Shard | None = None
        self._tasks: asyncio.TaskGroup | None = None
        self._begun: set[asyncio.Task[None]] = set()
        self._scheduled = False
        self._pace = Pace(self._soon)
        self._alarm: asyncio.TimerHandle | None = None
        self._lost: asyncio.Future[str] | None = None
        self._live, self._served = asyncio.Event(), False
        self._looked = asyncio.Event()  # for a snapshot
        self._asked: set[asyncio.Future[Any]] = set()
        self._room = asyncio.Event()
        self._dropped = asyncio.Event()
        self._marks: dict[tuple[str, str], int] = {}  # durable ones
        self._marked = asyncio.Event()
        self._durable_moved = asyncio.Event()
        self.followed: Mapping[str, Place] = {}
        """Partition -> where this life may begin to take its messages; all before it are taken."""
        self.taken_of: Callable[[Ledger], Mapping[str, Place]] = lambda ledger: {}
        """Up to where a ledger has taken the messages of the partitions that are followed."""
        self.life = 0

    # ---------------------------------------------------------------- life

    async def run(self) -> None:
        """Follow, claim, serve, and again; until cancelled. Raises, in a group, what is wrong with
        the log itself: `WrongShape`, `BadRecord`, `BadHistory`."""
        retry = Retry(RECLAIM_S, RECLAIM_MAX_S)
        while True:
            self._served = False
            why = await self._serve()
            _log.warning("shard lost", partition=str(self.partition), why=why)
            if self._served:
                retry.reset()
            await retry.pause()

    async def _serve(self) -> str:
        """One life of the shard. Returns why it was lost."""
        end = await self._log.end(self.partition)
        shard = await self._loaded(end)
        self.life += 1
        lost: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._lost = lost
        async with asyncio.TaskGroup() as tasks:
            try:
                self._tasks, self._shard = tasks, shard
                self.watch.begun(shard)
                self._dropped.clear()
                self._spawn(self._read(shard, end))
                if end <= shard.offset:
                    self._claim(shard)
                    self._soon()
                why = await lost
            finally:
                self._drop()  # before the tasks end, so that nothing is begun that nobody ends
            for task in self._begun:
                task.cancel()
        return why

    async def _loaded(self, end: int) -> Shard:
        """A follower where a standby stands, at the newest whole snapshot, or at the beginning of the log."""
        ahead, self._ahead = self._ahead, None
        if ahead is not None and ahead.loaded.offset > end:
            ahead = None  # the log was put back
        found = ahead.loaded if ahead else await self._snapshots.load(end)
        ledger, offset = (found.ledger, found.offset) if found else (None, 0)
        self.followed = found.followed if found else {}
        self._places.begin(found.places if found else ())
        self._looked.set()
        shard = Shard(
            self.group,
            self.partition.shard,
            self._shared.owner,
            self._nodes,
            self._refused,
            ledger,
            offset,
            self.counts,
            self._shared.node_lost_ms,
            keys=ahead.keys if ahead else None,
        )
        self._snapshots.begin(ahead.snapshot_n if ahead else shard.n)
        return shard

    def _claim(self, shard: Shard) -> None:
        """Claim, unless too much would have to be quarantined: then only follow."""
        barred = self._gate is not None and not self._gate.opens(shard.unread)
        if not barred:
            shard.claim(self._instant())
        elif not self._barred:
            _log.error("shard not claimed: too many quarantines", partition=str(self.partition), unread=shard.unread)
        self._barred, self.counts.barred_now = barred, int(barred)

    def _drop(self) -> None:
        self.watch.dropped()
        self._pace.stop()
        self._shard = self._tasks = self._snapshotting = self._hashing = None
        self._live.clear()
        self._room.set()
        self._dropped.set()
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        for receiver in self._receivers.values():
            receiver.dropped(self, "the shard was dropped")
        for future in self._asked:
            if not future.done():
                future.set_exception(Rejected(NO_OWNER, "the owner of this shard changed; repeat the request"))
        self._asked.clear()

    async def _read(self, shard: Shard, end: int) -> None:
        async for records in self._log.read(self.partition, shard.offset):
            claiming = shard.phase is Phase.CLAIMING
            shard.read_back(records, self._instant())
            if claiming and shard.phase is Phase.RECOVERING:
                self._mark(shard.ledger.marks)  # nothing is decided yet: all that was folded is durable
            if shard.phase is not Phase.LOST:
                self._places.reached(Place(shard.offset, shard.judge))
            self._durable_moved.set()
            self._durable_moved = asyncio.Event()
            if shard.phase is Phase.FOLLOWING and shard.offset >= end:
                self._claim(shard)
            self._points.reach(Point.READ_BACK)
            self._let_go(shard)
            self._soon()
            await asyncio.sleep(0)  # inputs get their turn between batches
        self._end("the log was closed")

    async def place(self, after: int) -> Place:
        """A place of the log from which all commits above number `after` can be read without
        reading the whole log. Waits until the newest snapshot, which knows some, was looked for."""
        await self._looked.wait()
        return self._places.before(after)

    async def live(self) -> None:
        """Until the shard serves clients."""
        await self._live.wait()

    async def over(self, life: int) -> None:
        """Until that life of the shard has ended."""
        while self.life == life and self._shard is not None:
            await self._dropped.wait()

    async def taken(self, source: str, number: int, tenant: str) -> None:
        """Until a source's mark is durably at `number` or above."""
        while self._marks.get((source, tenant), 0) < number:
            await self._marked.wait()

    async def room(self, life: int) -> None:
        """Until the shard can take another message without piling them up, or its life is over."""
        while self._shard is not None and self.life == life and self._shard.waiting >= BACKLOG:
            self._room.clear()
            await self._room.wait()

    def forget_taken(self, inbox: Inbox) -> None:
        """Let an inbox forget the messages that this life has taken."""
        if self._shard is not None:
            inbox.taken(self._shard.ledger.mark)

    @property
    def is_live(self) -> bool:
        """Whether the shard serves clients now."""
        return self._live.is_set()

    @property
    def durable(self) -> int:
        """Number of the last durable commit, 0 while the shard is not ours."""
        return 0 if self._shard is None else self._shard.durable

    # ---------------------------------------------------------------- inputs

    def offer(self, offer: Offer) -> bool:
        """Take a numbered input; False if the shard does not own itself (it will be sent again)."""
        taken = self._shard is not None and self._shard.offer(offer)
        if taken:
            self._soon()
        return taken

    async def ask(self, offer: Offer) -> tuple[Any, int]:
        """A client's command: (value, position) once durable. Raises `Rejected`."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        offer.handle = future
        shard = self._shard
        if shard is None or shard.phase not in (Phase.RECOVERING, Phase.LIVE):
            raise Rejected(NO_OWNER, "this shard has no owner at the moment; repeat the request")
        if not shard.offer(offer):
            raise Rejected(TOO_MANY, "too many requests of this tenant wait; repeat in a second")
        value = await self._answer(future)
        return value, shard.durable

    async def query(self, ask: Callable[[Ledger], Any], tenant: str = "") -> tuple[Any, int]:
        """(answer, position) from the owner's state, or of one tenant in it, once that is durable. The position
        is exactly the state's: what happened after it is not in the answer. Raises `Rejected`."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        shard = self._shard
        n = None if shard is None else shard.query(future, ask, tenant)
        if n is None:
            raise Rejected(NO_OWNER, "this shard has no owner at the moment; repeat the request")
        return await self._answer(future), n

    async def _answer(self, future: asyncio.Future[Any]) -> Any:
        self._asked.add(future)
        self._soon()
        try:
            return await future
        finally:
            self._asked.discard(future)

    def told(self, tell: Callable[[Shard], None]) -> None:
        """Give the shard news of a node (`node_up`, `node_kept`, `node_legs`, `node_down`)."""
        if self._shard is not None:
            tell(self._shard)
            self._soon()

    def lose(self, why: str) -> None:
        """A node knows a newer owner: what the log will say soon is taken as said."""
        if self._shard is not None:
            self._in_doubt(self._shard, why)

    def key(self, key_id: str) -> bytes | None:
        """A data key of a live aggregate, None once it was destroyed."""
        return None if self._shard is None else self._shard.key(key_id)

    def shard_time(self, boottime_ms: int) -> int:
        """See `Shard.shard_time`."""
        assert self._shard is not None, "a dropped shard has no time"
        return self._shard.shard_time(boottime_ms)

    def marks_of(self, node: str, incarnation: str = "") -> tuple[str, tuple[tuple[str, int], ...]]:
        """See `Shard.marks_of`."""
        assert self._shard is not None, "a dropped shard has no marks"
        return self._shard.marks_of(node, incarnation)

    # ---------------------------------------------------------------- the turn

    def _instant(self) -> Instant:
        return Instant(self._clock.boottime_ms(), self._clock.wall_ms(), self._clock.boot_id())

    def _soon(self) -> None:
        if not self._scheduled:
            self._scheduled = True
            asyncio.get_running_loop().call_soon(self._turn)

    def _turn(self) -> None:
        self._scheduled = False
        if self._shard is None:
            return
        try:
            self._work(self._shard)
        except Exception as error:  # noqa: BLE001 - nobody stands above a callback: `run` raises it
            self._fail(error)

    def _let_go(self, shard: Shard) -> None:
        """What has become durable leaves before anything else is decided."""
        for output in shard.take():
            self._do(shard, output)

    def _work(self, shard: Shard) -> None:
        n, begun_s = shard.n, self._clock.monotonic_s()
        outputs = shard.turn(self._instant())
        if shard.n != n:
            self.watch.decided(shard.n - n, begun_s)
        for output in outputs:
            self._do(shard, output)
        if shard.n != n:
            self._pace.turned(shard, self._clock.monotonic_s() - begun_s)
        if shard.phase is Phase.LIVE and not self._live.is_set():
            self._live.set()
            self._served = True
            self.watch.live()
        if shard.waiting < BACKLOG:
            self._room.set()
        if shard.busy:
            self._soon()  # behind whatever else the loop has to do by now
        self._set_alarm(shard)
        work = shard.hash_work() if self._hashing is None else None
        if work is not None:
            self._hashing = self._spawn(self._hash(work))
        if self._snapshotting is None and self._snapshots.due(shard):
            self._snapshotting = self._spawn(self._snapshot(shard))

    async def _hash(self, work: Iterator[None]) -> None:
        """Digest what changed between turns; the shard commits what comes out (rule 7)."""
        try:
            await in_slices(self._shared, work)
        finally:
            self._hashing = None
        self._soon()

    async def _snapshot(self, shard: Shard) -> None:
        async def durable(n: int) -> None:
            while shard.durable < n:
                await self._durable_moved.wait()

        async def announce(type_: str, body: bytes) -> None:
            await self._announce(shard, type_, body)

        try:
            followed = {**self.followed, **self.taken_of(shard.ledger)}
            await self._snapshots.take(shard, followed, durable, announce)
        finally:
            self._snapshotting = None

    async def _announce(self, shard: Shard, type_: str, body: bytes) -> None:
        """Commit an event of the runtime, and wait until that is durable."""
        noted: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        shard.note(type_, body, noted)
        self._soon()
        await noted

    async def _rebuild(self, shard: Shard, wanted: Rebuild) -> None:
        """Fold one state anew, from the newest snapshot on, while its shard mates go on."""
        end = await self._log.end(self.partition)
        found = await self._snapshots.load(end)
        ledger, offset = (found.ledger, found.offset) if found else (None, 0)
        refold = Refold(self.group, wanted.tenant, wanted.stream, wanted.sound, ledger)
        if offset < end:
            async for records in self._log.read(self.partition, offset):
                for stored in records:
                    refold.take(log_codec.decode(stored.body))
                    offset = stored.offset
                if offset >= end:
                    break
                await asyncio.sleep(0)
        shard.rebuilt(wanted.tenant, wanted.stream, refold.state)
        _log.warning("state folded anew", partition=str(self.partition), tenant=wanted.tenant, stream=wanted.stream)

    def _set_alarm(self, shard: Shard) -> None:
        if self._alarm is not None:
            self._alarm.cancel()
            self._alarm = None
        now = self._instant()
        at = shard.next_ms(now)
        if at is not None and self._shard is shard:
            delay = max(0.001, (at - now.boottime_ms) / 1000)
            self._alarm = asyncio.get_running_loop().call_later(delay, self._turn)

    def _do(self, shard: Shard, output: Output) -> None:
        match output:
            case Append(body):
                self._append(shard, body)
            case Answered(handle, value, error):
                self._finish(handle, value, error)
            case Committed():
                self.watch.committed(output)
            case Perform(kind=kind):
                self._receivers[kind].perform(self, output)
                if output.trace:
                    self.watch.performed(output)
            case Taken():
                self._taken(output)
            case Introduce(node, epoch):
                self._receivers["media"].introduce(self, node, epoch)
            case AskLegs(node):
                self._receivers["media"].ask_legs(self, node)
            case Lost(why):
                self._end(why)
            case _:
                self._do_beside(shard, output)

    def _do_beside(self, shard: Shard, output: Output) -> None:
        """What no caller waits for."""
        match output:
            case LoadKeys():
                self._spawn(self._load_keys(shard, output))
            case Rebuild():
                self._spawn(self._rebuild(shard, output))
            case Noted(handle):
                self._finish(handle, None, None)
            case Differs(n, recorded, computed):
                self.counts.hashes_differing += 1
                told = {"n": n, "recorded": recorded.hex(), "computed": computed.hex()}
                _log.error(names.HASH_DIFFERS, partition=str(self.partition), **told)

    def _taken(self, taken: Taken) -> None:
        self._mark({(taken.source, taken.tenant): taken.number})
        for receiver in self._receivers.values():
            receiver.taken(self, taken)

    def _append(self, shard: Shard, body: bytes) -> None:
        self._points.reach(Point.BEFORE_APPEND)
        try:
            # An append takes its place at this call; awaiting it only learns how it ended.
            stored = self._log.append(self.partition, body)
        except (LogFailed, LogClosed) as error:
            self._in_doubt(shard, f"an append was not taken: {error}")
            return
        task = self._spawn(self._stored(shard, stored))
        task.add_done_callback(lambda _: stored.close())
        if shard.phase is Phase.CLAIMING:
            self._points.reach(Point.IN_CLAIM)

    def _finish(self, future: asyncio.Future[Any], value: Any, error: Rejected | None) -> None:
        if future.done():
            return  # the client has gone
        if error is not None:
            future.set_exception(error)
        else:
            future.set_result(value)

    def _mark(self, durable: Mapping[tuple[str, str], int]) -> None:
        self._marks.update(durable)
        self._marked.set()
        self._marked = asyncio.Event()

    def _spawn(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        assert self._tasks is not None, "a dropped shard starts nothing"
        task = self._tasks.create_task(self._guarded(work))
        self._begun.add(task)
        task.add_done_callback(self._begun.discard)
        task.add_done_callback(lambda _: work.close())  # one cancelled before it began was never awaited
        return task

    async def _guarded(self, work: Coroutine[Any, Any, None]) -> None:
        """A task that fails ends the life, in the order in which a lost shard ends."""
        try:
            await work
        except Exception as error:  # noqa: BLE001 - `run` raises it
            self._fail(error)

    async def _stored(self, shard: Shard, stored: Awaitable[None]) -> None:
        try:
            await stored
        except (LogFailed, LogClosed) as error:
            self._in_doubt(shard, f"an append is in doubt: {error}")
        self._points.reach(Point.APPENDED)

    async def _load_keys(self, shard: Shard, wanted: LoadKeys) -> None:
        shard.keys_loaded(*await load_keys(self._shared.keys, self.partition, wanted))
        self._soon()

    def _in_doubt(self, shard: Shard, why: str) -> None:
        shard.append_failed(why)
        self._live.clear()
        self._soon()

    def _end(self, why: str) -> None:
        self._live.clear()
        if self._lost is not None and not self._lost.done():
            self._lost.set_result(why)

    def _fail(self, error: Exception) -> None:
        self._live.clear()
        if self._lost is not None and not self._lost.done():
            self._lost.set_exception(error)

    def _refused(self, text: str, error: BaseException) -> None:
        _log.error("input refused", partition=str(self.partition), what=text, error=type(error).__name__)
