"""What is read once is what would be read again."""

from __future__ import annotations

from tandem.core.ports import media
from tandem.simulation.reading import Parts, reading
from tests.support.small_cell import SmallCell, live_group


def _lives() -> SmallCell:
    """A cell that has an agent, and a caller who talks to them."""
    cell = SmallCell()
    cell.configure("anna")
    cell.call("c1")
    cell.leg(cell.orders(media.Originate)[0].payload.leg, media.LegAnswered())
    return cell


def test_a_row_is_encoded_again_when_it_has_changed() -> None:
    cell, parts = SmallCell(), Parts()
    ledger = cell.shard.ledger
    seen = [parts.of(ledger)]
    cell.configure("anna")
    seen.append(parts.of(ledger))
    cell.call("c1")
    seen.append(parts.of(ledger))
    assert seen[-1] == list(ledger.parts())
    cell.leg("c1", media.LegEnded(media.Cause.NORMAL, media.By.FAR))
    assert parts.of(ledger) == list(ledger.parts())
    assert len({tuple(one) for one in seen}) == 3


def test_rows_are_shared_by_their_bytes_and_states_are_not() -> None:
    """Poison knows the state that is decided on by its identity."""
    canonical = reading(live_group()).canonical
    parts = list(_lives().shard.ledger.parts())
    own = 0
    for body in parts:
        one, other = canonical.decode(body), canonical.decode(bytes(bytearray(body)))
        assert one == other and (one is other) == (one[0] != "aggregate")
        own += one is not other
    assert 0 < own < len(parts)


def test_orders_are_shared_by_their_parts() -> None:
    table = reading(live_group()).service_of["contact"].effects
    orders = [row for row in _lives().shard.ledger.pending.values() if row.effect.kind == "media"]
    assert orders
    for order in orders:
        value = table.decode(order.effect.part)
        assert value == order.payload and table.decode(order.effect.part) is value
