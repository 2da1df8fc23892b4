"""What is seen of contacts: spans for the stretches of their life, and counts of how they ended."""

from __future__ import annotations

from typing import Any

import pytest

from tandem.core import trace
from tandem.core.ports import media
from tandem.core.ports.log import Partition
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.meters import Meters
from tandem.runtime.telemetry.shards import Instruments, ShardWatch
from tandem.runtime.telemetry.stages import Observed
from tandem.session import observe
from tests.support.live_host import StillClock
from tests.support.live_world import LiveWorld

CONTEXT = trace.begin("c1", 1.0)


class Kept:
    """Keeps spans as (name, own context, context above, begin ms, end ms, attributes)."""

    def __init__(self) -> None:
        self.all: list[tuple[str, str, str, int, int, Any]] = []

    def add(self, name: str, context: str, parent: str, begun: int, ended: int, attributes: Any, **more: bool) -> None:
        """See `Spans`."""
        self.all.append((name, context, parent, begun // 1_000_000, ended // 1_000_000, attributes))

    def of(self, name: str) -> list[tuple[int, int, Any]]:
        """Those of that name."""
        return [(begun, ended, attributes) for each, _, _, begun, ended, attributes in self.all if each == name]


@pytest.fixture
def world() -> LiveWorld:
    """Two agents, a contact c1 that is traced."""
    made = LiveWorld("ann", "bob")
    made.traced.add("c1")
    return made


def watched(world: LiveWorld) -> tuple[Kept, Meters]:
    """All that was shown so far, through a watch."""
    kept, meters = Kept(), Meters()
    observed = Observed({"contact": observe.stages}, observe.MEASURES)
    watch = ShardWatch(Instruments(StillClock(), meters, kept, observed), Partition("live", 0))  # type: ignore[arg-type]
    watch.begun(world.talk.shard)
    for shown in world.shown:
        watch.decided(1, 0.0)
        watch.committed(shown)
    return kept, meters


def counted(meters: Meters, metric: names.Metric) -> dict[tuple[str, ...], float]:
    """The values of a counter."""
    return next((family.values for family in meters.read() if family.metric is metric), {})


def test_a_talk_has_its_stretches(world: LiveWorld) -> None:
    world.waiting("c1")
    begun_ms = world.now.wall_ms
    world.pass_ms(3_000)
    world.node.answer(world.offered("c1"))
    world.settle()
    world.pass_ms(7_000)
    world.node.end("c1", media.Cause.NORMAL, media.By.FAR)
    world.settle()
    kept, meters = watched(world)
    talked, ended = begun_ms + 3_000, begun_ms + 10_000
    assert [(b, e) for b, e, _ in kept.of(names.WAIT_SPAN)] == [(begun_ms, talked)]
    assert [(b, e) for b, e, _ in kept.of(names.RING_SPAN)] == [(begun_ms, talked)]
    assert [(b, e, a["tandem.queue"]) for b, e, a in kept.of(names.TALK_SPAN)] == [(talked, ended, "sales")]
    assert [(b, e) for b, e, _ in kept.of(names.RECORDING_SPAN)] == [(talked, ended)]
    ((begun, over, attributes),) = kept.of(names.CONTACT_SPAN)
    assert (begun, over, attributes["tandem.outcome"]) == (begun_ms, ended, "HANDLED")
    (root,) = [row for row in kept.all if row[0] == names.CONTACT_SPAN]
    assert (root[1], root[2]) == (CONTEXT, "")
    assert len({context for _, context, *_ in kept.all}) == len(kept.all)
    assert counted(meters, names.CONTACTS_ENDED) == {("t1", "HANDLED"): 1}
    assert counted(meters, names.OFFERS_ENDED) == {("t1", "ACCEPTED"): 1}
    assert counted(meters, names.CONTACTS_STARTED) == {("t1",): 1}


def test_an_agent_who_does_not_answer_is_a_ring_that_ended_and_a_wait_that_goes_on(world: LiveWorld) -> None:
    world.waiting("c1")
    world.node.ring(world.offered("c1"))
    world.node.end(world.offered("c1"), media.Cause.NO_ANSWER, media.By.NODE, 15_000)
    world.settle()
    kept, meters = watched(world)
    assert len(kept.of(names.RING_SPAN)) == 1
    assert not kept.of(names.WAIT_SPAN)
    assert counted(meters, names.OFFERS_ENDED) == {("t1", "TIMEOUT"): 1}
    world.node.end("c1", media.Cause.NORMAL, media.By.FAR)
    world.settle()
    kept, meters = watched(world)
    assert len(kept.of(names.RING_SPAN)) == 2
    ((_, _, attributes),) = kept.of(names.WAIT_SPAN)
    assert attributes["tandem.left"] in ("closing", "ended")
    assert counted(meters, names.CONTACTS_ENDED) == {("t1", "ABANDONED"): 1}


def test_what_is_not_traced_makes_no_span_and_is_counted_all_the_same(world: LiveWorld) -> None:
    world.waiting("c2")
    world.node.end("c2", media.Cause.NORMAL, media.By.FAR)
    world.settle()
    kept, meters = watched(world)
    assert kept.all == []
    assert counted(meters, names.CONTACTS_ENDED) == {("t1", "ABANDONED"): 1}


def test_spans_have_the_attributes_that_are_declared(world: LiveWorld) -> None:
    world.waiting("c1")
    world.node.answer(world.offered("c1"))
    world.settle()
    world.node.end("c1", media.Cause.NORMAL, media.By.FAR)
    world.settle()
    kept, _ = watched(world)
    for name, _, _, _, _, attributes in kept.all:
        assert set(attributes) <= {*names.SPANS[name].attributes, "tandem.tenant"}, name
