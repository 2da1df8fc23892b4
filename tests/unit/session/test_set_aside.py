"""What operators see of contacts and desks in quarantine, and of a history that nobody here can read."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from typing import Any

import pytest
from google.protobuf import json_format

from tandem.api.routing.v1 import routing_service_pb2 as routing_api
from tandem.api.session.v1 import contact_pb2 as pb
from tandem.api.session.v1 import session_service_pb2 as api
from tandem.core.commit import Part
from tandem.core.errors import OUT_OF_ORDER, Rejected
from tandem.core.ports import media
from tandem.routing.servicer import RoutingServicer
from tandem.session.domain import words as w
from tandem.session.domain.reception import NoteDevice, PublishFlow
from tandem.session.servicer import SessionServicer
from tandem.session.views import ContactView
from tandem.simulation.poison import Plant, Poison
from tests.support import live_host as module
from tests.support.live_host import LiveHost, live_host
from tests.support.small_cell import NODE, STEPS, live_group
from tests.unit.session.test_late import lates

C1 = "tenants/red/contacts/c1"


@pytest.fixture
def poison(monkeypatch: pytest.MonkeyPatch) -> Poison:
    made = Poison()
    monkeypatch.setattr(module, "live_group", lambda: made.group(live_group()))
    return made


@pytest.fixture
async def live(poison: Poison) -> AsyncIterator[LiveHost]:
    async with live_host() as host:
        yield host


@pytest.fixture
def servicer(live: LiveHost) -> SessionServicer:
    return SessionServicer(live.host, live.store, "live")


async def get(live: LiveHost, servicer: SessionServicer) -> pb.Contact:
    await live.project()
    return await servicer.get_contact(api.GetContactRequest(name=C1), live.call())


async def quarantine(live: LiveHost, poison: Poison) -> str:
    """A talk of c1 that cannot be gone on with; the agent's leg."""
    leg = await live.talk("red", "c1")
    poison.plant(Plant("contact", "evolve", 1))
    await live.leg("red", "c1", media.LegHeld())
    await live.until(lambda: lates(live)[-1:] == ["late.not_found"])  # nothing goes on by itself
    return leg


async def test_a_contact_in_quarantine_is_shown_as_such_until_its_legs_are_down(
    live: LiveHost, servicer: SessionServicer, poison: Poison
) -> None:
    leg = await quarantine(live, poison)
    shown = await get(live, servicer)
    assert (shown.state, shown.outcome) == (pb.Contact.STATE_QUARANTINED, pb.Contact.OUTCOME_FAILED)
    listing = api.ListContactsRequest(parent="tenants/red", life=api.ListContactsRequest.LIFE_LIVE)
    assert [row.name for row in (await servicer.list_contacts(listing, live.call())).contacts] == [C1]
    await live.hang_up("red", leg)
    await live.hang_up("red", "c1")
    over = await get(live, servicer)
    assert (over.state, over.outcome) == (pb.Contact.STATE_ENDED, pb.Contact.OUTCOME_FAILED)
    assert all(row.state == pb.Leg.STATE_ENDED for row in over.legs)
    assert list((await servicer.list_contacts(listing, live.call())).contacts) == []


async def test_its_timeline_says_why(live: LiveHost, servicer: SessionServicer, poison: Poison) -> None:
    await quarantine(live, poison)
    await live.project()
    events = (await servicer.list_contact_events(api.ListContactEventsRequest(parent=C1), live.call())).events
    assert events[-1].type == "shard.quarantined"
    data = json_format.MessageToDict(events[-1].data)
    assert (data["why"], data["event"], len(data["legs"])) == ("Planted", "contact.held", 2)


async def test_a_stream_begins_with_it_and_lets_go_of_it(
    live: LiveHost, servicer: SessionServicer, poison: Poison
) -> None:
    leg = await quarantine(live, poison)
    await live.project()
    stream = await servicer.watch_contacts(api.WatchContactsRequest(parent="tenants/red"), live.call())
    first = await anext(stream)
    assert (first.contact.name, first.contact.state) == (C1, pb.Contact.STATE_QUARANTINED)
    assert (await anext(stream)).synced
    await live.hang_up("red", leg)
    await live.hang_up("red", "c1")
    told = [await anext(stream) for _ in range(2)]
    assert [message.contact.state for message in told] == [pb.Contact.STATE_QUARANTINED, pb.Contact.STATE_ENDED]
    await stream.aclose()  # type: ignore[attr-defined]


async def test_a_supervisor_ends_it_as_any_other(live: LiveHost, servicer: SessionServicer, poison: Poison) -> None:
    """Both talk on, and nobody can go on with the contact: its legs are hung up."""
    leg = await quarantine(live, poison)
    await live.project()
    request = api.HangUpContactRequest(name=C1)
    asked = asyncio.create_task(servicer.hang_up_contact(request, live.call(request_id="r1", digest="d")))
    await live.until(lambda: pending(live))
    await live.project()
    assert (await asked).state == pb.Contact.STATE_QUARANTINED
    orders = pending(live)
    assert {(order.leg, type(order.verb)) for order in orders} == {("c1", media.HangUp), (leg, media.HangUp)}
    for gone in ("c1", leg):
        await live.settled("red", "c1", f"hangup/{gone}", media.CommandSettled("", media.Outcome.DONE))
    assert (await get(live, servicer)).state == pb.Contact.STATE_ENDED
    assert pending(live) == []
    events = (await servicer.list_contact_events(api.ListContactEventsRequest(parent=C1), live.call())).events
    assert "shard.quarantined_hung_up" in [event.type for event in events]
    # The agent is free again.
    await live.wait("red", "c2")
    assert (await live.offered("red", "c2")).startswith("c2.")


def pending(live: LiveHost) -> list[Any]:
    """Orders to hang up that are not done."""
    ledger = live.drivers[0]._shard.ledger  # type: ignore[union-attr]
    payloads = [row.payload for row in ledger.pending.values() if row.effect.kind == "media"]
    return [order for order in payloads if isinstance(order.verb, media.HangUp)]


async def test_nothing_else_can_be_done_to_it(live: LiveHost, poison: Poison) -> None:
    await quarantine(live, poison)
    with pytest.raises(Rejected) as rejected:
        await live.host.ask("red", "contact/c1", w.EndWrapUp("o1", live.now_ms), principal=live.call().principal)
    assert rejected.value.reason is OUT_OF_ORDER


async def test_a_desk_is_folded_anew_from_the_log_and_its_line_is_kept(live: LiveHost, poison: Poison) -> None:
    await live.wait("green", "g1")
    poison.plant(Plant("desk", "evolve", 1))
    await live.wait("green", "g2")
    await live.until(lambda: live.drivers[0].counts.rebuilt == 1)
    routing = RoutingServicer(live.host)
    request = routing_api.ListWaitingRequest(parent="tenants/green/queues/sales")
    waiting = await routing.list_waiting(request, live.call(tenant="green"))
    assert [row.contact for row in waiting.waiting] == ["tenants/green/contacts/g1"]


async def test_a_caller_who_left_and_whose_leaving_the_desk_could_not_decide_has_no_place(
    live: LiveHost, poison: Poison
) -> None:
    for contact in ("g1", "g2"):
        await live.wait("green", contact)
    poison.plant(Plant("desk", "decide", 1))
    await live.hang_up("green", "g1")
    await live.until(lambda: poison.struck)
    routing = RoutingServicer(live.host)
    request = routing_api.ListWaitingRequest(parent="tenants/green/queues/sales")
    waiting = await routing.list_waiting(request, live.call(tenant="green"))
    assert [row.contact for row in waiting.waiting] == ["tenants/green/contacts/g2"]


async def registered(live: LiveHost, *, on: bool) -> None:
    """The phone of red's agent registers, or its registration ends."""
    note = NoteDevice("ann-phone", NODE, on, live.now_ms)
    await live._take("red", f"media/{NODE}/i1", "reception", note)


async def reachable(live: LiveHost) -> tuple[bool, str]:
    """Whether red's agent can be rung, and their status."""
    ann = await live.state("red", lambda ledger: ledger.aggregate("red", "desk").state.agents["ann"])
    return bool(ann.reachable), ann.status.value


async def taken_over(live: LiveHost) -> None:
    """Another life of the shard, which takes back into service what the last one set aside."""
    live.drivers[0].lose("another owner")
    await live.until(lambda: live.drivers[0].is_live and live.drivers[0].counts.quarantined_now == 0)


NOW = {True: (True, "IDLE"), False: (False, "OFF_QUEUE")}


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("plant", [Plant("desk", "decide", 1), Plant("reception", "react", 1)], ids=str)
async def test_a_phone_that_the_desk_could_not_note_is_noted_all_the_same(
    live: LiveHost, poison: Poison, plant: Plant, on: bool
) -> None:
    """The agent could be offered nothing until the phone registered anew, or was offered what it could not ring."""
    await registered(live, on=not on)
    poison.plant(replace(plant))
    await registered(live, on=on)
    assert poison.struck and await reachable(live) == NOW[on]


@pytest.mark.parametrize("on", [True, False])
@pytest.mark.parametrize("kinds", [("desk",), ("desk", "reception")], ids=str)
async def test_a_desk_back_in_service_knows_which_phones_are_registered(
    live: LiveHost, poison: Poison, kinds: tuple[str, ...], on: bool
) -> None:
    await registered(live, on=not on)
    poison.plant(Plant("desk", "evolve", 1))
    await registered(live, on=on)
    assert await reachable(live) == NOW[not on]
    if "reception" in kinds:
        poison.plant(Plant("reception", "evolve", 1))
        flow = PublishFlow("later", 1, STEPS)
        await live._take("red", "tenant/0", "reception", flow)
    assert live.drivers[0].counts.quarantined_now == len(kinds)
    await taken_over(live)
    assert await reachable(live) == NOW[on]


async def test_an_event_of_a_newer_release_is_told_and_changes_no_row(
    live: LiveHost, servicer: SessionServicer
) -> None:
    await live.wait("red", "c1")
    before = await get(live, servicer)
    view, after = ContactView(live.store, "live/0"), (await live.drivers[0].query(lambda ledger: None))[1]
    async for _, commit in live.host.tail("live", 0, 0):
        if commit.n == after:
            envelope = replace(
                commit.events[-1], stream="contact/c1", version=99, part=Part("contact.later", b"\x08\x01")
            )
            await view.apply(replace(commit, n=after + 1, events=(envelope,)))
            break
    found = await servicer.list_contact_events(api.ListContactEventsRequest(parent=C1), live.call())
    assert found.events[-1].type == "contact.later"
    assert (await get(live, servicer)).state == before.state
