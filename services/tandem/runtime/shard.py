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
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass, replace
from enum import Enum
from typing import Any

from tandem.core.arbiter import Arbiter
from tandem.core.commit import Claim, Commit, Effect, Envelope, Part
from tandem.core.decider import EffectEnded
from tandem.core.ports.log import Partition, Stored
from tandem.core.ports.media import CommandSettled, Originate, Outcome
from tandem.core.seal import AUDIO
from tandem.internal.log.v1 import log_pb2
from tandem.runtime import log_codec
from tandem.runtime.counts import Counts
from tandem.runtime.ledger import CELL_TENANT, SHARD, STATE_HASHED, STEPPED, Ledger, Pending
from tandem.runtime.service import Group
from tandem.runtime.shardtime import Instant, ShardTime
from tandem.runtime.statehash import Differs
from tandem.runtime.step import Answered, KeysNeeded, Offer, Step
from tandem.runtime.traced import Committed
from tandem.runtime.turns import Turns
from tandem.runtime.wheel import Wheel

MAX_IN_FLIGHT = 256
"""Commits appended and not yet read back; more would only lengthen what a crash repeats."""
MAX_WAITING = 20_000
"""Inputs waiting per shard; clients beyond it are answered TOO_MANY, media is never dropped."""
KEY_BLOCK = 256
"""Pairs of data keys written ahead; a refill is asked for when half are used."""
NODE_PATIENCE_MS = 2000
"""How long a takeover waits for a silent media node (T2)."""
WAKE_AGAIN_MS = 60_000
"""A timer whose command was refused comes again after so long, where nobody else does its work."""
NODE_LOST_MS = 600_000
"""A node that was away for so long does not come back with its calls: their contacts end."""
HEARTBEAT_MS = 60_000
"""An idle owner commits its clocks at least this often (spine 5)."""


class Phase(Enum):
    """Where a shard stands."""

    FOLLOWING = "following"
    CLAIMING = "claiming"
    RECOVERING = "recovering"
    LIVE = "live"
    LOST = "lost"


# ------------------------------------------------------------------- outputs


@dataclass(frozen=True, slots=True)
class Append:
    """Store this record. Appends of a shard must reach the log in the order given."""

    body: bytes


@dataclass(frozen=True, slots=True)
class Perform:
    """Do a durable effect. `again`: a repeat with its first key, to be answered or adopted.
    `trace`: the context of the aggregate that wants it."""

    key: str
    tenant: str
    stream: str
    kind: str
    payload: Any
    again: bool = False
    trace: str = ""


@dataclass(frozen=True, slots=True)
class Taken:
    """A numbered source's mark is durable."""

    source: str
    tenant: str
    number: int


@dataclass(frozen=True, slots=True)
class LoadKeys:
    """Allocate these new data keys, get these old ones, and answer with `keys_loaded`."""

    allocate: tuple[str, ...]
    get: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Introduce:
    """Say Hello to the node: the epoch, and what was durably taken of that incarnation."""

    node: str
    epoch: int


@dataclass(frozen=True, slots=True)
class AskLegs:
    """Ask the node which legs it has; the answer comes after all outcomes it owes."""

    node: str


@dataclass(frozen=True, slots=True)
class Rebuild:
    """Fold this aggregate anew from snapshot and log, up to version `sound`, and answer with `rebuilt`."""

    tenant: str
    stream: str
    sound: int


@dataclass(frozen=True, slots=True)
class Lost:
    """The shard is not ours any more, or our place in it is in doubt. Drop it; claim anew if preferred."""

    why: str


@dataclass(frozen=True, slots=True)
class Noted:
    """What was noted under this handle is durable."""

    handle: Any


Output = (
    Append | Committed | Perform | Taken | Answered | LoadKeys | Introduce | AskLegs | Rebuild | Lost | Noted | Differs
)


@dataclass(slots=True)
class _Node:
    """A media node as the owner sees it: introduced, kept events heard, asked for its legs, of
    which it should have those `expected`, legs listed; those `listed_legs` are to be looked through
    for strays. Away since `away_ms`, if it is not up."""

    incarnation: str = ""
    up: bool = False
    heard: bool = False
    asked: bool = False
    expected: tuple[tuple[str, str, str], ...] = ()
    listed: bool = False
    listed_legs: tuple[tuple[str, str], ...] = ()
    away_ms: int = 0
    given_up: bool = False


class Shard:
    """One partition of a group. Every method that takes `now` moves shard time.

    `nodes` are the media nodes that a takeover waits for, none for groups without media.
    `report(text, error)` is told of refused inputs.
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
        self._report = report
        self._time: ShardTime | None = None
        self._now_ms = self.ledger.shard_time_ms
        self._instant: Instant | None = None
        self._out: list[Output] = []
        self._in_flight: deque[tuple[int, bytes, list[Output]]] = deque()
        self._turns = Turns()
        self.busy = False  # another turn would decide something at once
        self._held: deque[Offer] = deque()  # clients and messages, until the shard is live
        self._keys: dict[str, bytes] = {}
        self._unused: deque[str] = deque()
        self._key_number = 0
        self._refilling = False
        self._keyless = False  # the keys of what was taken over are not here yet
        self._wheel = Wheel()
        self._nodes = {name: _Node() for name in nodes}
        self._node_lost_ms = node_lost_ms
        self._deadline_ms = 0
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
            if self._in_flight and stored.body == self._in_flight[0][1]:
                self._own(now)
            else:
                self._foreign(stored.body, now)

    def _own(self, now: Instant) -> None:
        n, _, outputs = self._in_flight[0]
        if self.phase is Phase.CLAIMING:
            self._in_flight.popleft()
            claim = Claim(self.epoch, self.owner, self.group.shape)
            if not self.judge.counts(claim):
                self.phase, self.epoch = Phase.FOLLOWING, 0
                return
            self.judge = self.ledger.arbiter = self.judge.after(claim)
            self._claimed(now)
            return
        if self.judge.epoch != self.epoch or n != self.judge.n + 1:
            self.counts.void_commits += 1
            self._lose(f"commit {self.epoch}/{n} is void")
            return
        self._in_flight.popleft()
        self.judge = Arbiter(self.epoch, self.owner, n)
        if n in self.offsets:
            self.offsets[n] = self.offset
        for output in outputs:
            if isinstance(output, Taken):
                self._durable_marks[output.source, output.tenant] = output.number
        self._out += outputs

    def _foreign(self, body: bytes, now: Instant) -> None:
        record = log_codec.decode(body)
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
        self._in_flight.append((self.n, body, []))
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
        keys = dict.fromkeys(key for a in ledger.aggregates.values() if a.key for key in (a.key, a.key + AUDIO))
        for aggregate in ledger.aggregates.values():
            if aggregate.quarantine is None:
                keys |= dict.fromkeys(aggregate.kind.persons(aggregate.state))
        self._load_keys(tuple(keys))
        self._keyless = bool(keys)
        for name, node in self._nodes.items():
            node.away_ms = self._now_ms
            self._out.append(Introduce(name, self.epoch))

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

    def _load_keys(self, get: tuple[str, ...] = ()) -> None:
        first, self._key_number = self._key_number, self._key_number + KEY_BLOCK
        sealed = any(kind.sealed for kind in self.group.kinds.values())
        numbers = range(first, first + KEY_BLOCK) if sealed else ()
        fresh = tuple(f"{self.partition}/{self.epoch}/{i}{end}" for i in numbers for end in ("", AUDIO))
        if fresh or get:
            self._refilling = True
            self._out.append(LoadKeys(fresh, get))

    def keys_loaded(self, allocated: dict[str, bytes], got: dict[str, bytes]) -> None:
        """The answer to `LoadKeys`."""
        self._keys.update(got)
        self._keys.update(allocated)
        self._unused.extend(key for key in allocated if not key.endswith(AUDIO))
        self._refilling = self._keyless = False

    def node_up(self, node: str, incarnation: str) -> None:
        """The node has answered our Hello; what it kept follows."""
        row = self._nodes.setdefault(node, _Node())
        row.incarnation, row.up = incarnation, True
        row.heard = row.asked = row.listed = row.given_up = False
        prefix = f"media/{node}/"
        known: dict[str, bool] = {}  # tenant -> whether something was taken of this incarnation
        for source, tenant in self.ledger.marks:
            if source.startswith(prefix):
                known[tenant] = known.get(tenant, False) or source.startswith(f"{prefix}{incarnation}/")
        for tenant in [tenant for tenant, of_this in known.items() if not of_this]:
            self._journal_lost(node, tenant)

    def node_down(self, node: str) -> None:
        """The link is gone. Its calls are taken as alive; what is pending is offered again when it is back."""
        row = self._nodes.setdefault(node, _Node())
        if row.up:
            row.away_ms = self._now_ms
        row.up = row.heard = row.asked = row.listed = False
        row.listed_legs = ()

    def _journal_lost(self, node: str, tenant: str) -> None:
        """The node forgot which commands it had: a ring in doubt is never repeated (E2). This comes
        before the first event of the new journal, so that a mark of it says that this was done."""
        if self.group.new_journal is not None:
            kinds, command = self.group.new_journal(node, self._now_ms)
            for (of, stream), aggregate in self.ledger.aggregates.items():
                if of == tenant and aggregate.kind.name in kinds:
                    self._queue(Offer("legs", 0, tenant, stream, command))
        for key, pending in self.ledger.pending.items():
            effect, payload = pending.effect, pending.payload
            if (effect.tenant, effect.kind) != (tenant, "media") or payload.node != node:
                continue
            if isinstance(payload.verb, Originate):
                ended = EffectEnded("", Outcome.UNKNOWN, "JOURNAL_LOST")
                self._queue(Offer("legs", 0, tenant, effect.stream, ended, settles=key))

    def node_kept(self, node: str) -> None:
        """All that the node had kept has been offered: offer it what is pending, then ask for its legs."""
        row = self._nodes.setdefault(node, _Node())
        row.heard = True

    def node_legs(self, node: str, legs: Iterable[tuple[str, str]]) -> None:
        """The legs that live on the node. Those that it should have had when it was asked, and
        has not, are ended."""
        row = self._nodes.setdefault(node, _Node())
        row.listed = True
        row.listed_legs = tuple(legs)
        expected, row.expected = row.expected, ()
        there = set(row.listed_legs)
        for tenant, stream, leg in expected:
            aggregate = self.ledger.aggregate(tenant, stream)
            if aggregate is None or (tenant, leg) in there:
                continue
            if (node, leg) in aggregate.legs:
                self._missing(tenant, stream, node, leg)

    def _strays(self) -> None:
        """Hang up what nodes listed and nobody holds. Looked for when every event that came before
        the list is decided: a call that just arrived is held by then. An order that is pending may
        still bring its leg about, or end it."""
        for node, row in self._nodes.items():
            listed, row.listed_legs = row.listed_legs, ()
            if not listed or self.group.stray_leg is None:
                continue
            held = {
                (tenant, leg) for (tenant, _), aggregate in self.ledger.aggregates.items() for _, leg in aggregate.legs
            }
            held.update(
                (pending.effect.tenant, pending.payload.leg)
                for pending in self.ledger.pending.values()
                if pending.effect.kind == "media"
            )
            # Where legs are guessed a talk that goes on would look like a stray.
            aside = self.ledger.aggregates.aside
            guessed = {tenant for (tenant, _), row in aside.items() if row.guessed}
            for tenant, leg in listed:
                if (tenant, leg) not in held and tenant not in guessed:
                    kind, command = self.group.stray_leg(node, leg, self._now_ms)
                    self._queue(Offer("legs", 0, tenant, f"{kind}/{self.epoch}.{self.n}.{leg}", command))

    def _give_up(self) -> None:
        """End the legs of nodes that have been away for too long."""
        for node, row in self._nodes.items():
            if row.up or row.given_up or self._now_ms - row.away_ms < self._node_lost_ms:
                continue
            row.given_up = True
            for (tenant, stream), aggregate in self.ledger.aggregates.items():
                for on, leg in aggregate.legs:
                    if on == node:
                        self._missing(tenant, stream, node, leg)

    def _expected(self, node: str) -> tuple[tuple[str, str, str], ...]:
        """(tenant, stream, leg) of what the node must have if it has not told of its end. A leg
        whose `Originate` is pending may come to be after the answer; its outcome says more."""
        coming = {
            (pending.effect.tenant, pending.payload.leg)
            for pending in self.ledger.pending.values()
            if pending.effect.kind == "media" and isinstance(pending.payload.verb, Originate)
        }
        return tuple(
            (tenant, stream, leg)
            for (tenant, stream), aggregate in self.ledger.aggregates.items()
            for on, leg in aggregate.legs
            if on == node and (tenant, leg) not in coming
        )

    def _missing(self, tenant: str, stream: str, node: str, leg: str) -> None:
        make = self.group.missing_leg
        if make is not None:
            self._queue(Offer("legs", 0, tenant, stream, make(node, leg, self._now_ms)))

    def marks_of(self, node: str, incarnation: str = "") -> tuple[str, tuple[tuple[str, int], ...]]:
        """(incarnation, durable marks per tenant) of that incarnation of a node; without one, of
        the newest that something was taken from. The node forgets what they cover."""
        prefix = f"media/{node}/"
        found: dict[str, list[tuple[str, int]]] = {}
        for (source, tenant), number in self._durable_marks.items():
            if source.startswith(prefix):
                found.setdefault(source.split("/")[2], []).append((tenant, number))
        if incarnation:
            return incarnation, tuple(sorted(found.get(incarnation, ())))
        if not found:
            return "", ()
        current = self._nodes[node].incarnation if node in self._nodes else ""
        newest = current if current in found else list(found)[-1]
        return newest, tuple(sorted(found[newest]))

    def _recover(self) -> None:
        """Go on with the takeover as far as the keys and the nodes have come."""
        if self._keyless:
            return
        late = self._now_ms >= self._deadline_ms
        for name, row in self._nodes.items():
            if row.heard and not row.asked and not self._turns:
                row.asked = True
                self._offer_pending(lambda p, on=name: p.effect.kind == "media" and p.payload.node == on)  # type: ignore[misc]
                row.expected = self._expected(name)
                self._out.append(AskLegs(name))
        if self.phase is not Phase.RECOVERING or self._refilling or self._turns:
            return
        if late or all(row.listed for row in self._nodes.values()):
            self.phase = Phase.LIVE
            for key, pending in self.ledger.pending.items():
                self._wheel.arm(key, pending.effect.at_ms)
            for offer in self._held:
                self._queue(offer)
            self._held.clear()
            self._offer_pending(lambda pending: pending.effect.kind not in ("wake", "media"))

    def _offer_pending(self, whose: Callable[[Pending], bool]) -> None:
        """Offer pending effects again, oldest first. One whose commit is not durable leaves with that."""
        leaving = {o.key for _, _, outputs in self._in_flight for o in outputs if isinstance(o, Perform)}
        for key, pending in self.ledger.pending.items():
            if key not in leaving and whose(pending):
                effect = pending.effect
                trace = self._trace(effect)
                self._out.append(Perform(key, effect.tenant, effect.stream, effect.kind, pending.payload, True, trace))

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
            self._queue(offer)
        return True

    def _queue(self, offer: Offer) -> None:
        self._turns.add(offer)

    def settled(self, source: str, number: int, tenant: str, stream: str, body: CommandSettled) -> None:
        """A node says how a command ended."""
        command = EffectEnded("", body.outcome, body.reason)
        self.offer(Offer(source, number, tenant, stream, command, settles=body.key))

    def query(self, handle: Any, ask: Callable[[Ledger], Any]) -> bool:
        """Answer from the applied state, held until that state is durable. False if not live."""
        if self.phase is not Phase.LIVE:
            return False
        self._hold([Answered(handle, ask(self.ledger))])
        return True

    def _hold(self, outputs: list[Output]) -> None:
        if self._in_flight:
            self._in_flight[-1][2].extend(outputs)
        else:
            self._out += outputs

    # ---------------------------------------------------------------- the turn

    def turn(self, now: Instant) -> list[Output]:
        """Do what can be done now, of what waits one step, and hand over what may leave. While
        the shard is `busy`, call it again, after the loop has looked for other work."""
        if self.phase in (Phase.RECOVERING, Phase.LIVE):
            self._clock(now)
            self._out = [output for output in self._out if not self._too_early(output)]
            before = self.phase
            if before is Phase.LIVE:
                self._give_up()
            self._decide()
            if not len(self._turns) and not self._keyless:
                self._strays()
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
        if self._keyless:
            return  # what was kept cannot be sealed, what is pending not opened (rule 9: keys first)
        if not self._stock_taken:
            self._take_stock()
        self._wakes()
        decided = len(self._turns) > 0 and len(self._in_flight) < MAX_IN_FLIGHT and self._step()
        self.busy = decided and len(self._turns) > 0 and len(self._in_flight) < MAX_IN_FLIGHT

    def _take_stock(self) -> None:
        """Before anything is decided: what could not be folded is quarantined in the log."""
        self._stock_taken = True
        step = self._new_step()
        if step.take_stock():
            self._append(step)

    def _too_early(self, output: Output) -> bool:
        """A node that is away, or still telling what it kept, is offered all that is pending
        afterwards, oldest first: nothing new may overtake that."""
        if not isinstance(output, Perform) or output.kind != "media":
            return False
        row = self._nodes.get(output.payload.node)
        return row is None or not row.asked

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
            if (armed := self._wheel.next_ms()) is not None:
                due.append(armed)
            due += [row.away_ms + self._node_lost_ms for row in self._nodes.values() if not row.up and not row.given_up]
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
        overdue: set[str] = set()
        for _, key in self._wheel.due(self._now_ms):
            pending = self.ledger.pending.get(key)
            if pending is None:
                continue  # settled before it was due
            effect = pending.effect
            if effect.kind == "wake":
                self._queue(Offer("wake", 0, effect.tenant, effect.stream, pending.payload, effect.part, settles=key))
            else:
                overdue.add(key)
                self._wheel.arm(key, self._now_ms + max(1000, self._now_ms - effect.at_ms))
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
            self._keys.get,
            self._fresh_key,
            self._report,
            self.counts,
        )

    def _fresh_key(self) -> str | None:
        if len(self._unused) < KEY_BLOCK // 2 and not self._refilling:
            self._load_keys()
        return self._unused.popleft() if self._unused else None

    def _step(self) -> bool:
        """Decide one step; False if nothing can be decided now."""
        step = self._new_step()

        def decide(offer: Offer) -> bool:
            try:
                step.take(offer)
            except KeysNeeded:
                return False
            return True

        taken = self._turns.round(decide, self._is_over)
        self.counts.fair_turns += self._turns.cut
        if step.inputs:
            self._append(step)
        elif step.answers:
            self._hold(list(step.answers))
        return taken > 0

    def _is_over(self, offer: Offer) -> bool:
        """A wake that another input has settled since it was due."""
        return offer.source == "wake" and bool(offer.settles) and offer.settles not in self.ledger.pending

    def _append(self, step: Step) -> None:
        if self._stepped_from is not None:
            stepped = log_pb2.ShardTimeStepped(from_ms=self._stepped_from, to_ms=self._now_ms)
            self._own_event(step, Part(STEPPED, stepped.SerializeToString()), "claim")
            self._stepped_from = None
        notes, self._notes = self._notes, []
        for part, _ in notes:
            self._own_event(step, part, "owner")
        commit = step.commit()
        for key in step.ended_keys:
            self._keys.pop(key, None)
            self._keys.pop(key + AUDIO, None)
        self.n = step.n
        body = log_codec.encode(commit)
        self._armed(commit)
        for key in step.again:
            self._wheel.arm(key, self._now_ms + WAKE_AGAIN_MS)
        noted = [Noted(handle) for _, handle in notes if handle is not None]
        self._in_flight.append((step.n, body, [*self._released(commit, step), *noted]))
        self._last_commit_ms = self._now_ms
        self._out.append(Append(body))

    def _armed(self, commit: Commit) -> None:
        if self.phase is Phase.LIVE:
            for effect in commit.effects:
                self._wheel.arm(effect.key, effect.at_ms)

    def _released(self, commit: Commit, step: Step) -> list[Output]:
        """What may leave once the commit is durable, in this order."""
        out: list[Output] = [Committed(commit, tuple(step.decided))]
        out += [Taken(m.source, m.tenant, m.number) for m in commit.marks]
        for effect in commit.effects:
            if effect.kind != "wake":
                payload = self.ledger.pending[effect.key].payload
                trace = self._trace(effect)
                out.append(Perform(effect.key, effect.tenant, effect.stream, effect.kind, payload, False, trace))
        out += step.answers
        out += (Rebuild(tenant, stream, sound) for tenant, stream, sound in step.torn)
        return out

    def _trace(self, effect: Effect) -> str:
        aggregate = self.ledger.aggregate(effect.tenant, effect.stream)
        return "" if aggregate is None else aggregate.trace

    def _own_event(self, step: Step, part: Part, cause: str) -> None:
        event_id = f"{self.partition}/{self.epoch}/{step.n}/{len(step.events)}"
        where = (CELL_TENANT, SHARD, self.epoch, self._now_ms)
        step.events.append(Envelope(event_id, *where, cause, "", "", part))

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


class WrongShape(Exception):
    """The log was written with services grouped otherwise; it cannot be read by this grouping."""

    def __init__(self, partition: str, found: str, wanted: str) -> None:
        super().__init__(
            f"the log of {partition} was written with the services grouped as {found}, this process groups them as "
            f"{wanted}; start it with the same grouping"
        )
