"""A contact's trace: with everything that happens to it, over to the successor, and nowhere else."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tandem.core import trace
from tandem.core.commit import Commit, Envelope, Input, Message
from tandem.core.ports import media
from tandem.core.ports.log import Partition
from tandem.runtime import log_codec
from tandem.runtime.inbox import Inbox
from tandem.runtime.outputs import Perform
from tandem.runtime.restore import restore
from tandem.session.domain.contact import states as st
from tests.support.live_world import LiveWorld

CONTEXT = trace.begin("traced", 1.0)


@pytest.fixture(params=[False, True], ids=["grouped", "split"])
def world(request: pytest.FixtureRequest) -> LiveWorld:
    """Two agents; contacts that are called `traced` are."""
    made = LiveWorld("ann", "bob", split=request.param)
    made.traced.add("traced")
    return made


def talk(world: LiveWorld, contact: str) -> None:
    """Until the contact talks."""
    world.waiting(contact)
    world.node.answer(world.offered(contact))
    world.settle()
    assert isinstance(world.contacts()[contact], st.Talking)


def end(world: LiveWorld, contact: str) -> None:
    """The caller hangs up, and the recording is stored."""
    world.node.end(contact, media.Cause.NORMAL, media.By.FAR)
    world.settle()
    world.pass_ms(20_000)


def commits(world: LiveWorld) -> Iterator[Commit]:
    for lane in world.lanes:
        yield from lane.commits()


def events(world: LiveWorld, stream: str) -> list[Envelope]:
    return [envelope for commit in commits(world) for envelope in commit.events if envelope.stream == stream]


def messages(world: LiveWorld, sender: str) -> list[Message]:
    return [message for commit in commits(world) for message in commit.messages if message.sender == sender]


def test_all_that_happens_to_a_traced_contact_stands_in_its_trace(world: LiveWorld) -> None:
    talk(world, "traced")
    talk(world, "plain")
    for contact in ("plain", "traced"):
        end(world, contact)
    assert {envelope.trace for envelope in events(world, "contact/traced")} == {CONTEXT}
    assert {envelope.trace for envelope in events(world, "contact/plain")} == {""}
    of_it = [i for commit in commits(world) for i in commit.inputs if i.source.startswith("media/")]
    assert {i.trace for i in of_it if i.stream == "contact/traced"} == {CONTEXT}
    assert {i.trace for i in of_it if i.stream != "contact/traced"} == {""}
    stored = [m for m in messages(world, "contact/traced") if m.part.type == "recording.stored"]
    assert [message.trace for message in stored] == [CONTEXT]
    assert {message.trace for message in messages(world, "contact/plain")} <= {""}
    world.same()


def test_a_message_brings_the_trace_to_the_other_group(world: LiveWorld) -> None:
    talk(world, "traced")
    end(world, "traced")
    inbox = Inbox(Partition(world.talk.group.name, 0), "recording")
    offers = [offer for stored in world.talk.log for offer in inbox.take(log_codec.decode(stored.body))]
    assert [offer.trace for offer in offers if offer.part.type == "recording.stored"] == [CONTEXT]


def test_the_successor_goes_on_in_the_same_trace(world: LiveWorld) -> None:
    world.waiting("traced")
    world.takeover(world.talk)
    (order,) = [
        order
        for order in world.node.orders
        if isinstance(order, Perform) and isinstance(order.payload.verb, media.Originate)
    ]
    assert (order.again, order.trace) == (True, CONTEXT)
    world.settle()
    world.node.answer(world.offered("traced"))
    world.settle()
    world.takeover(world.talk)
    end(world, "traced")
    assert {envelope.trace for envelope in events(world, "contact/traced")} == {CONTEXT}
    world.same()


def test_nothing_is_noted_for_what_is_not_traced(world: LiveWorld) -> None:
    talk(world, "plain")
    assert world.shown
    assert not [shown for shown in world.shown if shown.decided]


def test_a_traced_commit_shows_what_was_decided_and_the_states_around_it(world: LiveWorld) -> None:
    world.call("traced")
    world.settle()
    first = next(shown for shown in world.shown if shown.decided)
    (decided,) = first.decided
    taken: Input = first.commit.inputs[decided.input]
    assert (taken.part.type, taken.trace) == ("media.take_call", CONTEXT)
    begun = decided.changes[0]
    assert first.commit.events[begun.event].type == "contact.started"
    assert isinstance(begun.before, st.New)
    assert isinstance(begun.after, st.InFlow)


def test_the_trace_of_a_node_that_samples_otherwise_after_a_restart_changes_nothing(world: LiveWorld) -> None:
    world.waiting("traced")
    world.traced.clear()
    world.node.answer(world.offered("traced"))
    world.settle()
    world.traced.add("plain-first")
    assert {envelope.trace for envelope in events(world, "contact/traced")} == {CONTEXT}


def test_a_snapshot_keeps_the_traces_of_what_lives(world: LiveWorld) -> None:
    talk(world, "traced")
    talk(world, "plain")
    ledger = world.talk.shard.ledger
    restored = restore(world.talk.group, ledger.parts())
    assert {stream: row.trace for (_, stream), row in restored.aggregates.items()} == {
        stream: CONTEXT if stream == "contact/traced" else "" for _, stream in ledger.aggregates
    }
