"""Erasing contacts that are over: keys and recordings are gone before anybody hears that they are."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import Any

import pytest

from tandem.api.session.v1 import contact_pb2 as pb
from tandem.api.session.v1 import session_service_pb2 as api
from tandem.api.type.v1 import private_pb2
from tandem.core.access import Role
from tandem.core.commit import Commit
from tandem.core.decider import Context, EffectEnded
from tandem.core.errors import CONTACT_NOT_OVER, ERASURE_UNDER_WAY, UNKNOWN_NAME, Reason, Rejected
from tandem.core.ports.media import Outcome
from tandem.core.recording import name_of
from tandem.core.seal import AUDIO, Secret
from tandem.runtime import log_codec
from tandem.runtime.interceptors import Call
from tandem.session import eraser
from tandem.session.domain import erasure
from tandem.session.domain.retention import DAY_MS, Retention
from tandem.session.servicer import SessionServicer
from tandem.session.servicer import orders as module
from tandem.session.views import TABLES, VIEW, ContactView
from tests.support.live_host import CALLER, LiveHost, live_host
from tests.unit.session.test_servicer import all_events, get, name

CONTACT, RECORDINGS = erasure.ErasureScope.CONTACT, erasure.ErasureScope.RECORDINGS


@pytest.fixture
async def live() -> AsyncIterator[LiveHost]:
    async with live_host() as host:
        yield host


@pytest.fixture
def servicer(live: LiveHost) -> SessionServicer:
    return SessionServicer(live.host, live.store, "live")


async def over(live: LiveHost, tenant: str, contact: str) -> tuple[str, str]:
    """A contact that has been through everything, with its recording: (key, blob)."""
    leg = await live.talk(tenant, contact)
    stream = f"contact/{contact}"
    key: str = await live.state(tenant, lambda ledger: ledger.aggregates[tenant, stream].key)
    blob = name_of(tenant, f"{contact}-{leg.partition('.')[2]}")
    await live.blobs.put(blob, b"sealed audio")
    await live.over(tenant, contact, leg)
    await live.project(live.host.driver(tenant, "contact").partition.shard)
    return key, blob


async def erase(live: LiveHost, servicer: SessionServicer, call: Call, contact: str = "c1") -> pb.Contact:
    """The call, while the view keeps up."""
    request = api.EraseContactRequest(name=name(contact, call.tenant))
    asked = asyncio.create_task(servicer.erase_contact(request, call))
    while not asked.done():
        await live.project(live.host.driver(call.tenant, "contact").partition.shard)
        await asyncio.sleep(0)
    return await asked


async def reason_of(asked: Awaitable[Any]) -> Reason:
    """Why a call was rejected."""
    with pytest.raises(Rejected) as rejected:
        await asked
    return rejected.value.reason


def admin(live: LiveHost, tenant: str = "red", **more: Any) -> Call:
    """An administrator's call."""
    return live.call(Role.ADMIN, tenant, **more)


# ------------------------------------------------------------------- the API


async def test_when_it_is_answered_keys_and_recordings_are_gone_and_others_are_not(
    live: LiveHost, servicer: SessionServicer
) -> None:
    key, _ = await over(live, "red", "c1")
    kept_key, kept_blob = await over(live, "blue", "c1")  # the same ids at another tenant
    assert set(live.keys.get((key, key + AUDIO))) == {key, key + AUDIO}
    found = await erase(live, servicer, admin(live))
    assert live.keys.get((key, key + AUDIO)) == {}
    assert await live.blobs.list("recordings/red/") == []
    assert (found.caller.visibility, found.HasField("erase_time")) == (private_pb2.VISIBILITY_ERASED, True)
    assert (found.state, found.outcome) == (pb.Contact.STATE_ENDED, pb.Contact.OUTCOME_HANDLED)
    assert set(live.keys.get((kept_key, kept_key + AUDIO))) == {kept_key, kept_key + AUDIO}
    assert await live.blobs.list("recordings/") == [kept_blob]
    assert (await get(servicer, admin(live, "blue"))).caller.value == CALLER


async def test_the_history_stays_and_says_who_erased(live: LiveHost, servicer: SessionServicer) -> None:
    await over(live, "red", "c1")
    before = await all_events(servicer, admin(live))
    await erase(live, servicer, admin(live))
    *events, erased = await all_events(servicer, admin(live))
    assert [event.event_id for event in events] == [event.event_id for event in before]
    assert (erased.type, erased.version, erased.contact) == ("contact.erased", before[-1].version + 1, name("c1"))
    assert erased.actor == admin(live).principal.actor
    data = dict(erased.data)
    assert (data["scope"], data["cause"]) == ("ERASURE_SCOPE_CONTACT", "ERASURE_CAUSE_REQUESTED")
    assert CALLER not in str([dict(event.data) for event in events])


async def test_an_end_and_its_erasure_that_are_projected_together_are_both_there(
    live: LiveHost, servicer: SessionServicer
) -> None:
    await over(live, "red", "c1")
    await erase(live, servicer, admin(live))
    before = await all_events(servicer, admin(live))
    await live.store.drop(VIEW, TABLES)
    driver = live.host.driver("red", "contact")
    records = [log_codec.decode(stored.body) for stored in live.partitions.records(driver.partition)]
    view = ContactView(live.store, str(driver.partition))
    await view.apply(*(record for record in records if isinstance(record, Commit)))
    after = await all_events(servicer, admin(live))
    assert [(e.type, e.version) for e in after] == [(e.type, e.version) for e in before]


async def test_the_live_stream_tells_it(live: LiveHost, servicer: SessionServicer) -> None:
    await over(live, "red", "c1")
    items = await servicer.watch_contacts(api.WatchContactsRequest(contact=name("c1")), admin(live))
    assert (await anext(items)).synced
    await erase(live, servicer, admin(live))
    told = await anext(items)
    assert (told.event.type, told.event.contact) == ("contact.erased", name("c1"))
    assert told.position


async def test_a_repeat_changes_nothing_and_says_the_same(live: LiveHost, servicer: SessionServicer) -> None:
    await over(live, "red", "c1")
    first = await erase(live, servicer, admin(live, request_id="r1", digest="d"))
    shown = await all_events(servicer, admin(live))
    for request_id in ("r1", "r2"):
        assert await erase(live, servicer, admin(live, request_id=request_id, digest="d")) == first
    assert await all_events(servicer, admin(live)) == shown


async def test_one_whose_keys_are_back_from_a_backup_is_erased_again(live: LiveHost, servicer: SessionServicer) -> None:
    key, _ = await over(live, "red", "c1")
    backup = live.keys.get((key, key + AUDIO))
    await erase(live, servicer, admin(live))
    live.keys._keys.update(backup)
    assert (await get(servicer, admin(live))).caller.value == CALLER
    again = await erase(live, servicer, admin(live))
    assert again.caller.visibility == private_pb2.VISIBILITY_ERASED
    assert live.keys.get((key, key + AUDIO)) == {}


async def test_two_who_ask_at_once_get_one_erasure(live: LiveHost, servicer: SessionServicer) -> None:
    await over(live, "red", "c1")
    first, second = await asyncio.gather(
        erase(live, servicer, admin(live, request_id="r1")), erase(live, servicer, admin(live, request_id="r2"))
    )
    assert first == second
    types = [event.type for event in await all_events(servicer, admin(live))]
    assert types.count("contact.erased") == 1


async def test_a_contact_that_is_not_over_is_refused(live: LiveHost, servicer: SessionServicer) -> None:
    leg = await live.talk("red", "c1")
    await live.project()
    request = api.EraseContactRequest(name=name("c1"))
    assert await reason_of(servicer.erase_contact(request, admin(live))) is CONTACT_NOT_OVER
    await live.hang_up("red", "c1")
    await live.project()
    # Its recording is not stored yet: without its key it could not be finished.
    assert await reason_of(servicer.erase_contact(request, admin(live))) is CONTACT_NOT_OVER
    await live.over("red", "c1", leg)
    await live.project()
    assert (await erase(live, servicer, admin(live))).HasField("erase_time")


async def test_names_of_others_and_of_nobody_are_alike_and_nothing_is_erased(
    live: LiveHost, servicer: SessionServicer
) -> None:
    key, blob = await over(live, "blue", "c9")
    await live.project(0)
    for contact in (name("c9"), name("c8")):
        asked = servicer.erase_contact(api.EraseContactRequest(name=contact), admin(live))
        assert await reason_of(asked) is UNKNOWN_NAME
    assert set(live.keys.get((key,))) == {key}
    assert await live.blobs.list("") == [blob]


async def test_a_contact_that_was_turned_away_has_nothing_to_lose(live: LiveHost, servicer: SessionServicer) -> None:
    await live.refuse("red", "c1")
    await live.project()
    assert (await erase(live, servicer, admin(live))).HasField("erase_time")


class Stuck:
    """Keys that cannot be destroyed until `free` is set: another program reads them."""

    def __init__(self, live: LiveHost) -> None:
        self.live, self.free, self.tries = live, asyncio.Event(), 0

    async def destroy(self, ids: Sequence[str]) -> None:
        self.tries += 1
        if not self.free.is_set():
            raise OSError("another program reads keys.db")
        self.live.keys.destroy(ids)


async def test_what_takes_long_is_answered_as_under_way_and_goes_on(
    live: LiveHost, servicer: SessionServicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ERASE_WAIT_S", 0.05)
    monkeypatch.setattr(eraser, "AGAIN_FIRST_S", 0.01)
    key, blob = await over(live, "red", "c1")
    live.eraser._keys = stuck = Stuck(live)  # type: ignore[assignment]
    assert await reason_of(erase(live, servicer, admin(live, request_id="r", digest="d"))) is ERASURE_UNDER_WAY
    assert (await get(servicer, admin(live))).caller.value == CALLER
    assert await live.blobs.list("") == [blob]  # keys first: what is left is not readable
    assert [reading.value for reading in live.eraser.readings()] == [1]
    stuck.free.set()
    monkeypatch.setattr(module, "ERASE_WAIT_S", 20)
    assert (await erase(live, servicer, admin(live, request_id="r", digest="d"))).HasField("erase_time")
    assert stuck.tries > 1
    assert [reading.value for reading in live.eraser.readings()] == [0]
    assert live.keys.get((key,)) == {}


class Damaged:
    """Blobs of which one contact's cannot be deleted."""

    def __init__(self, live: LiveHost, contact: str) -> None:
        self.live, self.contact = live, contact

    async def list(self, prefix: str, limit: int) -> Sequence[str]:
        return await self.live.blobs.list(prefix, limit=limit)

    async def delete(self, name: str) -> None:
        if self.contact in name:
            raise OSError("the disk fails there")
        await self.live.blobs.delete(name)


async def test_one_whose_recording_cannot_be_deleted_does_not_hold_up_the_others(
    live: LiveHost, servicer: SessionServicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(module, "ERASE_WAIT_S", 0.05)
    monkeypatch.setattr(eraser, "AGAIN_FIRST_S", 0.01)
    _, stays = await over(live, "red", "c1")
    await over(live, "red", "c2")
    live.eraser._blobs = Damaged(live, "c1")  # type: ignore[assignment]
    assert await reason_of(erase(live, servicer, admin(live))) is ERASURE_UNDER_WAY
    monkeypatch.setattr(module, "ERASE_WAIT_S", 20)
    assert (await erase(live, servicer, admin(live), "c2")).HasField("erase_time")
    assert await live.blobs.list("recordings/") == [stays]
    live.eraser._blobs = live.blobs
    assert (await erase(live, servicer, admin(live))).HasField("erase_time")
    assert await live.blobs.list("recordings/") == []


async def test_a_new_owner_finishes_what_the_last_one_had_ordered(live: LiveHost, servicer: SessionServicer) -> None:
    key, _ = await over(live, "red", "c1")
    driver = live.drivers[0]
    perform, ordered = live.eraser.perform, []
    live.eraser.perform = lambda driver, order: ordered.append(order)  # type: ignore[method-assign,assignment]
    stream = erasure.stream_of("c1", CONTACT)
    await live.host.ask("red", stream, erasure.EraseContact("c1", key), principal=admin(live).principal)
    await live.until(lambda: ordered)
    live.eraser.perform = perform  # type: ignore[method-assign]
    driver.lose("the test says so")
    await live.until(lambda: not driver.is_live)
    await driver.live()
    await live.until(lambda: not live.keys.get((key,)))
    await live.until(lambda: driver._shard is not None and driver._shard.ledger.aggregate("red", stream) is None)


async def test_recordings_have_a_key_of_their_own(live: LiveHost) -> None:
    await live.talk("red", "c1")
    aggregate = await live.state("red", lambda ledger: ledger.aggregates["red", "contact/c1"])
    (recording,) = aggregate.state.recordings
    assert recording.data_key.key == aggregate.key + AUDIO
    assert aggregate.state.call.caller.key == aggregate.key


# ------------------------------------------------------------------- the decider


def context(now_ms: int = 0, policy: Retention | None = None) -> Context:
    return Context("red", "erasure/c1", now_ms, "u", policy, lambda label: Secret(b""), actor="credentials/red/a")


@pytest.mark.parametrize(
    ("scope", "policy", "days", "begins"),
    [
        (CONTACT, Retention(1, 30, 7), 30, True),
        (CONTACT, Retention(1, 30, 7), 29, False),
        (RECORDINGS, Retention(1, 30, 7), 7, True),
        (RECORDINGS, Retention(1, 30, 7), 6, False),
        (RECORDINGS, Retention(1, 30, 0), 99, False),
        (CONTACT, Retention(1, 0, 7), 9999, False),
        (CONTACT, None, 9999, False),
    ],
)
def test_what_is_due_is_decided_by_the_policy(
    scope: erasure.ErasureScope, policy: Retention | None, days: int, begins: bool
) -> None:
    command = erasure.EraseDue("c1", "k", scope, ended_ms=1000)
    for now_ms, expected in ((1000 + days * DAY_MS, begins), (999 + days * DAY_MS, False)):
        events = erasure.decide(erasure.NotBegun(), command, context(now_ms, policy))
        assert bool(events) is expected
        assert all(event.cause is erasure.ErasureCause.RETENTION and event.actor == "" for event in events)


def test_an_erasure_is_ordered_once_and_ends_done() -> None:
    state: erasure.State = erasure.NotBegun()
    actions: list[Any] = []
    for command in (
        erasure.EraseContact("c1", "k"),
        erasure.EraseContact("c1", "k"),
        erasure.EraseDue("c1", "k", CONTACT, 0),
        EffectEnded(erasure.ERASE, Outcome.DONE),
    ):
        for event in erasure.decide(state, command, context(DAY_MS, Retention(1, 1, 1))):
            state = erasure.evolve(state, event)
            actions += [action for action in erasure.react(state, event) if hasattr(action, "payload")]
    assert [action.payload for action in actions] == [erasure.EraseOrder(("k", "k" + AUDIO), "c1-")]
    assert state == erasure.Gone()
