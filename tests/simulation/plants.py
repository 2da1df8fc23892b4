"""The planted faults of `planted.md`: production classes with one bug each."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, replace
from typing import Any
from unittest.mock import patch

from tandem.core.arbiter import Arbiter
from tandem.core.commit import Claim, Commit, Record
from tandem.core.ports.media import Command, Originate
from tandem.core.seal import AUDIO
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import AgentSettings
from tandem.media.journal.state import JournalState
from tandem.routing.domain import fold as routing_fold
from tandem.routing.domain import offers as routing_offers
from tandem.routing.domain import words as rw
from tandem.routing.domain.desk import Desk, Entry
from tandem.runtime import shard as shard_module
from tandem.runtime.decisions import Decisions
from tandem.runtime.nodes import Nodes
from tandem.runtime.outputs import Output, Perform, Taken
from tandem.runtime.shard import Phase, Shard
from tandem.runtime.shardtime import Instant, ShardTime
from tandem.runtime.step import Answered, Step
from tandem.session import sweep
from tandem.session.domain import erasure, late
from tandem.simulation.nodes import NodeKinds
from tandem.simulation.scripted_media import ScriptedMedia
from tandem.simulation.world import Parts

RARE = 200
"""Such a fault is met in one of some 50 to 100 seeds."""


class _Early(Shard):
    """Lets outputs of a kind go with the append."""

    early: tuple[type, ...] = ()

    def _append(self, step: Step) -> None:
        super()._append(step)
        outputs: list[Output] = list(self._in_flight)[-1].held
        self._out += [output for output in outputs if isinstance(output, self.early)]
        outputs[:] = [output for output in outputs if not isinstance(output, self.early)]


class EffectsAtOnce(_Early):
    early = (Perform,)


class AnswersAtOnce(_Early):
    early = (Answered,)


class AcksAtOnce(_Early):
    early = (Taken,)


class TimersAtOnce(Shard):
    def _claimed(self, now: Instant) -> None:
        super()._claimed(now)
        self._timers.begin()

    def _wakes(self) -> None:
        phase, self.phase = self.phase, Phase.LIVE
        super()._wakes()
        self.phase = phase


class VoidOutputs(Shard):
    def _lose(self, why: str) -> None:
        held = [output for record in self._in_flight for output in record.held if isinstance(output, Perform)]
        super()._lose(why)
        self._out = [*held, *self._out]


class NewestEffectsOnly(Shard):
    def _offer_pending(self, whose: Callable[[Any], bool]) -> None:
        newest = list(self.ledger.pending)[-2:]
        super()._offer_pending(lambda pending: pending.effect.key in newest and whose(pending))


class MarksForgotten(Step):
    def commit(self) -> Commit:
        return replace(super().commit(), marks=())


class EpochForgotten(MediaAgent):
    def __init__(self, settings: AgentSettings, state: JournalState) -> None:
        state.epochs.clear()
        super().__init__(settings, state)


class ListOvertakes(MediaAgent):
    """Lists the legs that live, whatever its owner was told of them."""

    def _take_back(self, legs: dict[tuple[str, str], None], tenant: str) -> None:
        pass


class RingsAgain(ScriptedMedia):
    def settle(self, command: Command) -> None:
        if isinstance(command.verb, Originate):
            self.perform(command)
        else:
            super().settle(command)


def _counts_without_n(self: Arbiter, record: Record) -> bool:
    if isinstance(record, Claim):
        return record.epoch == self.epoch + 1
    return record.epoch == self.epoch > 0


def _after_without_n(self: Arbiter, record: Record) -> Arbiter:
    if isinstance(record, Claim):
        return Arbiter(record.epoch, record.owner, self.n)
    return Arbiter(self.epoch, self.owner, record.n)


_closed = routing_fold._EVOLVE[rw.ReservationClosed]
_both_free = routing_offers._both_free


def _end_of_the_line(desk: Desk, event: rw.ReservationClosed) -> None:
    _closed(desk, event)
    entry = desk.entries.get(event.contact)
    if entry is not None and event.outcome is rw.Outcome.TIMEOUT:
        desk.leave(event.contact)
        desk.enter(Entry(entry.contact, entry.queue, entry.skills, entry.priority, event.at_ms))


def _idle_anew(desk: Desk, agent: Any, entry: Any, context: Any) -> Any:
    agent = replace(agent, idle_since_ms=context.now_ms)
    return _both_free(desk, agent, entry, context)


_order_of = erasure.order_of


def _without_audio(erased: Any) -> erasure.EraseOrder:
    order = _order_of(erased)
    return replace(order, keys=tuple(key for key in order.keys if not key.endswith(AUDIO)))


def _nothing(state: Any, command: Any, context: Any) -> tuple[()]:
    return ()


_of_the_runtime = Decisions.of_the_runtime


def _in_memory_alone(self: Decisions, *told: Any) -> None:
    before = len(self.events)
    _of_the_runtime(self, *told)
    del self.events[before:]


@dataclass(frozen=True, slots=True)
class Plant:
    """A bug: the classes that have it, what is patched, and within how many seeds it is caught. One that needs a
    rare fault at a rare moment has as many as make it sure, whatever a change does to the seeds' stories."""

    number: int
    name: str
    parts: Parts
    patches: tuple[Any, ...] = ()
    seeds: int = 12

    @contextmanager
    def planted(self) -> Iterator[Parts]:
        """As long as this lasts the bug is in."""
        patches = [make() for make in self.patches]
        for one in patches:
            one.start()
        try:
            yield self.parts
        finally:
            for one in patches:
                one.stop()


def _left_alone(self: Nodes, *told: Any) -> None:
    pass


def _wall(self: ShardTime, now: Instant) -> int:
    self.offset_ms = now.wall_ms - now.boottime_ms
    self.last_ms = max(self.last_ms, now.wall_ms)
    return self.last_ms


PLANTS = (
    Plant(1, "effects leave when decided", Parts(shard=EffectsAtOnce)),
    Plant(2, "timers are armed with the claim", Parts(shard=TimersAtOnce)),
    Plant(3, "marks are not in the commit", Parts(), (lambda: patch.object(shard_module, "Step", MarksForgotten),)),
    Plant(
        4,
        "a ring that ran out costs the place",
        Parts(),
        (lambda: patch.dict(routing_fold._EVOLVE, {rw.ReservationClosed: _end_of_the_line}),),
    ),
    Plant(5, "the agent forgets epochs", Parts(node=NodeKinds(agent=EpochForgotten))),
    Plant(6, "an originate in doubt is repeated", Parts(node=NodeKinds(backend=RingsAgain))),
    Plant(7, "a void commit's outputs are released", Parts(shard=VoidOutputs)),
    Plant(8, "only the newest effects are offered again", Parts(shard=NewestEffectsOnly)),
    Plant(
        9,
        "a rescinded offer resets the idle time",
        Parts(),
        (lambda: patch.object(routing_offers, "_both_free", _idle_anew),),
    ),
    Plant(10, "answers before durable", Parts(shard=AnswersAtOnce)),
    Plant(
        11,
        "the arbiter does not look at n",
        Parts(),
        (
            lambda: patch.object(Arbiter, "counts", _counts_without_n),
            lambda: patch.object(Arbiter, "after", _after_without_n),
        ),
    ),
    Plant(12, "events are acknowledged when decided", Parts(shard=AcksAtOnce)),
    Plant(
        13,
        "legs that nobody holds are left",
        Parts(),
        (lambda: patch.object(Nodes, "strays", _left_alone),),
        seeds=RARE,
    ),
    Plant(
        14,
        "a lost journal puts no ring in doubt",
        Parts(),
        (lambda: patch.object(Nodes, "_journal_lost", _left_alone),),
        seeds=RARE,
    ),
    Plant(15, "shard time steps with the wall clock", Parts(), (lambda: patch.object(ShardTime, "at", _wall),)),
    Plant(
        16,
        "a quarantine is not in the log",
        Parts(),
        (lambda: patch.object(Decisions, "of_the_runtime", _in_memory_alone),),
    ),
    Plant(
        17,
        "an erasure leaves the recordings' key",
        Parts(),
        (lambda: patch.object(erasure, "order_of", _without_audio),),
    ),
    Plant(
        18,
        "a late recording is not heard of",
        Parts(),
        (lambda: patch.dict(late._HANDLERS, {(late.Expected, late.NoteLateRecording): _nothing}),),
        seeds=40,
    ),
    Plant(
        19,
        "a contact with an outcome is taken as over",
        Parts(),
        (lambda: patch.object(sweep, "OVER", ("contact.disconnected",)),),
    ),
    Plant(20, "a list of legs overtakes events", Parts(node=NodeKinds(agent=ListOvertakes)), seeds=RARE),
)
