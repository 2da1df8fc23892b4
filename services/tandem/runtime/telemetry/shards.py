"""What a shard's driver tells, as metrics and spans."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import structlog

from tandem.core import trace
from tandem.core.commit import Commit, Input
from tandem.core.ports.clock import Clock
from tandem.core.ports.log import Partition
from tandem.internal.log.v1 import log_pb2
from tandem.runtime.outputs import Perform
from tandem.runtime.service import kind_of
from tandem.runtime.shard import Phase, Shard
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.clock import Nanoseconds
from tandem.runtime.telemetry.meters import Meters, Reading
from tandem.runtime.telemetry.stages import Measure, Observed
from tandem.runtime.traced import Committed, Decided

if TYPE_CHECKING:  # the SDK is imported by processes that trace
    from tandem.runtime.telemetry.spans import Spans

_log = structlog.get_logger(__name__)

OPEN_MAX = 10_000
"""Traced effects under way whose span is not made yet; beyond it the oldest gets none."""
SLICE = 2_000
"""Aggregates counted at a stretch; that takes well under a millisecond."""
ENDED = "effect.ended"
NOW = "_now"
"""How fields of a shard's own counts are called that do not only grow."""


@dataclass(slots=True)
class Instruments:
    """What everything that is measured in a process shares. `spans` is None where nothing is traced."""

    clock: Clock
    meters: Meters = field(default_factory=Meters)
    spans: Spans | None = None
    observed: Observed = field(default_factory=Observed)
    owner: str = ""


@dataclass(slots=True)
class _Sent:
    """A traced effect under way."""

    begun_ns: int
    trace: str
    parent: str
    verb: str
    again: bool


@dataclass(slots=True)
class _Seen:
    """An event type, and what is done about each event of it."""

    measure: Measure | None
    rings: bool
    count: int = 0


class ShardWatch:
    """Watches one shard of this process through all its lives."""

    def __init__(self, instruments: Instruments, partition: Partition) -> None:
        self._instruments, self._meters, self._partition = instruments, instruments.meters, partition
        self._now = instruments.clock.monotonic_s
        self._unix = Nanoseconds(instruments.clock)
        group = partition.group
        self._labels = (group, str(partition.shard))
        self._step = self._meters.histogram(names.STEP, group)
        self._append = self._meters.histogram(names.APPEND, group)
        self._takeover = self._meters.histogram(names.TAKEOVER, group)
        self._offer = self._meters.histogram(names.OFFER_LATENCY)
        self._events: dict[str, _Seen] = {}
        self._commits = self._losses = 0
        self._counts: Any = None  # the shard's own, which outlive it
        self._census: dict[Any, float] = {}
        self._shard: Shard | None = None
        self._begun_s = 0.0
        self._live = False
        self._appended: deque[tuple[float, float]] = deque()  # (turn begun, decided) of commits under way
        self._sent: dict[str, _Sent] = {}
        self._parents: dict[str, str] = {}  # stream/version -> span that decided it, of the last traced commit
        self._meters.watch(self._readings)

    # ---------------------------------------------------------------- what the driver tells

    def begun(self, shard: Shard) -> None:
        """A life of the shard begins."""
        self._shard, self._begun_s = shard, self._now()
        self._counts = getattr(shard, "counts", None)

    def dropped(self) -> None:
        """It is over."""
        if self._shard is not None:
            self._losses += 1
        self._shard, self._live = None, False
        self._appended.clear()
        self._sent.clear()
        self._parents.clear()
        self._census.clear()

    def live(self) -> None:
        """It serves clients from now on."""
        self._live = True
        self._takeover.observe(self._now() - self._begun_s)

    def decided(self, commits: int, begun_s: float) -> None:
        """A turn that began then (monotonic) has made so many commits, which are appended now."""
        times = begun_s, self._now()
        self._step.observe(times[1] - begun_s)
        for _ in range(commits):
            self._appended.append(times)

    def committed(self, committed: Committed) -> None:
        """A commit of ours is durable; what hung on it follows."""
        times, now = self._appended.popleft(), self._now()
        self._append.observe(now - times[1])
        self._commits += 1
        commit, events = committed.commit, self._events
        for envelope in commit.events:
            seen = events.get(envelope.part.type)
            if seen is None:
                seen = events[envelope.part.type] = self._seen(envelope.part.type)
            seen.count += 1
            if seen.measure is not None:
                seen.measure(self._meters, envelope, self._state(envelope.tenant, envelope.stream))
            if seen.rings:
                self._offer.observe(now - times[0])
        if committed.decided and self._instruments.spans is not None:
            self._trace(self._instruments.spans, commit, committed.decided, times, now)

    def performed(self, order: Perform) -> None:
        """A traced effect leaves."""
        if self._instruments.spans is not None:
            if len(self._sent) >= OPEN_MAX:
                del self._sent[next(iter(self._sent))]
            parent = self._parents.get(order.key.rpartition("/")[0], order.trace)
            verb = type(getattr(order.payload, "verb", order.payload)).__name__
            self._sent[order.key] = _Sent(self._unix.now(), order.trace, parent, verb, order.again)

    def _seen(self, type_: str) -> _Seen:
        observed = self._instruments.observed
        return _Seen(observed.measures.get(type_), type_ in observed.rings)

    def _state(self, tenant: str, stream: str) -> Any:
        aggregate = self._shard.ledger.aggregate(tenant, stream) if self._shard is not None else None
        return None if aggregate is None else aggregate.state

    # ---------------------------------------------------------------- traces

    def _trace(
        self, spans: Spans, commit: Commit, decided: tuple[Decided, ...], times: tuple[float, float], now: float
    ) -> None:
        now_ns = self._unix.now()
        decided_ns, appended_ns = (now_ns - int((now - moment) * 1e9) for moment in times)
        self._parents.clear()
        for one in decided:
            taken = commit.inputs[one.input]
            traces = dict.fromkeys(commit.events[change.event].trace for change in one.changes)
            for context in traces or {taken.trace: None}:
                self._decision(spans, commit, one, taken, context, (decided_ns, appended_ns, now_ns))
            if taken.settles:
                self._settled(spans, taken.settles, taken, now_ns)
            for change in one.changes:
                self._changed(spans, commit, change.event, change.before, change.after, now_ns)

    def _decision(
        self, spans: Spans, commit: Commit, one: Decided, taken: Input, context: str, times: tuple[int, int, int]
    ) -> None:
        decided_ns, appended_ns, durable_ns = times
        place = f"{self._partition}/{commit.epoch}/{commit.n}"
        own = trace.child(context, f"{place}/{one.input}")
        ours = [commit.events[c.event] for c in one.changes if commit.events[c.event].trace == context]
        for envelope in ours:
            self._parents[f"{envelope.tenant}/{envelope.stream}/{envelope.version}.{commit.n}"] = own
        attributes: dict[str, str | int | bool | tuple[str, ...]] = {
            "tandem.tenant": taken.tenant,
            "tandem.stream": taken.stream,
            "tandem.input": taken.part.type,
            "tandem.source": taken.source.partition("/")[0],
            "tandem.events": tuple(envelope.type for envelope in ours),
            "tandem.commit": place,
            "tandem.owner": self._instruments.owner,
        }
        if taken.refused:
            attributes["tandem.refused"] = taken.refused
        spans.add(names.DECIDE_SPAN, own, context, decided_ns, appended_ns, attributes, failed=bool(taken.refused))
        append = trace.child(context, f"{place}/{one.input}/append")
        spans.add(names.APPEND_SPAN, append, own, appended_ns, durable_ns, {"tandem.commit": place})

    def _changed(self, spans: Spans, commit: Commit, index: int, before: Any, after: Any, now_ns: int) -> None:
        envelope = commit.events[index]
        for key in envelope.settles:
            self._settled(spans, key, None, now_ns, envelope.type)
        stages = self._instruments.observed.stages.get(kind_of(envelope.stream))
        if stages is None or not envelope.trace:
            return
        for stage in stages(before, after):
            ended_ns = envelope.time_ms * 1_000_000
            attributes = {"tandem.tenant": envelope.tenant, **stage.attributes}
            root = stage.of == trace.ROOT
            own = trace.child(envelope.trace, stage.of if root else f"{stage.of}/{envelope.version}")
            begun_ns = stage.begun_ms * 1_000_000
            spans.add(
                stage.name,
                own,
                "" if root else envelope.trace,
                begun_ns,
                ended_ns,
                attributes,
                server=root,
            )
            if root:
                said = {key.rpartition(".")[2]: value for key, value in attributes.items()}
                _log.info(names.CONTACT_ENDED_LINE, trace=trace.trace_id(envelope.trace), **said)

    def _settled(self, spans: Spans, key: str, taken: Input | None, now_ns: int, by: str = "") -> None:
        sent = self._sent.pop(key, None)
        if sent is None:
            return
        attributes: dict[str, str | int | bool | tuple[str, ...]] = {
            "tandem.effect": key,
            "tandem.verb": sent.verb,
            "tandem.again": sent.again,
        }
        if taken is not None and taken.part.type == ENDED:
            ended = log_pb2.EffectEnded.FromString(taken.part.clear)
            attributes["tandem.outcome"] = log_pb2.Outcome.Name(ended.outcome).removeprefix("OUTCOME_")
            if ended.reason:
                attributes["tandem.reason"] = ended.reason
        elif by:
            attributes["tandem.settled_by"] = by
        failed = attributes.get("tandem.outcome", "DONE") != "DONE"
        own = trace.child(sent.trace, key)
        spans.add(names.EFFECT_SPAN, own, sent.parent, sent.begun_ns, now_ns, attributes, failed=failed)

    # ---------------------------------------------------------------- what can be looked up

    def _readings(self) -> Iterator[Reading]:
        for type_, seen in self._events.items():
            yield Reading(names.EVENTS, seen.count, (type_,))
        yield Reading(names.COMMITS, self._commits, (self._partition.group,))
        yield Reading(names.SHARD_LOST, self._losses, self._labels)
        yield Reading(names.SHARD_LIVE, float(self._live and self._shard is not None), self._labels)
        if (shard := self._shard) is not None:
            yield Reading(names.SHARD_EPOCH, shard.judge.epoch, self._labels)
            yield Reading(names.IN_FLIGHT, shard.in_flight, self._labels)
            yield Reading(names.INPUTS_WAITING, shard.waiting, self._labels)
            for what, rows in shard.sizes().items():
                yield Reading(names.SHARD_ROWS, rows, (*self._labels, what))
        for what in getattr(self._counts, "__dataclass_fields__", ()):
            value = getattr(self._counts, what)
            if what.endswith(NOW):
                yield Reading(names.SHARD_STANDS, value, (*self._labels, what.removesuffix(NOW)))
            else:
                yield Reading(names.SHARD_COUNTS, value, (*self._labels, what))
        for (metric, labels), value in self._census.items():
            yield Reading(metric, value, labels)

    async def count(self) -> None:
        """Count what is too much for one turn of the loop: contacts, lines, effects. A shard
        that goes on meanwhile makes the counts a little old, which gauges may be."""
        shard = self._shard
        if shard is None or shard.phase is not Phase.LIVE:
            return
        found: dict[Any, float] = {}
        observed, steps = self._instruments.observed, 0
        for (tenant, _), aggregate in list(shard.ledger.aggregates.items()):
            steps += 1
            if steps % SLICE == 0:
                await asyncio.sleep(0)
            kind = aggregate.kind.name
            if kind in observed.states:
                key = (names.CONTACTS, (tenant, type(aggregate.state).__name__.lower()))
                found[key] = found.get(key, 0) + 1
            elif kind in observed.census:
                for reading in observed.census[kind](tenant, aggregate.state, shard.now_ms):
                    if reading is None:
                        await asyncio.sleep(0)
                    else:
                        found[reading.metric, reading.labels] = reading.value
        for pending in list(shard.ledger.pending.values()):
            steps += 1
            if steps % SLICE == 0:
                await asyncio.sleep(0)
            effects = (names.EFFECTS_PENDING, (*self._labels, pending.effect.kind))
            found[effects] = found.get(effects, 0) + 1
        if self._shard is shard:
            self._census = found
