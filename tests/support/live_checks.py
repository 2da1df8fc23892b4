"""What must hold of calls, whatever happens: looked at while a world goes on, and when it is at rest."""

from __future__ import annotations

from collections import Counter
from typing import Any

from tandem.core.ports import media
from tandem.routing.domain import words as rw
from tandem.routing.domain.words import RoutingStatus as Status
from tandem.session.domain import words as sw
from tandem.session.domain.contact import states as st
from tests.support.live_world import LiveWorld


def at_any_time(world: LiveWorld) -> None:
    """No agent has two calls; nobody holds two places."""
    agents = Counter(
        state.offered.agent for state in world.contacts().values() if isinstance(state, st.Connecting | st.Talking)
    )
    assert all(count == 1 for count in agents.values()), f"two calls at once: {agents}"
    held = Counter(row.agent for row in world.desk.reservations.values())
    assert all(count == 1 for count in held.values())


def at_rest(world: LiveWorld, rang_out: set[str]) -> None:
    """Everybody has hung up and time has passed: nothing is left, and the history is whole.
    `rang_out` are the legs whose phone rang for its whole time."""
    _nothing_left(world)
    events = world.events()
    _one_end_each(events)
    _places_kept(events)
    _offers_closed(events)
    _blame(events, rang_out)
    _wrap_up(events)
    world.same()


def _nothing_left(world: LiveWorld) -> None:
    assert world.contacts() == {}
    assert world.node.legs == {}, "a leg that nobody will ever end"
    for lane in world.lanes:
        assert lane.shard.ledger.pending == {}
    desk = world.desk
    assert (desk.entries, desk.reservations) == ({}, {})
    for agent in desk.agents.values():
        assert agent.status in (Status.IDLE, Status.OFF_QUEUE, Status.NOT_RESPONDING), agent
        assert agent.status is not Status.OFF_QUEUE or not agent.ready


def _one_end_each(events: list[tuple[str, Any]]) -> None:
    for type_ in (sw.ContactStarted, sw.ContactDisconnected, sw.ContactCompleted):
        counted = Counter(stream for stream, event in events if isinstance(event, type_))
        assert set(counted.values()) <= {1}, (type_, counted)
    started, ended, completed = (
        {stream for stream, event in events if isinstance(event, type_)}
        for type_ in (sw.ContactStarted, sw.ContactDisconnected, sw.ContactCompleted)
    )
    assert started == ended == completed
    recorded = Counter(event.recording for _, event in events if isinstance(event, sw.ContactConnected))
    finished = Counter(event.recording for _, event in events if isinstance(event, sw.RecordingEnded))
    assert recorded == finished, "a recording that nobody told of"


def _places_kept(events: list[tuple[str, Any]]) -> None:
    """The place in line is when the caller was queued, however often they were offered."""
    queued: dict[str, int] = {}
    for stream, event in events:
        if isinstance(event, sw.ContactQueued):
            queued[stream] = event.enqueued_ms
    for stream, event in events:
        if isinstance(event, sw.ContactRequeued):
            assert event.enqueued_ms == queued[stream]
        if isinstance(event, rw.ContactEnteredLine):
            assert event.enqueued_ms == queued[f"contact/{event.contact}"]


def _offers_closed(events: list[tuple[str, Any]]) -> None:
    """Each reservation is closed once, or engaged and released once."""
    ends = Counter(event.offer for _, event in events if isinstance(event, rw.ReservationClosed | rw.AgentReleased))
    reserved = Counter(event.offer for _, event in events if isinstance(event, rw.AgentReserved))
    assert ends == reserved
    engaged = {event.offer for _, event in events if isinstance(event, rw.AgentEngaged)}
    closed = {event.offer for _, event in events if isinstance(event, rw.ReservationClosed)}
    answered = {event.offer for _, event in events if isinstance(event, sw.AgentAnswered)}
    assert not engaged & closed
    assert engaged == answered
    # What a contact said of an offer is said once, too.
    said = Counter(
        event.offer for _, event in events if isinstance(event, sw.OfferEnded | sw.OfferTurnedDown | sw.AgentAnswered)
    )
    assert set(said.values()) <= {1}


def _blame(events: list[tuple[str, Any]], rang_out: set[str]) -> None:
    """Not Responding only for a phone that rang for its whole time; who was only rescinded, or
    whose caller hung up, keeps the idle time."""
    offers = {leg.rpartition(".")[2] for leg in rang_out}
    for _, event in events:
        if isinstance(event, rw.AgentNotResponding):
            assert event.offer in offers, "blamed for a ring that was none"
    reserved = {event.offer: event for _, event in events if isinstance(event, rw.AgentReserved)}
    closed: dict[str, rw.ReservationClosed] = {}
    for _, event in events:
        if isinstance(event, rw.ReservationClosed):
            closed[event.agent] = event
        elif isinstance(event, rw.AgentReady) and event.agent in closed:
            last = closed.pop(event.agent)
            if last.outcome in (rw.Outcome.CANCELED, rw.Outcome.RESCINDED):
                assert event.idle_since_ms == reserved[last.offer].idle_since_ms
        elif isinstance(event, rw.AgentUnready | rw.AgentBackedOff | rw.AgentNotResponding):
            closed.pop(event.agent, None)


def _wrap_up(events: list[tuple[str, Any]]) -> None:
    """Wrap-up only for those who heard each other."""
    audio = {event.offer for _, event in events if isinstance(event, sw.ContactConnected)}
    wrapped = {event.offer for _, event in events if isinstance(event, rw.WrapUpStarted | rw.WrapUpFinished)}
    assert wrapped == audio


def everybody_goes_home(world: LiveWorld) -> None:
    """Callers hang up, agents put the phone down, nodes and owners do all that waits."""
    world.settle()
    for leg in sorted(world.node.legs):
        if leg in world.node.legs:
            world.node.end(leg, media.Cause.NORMAL if world.node.legs[leg].up else media.Cause.DECLINED, media.By.FAR)
            world.settle()
    for _ in range(4):
        world.pass_ms(60_000)
        for leg in sorted(world.node.legs):
            world.node.end(leg, media.Cause.DECLINED, media.By.FAR)
            world.settle()
