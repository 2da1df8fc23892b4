"""The agent's drain: what it writes down, whom it lets go, what its operator is shown."""

from __future__ import annotations

from tandem.core.ports.media import (
    Bridge,
    Command,
    CommandSettled,
    Event,
    Hello,
    Originate,
    Outcome,
    TakeOver,
    Welcome,
)
from tandem.core.seal import secret
from tandem.media.backend import LiveLeg, RowKind
from tandem.media.draining import LOOK_MS, Drained
from tandem.media.journal.file import MemoryStore
from tests.unit.media.test_agent import Node

WAITS, TALKS, AGENT = (
    LiveLeg("t1", 0, "c1", waits=True),
    LiveLeg("t1", 0, "c2", talks=True),
    LiveLeg("t1", 0, "c2.a"),
)


def node_with(*live: LiveLeg, store: MemoryStore | None = None) -> Node:
    node = Node(store)
    node.backend.live = live
    return node


def later(node: Node, ms: int) -> list[object]:
    """What the backend is asked in that time; the process looks several times a second."""
    node.backend.asked.clear()
    for _ in range(ms // 500):
        node.now_ms += 500
        node.agent.look(node.now_ms)
        node.run()
    return node.backend.asked


def test_the_order_is_given_once_and_outlives_the_agent():
    store = MemoryStore()
    node = node_with(store=store)
    for on in (False, True, True, False, False, True):
        node.agent.drain(on, None, node.now_ms)
        node.run()
    assert node.backend.asked[1:] == [("drain", True), ("drain", False), ("drain", True)]
    assert [notice.reason for notice in node.notices] == ["DRAINING", "DRAIN_UNDONE", "DRAINING"]
    again = Node(store, now_ms=9_000)
    assert again.agent.draining
    assert again.backend.asked[-1] == ("drain", True)


def test_a_rewritten_journal_has_it_still():
    store = MemoryStore()
    node = node_with(store=store)
    node.agent.drain(True, 5_000, node.now_ms)
    node.run()
    node.turns._journal.rewrite(node.state)
    again = Node(store, now_ms=2_000)
    shown = again.agent.drained(())
    assert (shown.since_ms, shown.until_ms) == (1_000, 6_000)


def test_what_was_never_ordered_is_not_given():
    assert node_with().backend.asked == [()], "nothing but what there was to restore"


def test_who_waits_is_let_go_when_the_time_is_up_and_was_looked_at_twice():
    node = node_with(WAITS, TALKS, AGENT)
    node.agent.drain(True, 10_000, node.now_ms)
    node.run()
    assert later(node, 9_500) == []
    assert later(node, 500) == [("let go", ("c1",))]
    # Who seems to wait between two looks does not.
    node.backend.live = (LiveLeg("t1", 0, "c2", waits=True),)
    assert later(node, LOOK_MS) == []
    node.backend.live = (TALKS,)
    assert later(node, LOOK_MS) == []
    node.backend.live = (LiveLeg("t1", 0, "c2", waits=True),)
    assert later(node, 2 * LOOK_MS) == [("let go", ("c2",))]


def test_without_a_time_nobody_is_let_go_and_a_time_can_be_given_later():
    node = node_with(WAITS)
    node.agent.drain(True, None, node.now_ms)
    assert later(node, 3_600_000) == [("drain", True)]
    node.agent.drain(True, 4_000, node.now_ms)
    node.agent.drain(True, None, node.now_ms)
    assert ("let go", ("c1",)) in later(node, 4_000)
    assert node.agent.drained(node.backend.live).since_ms == 1_000


def test_who_undoes_it_stops_the_clock():
    node = node_with(WAITS)
    node.agent.drain(True, 4_000, node.now_ms)
    later(node, 2_500)
    node.agent.drain(False, None, node.now_ms)
    assert later(node, 10_000) == [("drain", False)]
    node.agent.drain(True, 4_000, node.now_ms)
    assert later(node, 3_500) == [("drain", True)], "what was seen before the undo is forgotten"
    assert later(node, 500) == [("let go", ("c1",))]


def test_a_phone_is_rung_for_a_caller_of_this_node_alone():
    node = node_with()
    node.agent.receive("a", Hello("live", 0, 1, "", ()), node.now_ms)
    node.agent.remember(RowKind.LEG, "c1", {"tenant": "t1"})
    node.agent.remember(RowKind.LEG, "c2.move1", {"tenant": "t1", "inbound": True})
    node.agent.remember(RowKind.LEG, "c9.b", {"tenant": "t1", "inbound": False})
    node.agent.drain(True, None, node.now_ms)
    node.run()
    node.backend.asked.clear()
    ring = Originate("ann", 20_000, "o1", secret("+4930"))
    here, elsewhere = Command("t1", "k1", "c1.a", ring), Command("t1", "k2", "c9.a", ring)
    other = Command("t1", "k3", "c9", Bridge("c9.a"))
    moved = Command("t1", "k4", "c2.a", ring)
    for command in (here, elsewhere, other, moved):
        node.agent.receive("a", command, node.now_ms)
    node.run()
    assert node.backend.asked == [here, other, moved]
    told = [frame.body for frame in node.sent["a"] if isinstance(frame, Event)]
    assert told == [CommandSettled("k2", Outcome.FAILED, "DRAINING")]


def test_nobody_is_taken_over_while_it_drains_and_owners_know_that():
    node = node_with()
    node.agent.drain(True, None, node.now_ms)
    node.agent.receive("a", Hello("live", 0, 1, "", ()), node.now_ms)
    node.agent.receive("a", Command("t1", "k1", "c1", TakeOver(secret("{}"))), node.now_ms)
    node.run()
    welcome, _, told = node.sent["a"]
    assert isinstance(welcome, Welcome)
    assert (welcome.draining, welcome.takes_over) == (True, False)
    assert isinstance(told, Event)
    assert told.body == CommandSettled("k1", Outcome.FAILED, "DRAINING")


def test_the_operator_is_shown_who_is_left():
    node = node_with(WAITS, TALKS, AGENT)
    assert node.agent.drained(node.backend.live) == Drained(False, 0, 0, 1, 1, 3)
    node.agent.drain(True, 60_000, node.now_ms)
    assert node.agent.drained(node.backend.live) == Drained(True, 1_000, 61_000, 1, 1, 3)
