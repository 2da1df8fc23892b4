"""A shard moves callers who wait off nodes that are being emptied: when, whom, where, how many at once."""

from __future__ import annotations

from typing import Any

import pytest

from tandem.core.ports import media
from tandem.core.seal import Secret
from tandem.runtime.moves import EVERY_MS, IDLE_MS, UNDER_WAY_MAX
from tandem.runtime.outputs import Perform
from tandem.runtime.step import Offer
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st
from tandem.session.domain.contact.react import ORDER_DEADLINE_MS
from tests.support.small_cell import NODE, TENANT, SmallCell

THERE = "m2"


class Cell(SmallCell):
    """With other nodes."""

    def other(self, node: str, *, draining: bool = False, takes_over: bool = True) -> None:
        """A node comes up."""
        self.shard.node_up(node, "i1", draining=draining, takes_over=takes_over)
        self.shard.node_kept(node)
        self.settle()
        self.shard.node_legs(node, ())
        self.settle()

    def drained(self, node: str = NODE, *, on: bool = True) -> None:
        """It is being emptied, or is not any more."""
        self.shard.node_drains(node, on)
        self.settle()

    def described(self, contact: str) -> None:
        """The node that has a caller says how another one could."""
        command = w.TakeDialog(contact, self.shard.now_ms, Secret(b"{}"))
        self.input(f"contact/{contact}", command)

    def there(self, leg: str, body: Any, number: int = 1) -> None:
        """An event of a leg on the other node."""
        command = w.NoteLeg(THERE, leg, self.shard.now_ms, body)
        stream = f"contact/{media.contact_of(leg)}"
        self.shard.offer(Offer(f"media/{THERE}/i1/{TENANT}", number, TENANT, stream, command))
        self.settle()

    def moving(self) -> list[str]:
        return [row.payload.leg for row in self.orders(media.HandOut)]


@pytest.fixture
def cell() -> Cell:
    made = Cell()
    made.configure()
    for number in range(1, 6):
        made.call(f"c{number}")
    return made


def test_who_waits_on_a_node_that_is_emptied_is_moved_to_one_that_takes_over(cell: Cell) -> None:
    cell.other(THERE)
    cell.drained()
    assert cell.moving() == ["c1", "c2"] and UNDER_WAY_MAX == 2
    cell.described("c1")
    (order,) = cell.orders(media.TakeOver)
    assert (order.payload.node, order.payload.leg) == (THERE, "c1.move1")
    cell.there("c1.move1", media.LegTakenOver())
    assert cell.state("contact/c1").call.node == THERE
    assert [row.payload.node for row in cell.orders(media.LetGo)] == [NODE]


def test_there_is_room_for_the_next_when_one_is_over(cell: Cell) -> None:
    cell.other(THERE)
    cell.drained()
    cell.pass_ms(EVERY_MS)
    assert cell.moving() == ["c1", "c2"]
    cell.described("c1")
    cell.there("c1.move1", media.LegTakenOver())
    cell.pass_ms(EVERY_MS)
    assert cell.moving() == ["c1", "c2", "c3"]


def test_nobody_moves_without_a_reason_or_a_place(cell: Cell) -> None:
    cell.other(THERE)
    cell.pass_ms(IDLE_MS)
    cell.drained(THERE)
    cell.drained()
    cell.pass_ms(IDLE_MS)
    cell.other("m3", takes_over=False)
    cell.other("m4", draining=True)
    cell.pass_ms(IDLE_MS)
    assert cell.moving() == []
    cell.drained(THERE, on=False)
    assert cell.moving() == ["c1", "c2"]


def test_a_drain_that_is_undone_moves_nobody_else(cell: Cell) -> None:
    cell.other(THERE)
    cell.drained()
    cell.drained(on=False)
    cell.described("c1")
    cell.there("c1.move1", media.LegTakenOver())
    cell.pass_ms(ORDER_DEADLINE_MS)
    assert cell.moving() == ["c1", "c2"]
    assert isinstance(cell.state("contact/c2"), st.Waiting), "which was not described in time"


def test_nodes_take_turns(cell: Cell) -> None:
    cell.other(THERE)
    cell.other("m3")
    cell.drained()
    assert [cell.state(f"contact/{name}").node for name in ("c1", "c2")] == [THERE, "m3"]


def test_a_node_that_said_so_when_it_came_up_is_emptied(cell: Cell) -> None:
    cell.other(THERE)
    cell.shard.node_up(NODE, "i1", draining=True)
    assert cell.moving() == [], "before it has told what it kept it takes no orders"
    cell.shard.node_kept(NODE)
    cell.settle()
    assert cell.moving() == ["c1", "c2"]


def test_a_node_that_is_away_is_asked_for_nothing(cell: Cell) -> None:
    cell.other(THERE)
    cell.shard.node_down(THERE)
    cell.drained()
    cell.pass_ms(IDLE_MS)
    assert cell.moving() == []
    assert cell.shard.next_ms(cell.now) is not None


def test_a_leg_that_is_being_taken_over_is_neither_missing_nor_a_stray(cell: Cell) -> None:
    cell.other(THERE)
    cell.drained()
    cell.described("c1")
    cell.shard.node_up(THERE, "i1", takes_over=True)
    cell.shard.node_kept(THERE)
    cell.settle()
    cell.shard.node_legs(THERE, ())
    cell.settle()
    assert isinstance(cell.state("contact/c1"), st.Moving)
    cell.shard.node_up(THERE, "i1", takes_over=True)
    cell.shard.node_kept(THERE)
    cell.settle()
    cell.shard.node_legs(THERE, [(TENANT, "c1.move1")])
    cell.settle()
    assert cell.orders(media.HangUp) == []
    taken = [row for row in cell.performed if isinstance(row, Perform) and isinstance(row.payload.verb, media.TakeOver)]
    assert [row.again for row in taken] == [False, True, True], "the node says what became of it"


def test_a_journal_that_was_lost_leaves_the_take_over_to_the_node(cell: Cell) -> None:
    cell.other(THERE)
    cell.there("", media.LegTakenOver())  # something was taken of this life of it
    cell.drained()
    cell.described("c1")
    cell.shard.node_up(THERE, "i2", takes_over=True)
    cell.settle()
    assert isinstance(cell.state("contact/c1"), st.Moving)
