"""Each request and each fact, in each state of its receiver, with an exception planted in it (L7, P1, P2).

A morning in a small contact centre, with everything that two callers and two agents can come to.
Somewhere in it something raises: while deciding, in `Recover` too, in `evolve`, or when it is said
what shall be done. Whatever it was: no agent stays reserved, nobody waits for an answer for
ever, every contact has one outcome, and whoever folds the log knows all that.
"""

from __future__ import annotations

from collections import Counter

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.ports.media import By, Cause
from tandem.routing.domain import words as rw
from tandem.routing.domain.words import RoutingStatus as Status
from tandem.runtime import log_codec
from tandem.runtime.ledger import Ledger
from tandem.session.domain import words as sw
from tandem.session.domain.late import EXPECTED_MS
from tandem.simulation.poison import Plant, Poison
from tests.support.budget import examples
from tests.support.live_checks import everybody_goes_home
from tests.support.live_world import LiveWorld

OCCASIONS = {
    ("contact", "decide"): 96,
    ("contact", "recover"): 3,
    ("contact", "react"): 80,
    ("contact", "evolve"): 80,
    ("desk", "decide"): 26,
    ("desk", "react"): 51,
    ("desk", "evolve"): 51,
}
"""About how often each comes in the day, if nothing raises."""


def morning(world: LiveWorld) -> None:
    """Callers come, are offered, turned down, served, lost and taken back."""
    for contact in ("c1", "c2"):
        _comes(world, contact)
    _phones(world, "decline")
    world.pass_ms(6_000)
    _phones(world, "answer")
    world.pass_ms(3_000)
    world.presence("ana", "Break")
    _comes(world, "c3")
    _end(world, "c1")
    world.pass_ms(12_000)
    _phones(world, "ring out")
    world.presence("ana", rw.AVAILABLE)
    world.pass_ms(2_000)
    world.call("c4")
    world.settle()
    _end(world, "c4")
    _phones(world, "answer")
    _agents_network(world)
    world.pass_ms(130_000)
    _phones(world, "answer")
    _end(world, "c2")


def _comes(world: LiveWorld, contact: str) -> None:
    """Somebody calls and goes through the flow to the queue, as far as it lets them."""
    world.call(contact)
    world.settle()
    leg = world.node.legs.get(contact)
    if leg is not None and leg.playing:
        world.node.played(contact)
        world.settle()
    if contact in world.node.collecting:
        world.node.digit(contact, "1")
        world.settle()


def _phones(world: LiveWorld, how: str) -> None:
    world.settle()
    for leg in sorted(world.node.legs):
        if "." not in leg or world.node.legs[leg].up:
            continue
        world.node.ring(leg)
        world.settle()
        if leg not in world.node.legs:
            continue
        if how == "answer":
            world.node.answer(leg)
        elif how == "decline":
            world.node.end(leg, Cause.DECLINED, By.FAR)
        else:
            world.node.end(leg, Cause.NO_ANSWER, By.NODE, world.node.legs[leg].limit_ms)
        world.settle()


def _end(world: LiveWorld, leg: str) -> None:
    world.settle()
    if leg in world.node.legs:
        world.node.end(leg, Cause.NORMAL, By.FAR)
        world.settle()


def _agents_network(world: LiveWorld) -> None:
    for leg in sorted(world.node.legs):
        if "." in leg and leg in world.node.legs and world.node.legs[leg].up:
            world.node.end(leg, Cause.NO_MEDIA, By.NODE)
            world.settle()


def evening(world: LiveWorld) -> None:
    """All go home; a mended release takes over, and all that waits for something has had its time.
    The place of a contact that ended while the desk was out of service goes when it is offered."""
    assert world.poison is not None
    everybody_goes_home(world)
    world.poison.disarm()
    for lane in world.lanes:
        world.takeover(lane)
    for agent in ("ana", "ben"):
        world.presence(agent, rw.AVAILABLE)
    for _ in range(3):
        everybody_goes_home(world)
        world.pass_ms(3_700_000)
    world.pass_ms(EXPECTED_MS)  # recordings that never began are not waited for any longer
    everybody_goes_home(world)


def nothing_is_left(world: LiveWorld) -> None:
    assert world.contacts() == {}
    assert world.node.legs == {}, "a leg that nobody will ever end"
    desk = world.desk
    assert (desk.entries, desk.reservations) == ({}, {})
    for agent in desk.agents.values():
        assert agent.status in (Status.IDLE, Status.OFF_QUEUE, Status.NOT_RESPONDING), agent
        assert agent.status is not Status.OFF_QUEUE or not agent.ready
    for lane in world.lanes:
        assert lane.shard.ledger.pending == {}
        assert list(lane.shard.ledger.quarantined()) == []


def one_outcome_each(world: LiveWorld) -> None:
    outcomes = Counter(stream for stream, event in world.events(sw.ContactDisconnected))
    aside = {
        envelope.stream
        for commit in world.talk.commits()
        for envelope in commit.events
        if envelope.type == "shard.quarantined"
    }
    started = {stream for stream, _ in world.events(sw.ContactStarted)}
    assert set(outcomes.values()) <= {1}
    assert started <= set(outcomes) | aside, "a contact without outcome"


def places_are_kept(world: LiveWorld) -> None:
    queued: dict[str, int] = {}
    for stream, event in world.events(sw.ContactQueued):
        queued[stream] = event.enqueued_ms
    for _, event in world.events(rw.ContactEnteredLine):
        assert event.enqueued_ms == queued[f"contact/{event.contact}"]


def every_fold_agrees(world: LiveWorld) -> None:
    for lane in world.lanes:
        ledger = Ledger(lane.group)
        for stored in lane.log:
            ledger.fold(log_codec.decode(stored.body))
        assert list(ledger.parts()) == list(lane.shard.ledger.parts())


def live_through(split: bool, *plants: Plant) -> Poison:
    """The whole day with these plants."""
    poison = Poison()
    world = LiveWorld("ana", "ben", split=split, poison=poison)
    for plant in plants:
        poison.plant(plant)
    morning(world)
    evening(world)
    nothing_is_left(world)
    one_outcome_each(world)
    places_are_kept(world)
    every_fold_agrees(world)
    return poison


PLANTS = st.builds(
    lambda place, at, times, stuck: Plant(*place, times, stuck, at % OCCASIONS[place]),
    st.sampled_from(sorted(OCCASIONS)),
    st.integers(0, 10_000),
    st.sampled_from([1, 1, 1, 2, 6]),
    st.booleans(),
)


@pytest.mark.parametrize("split", [False, True], ids=["grouped", "split"])
def test_a_day_without_poison_strikes_nowhere(split: bool) -> None:
    assert live_through(split).struck == {}


@pytest.mark.parametrize(("kind", "where"), [place for place in OCCASIONS if place[1] != "recover"])
def test_the_day_is_long_enough_for_all_that_is_planted_in_it(kind: str, where: str) -> None:
    poison = live_through(False, Plant(kind, where, 1, after=OCCASIONS[kind, where] - 1))
    assert poison.struck == {f"{kind} {where}": 1}


@examples(60)
@given(plant=PLANTS, split=st.booleans())
def test_whatever_raises_once_is_got_over(plant: Plant, split: bool) -> None:
    live_through(split, plant)


@examples(25)
@given(first=PLANTS, second=PLANTS, split=st.booleans())
def test_two_at_once_are_got_over_too(first: Plant, second: Plant, split: bool) -> None:
    live_through(split, first, second)


@examples(15)
@given(at=st.integers(0, OCCASIONS["contact", "decide"]), split=st.booleans())
def test_what_cannot_even_recover_is_followed_to_its_end(at: int, split: bool) -> None:
    live_through(split, Plant("contact", "decide", 1, after=at), Plant("contact", "recover", 1))
