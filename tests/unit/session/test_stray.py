"""Legs that live on a node and that nobody holds, rings in doubt after a lost journal, and nodes that
never return. Written with the races that must not hit a call."""

from __future__ import annotations

from itertools import count

import pytest

from tandem.core.ports import media
from tandem.core.seal import Secret
from tandem.runtime.nodes import NODE_LOST_MS
from tandem.runtime.quarantine import Quarantine
from tandem.runtime.step import Offer
from tandem.runtime.turns import MAX_INPUTS
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st
from tests.support.small_cell import NODE, TENANT, SmallCell


def listed(cell: SmallCell, *legs: str) -> None:
    """The node is asked anew and has these legs."""
    cell.shard.node_legs(NODE, [(TENANT, leg) for leg in legs])


def hung_up(cell: SmallCell) -> list[str]:
    """Legs that were ordered to be hung up."""
    return [order.payload.leg for order in cell.orders(media.HangUp)]


def back_anew(cell: SmallCell, *legs: str) -> None:
    """The node's journal is lost, its calls live on."""
    cell.shard.node_down(NODE)
    cell.shard.node_up(NODE, "i2")
    cell.shard.node_kept(NODE)
    cell.settle()
    listed(cell, *legs)
    cell.settle()


def ringing() -> tuple[SmallCell, str]:
    """A cell in which anna's phone is asked to ring for c1; the leg."""
    cell = SmallCell()
    cell.configure("anna")
    cell.call("c1")
    return cell, cell.orders(media.Originate)[0].payload.leg


def test_a_leg_that_nobody_holds_is_hung_up_once() -> None:
    cell = SmallCell()
    cell.configure()
    listed(cell, "nobodys")
    cell.settle()
    assert hung_up(cell) == ["nobodys"]
    listed(cell, "nobodys")  # the order is on its way
    cell.settle()
    assert hung_up(cell) == ["nobodys"]
    order = cell.orders(media.HangUp)[0]
    cell.outcome(order.key)
    assert order.key not in cell.shard.ledger.pending
    assert [a.kind.name for a in cell.shard.ledger.aggregates.values() if a.kind.name == "stray"] == []


def test_beside_a_quarantined_contact_whose_legs_are_guessed_it_waits_for_that_ones_end() -> None:
    """Seed 3032 of 30 minutes: the phone that talked to it was hung up by nobody, and rung for another."""
    cell = SmallCell()
    cell.configure()
    cell.call("c1")
    place = (TENANT, "contact/c1")
    cell.shard.ledger.aggregates.set_aside(place, Quarantine("Planted", "x", ((NODE, "c1"),), guessed=True))
    listed(cell, "c1", "c1.talks")
    cell.settle()
    assert hung_up(cell) == []
    cell.leg("c1", media.LegEnded(media.Cause.NORMAL, media.By.FAR))
    cell.settle()
    assert "c1.talks" in hung_up(cell)  # c1 itself, listed before it ended, may be as well


def test_one_that_could_not_be_hung_up_is_found_again_under_another_key() -> None:
    """The node answers a key that it knows with its first outcome."""
    cell = SmallCell()
    cell.configure()
    listed(cell, "nobodys")
    cell.settle()
    cell.outcome(cell.orders(media.HangUp)[0].key, media.Outcome.FAILED, "TOO_MANY_KEYS")
    listed(cell, "nobodys")
    cell.settle()
    first, second = cell.orders(media.HangUp)
    assert first.key != second.key


def test_legs_of_contacts_are_left_alone() -> None:
    cell, leg = ringing()
    listed(cell, "c1", leg)
    cell.settle()
    assert hung_up(cell) == []


def test_a_call_that_has_just_arrived_is_left_alone() -> None:
    """Its arrival came before the list over the same link, and is not decided yet."""
    cell = SmallCell()
    cell.configure()
    arrived = w.TakeCall(NODE, cell.shard.now_ms, "100", Secret(b"+4420111"))
    cell.shard.offer(Offer(f"media/{NODE}/i1/{TENANT}", 1_000, TENANT, "contact/c9", arrived))
    listed(cell, "c9")
    cell.settle()
    assert hung_up(cell) == []
    assert isinstance(cell.state("contact/c9"), st.InFlow)


def test_calls_that_go_on_do_not_hide_it() -> None:
    """It is looked for when what came before the list is decided, though more and more comes."""
    cell = SmallCell()
    cell.configure()
    listed(cell, "nobodys")
    numbers = count(1_000)
    for _ in range(20):
        for _ in range(3 * MAX_INPUTS):
            gone = w.NoteLeg(NODE, "c9", cell.shard.now_ms, media.LegRinging())
            cell.shard.offer(Offer(f"media/{NODE}/i1/{TENANT}", next(numbers), TENANT, "contact/c9", gone))
        for output in cell.turn():
            cell._do(output)
        assert cell.shard.waiting
    waiting = [one.payload for one in cell.shard.ledger.pending.values() if one.effect.kind == "media"]
    assert "nobodys" in [*hung_up(cell), *(order.leg for order in waiting)]


def test_a_call_whose_arrival_waits_for_a_key_is_left_alone() -> None:
    cell = SmallCell()
    cell.configure()
    shard = cell.shard
    keys = shard._keys
    unused, keys._unused = keys._unused, type(keys._unused)()
    keys.loading = True
    arrived = w.TakeCall(NODE, shard.now_ms, "100", Secret(b"+4420111"))
    shard.offer(Offer(f"media/{NODE}/i1/{TENANT}", 1_000, TENANT, "contact/c9", arrived))
    listed(cell, "c9")
    cell.settle()
    assert cell.state("contact/c9") is None, "it waits"
    keys._unused, keys.loading = unused, False
    cell.settle()
    assert isinstance(cell.state("contact/c9"), st.InFlow)
    assert hung_up(cell) == []


def test_a_leg_that_is_being_taken_down_is_not_hung_up_twice() -> None:
    """The bridge failed: the caller is back in line and holds the agent's leg no more."""
    cell, leg = ringing()
    cell.leg(leg, media.LegAnswered())
    cell.outcome(cell.orders(media.Bridge)[0].key, media.Outcome.FAILED, "NOT_ANSWERED")
    assert isinstance(cell.state("contact/c1"), st.Waiting)
    assert hung_up(cell) == [leg]
    listed(cell, "c1", leg)
    cell.settle()
    assert hung_up(cell) == [leg]


def test_a_ring_in_doubt_is_never_repeated() -> None:
    """The place is kept, nobody is blamed, the leg that rings on is taken down."""
    cell, leg = ringing()
    before = cell.state("contact/c1").place.enqueued_ms
    back_anew(cell, "c1", leg)
    assert hung_up(cell) == [leg]
    assert isinstance(cell.state("contact/c1"), st.Waiting)
    assert cell.state("contact/c1").place.enqueued_ms == before
    assert cell.shard.ledger.aggregates[TENANT, "desk"].state.agents["anna"].status.value == "BACKING_OFF"
    cell.pass_ms(60_000)
    first, second = cell.orders(media.Originate)
    assert first.payload.leg != second.payload.leg, "a new offer"
    assert first.key != second.key


def test_a_link_that_broke_puts_nothing_in_doubt() -> None:
    cell, leg = ringing()
    cell.shard.node_down(NODE)
    cell.shard.node_up(NODE, "i1")
    cell.shard.node_kept(NODE)
    cell.settle()
    listed(cell, "c1", leg)
    cell.settle()
    first, again = cell.orders(media.Originate)
    assert (first.key, first.payload.leg) == (again.key, again.payload.leg)
    assert again.again
    assert hung_up(cell) == []


def test_what_the_new_journal_tells_first_finds_the_doubt_settled() -> None:
    """The mark of a new incarnation says that its doubts are done with: so they come first in the log."""
    cell, leg = ringing()
    cell.shard.node_down(NODE)
    cell.shard.node_up(NODE, "i2")
    rings = w.NoteLeg(NODE, leg, cell.shard.now_ms, media.LegRinging())
    cell.shard.offer(Offer(f"media/{NODE}/i2/{TENANT}", 1, TENANT, "contact/c1", rings))
    cell.settle()
    assert isinstance(cell.state("contact/c1"), st.Waiting)
    assert cell.shard.ledger.mark(f"media/{NODE}/i2/{TENANT}", TENANT) == 1


def test_a_recording_that_the_node_forgot_is_not_waited_for() -> None:
    cell, leg = ringing()
    cell.leg(leg, media.LegAnswered())
    cell.leg("c1", media.LegBridged(leg))
    cell.leg("c1", media.LegEnded(media.Cause.NORMAL, media.By.FAR))
    cell.leg(leg, media.LegEnded(media.Cause.NORMAL, media.By.TANDEM))
    cell.pass_ms(30_000)
    assert isinstance(cell.state("contact/c1"), st.Ended)
    assert cell.state("contact/c1").recordings
    back_anew(cell)
    assert cell.state("contact/c1") is None


@pytest.mark.parametrize("closing", [False, True])
def test_contacts_of_a_node_that_never_returns_end(closing: bool) -> None:
    cell, _ = ringing()
    if closing:
        cell.ask("contact/c1", w.HangUpContact())
    cell.shard.node_down(NODE)
    cell.pass_ms(NODE_LOST_MS - 1_000)
    assert cell.state("contact/c1") is not None
    cell.pass_ms(1_000)
    assert cell.state("contact/c1") is None
    assert cell.shard.ledger.aggregates[TENANT, "desk"].state.agents["anna"].status.value == "IDLE"


def test_a_successor_waits_for_the_node_as_long_again() -> None:
    cell, _ = ringing()
    cell.shard.node_down(NODE)
    cell.pass_ms(NODE_LOST_MS // 2)
    cell.shard.node_up(NODE, "i1")
    cell.pass_ms(2 * NODE_LOST_MS)
    assert cell.state("contact/c1") is not None, "a node that is up is not given up"


def test_an_answer_whose_event_was_lost_goes_on() -> None:
    """The new journal knows of no answer; the order is offered again and is done already."""
    cell = SmallCell()
    cell.configure()
    cell.input("contact/c1", w.TakeCall(NODE, cell.shard.now_ms, "100", Secret(b"+4420111")))
    assert cell.state("contact/c1").step == "hello"
    cell.outcome(cell.orders(media.Answer)[0].key)
    assert cell.state("contact/c1").step == "menu"
    cell.leg("c1", media.LegAnswered())  # should it come after all
    assert cell.state("contact/c1").step == "menu"
