"""Drives one shard on asyncio: moves records, keys, effects and answers, and decides nothing.

A `ShardDriver` follows its partition, claims it at the end, and serves until it is lost; then
it drops all state and begins anew from the log. What belongs to a receiver of effects (the
media nodes) is behind `Receiver`.
"""

from __future__ import annotations

import asyncio
import random
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterator, Mapping
from itertools import chain
from typing import Any, Protocol

import structlog

from tandem.core.arbiter import Place
from tandem.core.backoff import Backoff
from tandem.core.errors import NO_OWNER, TOO_MANY, Rejected
from tandem.core.points import Point, Points
from tandem.core.ports.blobs import BlobExists, Blobs
from tandem.core.ports.clock import Clock
from tandem.core.ports.keys import KeyExists, Keys
from tandem.core.ports.log import Log, LogClosed, LogFailed, Partition
from tandem.internal.log.v1 import log_pb2
from tandem.runtime import log_codec, snapshot
from tandem.runtime.canonical import NotCanonical
from tandem.runtime.counts import Counts
from tandem.runtime.gate import Gate
from tandem.runtime.inbox import Inbox
from tandem.runtime.ledger import SNAPSHOT_TAKEN, Ledger
from tandem.runtime.pace import Pace
from tandem.runtime.rebuild import Refold
from tandem.runtime.service import Group
from tandem.runtime.shard import (
    NODE_LOST_MS,
    Append,
    AskLegs,
    Introduce,
    LoadKeys,
    Lost,
    Noted,
    Output,
    Perform,
    Phase,
    Rebuild,
    Shard,
    Taken,
)
from tandem.runtime.shardtime import Instant
from tandem.runtime.statehash import Differs
from tandem.runtime.step import Answered, Offer
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.shards import Instruments, ShardWatch
from tandem.runtime.traced import Committed

_log = structlog.get_logger(__name__)

BACKLOG = 2_000
"""Messages of other groups that wait in a shard before their tail is paused."""
SLICE_S = 0.002
"""How long packing a snapshot or digesting a state may hold up the loop at a time."""
RECLAIM_S = 0.2
"""Pause before a lost shard is followed and claimed again, so that two claimants do not race on."""
RECLAIM_MAX_S = 2.0
"""The longest such pause: a log that refuses every claim is asked that seldom."""
KEYS_AGAIN_S = 0.5
"""Pause before keys are asked for again after their storage failed."""
PLACE_COMMITS = 1_000
"""A reader of the log begins at most about so many commits before what it wants."""
PLACES_WRITTEN = 100
"""Such places in a snapshot: a view that is so many thousand commits behind need not read all."""
MAX_PLACES = 10_000
"""Such places kept in memory; what is older is read from the beginning of the log."""


class Receiver(Protocol):
    """Does the effects of one kind, and brings the inputs that come of them."""

    def introduce(self, driver: ShardDriver, node: str, epoch: int) -> None:
        """The shard is ours under this epoch: say so to the node."""
        ...

    def perform(self, driver: ShardDriver, order: Perform) -> None:
        """Begin a durable effect."""
        ...

    def taken(self, driver: ShardDriver, taken: Taken) -> None:
        """A numbered source's mark is durable."""
        ...

    def ask_legs(self, driver: ShardDriver, node: str) -> None:
        """See `shard.AskLegs`."""
        ...

    def dropped(self, driver: ShardDriver, why: str) -> None:
        """The shard is not ours any more. Idempotent."""
        ...


class ShardDriver:
    """One shard of one group in this process. `run` is a task of whoever made it."""

    def __init__(
        self,
        group: Group,
        number: int,
        owner: str,
        log: Log,
        keys: Keys,
        clock: Clock,
        points: Points,
        nodes: tuple[str, ...] = (),
        receivers: Mapping[str, Receiver] | None = None,
        blobs: Blobs | None = None,
        snapshot_commits: int = 10_000,
        instruments: Instruments | None = None,
        gate: Gate | None = None,
        node_lost_ms: int = NODE_LOST_MS,
    ) -> None:
        self.counts = Counts()
        self._gate, self._barred = gate, False
        if gate is not None:
            gate.counts.append(self.counts)
        self.group, self.partition = group, Partition(group.name, number)
        self._owner, self._log, self._keys, self._clock, self._points = owner, log, keys, clock, points
        self._nodes, self._receivers = nodes, receivers or {}
        self._blobs, self._snapshot_commits, self._node_lost_ms = blobs, snapshot_commits, node_lost_ms
        self.watch = ShardWatch(instruments or Instruments(clock), self.partition)
        self._snapshotting: asyncio.Task[None] | None = None
        self._hashing: asyncio.Task[None] | None = None
        self.heavy = asyncio.Lock()
        """Held by who packs or digests; the shards of a process share one."""
        self._snapshot_n = 0
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
        self._places: deque[Place] = deque(maxlen=MAX_PLACES)
        self.followed: Mapping[str, Place] = {}
        """Partition -> where this life may begin to take its messages; all before it are taken."""
        self.taken_of: Callable[[Ledger], Mapping[str, Place]] = lambda ledger: {}
        """Up to where a ledger has taken the messages of the partitions that are followed."""
        self.life = 0

    # ---------------------------------------------------------------- life

    async def run(self) -> None:
        """Follow, claim, serve, and again; until cancelled. Raises, in a group, what is wrong with
        the log itself: `WrongShape`, `BadRecord`, `BadHistory`."""
        backoff = Backoff(RECLAIM_S, RECLAIM_MAX_S)
        while True:
            self._served = False
            why = await self._serve()
            _log.warning("shard lost", partition=str(self.partition), why=why)
            if self._served:
                backoff.reset()
            await asyncio.sleep(backoff.pause_s(random.random()))

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
        """A follower at the newest whole snapshot, or at the beginning of the log."""
        found = None
        if self._blobs is not None:
            found = await snapshot.load(self._blobs, self.partition, self.group, end, self._passed_over)
        ledger, offset = (found.ledger, found.offset) if found else (None, 0)
        self.followed = found.followed if found else {}
        if found and not self._places:
            self._places.extend(found.places)
        self._looked.set()
        shard = Shard(
            self.group,
            self.partition.shard,
            self._owner,
            self._nodes,
            self._refused,
            ledger,
            offset,
            self.counts,
            self._node_lost_ms,
        )
        self._snapshot_n = shard.n
        return shard

    def _claim(self, shard: Shard) -> None:
        """Claim, unless too much would have to be quarantined: then only follow."""
        barred = self._gate is not None and not self._gate.opens(shard.unread)
        if not barred:
            shard.claim(self._instant())
        elif not self._barred:
            _log.error("shard not claimed: too many quarantines", partition=str(self.partition), unread=shard.unread)
        self._barred, self.counts.barred_now = barred, int(barred)

    def _passed_over(self, name: str, why: str) -> None:
        _log.warning("snapshot passed over", name=name, why=why)

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
            self._note_place(shard)
            self._durable_moved.set()
            self._durable_moved = asyncio.Event()
            if shard.phase is Phase.FOLLOWING and shard.offset >= end:
                self._claim(shard)
            self._points.reach(Point.READ_BACK)
            self._let_go(shard)
            self._soon()
            await asyncio.sleep(0)  # inputs get their turn between batches
        self._end("the log was closed")

    def _note_place(self, shard: Shard) -> None:
        n = self._places[-1].arbiter.n if self._places else -PLACE_COMMITS
        if shard.phase is not Phase.LOST and shard.judge.n >= n + PLACE_COMMITS:
            self._places.append(Place(shard.offset, shard.judge))

    async def place(self, after: int) -> Place:
        """A place of the log from which all commits above number `after` can be read without
        reading the whole log. Waits until the newest snapshot, which knows some, was looked for."""
        await self._looked.wait()
        return next((place for place in reversed(self._places) if place.arbiter.n <= after), Place())

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

    async def query(self, ask: Callable[[Ledger], Any]) -> tuple[Any, int]:
        """(answer, position) from the owner's state, once that state is durable. The position is
        exactly the state's: what happened after it is not in the answer. Raises `Rejected`."""
        future: asyncio.Future[Any] = asyncio.get_running_loop().create_future()
        shard = self._shard
        if shard is None or not shard.query(future, ask):
            raise Rejected(NO_OWNER, "this shard has no owner at the moment; repeat the request")
        n = shard.n
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
        due = shard.n - self._snapshot_n >= self._snapshot_commits and not shard.ledger.torn
        if due and self._blobs is not None and self._snapshotting is None and shard.phase is Phase.LIVE:
            self._snapshotting = self._spawn(self._snapshot(shard, self._blobs))

    async def _hash(self, work: Iterator[None]) -> None:
        """Digest what changed between turns; the shard commits what comes out (rule 7)."""
        try:
            await self._in_slices(work)
        finally:
            self._hashing = None
        self._soon()

    async def _in_slices(self, work: Iterator[None]) -> None:
        """Do the work, with a pause whenever it has held up the loop for its time. Of all the shards
        one works at a time."""
        async with self.heavy:
            begun = self._clock.monotonic_s()
            for _ in work:
                if self._clock.monotonic_s() - begun > SLICE_S:
                    await asyncio.sleep(0)
                    begun = self._clock.monotonic_s()

    async def _snapshot(self, shard: Shard, blobs: Blobs) -> None:
        """Pack the state of this moment between turns, and finish once it is durable (spine 6)."""
        n, ledger, group = shard.n, shard.ledger, self.group
        self._snapshot_n = n
        shard.offsets[n] = shard.offset if shard.durable == n else 0
        aside = snapshot.beside(tuple(self._places)[-PLACES_WRITTEN:], {**self.followed, **self.taken_of(ledger)})
        writer = snapshot.Writer(group, chain((ledger.head(),), ledger.rows_at(ledger.moment()), aside))
        name = f"{snapshot.prefix(self.partition)}{n:020d}"
        try:
            if not await snapshot.clear(blobs, self.partition, n):
                return  # an earlier life made it, and did not come to announce it
            async with self.heavy:
                for block in writer.blocks(self._clock.monotonic_s, SLICE_S):
                    if block is not None:
                        await blobs.put(f"{name}/part-{len(writer.checksums) - 1:04d}", block)
                        self._points.reach(Point.IN_SNAPSHOT)
                    await asyncio.sleep(0)
            while shard.durable < n:
                await self._durable_moved.wait()
            await blobs.put(f"{name}/manifest", writer.manifest(n, shard.offsets[n], group.shape))
            await self._announce(shard, SNAPSHOT_TAKEN, log_pb2.SnapshotTaken(n=n).SerializeToString())
            self._snapshot_n = n + 1  # the announcement does not count
            await snapshot.tidy(blobs, self.partition)
        except (OSError, BlobExists, NotCanonical) as error:
            # The log has everything; the next one is tried after as many commits again.
            _log.error("snapshot failed", partition=str(self.partition), error=str(error))
        finally:
            del shard.offsets[n]
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
        found = None
        if self._blobs is not None:
            found = await snapshot.load(self._blobs, self.partition, self.group, end, self._passed_over)
        ledger, offset = (found.ledger, found.offset) if found else (None, 0)
        refold = Refold(self.group, wanted.tenant, wanted.stream, wanted.sound, ledger)
        if not refold.done:
            async for records in self._log.read(self.partition, offset):
                if any(refold.take(log_codec.decode(stored.body)) for stored in records):
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
        """Storage that fails is asked again; meanwhile the shard goes on with the keys it has."""
        found: dict[str, bytes] | None = None
        in_doubt = False
        while found is None:
            try:
                found = await self._allocated(wanted, in_doubt)
            except OSError as error:
                _log.error("no keys", partition=str(self.partition), error=str(error))
                in_doubt = True
                await asyncio.sleep(KEYS_AGAIN_S)
        fresh = {key: found[key] for key in wanted.allocate}
        old = {key: found[key] for key in wanted.get if key in found}
        shard.keys_loaded(fresh, old)
        self._soon()

    async def _allocated(self, wanted: LoadKeys, in_doubt: bool) -> dict[str, bytes]:
        if wanted.allocate:
            try:
                await self._keys.allocate(wanted.allocate)
            except KeyExists:
                # The attempt before this was done after all: the ids hold our epoch, so nobody else made them.
                if not in_doubt:
                    raise
        return await self._keys.get((*wanted.allocate, *wanted.get))

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
