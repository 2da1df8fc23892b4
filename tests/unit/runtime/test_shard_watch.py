"""What can be looked up of a shard: contacts and lines, waiting work, and its own counts across its lives."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import pytest

from tandem.core.ports import media
from tandem.core.ports.log import Partition
from tandem.routing import observe
from tandem.runtime.telemetry import names, shards
from tandem.runtime.telemetry.meters import Meters
from tandem.runtime.telemetry.shards import Instruments, ShardWatch
from tandem.runtime.telemetry.stages import Observed
from tests.support.live_host import StillClock
from tests.support.live_world import LiveWorld

OBSERVED = Observed(census={"desk": observe.census}, states=("contact",), rings=frozenset({"contact.agent_offered"}))


@dataclass(slots=True)
class Counts:
    """A shard's own."""

    inputs_refused: int = 0
    quarantined_now: int = 0


class Watched:
    """A watch with its meters."""

    def __init__(self) -> None:
        self.clock, self.meters = StillClock(), Meters()
        self.watch = ShardWatch(Instruments(self.clock, self.meters, observed=OBSERVED), Partition("live", 0))

    def values(self, metric: names.Metric) -> dict[tuple[str, ...], float]:
        """Of a counter or gauge."""
        return next((family.values for family in self.meters.read() if family.metric is metric), {})

    def counted(self, metric: names.Metric, *labels: str) -> tuple[int, float]:
        """(number, sum) of a histogram."""
        row = self.meters.histogram(metric, *labels)
        return sum(row.counts), row.total


@pytest.fixture
def watched() -> Watched:
    """A watch of shard live/0."""
    return Watched()


@pytest.mark.parametrize("slice_", [1, 2_000])
async def test_contacts_lines_agents_and_effects_are_counted(watched: Watched, slice_: int, monkeypatch: Any) -> None:
    monkeypatch.setattr(shards, "SLICE", slice_)
    monkeypatch.setattr(observe, "SLICE", slice_)
    world = LiveWorld("ann")
    for contact in ("c1", "c2", "c3"):
        world.waiting(contact)
        world.pass_ms(1000)
    watched.watch.begun(world.talk.shard)
    await watched.watch.count()
    assert watched.values(names.CONTACTS) == {("t1", "ringing"): 1, ("t1", "waiting"): 2}
    assert watched.values(names.QUEUE_LENGTH) == {("t1", "sales"): 3}
    assert watched.values(names.QUEUE_OLDEST) == {("t1", "sales"): 3.0}
    assert watched.values(names.AGENTS) == {("t1", "alerting"): 1}
    pending = {kind: n for (_, _, kind), n in watched.values(names.EFFECTS_PENDING).items()}
    assert pending["media"] >= 1
    assert pending["wake"] >= 2
    world.node.end("c2", media.Cause.NORMAL, media.By.FAR)
    world.settle()
    await watched.watch.count()
    assert watched.values(names.CONTACTS)["t1", "waiting"] == 1
    assert watched.values(names.QUEUE_LENGTH) == {("t1", "sales"): 2}
    watched.watch.dropped()
    assert watched.values(names.CONTACTS) == {}
    assert watched.values(names.SHARD_LIVE) == {("live", "0"): 0}


def test_a_life_is_timed_and_its_loss_counted(watched: Watched) -> None:
    world = LiveWorld()
    for _ in range(2):
        watched.watch.begun(world.talk.shard)
        assert watched.values(names.SHARD_LIVE) == {("live", "0"): 0}
        watched.clock.passed_ms += 250
        watched.watch.live()
        assert watched.values(names.SHARD_LIVE) == {("live", "0"): 1}
        watched.watch.dropped()
        watched.watch.dropped()
    assert watched.counted(names.TAKEOVER, "live") == (2, 0.5)
    assert watched.values(names.SHARD_LOST) == {("live", "0"): 2}


def test_steps_appends_and_offers_are_timed(watched: Watched) -> None:
    world = LiveWorld("ann")
    world.waiting("c1")
    watched.watch.begun(world.talk.shard)
    offering = [s for s in world.shown if any(e.type == "contact.agent_offered" for e in s.commit.events)]
    assert len(offering) == 1
    watched.clock.passed_ms = 10
    watched.watch.decided(2, 0.003)
    watched.clock.passed_ms = 30
    watched.watch.committed(world.shown[0])
    watched.clock.passed_ms = 50
    watched.watch.committed(offering[0])
    assert watched.counted(names.STEP, "live") == (1, pytest.approx(0.007))
    assert watched.counted(names.APPEND, "live") == (2, pytest.approx(0.06))
    assert watched.counted(names.OFFER_LATENCY) == (1, pytest.approx(0.047))
    assert watched.values(names.COMMITS) == {("live",): 2}
    assert watched.values(names.EVENTS)[("contact.agent_offered",)] == 1


def test_a_shards_own_counts_are_shown_by_the_names_of_their_fields(watched: Watched) -> None:
    shard, counts = LiveWorld().talk.shard, Counts()
    shard.counts = counts  # type: ignore[attr-defined]
    watched.watch.begun(shard)
    counts.inputs_refused, counts.quarantined_now = 3, 1
    watched.watch.dropped()
    watched.watch.begun(shard)
    assert watched.values(names.SHARD_COUNTS)["live", "0", "inputs_refused"] == 3
    assert watched.values(names.SHARD_STANDS) == {("live", "0", "quarantined"): 1}


def test_nothing_of_a_contact_that_is_over_stays_in_memory(watched: Watched) -> None:
    world = LiveWorld("ann")
    watched.watch.begun(world.talk.shard)
    before = watched.values(names.SHARD_ROWS)
    world.waiting("c1")
    during = watched.values(names.SHARD_ROWS)
    for what in ("aggregates", "pending", "wakes", "changed"):
        assert during["live", "0", what] > before["live", "0", what]
    world.node.end("c1", media.Cause.CANCELED, media.By.FAR)
    world.settle()
    world.pass_ms(2 * 3_600_000)
    after = watched.values(names.SHARD_ROWS)
    kept = ("aggregates", "pending", "requests", "marks", "marks_durable", "wakes")
    assert {what: after["live", "0", what] for what in kept} == {what: before["live", "0", what] for what in kept}
    assert after["live", "0", "keys"] - 2 * after["live", "0", "keys_unused"] == 0
