"""The first call, decided and folded: menu, queue, agent, talk, wrap-up."""

from __future__ import annotations

from tandem.core.ports import media
from tandem.routing.domain.words import RoutingStatus
from tandem.runtime import log_codec
from tandem.runtime.ledger import Ledger
from tandem.runtime.restore import restore
from tandem.session.domain.contact import states as st
from tests.support.small_cell import NODE, TENANT, SmallCell, live_group


def test_a_call_from_ring_to_wrap_up() -> None:
    cell = SmallCell()
    cell.configure("anna")
    cell.call("c1")
    (ring,) = cell.orders(media.Originate)
    assert ring.payload.verb.device == "anna-phone"
    leg = ring.payload.leg
    cell.leg(leg, media.LegRinging())
    cell.leg(leg, media.LegAnswered())
    (bridge,) = cell.orders(media.Bridge)
    assert (bridge.payload.leg, bridge.payload.verb.other) == ("c1", leg)
    cell.leg("c1", media.LegBridged(leg))
    (record,) = cell.orders(media.RecordStart)
    assert isinstance(cell.state("contact/c1"), st.Talking)
    cell.pass_ms(30_000)
    cell.leg("c1", media.LegEnded(media.Cause.NORMAL, media.By.FAR))
    assert [p.payload.leg for p in cell.orders(media.HangUp)] == [leg]
    cell.leg(leg, media.LegEnded(media.Cause.NORMAL, media.By.TANDEM))
    desk = cell.state("desk")
    assert desk.agents["anna"].status is RoutingStatus.WRAP_UP
    stored = media.RecordingStored(record.payload.verb.recording, "recordings/x", 8000, 16044, "00")
    cell.leg("c1", stored)
    cell.pass_ms(10_000)
    assert cell.state("contact/c1") is None
    assert desk.agents["anna"].status is RoutingStatus.IDLE


def test_the_log_alone_folds_to_the_same_state() -> None:
    cell = SmallCell()
    cell.configure("anna", "ben")
    for contact in ("c1", "c2", "c3"):
        cell.call(contact)
        cell.pass_ms(500)
    folded = Ledger(live_group())
    for stored in cell.log:
        assert folded.fold(log_codec.decode(stored.body))
    assert list(folded.parts()) == list(cell.shard.ledger.parts())
    restored = restore(live_group(), iter(list(folded.parts())))
    assert list(restored.parts()) == list(folded.parts())


def test_the_caller_hangs_up_while_an_agent_rings() -> None:
    cell = SmallCell()
    cell.configure("anna")
    cell.call("c1")
    (ring,) = cell.orders(media.Originate)
    idle_since = cell.state("desk").agents["anna"].idle_since_ms
    cell.pass_ms(3000)
    cell.leg("c1", media.LegEnded(media.Cause.CANCELED, media.By.FAR))
    assert [p.payload.leg for p in cell.orders(media.HangUp)] == [ring.payload.leg]
    cell.leg(ring.payload.leg, media.LegEnded(media.Cause.CANCELED, media.By.TANDEM))
    anna = cell.state("desk").agents["anna"]
    assert (anna.status, anna.idle_since_ms) == (RoutingStatus.IDLE, idle_since)
    assert cell.state("contact/c1") is None


def test_a_ring_that_runs_out_keeps_the_place_and_blames_the_agent() -> None:
    cell = SmallCell()
    cell.configure("anna", "ben")
    cell.call("c1")
    enqueued = cell.state("contact/c1").place.enqueued_ms
    (first,) = cell.orders(media.Originate)
    cell.pass_ms(15_000)
    cell.leg(first.payload.leg, media.LegEnded(media.Cause.NO_ANSWER, media.By.NODE, 15_000))
    desk = cell.state("desk")
    assert desk.agents["anna"].status is RoutingStatus.NOT_RESPONDING
    second = cell.orders(media.Originate)[1]
    assert second.payload.verb.device == "ben-phone"
    assert desk.entries["c1"].enqueued_ms == enqueued


def test_a_takeover_offers_what_is_pending_with_its_first_key() -> None:
    cell = SmallCell()
    cell.configure("anna")
    cell.call("c1")
    (ring,) = cell.orders(media.Originate)
    cell.performed.clear()
    cell.start("owner-2")
    again = cell.orders(media.Originate)
    assert [(p.key, p.again) for p in again] == [(ring.key, True)]
    cell.outcome(ring.key, media.Outcome.UNKNOWN, "IN_DOUBT")
    anna = cell.state("desk").agents["anna"]
    assert anna.status is RoutingStatus.BACKING_OFF
    assert cell.state("desk").entries["c1"].offer == ""
    assert isinstance(cell.state("contact/c1"), st.Waiting)


def test_a_media_agent_that_died_before_it_told_of_answer_and_bridge_costs_no_talk() -> None:
    """The calls lived on; its next life settles the orders by what they show, and tells nothing else."""
    cell = SmallCell()
    cell.configure("anna")
    cell.call("c1")
    cell.outcome(cell.orders(media.Originate)[0].key)
    (bridge,) = cell.orders(media.Bridge)
    cell.start("owner-2")
    cell.outcome(bridge.key)
    assert isinstance(cell.state("contact/c1"), st.Talking)
    assert [order.payload.leg for order in cell.orders(media.RecordStart)] == ["c1"]
    assert cell.state("desk").agents["anna"].status is RoutingStatus.INTERACTING


def test_the_callers_number_stands_nowhere_in_the_log() -> None:
    cell = SmallCell()
    cell.configure("anna")
    cell.call("c1")
    cell.leg(cell.orders(media.Originate)[0].payload.leg, media.LegAnswered())
    written = b"".join(stored.body for stored in cell.log)
    assert b"contact.started" in written
    assert b"+4420111" not in written
    assert NODE.encode() in written and TENANT.encode() in written
