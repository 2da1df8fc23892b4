"""The contacts' API in front of an owner and a view that is as late as the test wants it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest
from google.protobuf.timestamp_pb2 import Timestamp

from tandem.api.session.v1 import contact_pb2 as pb
from tandem.api.session.v1 import session_service_pb2 as api
from tandem.api.type.v1 import private_pb2
from tandem.core.access import Role
from tandem.core.errors import BAD_FIELD, CONTACT_ENDED, NO_OWNER, UNKNOWN_NAME, VIEW_BEHIND, Reason, Rejected
from tandem.core.ports import media
from tandem.runtime import positions
from tandem.runtime.interceptors import Call
from tandem.session.servicer import SessionServicer
from tandem.session.servicer import base as module
from tests.support.live_host import CALLER, LiveHost, live_host

List = api.ListContactsRequest
C1 = "tenants/red/contacts/c1"


@pytest.fixture
async def live(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[LiveHost]:
    """A late view is late at once: no test waits for one that will not come."""
    monkeypatch.setattr(module, "VIEW_WAIT_S", 0.0)
    async with live_host() as host:
        yield host


@pytest.fixture
def servicer(live: LiveHost) -> SessionServicer:
    return SessionServicer(live.host, live.store, "live")


async def reason_of(asked: Awaitable[Any]) -> Reason:
    """Why a call was rejected."""
    with pytest.raises(Rejected) as rejected:
        await asked
    return rejected.value.reason


def name(contact: str, tenant: str = "red") -> str:
    return f"tenants/{tenant}/contacts/{contact}"


async def get(servicer: SessionServicer, call: Call, contact: str = "c1") -> pb.Contact:
    return await servicer.get_contact(api.GetContactRequest(name=name(contact, call.tenant)), call)


# ------------------------------------------------------------------- Get


async def test_a_live_contact_comes_from_its_owner_however_late_the_view_is(
    live: LiveHost, servicer: SessionServicer
) -> None:
    await live.wait("red", "c1")
    call = live.call()
    found = await get(servicer, call)
    assert (found.name, found.state, found.queue) == (C1, pb.Contact.STATE_RINGING, "tenants/red/queues/sales")
    assert found.caller.value == CALLER
    assert [leg.state for leg in found.legs] == [pb.Leg.STATE_UP, pb.Leg.STATE_RINGING]
    assert positions.decode(call.position).group == "live"


async def test_an_ended_contact_comes_from_history(live: LiveHost, servicer: SessionServicer) -> None:
    await live.over("red", "c1", await live.talk("red", "c1"))
    assert await reason_of(get(servicer, live.call())) is VIEW_BEHIND
    await live.project()
    found = await get(servicer, live.call())
    assert (found.state, found.outcome, found.ended_by) == (
        pb.Contact.STATE_ENDED,
        pb.Contact.OUTCOME_HANDLED,
        pb.Contact.ENDED_BY_CALLER,
    )
    assert len(found.recordings) == 1


async def test_what_has_just_ended_is_told_by_the_owner_while_history_is_late(
    live: LiveHost, servicer: SessionServicer
) -> None:
    leg = await live.talk("red", "c1")
    await live.hang_up("red", "c1")
    await live.leg("red", leg, media.LegEnded(media.Cause.NORMAL, media.By.TANDEM))  # wrap-up is to come
    found = await get(servicer, live.call())
    assert (found.state, found.outcome) == (pb.Contact.STATE_ENDED, pb.Contact.OUTCOME_HANDLED)
    await live.project()
    assert (await get(servicer, live.call())).ended_by == pb.Contact.ENDED_BY_CALLER


async def test_a_reader_waits_for_the_position_that_it_has_seen(live: LiveHost, servicer: SessionServicer) -> None:
    await live.refuse("red", "c1")
    await live.project()
    ahead = positions.Position("live", 0, positions.decode(await live.position()).n + 1)
    call = live.call(min_position=positions.encode(ahead))
    assert await reason_of(get(servicer, call)) is VIEW_BEHIND
    await live.ring("red", "c2")
    await live.project()
    assert (await get(servicer, call)).outcome == pb.Contact.OUTCOME_REFUSED
    elsewhere = positions.encode(positions.Position("tenant", 0, 10**9))
    assert (await get(servicer, live.call(min_position=elsewhere))).name == C1


async def test_names_of_nobody_and_of_others_are_alike(live: LiveHost, servicer: SessionServicer) -> None:
    await live.ring("green", "c1")
    await live.project()
    assert await reason_of(get(servicer, live.call())) is UNKNOWN_NAME
    events = servicer.list_contact_events(api.ListContactEventsRequest(parent=C1), live.call())
    assert await reason_of(events) is UNKNOWN_NAME
    hang_up = servicer.hang_up_contact(api.HangUpContactRequest(name=C1), live.call())
    assert await reason_of(hang_up) is UNKNOWN_NAME


async def test_agents_see_the_contacts_that_they_answered(live: LiveHost, servicer: SessionServicer) -> None:
    ann, bob, nobody = (live.call(Role.AGENT, agent=agent) for agent in ("ann", "bob", ""))
    await live.ring("red", "c0")
    await live.project()
    for call in (ann, nobody):
        assert await reason_of(get(servicer, call, "c0")) is UNKNOWN_NAME
    leg = await live.talk("red", "c1")
    assert (await get(servicer, ann)).caller.value == CALLER
    assert await reason_of(get(servicer, bob)) is UNKNOWN_NAME
    await live.over("red", "c1", leg)
    await live.project()
    assert (await get(servicer, ann)).name == C1
    assert await reason_of(get(servicer, bob)) is UNKNOWN_NAME


async def test_an_agent_who_did_not_answer_sees_nothing_of_a_caller_who_left(
    live: LiveHost, servicer: SessionServicer
) -> None:
    await live.wait("red", "c1")
    await live.hang_up("red", "c1")  # the agent's phone is still to be told
    assert await reason_of(get(servicer, live.call(Role.AGENT, agent="ann"))) is UNKNOWN_NAME
    assert (await get(servicer, live.call())).agent == ""


# ------------------------------------------------------------------- private values


async def test_the_caller_is_shown_by_role(live: LiveHost, servicer: SessionServicer) -> None:
    await live.ring("red", "c1")
    for role in (Role.SUPERVISOR, Role.ADMIN):
        assert (await get(servicer, live.call(role))).caller.value == CALLER
    hidden = (await get(servicer, live.call(Role.ANALYST))).caller
    assert (hidden.value, hidden.visibility) == ("", private_pb2.VISIBILITY_HIDDEN)
    await live.refuse("red", "c2")
    await live.project()
    assert (await get(servicer, live.call(), "c2")).caller.visibility == private_pb2.VISIBILITY_WITHHELD


async def test_a_caller_whose_key_was_destroyed_is_erased(live: LiveHost, servicer: SessionServicer) -> None:
    await live.ring("red", "c1")
    await live.hang_up("red", "c1")
    await live.project()
    events = await all_events(servicer, live.call())
    live.keys.destroy([key_of for key_of in live.keys._keys if key_of.startswith("live/0/")])
    found = await get(servicer, live.call())
    assert (found.caller.value, found.caller.visibility) == ("", private_pb2.VISIBILITY_ERASED)
    after = await all_events(servicer, live.call())
    assert [event.type for event in after] == [event.type for event in events]
    assert dict(after[0].data)["caller"] == ""


async def all_events(servicer: SessionServicer, call: Call, contact: str = "c1") -> list[pb.ContactEvent]:
    """Page by page, three at a time."""
    found: list[pb.ContactEvent] = []
    token = ""
    while True:
        request = api.ListContactEventsRequest(parent=name(contact, call.tenant), page_size=3, page_token=token)
        page = await servicer.list_contact_events(request, call)
        found += page.events
        token = page.next_page_token
        assert len(page.events) == 3 or not token
        if not token:
            return found


async def test_events_show_digits_and_callers_to_those_who_may_and_keys_to_nobody(
    live: LiveHost, servicer: SessionServicer
) -> None:
    await live.over("red", "c1", await live.talk("red", "c1"))
    await live.project()
    for role in (Role.SUPERVISOR, Role.ADMIN):
        data = {event.type: dict(event.data) for event in await all_events(servicer, live.call(role))}
        assert data["contact.started"]["caller"] == CALLER
        assert data["contact.menu_chosen"]["digits"] == "1"
        assert data["contact.connected"]["recording"].startswith("c1-")
        assert all("data_key" not in fields for fields in data.values())
    hidden = await all_events(servicer, live.call(Role.ANALYST))
    assert {event.type for event in hidden} == set(data)
    for event in hidden:
        assert not {"caller", "digits", "data_key"} & set(event.data)
        assert CALLER not in str(event)


async def test_what_nodes_tell_each_other_of_a_call_is_shown_to_nobody(
    live: LiveHost, servicer: SessionServicer
) -> None:
    await live.wait("red", "c0")  # whom the agent is rung for
    await live.wait("red", "c1")
    await live.move("red", "c1", "m2", "sip:cara@192.0.2.7")
    await live.project()
    told = await all_events(servicer, live.call(Role.ADMIN))
    data = {event.type: dict(event.data) for event in told}
    assert data["contact.moved"]["node"] == "m2"
    assert "dialog" not in data["contact.handed_out"]
    assert "192.0.2.7" not in str(told)
    legs = (await servicer.get_contact(api.GetContactRequest(name=name("c1")), live.call())).legs
    assert [(leg.leg, leg.node) for leg in legs] == [("c1.move1", "m2")]


# ------------------------------------------------------------------- List


async def listed(servicer: SessionServicer, call: Call, size: int = 2, **wanted: Any) -> list[str]:
    """Ids of all pages."""
    found: list[str] = []
    token = ""
    while True:
        request = List(parent=f"tenants/{call.tenant}", page_size=size, page_token=token, **wanted)
        page = await servicer.list_contacts(request, call)
        found += [contact.name.rpartition("/")[2] for contact in page.contacts]
        token = page.next_page_token
        assert len(page.contacts) == size or not token
        if not token:
            return found


def at(ms: int) -> Timestamp:
    moment = Timestamp()
    moment.FromMilliseconds(ms)
    return moment


async def crowd(live: LiveHost) -> dict[str, int]:
    """c0 to c8: ended, in line, in the flow, turned away; when each arrived."""
    began: dict[str, int] = {}
    for n in range(9):
        contact = f"c{n}"
        match n % 4:
            case 0:
                await live.ring("red", contact)
                began[contact] = live.now_ms
                await live.hang_up("red", contact)
            case 1:
                await live.wait("red", contact)
            case 2:
                await live.ring("red", contact)
            case _:
                await live.refuse("red", contact)
        began.setdefault(contact, live.now_ms)
    await live.ring("green", "g1")
    await live.ring("blue", "b1")
    await live.project()
    return began


@pytest.mark.parametrize("size", [1, 2, 3, 9, 100])
async def test_all_are_listed_newest_first_live_and_ended_alike(
    live: LiveHost, servicer: SessionServicer, size: int
) -> None:
    await crowd(live)
    call = live.call()
    assert await listed(servicer, call, size) == [f"c{n}" for n in range(8, -1, -1)]
    assert await listed(servicer, call, size, life=List.LIFE_LIVE) == ["c6", "c5", "c2", "c1"]
    assert await listed(servicer, call, size, life=List.LIFE_ENDED) == ["c8", "c7", "c4", "c3", "c0"]


async def test_a_list_is_filtered_by_queue_and_time(live: LiveHost, servicer: SessionServicer) -> None:
    began = await crowd(live)
    call = live.call()
    assert await listed(servicer, call, queue="tenants/red/queues/sales") == ["c5", "c1"]
    assert await listed(servicer, call, queue="tenants/red/queues/other") == []
    for life in (List.LIFE_UNSPECIFIED, List.LIFE_ENDED, List.LIFE_LIVE):
        whole = await listed(servicer, call, life=life)
        for first in range(9):
            for last in range(9):
                times = {"start_time": at(began[f"c{first}"]), "end_time": at(began[f"c{last}"])}
                expected = [id_ for id_ in whole if began[f"c{first}"] <= began[id_] < began[f"c{last}"]]
                assert await listed(servicer, call, 3, life=life, **times) == expected


async def test_those_of_one_moment_are_each_on_one_page(live: LiveHost, servicer: SessionServicer) -> None:
    for contact in ("b", "c", "a"):
        await live.ring("red", contact)
        live.clock.passed_ms -= 1000
    await live.project()
    for life in (List.LIFE_UNSPECIFIED, List.LIFE_LIVE):
        assert await listed(servicer, live.call(), 1, life=life) == ["c", "b", "a"]


async def test_live_ones_are_listed_however_late_the_view_is(live: LiveHost, servicer: SessionServicer) -> None:
    await live.ring("red", "c1")
    assert await listed(servicer, live.call(), life=List.LIFE_LIVE) == ["c1"]
    assert await reason_of(listed(servicer, live.call())) is VIEW_BEHIND
    await live.project()
    assert await listed(servicer, live.call()) == ["c1"]


async def test_without_an_owner_a_list_shows_the_history_that_there_is(
    live: LiveHost, servicer: SessionServicer
) -> None:
    await crowd(live)
    live.partitions.full = True
    live.drivers[0].lose("a planted loss")
    assert await listed(servicer, live.call(), 100) == [f"c{n}" for n in range(8, -1, -1)]
    assert await reason_of(listed(servicer, live.call(), life=List.LIFE_LIVE)) is NO_OWNER
    assert await reason_of(get(servicer, live.call())) is NO_OWNER
    assert await reason_of(listed(servicer, live.call(tenant="nobody"))) is UNKNOWN_NAME
    live.partitions.full = False


async def test_tenants_list_their_own(live: LiveHost, servicer: SessionServicer) -> None:
    await crowd(live)
    for life in (List.LIFE_UNSPECIFIED, List.LIFE_LIVE):
        assert await listed(servicer, live.call(tenant="green"), life=life) == ["g1"]


# ------------------------------------------------------------------- HangUp


async def test_a_contact_is_hung_up_once(live: LiveHost, servicer: SessionServicer) -> None:
    await live.ring("red", "c1")
    request = api.HangUpContactRequest(name=C1, request_id="r1")
    call = live.call(request_id="r1", digest="d1")
    shown = await servicer.hang_up_contact(request, call)
    assert (shown.state, shown.outcome) == (pb.Contact.STATE_CLOSING, pb.Contact.OUTCOME_HUNG_UP)
    again = await servicer.hang_up_contact(request, live.call(request_id="r1", digest="d1"))
    assert again.name == C1
    other = servicer.hang_up_contact(api.HangUpContactRequest(name=C1), live.call())
    assert await reason_of(other) is CONTACT_ENDED


# ------------------------------------------------------------------- Watch


class Watcher:
    """A client of the live stream."""

    def __init__(self, stream: AsyncIterator[api.WatchContactsResponse]) -> None:
        self.stream = stream
        self.position = ""
        self.told: list[api.WatchContactsResponse] = []

    async def take(self, count: int) -> list[api.WatchContactsResponse]:
        """The next messages."""
        found = [await anext(self.stream) for _ in range(count)]
        self.told += found
        for message in found:
            self.position = message.position or self.position
        return found

    async def synced(self) -> list[pb.Contact]:
        """What was live at the beginning."""
        begun: list[pb.Contact] = []
        while True:
            (message,) = await self.take(1)
            if message.synced:
                assert message.position
                return begun
            assert not message.HasField("event")
            begun.append(message.contact)

    async def close(self) -> None:
        """Hang up."""
        await self.stream.aclose()  # type: ignore[attr-defined]


async def watch(servicer: SessionServicer, call: Call, position: str = "", contact: str = "") -> Watcher:
    request = api.WatchContactsRequest(parent=f"tenants/{call.tenant}", position=position, contact=contact)
    return Watcher(await servicer.watch_contacts(request, call))


async def test_a_stream_begins_with_what_is_live_and_goes_on_with_what_happens(
    live: LiveHost, servicer: SessionServicer
) -> None:
    await live.ring("red", "c1")
    await live.refuse("red", "c0")
    watcher = await watch(servicer, live.call())
    assert [contact.name for contact in await watcher.synced()] == [C1]
    await live.ring("green", "g1")
    await live.ring("blue", "b1")
    await live.press("red", "c1")
    told = await watcher.take(5)
    assert [message.event.type for message in told] == [
        "contact.answered",
        "contact.step_entered",
        "contact.menu_chosen",
        "contact.queued",
        "contact.agent_offered",
    ]
    assert {message.event.contact for message in told} == {C1}
    assert [bool(message.position) for message in told] == [False, True, False, False, True]
    assert [message.contact.state for message in told][2:] == [
        pb.Contact.STATE_IN_FLOW,
        pb.Contact.STATE_WAITING,
        pb.Contact.STATE_RINGING,
    ]
    assert told[-1].contact.caller.value == CALLER
    await watcher.close()


async def test_nothing_between_the_beginning_and_the_first_event_is_missing(
    live: LiveHost, servicer: SessionServicer
) -> None:
    """Commits that come back in one batch with the state that the stream begins with."""
    await live.ring("red", "c1")
    live.log.hold()
    driver = live.drivers[0]
    n = driver._shard.n  # type: ignore[union-attr]
    live.inject("red", "c2")
    await live.until(lambda: driver._shard.n == n + 1)  # type: ignore[union-attr]
    beginning = asyncio.create_task(watch(servicer, live.call()))
    for _ in range(5):
        await asyncio.sleep(0)  # it has asked
    live.inject("red", "c3")
    await live.until(lambda: driver._shard.n == n + 2)  # type: ignore[union-attr]
    live.log.release()
    watcher = await beginning
    assert [contact.name for contact in await watcher.synced()] == [name("c1"), name("c2")]
    told = await watcher.take(2)
    assert {message.event.contact for message in told} == {name("c3")}
    await watcher.close()


async def test_a_stream_that_broke_goes_on_where_it_stood(live: LiveHost, servicer: SessionServicer) -> None:
    """Wherever it is cut: each event comes once more than never, and never twice behind a position."""
    whole = await watch(servicer, live.call())
    await whole.synced()
    begun = whole.position
    leg = await live.talk("red", "c1")
    await live.ring("green", "g1")
    await live.over("red", "c1", leg)
    count = 16
    events = [message.event.event_id for message in await whole.take(count)]
    assert len(set(events)) == count
    for cut in range(count + 1):
        first = await watch(servicer, live.call(), begun)
        await first.take(cut)
        kept = complete(first)
        second = await watch(servicer, live.call(), first.position or begun)
        rest = [message.event.event_id for message in await second.take(count - len(kept))]
        assert kept + rest == events
        await first.close()
        await second.close()
    await whole.close()


def complete(watcher: Watcher) -> list[str]:
    """Events up to the last position: what comes after it is told again."""
    last = max((n for n, message in enumerate(watcher.told) if message.position), default=-1)
    return [message.event.event_id for message in watcher.told[: last + 1]]


async def test_what_happened_meanwhile_is_told_and_contacts_join_what_is_news(
    live: LiveHost, servicer: SessionServicer
) -> None:
    position = await live.position()
    await live.wait("red", "c1")
    watcher = await watch(servicer, live.call(), position)
    missed = await watcher.take(7)
    assert not any(message.HasField("contact") for message in missed)
    assert not any(message.synced for message in missed)
    await live.leg("red", await live.offered("red", "c1"), media.LegRinging())
    (news,) = await watcher.take(1)
    assert (news.event.type, news.contact.state) == ("contact.agent_ringing", pb.Contact.STATE_RINGING)
    await watcher.close()


async def test_one_contact_alone(live: LiveHost, servicer: SessionServicer) -> None:
    await live.ring("red", "c1")
    await live.ring("red", "c2")
    watcher = await watch(servicer, live.call(), contact=name("c2"))
    assert [contact.name for contact in await watcher.synced()] == [name("c2")]
    await live.press("red", "c1")
    await live.hang_up("red", "c2")
    told = await watcher.take(3)
    assert {message.event.contact for message in told} == {name("c2")}
    assert told[-1].contact.state == pb.Contact.STATE_ENDED
    await watcher.close()


async def test_a_stream_outlives_its_owner(live: LiveHost, servicer: SessionServicer) -> None:
    watcher = await watch(servicer, live.call())
    await watcher.synced()
    live.drivers[0].lose("a planted loss")
    await live.until(lambda: live.drivers[0].life == 2 and live.drivers[0].is_live)
    await live.ring("red", "c1")
    told = await watcher.take(2)
    assert told[0].contact.name == C1
    await watcher.close()


@pytest.mark.parametrize(
    "position",
    [
        positions.Position("live", 1, 1),  # another tenant's shard
        positions.Position("tenant", 0, 1),
        positions.Position("live", 0, 10**9),  # of a log that is gone
    ],
)
async def test_a_position_of_another_stream_is_refused(
    live: LiveHost, servicer: SessionServicer, position: positions.Position
) -> None:
    assert await reason_of(watch(servicer, live.call(), positions.encode(position))) is BAD_FIELD
    assert await reason_of(watch(servicer, live.call(), "nonsense")) is BAD_FIELD


async def test_a_stream_needs_an_owner_to_begin(live: LiveHost, servicer: SessionServicer) -> None:
    live.partitions.full = True
    live.drivers[0].lose("a planted loss")
    assert await reason_of(watch(servicer, live.call())) is NO_OWNER
    live.partitions.full = False
