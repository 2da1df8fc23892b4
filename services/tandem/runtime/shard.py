"""A shard, sans-I/O: follows its log, claims it, decides, and lets go of what is durable.

Nothing leaves before it is durable (rule 5): each step's outputs wait for the moment at
which its commit has been read back as counted. Decisions run ahead on the applied state.

    following --claim()--> claiming --claim counted--> recovering --nodes heard--> live
                                 any of them --newer claim, own commit void--> lost

Recovering (rule 9): keys, then what the media nodes kept, then pending effects again, and
only then timers. Clients and messages wait until the shard is live.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import replace
from enum import Enum
from typing import Any

from tandem.core.access import CELL_TENANT
from tandem.core.arbiter import Arbiter
from tandem.core.commit import Claim, Commit, Effect, Part, Record
from tandem.core.decider import EffectEnded
from tandem.core.ports.log import Partition, Stored
from tandem.core.ports.media import CommandSettled
from tandem.internal.log.v1 import log_pb2
from tandem.runtime import log_codec
from tandem.runtime.cascade import CLAIM
from tandem.runtime.counts import Counts
from tandem.runtime.inflight import Appended, InFlight
from tandem.runtime.keyring import KeyRing
from tandem.runtime.ledger import STATE_HASHED, STEPPED, Ledger
from tandem.runtime.moves import Moves
from tandem.runtime.nodes import NODE_LOST_MS, Nodes
from tandem.runtime.outputs import Append, AskLegs, Introduce, Lost, Noted, Output, Perform, Rebuild, Taken
from tandem.runtime.sealing import KeysNeeded, Sealer
from tandem.runtime.service import Group
from tandem.runtime.shardtime import Instant, ShardTime
from tandem.runtime.state import Pending
from tandem.runtime.step import Answered, Offer, Step
from tandem.runtime.timers import Timers
from tandem.runtime.traced import Committed
from tandem.runtime.turns import Earlier, Turns

MAX_IN_FLIGHT = 256
"""Commits appended and not yet read back; more would only lengthen what a crash repeats."""
MAX_WAITING = 20_000
"""Inputs waiting per shard; clients beyond it are answered TOO_MANY, media is never dropped."""
NODE_PATIENCE_MS = 2000
"""How long a takeover waits for a silent media node (T2)."""
HEARTBEAT_MS = 60_000
"""An idle owner commits its clocks at least this often (spine 5)."""


class Phase(Enum):
    """Where a shard stands."""

    FOLLOWING = "following"
    CLAIMING = "claiming"
    RECOVERING = "recovering"
    LIVE = "live"
    LOST = "lost"


class Shard:
    """One partition of a group. Every method that takes `now` moves shard time.

    `nodes` are the media nodes that a takeover waits for, none for groups without media.
    `report(text, error)` is told of refused inputs. `keys` are data keys that are at hand already.
    `decode` reads the records of others.
    """

    def __init__(
        self,
        group: Group,
        number: int,
        owner: str,
        nodes: Sequence[str] = (),
        report: Callable[[str, BaseException], None] = lambda text, error: None,
        ledger: Ledger | None = None,
        offset: int = 0,
        counts: Counts | None = None,
        node_lost_ms: int = NODE_LOST_MS,
        decode: Callable[[bytes], Record] = log_codec.decode_to_fold,
        keys: Mapping[str, bytes] | None = None,
    ) -> None:
        self.counts = counts or Counts()
        self.group, self.partition, self.owner = group, Partition(group.name, number), owner
        self.ledger = ledger or Ledger(group)
        self.judge: Arbiter = self.ledger.arbiter
        self.offset = offset  # of the last record read
        self.offsets: dict[int, int] = {}  # of own commits that a snapshot waits for
        self.phase = Phase.FOLLOWING
        self.epoch = 0
        self.n = self.judge.n  # applied
        self._report, self._decode_record = report, decode
        self._time: ShardTime | None = None
        self._now_ms = self.ledger.shard_time_ms
        self._instant: Instant | None = None
        self._out: list[Output] = []
        self._in_flight = InFlight()
        self._turns = Turns()
        self.busy = False  # another turn would decide something at once
        self._held: deque[Offer] = deque()  # clients and messages, until the shard is live
        sealed = any(kind.sealed for kind in group.kinds.values())
        self._keys = KeyRing(self.partition, sealed, lambda wanted: self._out.append(wanted))
        self._known_keys = keys or {}
        self._timers = Timers(self.ledger)
        self._nodes = Nodes(nodes, group, self.ledger, self._turns.add, node_lost_ms)
        self._moves = Moves(group, self.ledger, self._nodes, self._turns.add)
        self._deadline_ms = 0
        self._last_told: Earlier | None = None  # by the nodes, before the shard may be live
        self._durable_marks: dict[tuple[str, str], int] = {}
        self._last_commit_ms = 0
        self._stepped_from: int | None = None
        self._stock_taken = False
        self._notes: list[tuple[Part, Any]] = []

    # ---------------------------------------------------------------- log

    def read_back(self, records: Iterable[Stored], now: Instant) -> None:
        """Records of the partition, in order, the shard's own among them."""
        for stored in records:
            if self.phase is Phase.LOST:
                return
            self.offset = stored.offset
            own = self._in_flight.comes_back(stored.body)
            if own is not None:
                self._own(own, now)
            else:
                self._foreign(stored.body, now)

    def _own(self, own: Appended, now: Instant) -> None:
        if self.phase is Phase.CLAIMING:
            self._in_flight.landed()
            claim = Claim(self.epoch, self.owner, self.group.shape)
            if not self.judge.counts(claim):
                self.phase, self.epoch = Phase.FOLLOWING, 0
                return
            self.judge = self.ledger.arbiter = self.judge.after(claim)
            self._claimed(now)
            return
        if self.judge.epoch != self.epoch or own.n != self.judge.n + 1:
            self.counts.void_commits += 1
            self._lose(f"commit {self.epoch}/{own.n} is void")
            return
        self._in_flight.landed()
        self.judge = Arbiter(self.epoch, self.owner, own.n)
        if own.n in self.offsets:
            self.offsets[own.n] = self.offset
        for output in own.held:
            if isinstance(output, Taken):
                self._durable_marks[output.source, output.tenant] = output.number
        self._out += own.held

    def _foreign(self, body: bytes, now: Instant) -> None:
        record = self._decode_record(body)
        if isinstance(record, Commit) and record.epoch == self.epoch and self.phase in (Phase.RECOVERING, Phase.LIVE):
            self.counts.void_commits += 1
            self._lose(f"commit {record.epoch}/{record.n} is void, or another process writes under our epoch")
            return
        if not self.judge.counts(record):
            return
        if isinstance(record, Claim):
            if record.shape != self.group.shape:
                raise WrongShape(str(self.partition), record.shape, self.group.shape)
            if self.phase in (Phase.RECOVERING, Phase.LIVE):
                self._lose(f"{record.owner} claimed epoch {record.epoch}")
                return
        known = len(self.ledger.hash.wrong)
        self.ledger.fold(record)
        self._out += self.ledger.hash.wrong[known:]
        self.judge = self.ledger.arbiter
        self.n = self.judge.n

    def _lose(self, why: str) -> None:
        self.counts.dropped += 1
        self.counts.quarantined_now = self.counts.out_of_service_now = 0
        self.phase = Phase.LOST
        self._out = [Lost(why)]
        self._in_flight.clear()

    def append_failed(self, why: str) -> None:
        """An append is in doubt: its (epoch, n) is never used again, the state is dropped (rule 5)."""
        if self.phase is not Phase.LOST:
            self._lose(why)

    def claim(self, now: Instant) -> None:
        """Ask for the shard. Call when all that stands in the log has been read."""
        if self.phase is not Phase.FOLLOWING:
            raise ValueError(f"{self.partition} is {self.phase.value}: only a follower claims")
        self.phase, self.epoch = Phase.CLAIMING, self.judge.epoch + 1
        body = log_codec.encode(Claim(self.epoch, self.owner, self.group.shape))
        self._in_flight.add(self.n, body)
        self._out.append(Append(body))

    # ---------------------------------------------------------------- takeover

    def _claimed(self, now: Instant) -> None:
        self.phase = Phase.RECOVERING
        ledger = self.ledger
        before = ledger.shard_time_ms
        self._time, stepped = ShardTime.going_on(before, ledger.boot_id, ledger.boottime_ms, now)
        self._stepped_from = before if stepped else None
        self.counts.time_steps += stepped
        held = list(ledger.quarantined())
        self.counts.quarantined_now = len(held)
        self.counts.out_of_service_now = sum(row.kind.rescue is None for _, _, row in held)
        self.counts.unread_history += self.unread
        for tenant, stream, row in held:
            if row.quarantine is not None and row.quarantine.torn:
                self._out.append(Rebuild(tenant, stream, row.quarantine.sound))
        self._clock(now)
        self._last_commit_ms = self._now_ms
        self._deadline_ms = self._now_ms + NODE_PATIENCE_MS
        self._durable_marks = dict(ledger.marks)
        self._keys.begin(self.epoch, _key_ids(ledger), self._known_keys)
        self._known_keys = {}
        self._out += (Introduce(name, self.epoch) for name in self._nodes.begin(self._now_ms))

    @property
    def unread(self) -> int:
        """Aggregates that this process would quarantine if it owned the shard: it cannot fold their
        history, which others may."""
        return sum(1 for _, _, row in self.ledger.quarantined() if row.quarantine and not row.quarantine.noted)

    def rebuilt(self, tenant: str, stream: str, state: Any) -> None:
        """The answer to `Rebuild`."""
        aggregate = self.ledger.aggregate(tenant, stream)
        if aggregate is not None and aggregate.quarantine is not None and aggregate.quarantine.torn:
            aggregate.state = state
            self.ledger.aggregates.set_aside((tenant, stream), replace(aggregate.quarantine, torn=False))
            self.counts.rebuilt += 1

    def keys_loaded(self, allocated: dict[str, bytes], got: dict[str, bytes]) -> None:
        """The answer to `LoadKeys`."""
        self._keys.loaded(allocated, got)

    def node_up(self, node: str, incarnation: str, *, draining: bool = False, takes_over: bool = False) -> None:
        """The node has answered our Hello; what it kept follows."""
        self._nodes.up(node, incarnation, self._now_ms, draining=draining, takes_over=takes_over)

    def node_drains(self, node: str, draining: bool) -> None:
        """The node is being emptied, or is not any more."""
        self._nodes.drains(node, draining)

    def node_down(self, node: str) -> None:
        """The link is gone."""
        self._nodes.down(node, self._now_ms)

    def node_kept(self, node: str) -> None:
        """All that the node had kept has been offered: offer it what is pending, then ask for its legs."""
        self._nodes.kept(node, self._turns.earlier())

    def node_legs(self, node: str, legs: Iterable[tuple[str, str]]) -> None:
        """The legs that live on the node, as (tenant, leg)."""
        self._nodes.legs(node, legs, self._now_ms, self._turns.earlier())

    def marks_of(self, node: str, incarnation: str = "") -> tuple[str, tuple[tuple[str, int], ...]]:
        """See `Nodes.marks_of`."""
        return self._nodes.marks_of(node, incarnation, self._durable_marks)

    def _recover(self) -> None:
        """Go on with the takeover as far as the keys and the nodes have come. What the nodes kept is decided
        first, for it may settle what is pending; what they tell since then has a turn as everything has,
        or calls that go on would hold up a takeover for as long as they are many."""
        if self._keys.incomplete:
            return
        for name in self._nodes.ask():
            self._offer_pending(lambda p, on=name: p.effect.kind == "media" and p.payload.node == on)  # type: ignore[misc]
            self._out.append(AskLegs(name))
        if self.phase is not Phase.RECOVERING:
            return
        if self._nodes.all_listed or self._now_ms >= self._deadline_ms:
            self._last_told = self._last_told or self._turns.earlier()
            if not self._last_told.over:
                return
            self.phase = Phase.LIVE
            self._timers.begin()
            for offer in self._held:
                self._turns.add(offer)
            self._held.clear()
            self._offer_pending(lambda pending: pending.effect.kind not in ("wake", "media"))

    def _offer_pending(self, whose: Callable[[Pending], bool]) -> None:
        """Offer pending effects again, oldest first. One whose commit is not durable leaves with that."""
        leaving = self._in_flight.leaving()
        for key, pending in self.ledger.pending.items():
            if key not in leaving and whose(pending):
                self._out.append(self._order(pending.effect, pending.payload, again=True))

    def _order(self, effect: Effect, payload: Any, *, again: bool) -> Perform:
        aggregate = self.ledger.aggregate(effect.tenant, effect.stream)
        trace = "" if aggregate is None else aggregate.trace
        return Perform(effect.key, effect.tenant, effect.stream, effect.kind, payload, again, trace)

    # ---------------------------------------------------------------- inputs

    def offer(self, offer: Offer) -> bool:
        """Take an input; False if too many wait, of the shard or of its tenant's clients (never for numbered ones)."""
        if self.phase in (Phase.FOLLOWING, Phase.CLAIMING, Phase.LOST):
            return False
        if offer.number == 0 and (self.waiting >= MAX_WAITING or not self._turns.has_room(offer.tenant)):
            return False
        if self.phase is Phase.RECOVERING and not offer.source.startswith("media/"):
            self._held.append(offer)
        else:
            self._turns.add(offer)
        return True

    def rest(self) -> bool:
        """See `Turns.rest`."""
        return self._turns.rest()

    def rested(self) -> None:
        """See `Turns.rest`."""
        self._turns.rested()

    def settled(self, source: str, number: int, tenant: str, stream: str, body: CommandSettled) -> None:
        """A node says how a command ended."""
        command = EffectEnded("", body.outcome, body.reason)
        self.offer(Offer(source, number, tenant, stream, command, settles=body.key))

    def query(self, handle: Any, ask: Callable[[Ledger], Any], tenant: str = "") -> int | None:
        """Answer from the applied state, held until that state is durable; the number of the last commit in
        it, None if not live. Who asks of one tenant waits for no commit of its shard mates."""
        if self.phase is not Phase.LIVE:
            return None
        in_flight = self._in_flight
        last = in_flight.newest_of((tenant, CELL_TENANT)) if tenant else in_flight.newest()
        self._hold([Answered(handle, ask(self.ledger))], last)
        return self.durable if last is None else last.n

    def _hold(self, outputs: Iterable[Output], until: Appended | None) -> None:
        """They leave once that record is durable."""
        held = self._out if until is None else until.held
        held.extend(outputs)

    # ---------------------------------------------------------------- the turn

    def turn(self, now: Instant) -> list[Output]:
        """Do what can be done now, of what waits one step, and hand over what may leave. While
        the shard is `busy`, call it again, after the loop has looked for other work."""
        if self.phase in (Phase.RECOVERING, Phase.LIVE):
            self._clock(now)
            self._out = [output for output in self._out if not self._too_early(output)]
            before = self.phase
            if before is Phase.LIVE:
                self._nodes.give_up(self._now_ms)
                self._moves.run(self._now_ms)
            self._decide()
            if not self._keys.incomplete:
                idle = not len(self._turns)
                self._nodes.strays(self._now_ms, f"{self.epoch}.{self.n}")
                if idle:
                    self._decide()
            self._recover()
            if self.phase is not before:
                self._decide()  # live: what was held, and what is due
            overdue = self._now_ms - self._last_commit_ms >= HEARTBEAT_MS and not self._in_flight
            if overdue or (self._notes and len(self._in_flight) < MAX_IN_FLIGHT):
                self._append(self._new_step())
        return self.take()

    def take(self) -> list[Output]:
        """Hand over what may leave, and decide nothing: what has just become durable need not
        wait for the next step."""
        out, self._out = self._out, []
        return [output for output in out if not self._too_early(output) and not self._overtaken(output)]

    def _overtaken(self, output: Output) -> bool:
        """An effect that a later step has already settled need not be done any more."""
        return isinstance(output, Perform) and output.key not in self.ledger.pending

    def _decide(self) -> None:
        self.busy = False
        if self._keys.incomplete:
            return  # what was kept cannot be sealed, what is pending not opened (rule 9: keys first)
        if not self._stock_taken:
            self._take_stock()
        self._wakes()
        decided = self._turns.ready and len(self._in_flight) < MAX_IN_FLIGHT and self._step()
        self.busy = decided and self._turns.ready and len(self._in_flight) < MAX_IN_FLIGHT

    def _take_stock(self) -> None:
        """Before anything is decided: what could not be folded is quarantined in the log."""
        self._stock_taken = True
        step = self._new_step()
        if step.take_stock():
            self._append(step)

    def _too_early(self, output: Output) -> bool:
        if not isinstance(output, Perform) or output.kind != "media":
            return False
        return not self._nodes.takes_orders(output.payload.node)

    def next_ms(self, now: Instant) -> int | None:
        """CLOCK_BOOTTIME at which `turn` should be called at the latest; None if only the
        log, the keys or a node can bring something new."""
        if self._time is None or self.phase not in (Phase.RECOVERING, Phase.LIVE):
            return None
        due: list[int] = []
        if not self._in_flight:
            due.append(self._last_commit_ms + HEARTBEAT_MS)
        if self.phase is Phase.RECOVERING and self._now_ms < self._deadline_ms:
            due.append(self._deadline_ms)
        if self.phase is Phase.LIVE:
            if (armed := self._timers.next_ms()) is not None:
                due.append(armed)
            due += self._nodes.give_up_ms()
            if (look := self._moves.next_ms()) is not None:
                due.append(look)
        return now.boottime_ms + max(0, min(due) - self._now_ms) if due else None

    def key(self, key_id: str) -> bytes | None:
        """A loaded data key."""
        return self._keys.get(key_id)

    def shard_time(self, boottime_ms: int) -> int:
        """Shard time of a moment of this boot, for media events."""
        assert self._time is not None, "no shard time before the claim counts"
        return self._time.of(boottime_ms)

    @property
    def waiting(self) -> int:
        """Inputs that are not decided yet."""
        return len(self._turns) + len(self._held)

    @property
    def in_flight(self) -> int:
        """Records appended and not read back yet."""
        return len(self._in_flight)

    def sizes(self) -> dict[str, int]:
        """How much of each thing is in memory."""
        return self.ledger.sizes() | {
            "keys": len(self._keys),
            "keys_unused": self._keys.unused,
            "wakes": len(self._timers),
            "marks_durable": len(self._durable_marks),
        }

    @property
    def now_ms(self) -> int:
        """Shard time of the last turn."""
        return self._now_ms

    @property
    def durable(self) -> int:
        """Number of the last durable commit."""
        return self.judge.n

    def _clock(self, now: Instant) -> None:
        assert self._time is not None
        self._instant = now
        self._now_ms = self._time.at(now)

    def _wakes(self) -> None:
        if self.phase is not Phase.LIVE:
            return
        wakes, overdue = self._timers.due(self._now_ms)
        for wake in wakes:
            self._turns.add(wake)
        if overdue:
            self._offer_pending(lambda pending: pending.effect.key in overdue)

    def _new_step(self) -> Step:
        assert self._instant is not None
        return Step(
            self.ledger,
            str(self.partition),
            self.epoch,
            self.n + 1,
            self._now_ms,
            self._instant.boot_id,
            self._instant.boottime_ms,
            Sealer(self._keys.get, self.epoch, self.n + 1),
            self._keys.fresh,
            self._report,
            self.counts,
        )

    def _step(self) -> bool:
        """Decide one step; False if nothing can be decided now."""
        step = self._new_step()

        def decide(offer: Offer) -> bool:
            try:
                step.take(offer)
            except KeysNeeded:
                return False
            return True

        taken = self._turns.round(decide, self._is_over, self._now_ms)
        self.counts.fair_turns += self._turns.cut
        if step.inputs:
            self._append(step)
        elif step.answers:
            self._hold(step.answers, self._in_flight.newest())
        return taken > 0

    def _is_over(self, offer: Offer) -> bool:
        """A wake that another input has settled since it was due."""
        return offer.source == "wake" and bool(offer.settles) and offer.settles not in self.ledger.pending

    def _append(self, step: Step) -> None:
        if self._stepped_from is not None:
            stepped = log_pb2.ShardTimeStepped(from_ms=self._stepped_from, to_ms=self._now_ms)
            step.note(Part(STEPPED, stepped.SerializeToString()), CLAIM)
            self._stepped_from = None
        notes, self._notes = self._notes, []
        for part, _ in notes:
            step.note(part, "owner")
        commit = step.commit()
        self._keys.forget(step.ended_keys)
        self.n = step.n
        body = log_codec.encode(commit)
        if self.phase is Phase.LIVE:
            self._timers.add(commit.effects)
        self._timers.again(step.again, self._now_ms)
        noted = [Noted(handle) for _, handle in notes if handle is not None]
        tenants = frozenset(e.tenant for e in commit.events)
        self._in_flight.add(step.n, body, [*self._released(commit, step), *noted], tenants)
        self._last_commit_ms = self._now_ms
        self._out.append(Append(body))

    def _released(self, commit: Commit, step: Step) -> list[Output]:
        """What may leave once the commit is durable, in this order."""
        out: list[Output] = [Committed(commit, tuple(step.decided))]
        out += [Taken(m.source, m.tenant, m.number) for m in commit.marks]
        pending = self.ledger.pending
        out += (self._order(e, pending[e.key].payload, again=False) for e in commit.effects if e.kind != "wake")
        out += step.answers
        out += (Rebuild(tenant, stream, sound) for tenant, stream, sound in step.torn)
        return out

    # ---------------------------------------------------------------- snapshots and the state hash

    def note(self, type_: str, body: bytes, handle: Any = None) -> None:
        """Commit an event of the runtime. With a handle, `Noted` says when it is durable."""
        self._notes.append((Part(type_, body), handle))

    def hash_work(self) -> Iterator[None] | None:
        """Digests the state a row at a time and notes the hash in the end; None if none is due."""
        return self._hashed() if self.phase is Phase.LIVE and self.ledger.hash.due else None

    def _hashed(self) -> Iterator[None]:
        state = self.ledger.hash
        assert state.point is not None, "it is due"
        n = state.point.n
        yield from state.work(self.ledger.row)
        said = log_pb2.StateHashed(n=n, hash=state.written, schema=self.group.canonical.schema)
        self.note(STATE_HASHED, said.SerializeToString())


def _key_ids(ledger: Ledger) -> Iterator[str]:
    """Keys of all aggregates that live, and of the persons that they know."""
    for aggregate in ledger.aggregates.values():
        if aggregate.key:
            yield aggregate.key
        if aggregate.quarantine is None:
            yield from aggregate.kind.persons(aggregate.state)


class WrongShape(Exception):
    """The log was written with services grouped otherwise; it cannot be read by this grouping."""

    def __init__(self, partition: str, found: str, wanted: str) -> None:
        super().__init__(
            f"the log of {partition} was written with the services grouped as {found}, this process groups them as "
            f"{wanted}; start it with the same grouping"
        )
