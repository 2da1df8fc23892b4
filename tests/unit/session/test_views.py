"""The contacts' view: one row per contact whatever happened to it, made of the log alone."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from tandem.adapters.memory import MemoryStore, RowTables
from tandem.core.commit import Commit
from tandem.core.ports import media
from tandem.core.seal import Sealed, Withheld
from tandem.runtime import log_codec
from tandem.runtime.ledger import Ledger
from tandem.session import views
from tandem.session.domain import words as sw
from tandem.session.views import ContactRow, ContactView, LegRow, Party, Phase
from tandem.session.views.rows import fold
from tests.support.live_host import LiveHost, live_host


@pytest.fixture
async def live() -> AsyncIterator[LiveHost]:
    async with live_host() as host:
        yield host


async def row(live: LiveHost, contact: str, tenant: str = "red") -> ContactRow | None:
    """A contact's row, once the view has all."""
    await live.project()
    body = await live.store.get(views.CONTACTS, (tenant, contact))
    return None if body is None else views.ROWS.decode(body)


# ------------------------------------------------------------------- one row for each end


async def handled(live: LiveHost) -> None:
    await live.over("red", "c1", await live.talk("red", "c1"))


async def handled_agent_first(live: LiveHost) -> None:
    leg = await live.talk("red", "c1")
    await live.hang_up("red", leg)
    await live.leg("red", "c1", media.LegEnded(media.Cause.NORMAL, media.By.TANDEM))


async def left_in_flow(live: LiveHost) -> None:
    await live.ring("red", "c1")
    await live.hang_up("red", "c1", media.Cause.CANCELED)


async def abandoned_waiting(live: LiveHost) -> None:
    await live.over("red", "c0", await live.talk("red", "c0"))
    leg = await live.talk("red", "c9")
    await live.wait("red", "c1")
    await live.hang_up("red", "c1")
    await live.hang_up("red", leg)


async def abandoned_ringing(live: LiveHost) -> None:
    await live.wait("red", "c1")
    leg = await live.offered("red", "c1")
    await live.hang_up("red", "c1")
    await live.leg("red", leg, media.LegEnded(media.Cause.CANCELED, media.By.TANDEM))


async def flow_ended(live: LiveHost) -> None:
    await live.ring("red", "c1")
    await live.press("red", "c1", "7")
    digits = sw.TakeDigits("c1", live.now_ms, "menu#2", Withheld(), media.Collected.TIMEOUT)
    await live._take("red", "media/m1/i1", "contact/c1", digits)
    done = media.CommandSettled("", media.Outcome.DONE)
    await live.settled("red", "c1", "play", done)
    await live.leg("red", "c1", media.LegEnded(media.Cause.NORMAL, media.By.TANDEM))


async def hung_up(live: LiveHost) -> None:
    await live.ring("red", "c1")
    who = live.call().principal
    await live.host.ask("red", "contact/c1", sw.HangUpContact(), principal=who)
    await live.leg("red", "c1", media.LegEnded(media.Cause.NORMAL, media.By.TANDEM))


async def media_lost(live: LiveHost) -> None:
    leg = await live.talk("red", "c1")
    await live.leg("red", "c1", media.LegEnded(media.Cause.MEDIA_LOST, media.By.NODE))
    await live.leg("red", leg, media.LegEnded(media.Cause.MEDIA_LOST, media.By.NODE))


async def fallback(live: LiveHost) -> None:
    await live.ring("red", "c1")
    await live.leg("red", "c1", media.LegEnded(media.Cause.FALLBACK, media.By.NODE))


async def refused(live: LiveHost) -> None:
    await live.refuse("red", "c1")


ENDS: dict[Callable[[LiveHost], Awaitable[None]], tuple[str, str]] = {
    handled: ("HANDLED", "CALLER"),
    handled_agent_first: ("HANDLED", "AGENT"),
    left_in_flow: ("LEFT_IN_FLOW", "CALLER"),
    abandoned_waiting: ("ABANDONED", "CALLER"),
    abandoned_ringing: ("ABANDONED", "CALLER"),
    flow_ended: ("FLOW_ENDED", "FLOW"),
    hung_up: ("HUNG_UP", "API"),
    media_lost: ("MEDIA_LOST", "NODE"),
    fallback: ("FALLBACK", "NODE"),
    refused: ("REFUSED", "NODE"),
}


def test_every_outcome_but_failed_is_shown() -> None:
    assert {outcome for outcome, _ in ENDS.values()} == {outcome.value for outcome in sw.ContactOutcome} - {"FAILED"}


@pytest.mark.parametrize("scene", ENDS, ids=lambda scene: scene.__name__)
async def test_each_end_has_its_row(live: LiveHost, scene: Callable[[LiveHost], Awaitable[None]]) -> None:
    await scene(live)
    found = await row(live, "c1")
    assert found is not None
    assert (found.phase, found.outcome, found.ended_by) == (Phase.ENDED, *ENDS[scene])
    assert found.ended_ms >= found.started_ms > 0
    assert all(leg.ended_ms and leg.cause for leg in found.legs)
    (entry,) = [
        entry
        for entry in await live.store.scan(views.BY_TIME, ("red",))
        if entry.key == ("red", found.started_ms, "c1")
    ]
    assert entry.value
    await timeline_is_the_log(live, "c1")


async def timeline_is_the_log(live: LiveHost, contact: str) -> None:
    """The timeline has every event of the contact, in order, as it stands in the log."""
    rows = await live.store.scan(views.TIMELINE, ("red", contact), limit=1000)
    events = [e for c in await commits(live) for e in c.events if (e.tenant, e.stream) == ("red", f"contact/{contact}")]
    assert [views.decode_envelope(found.value) for found in rows] == events
    assert [found.key[2] for found in rows] == list(range(1, len(events) + 1))


async def commits(live: LiveHost) -> list[Commit]:
    """All of shard 0."""
    records = [log_codec.decode(stored.body) for stored in live.partitions.records(live.drivers[0].partition)]
    return [record for record in records if isinstance(record, Commit)]


# ------------------------------------------------------------------- what a row says


async def test_a_talk_is_told_leg_by_leg(live: LiveHost) -> None:
    await live.wait("red", "c1")
    begun = live.now_ms
    leg = await live.offered("red", "c1")
    live.clock.passed_ms += 2000
    await live.leg("red", leg, media.LegRinging(), media.LegAnswered())
    await live.leg("red", "c1", media.LegBridged(leg))
    live.clock.passed_ms += 3000
    await live.over("red", "c1", leg)
    found = await row(live, "c1")
    assert found is not None
    answered, ended = begun + 2000, begun + 5000
    assert (found.number, found.flow, found.flow_version, found.node) == ("100", "main", 1, "m1")
    assert (found.queue, found.agent) == ("sales", "ann")
    assert (found.started_ms, found.enqueued_ms, found.connected_ms, found.ended_ms) == (begun, begun, answered, ended)
    assert found.legs == (
        LegRow("c1", Party.CALLER, "", begun, begun, ended, "NORMAL"),
        LegRow(leg, Party.AGENT, "ann", begun, answered, ended, "NORMAL"),
    )
    assert found.recordings == (f"c1-{leg.partition('.')[2]}",)
    assert isinstance(found.caller, Sealed), "rows are sealed as the log is"


async def test_an_offer_that_nobody_takes_is_a_leg_that_ended_and_the_place_is_kept(live: LiveHost) -> None:
    await live.wait("red", "c1")
    enqueued = live.now_ms
    leg = await live.offered("red", "c1")
    found = await row(live, "c1")
    assert found is not None
    assert (found.phase, found.agent) == (Phase.RINGING, "ann")
    live.clock.passed_ms += 15_000
    await live.leg("red", leg, media.LegRinging(), media.LegEnded(media.Cause.NO_ANSWER, media.By.NODE, 15_000))
    found = await row(live, "c1")
    assert found is not None
    assert (found.phase, found.agent, found.enqueued_ms) == (Phase.WAITING, "", enqueued)
    assert found.legs[1] == LegRow(leg, Party.AGENT, "ann", enqueued, 0, enqueued + 15_000, "NO_ANSWER")


async def test_a_caller_whose_agent_was_lost_is_back_in_line(live: LiveHost) -> None:
    leg = await live.talk("red", "c1")
    enqueued = live.now_ms
    live.clock.passed_ms += 3000
    await live.leg("red", leg, media.LegEnded(media.Cause.NO_MEDIA, media.By.NODE))
    found = await row(live, "c1")
    assert found is not None
    assert (found.phase, found.agent, found.enqueued_ms) == (Phase.WAITING, "", enqueued)
    assert found.connected_ms == enqueued, "the first talk"
    assert found.legs[1].cause == "NO_MEDIA"


async def test_a_bridge_that_did_not_come_about_leaves_no_leg_without_an_end(live: LiveHost) -> None:
    """The agent's leg is taken down, and in line nothing more is told of it."""
    await live.wait("red", "c1")
    leg = await live.offered("red", "c1")
    await live.leg("red", leg, media.LegAnswered())
    await live.settled("red", "c1", "bridge", media.CommandSettled("", media.Outcome.FAILED, "NO_MEDIA"))
    await live.leg("red", leg, media.LegEnded(media.Cause.NORMAL, media.By.TANDEM))
    found = await row(live, "c1")
    assert found is not None
    assert found.phase is Phase.WAITING
    assert found.legs[1].ended_ms == live.now_ms
    await live.hang_up("red", "c1")
    found = await row(live, "c1")
    assert found is not None
    assert (found.phase, found.outcome) == (Phase.ENDED, "ABANDONED")


def test_a_caller_who_was_moved_has_a_leg_on_each_node() -> None:
    row = None
    for event in (
        sw.ContactStarted("c1", "100", Withheld(), "m1", "main", 1, 10),
        sw.ContactAnswered(20),
        sw.CallerMoved("c1.move1", "m2", 30),
        sw.LegClosed("c1", media.Cause.MOVED, media.By.TANDEM, 40),
        sw.AgentOffered("o1", "ann", "ann-desk", "c1.o1", "sales", 15_000, 50),
        sw.CallerMoved("c1.move2", "m3", 60),
    ):
        row = fold(row, event, "c1")
    assert row is not None
    assert row.node == "m3"
    assert row.legs == (
        LegRow("c1", Party.CALLER, "", 10, 20, 40, "MOVED", node="m1"),
        LegRow("c1.move1", Party.CALLER, "", 30, 30, node="m2"),
        LegRow("c1.o1", Party.AGENT, "ann", 50, node="m2"),
        LegRow("c1.move2", Party.CALLER, "", 60, 60),
    )


async def test_tenants_have_rows_of_their_own(live: LiveHost) -> None:
    await live.ring("red", "same")
    await live.ring("green", "same")
    await live.hang_up("green", "same")
    red, green = await row(live, "same"), await row(live, "same", "green")
    assert red is not None
    assert green is not None
    assert (red.phase, green.phase) == (Phase.IN_FLOW, Phase.ENDED)
    assert {entry.key[0] for entry in await live.store.scan(views.BY_TIME, ("green",))} == {"green"}


# ------------------------------------------------------------------- what a projection is


async def everything(live: LiveHost) -> None:
    """Contacts of all kinds, ended and live, one of them waiting through all the others."""
    await live.refuse("red", "c0")
    leg = await live.talk("red", "c1")
    await live.wait("red", "c2")
    await live.wait("green", "c3")
    await live.over("red", "c1", leg)
    await live.leg("red", await live.offered("red", "c2"), media.LegEnded(media.Cause.BUSY, media.By.FAR))
    await live.ring("green", "c4")


async def rows(store: MemoryStore) -> dict[str, list[tuple[object, bytes]]]:
    """All rows of all tables."""
    return {
        table: [
            (found.key, found.value)
            for tenant in ("blue", "green", "red")
            for found in await store.scan(table, (tenant,), limit=1000)
        ]
        for table in views.TABLES
    }


async def test_a_commit_that_is_projected_already_changes_nothing(live: LiveHost) -> None:
    await everything(live)
    view, store = ContactView(live.store, "live/0"), MemoryStore(RowTables())
    twice = ContactView(store, "live/0")
    history = await commits(live)
    for commit in history:
        await view.apply(commit)
        await twice.apply(commit)
        await twice.apply(commit)
    for commit in history:
        await twice.apply(commit)
    await live.hang_up("green", "c4")
    for commit in (await commits(live))[len(history) :]:
        await view.apply(commit)
        await twice.apply(commit)
    assert await rows(store) == await rows(live.store)


async def test_a_view_that_is_dropped_is_the_same_again(live: LiveHost) -> None:
    await everything(live)
    await live.project()
    before = await rows(live.store)
    assert all(before.values())
    await live.store.drop(views.VIEW, views.TABLES)
    assert not any((await rows(live.store)).values())
    await live.project()
    assert await rows(live.store) == before


async def test_a_view_that_is_begun_anew_at_each_commit_is_the_same(live: LiveHost) -> None:
    """What it keeps in memory is only what stands in its rows."""
    await everything(live)
    store = MemoryStore(RowTables())
    for commit in await commits(live):
        await ContactView(store, "live/0").apply(commit)
    await live.project()
    assert await rows(store) == await rows(live.store)


@pytest.mark.parametrize("together", [2, 3, 7, 10_000])
@pytest.mark.parametrize("scene", [everything, *ENDS], ids=lambda scene: scene.__name__)
async def test_commits_that_are_projected_together_are_the_same(
    live: LiveHost, scene: Callable[[LiveHost], Awaitable[None]], together: int
) -> None:
    """Also where some of them are projected already."""
    await scene(live)
    store, history = MemoryStore(RowTables()), await commits(live)
    view = ContactView(store, "live/0")
    for first in range(0, len(history), together):
        await view.apply(*history[max(0, first - 1) : first + together])
    await live.project()
    assert await rows(store) == await rows(live.store)


@pytest.mark.parametrize("scene", [everything, *ENDS], ids=lambda scene: scene.__name__)
async def test_what_the_owner_shows_is_what_the_view_shows(
    live: LiveHost, scene: Callable[[LiveHost], Awaitable[None]]
) -> None:
    """At every commit, of every live contact: two folds that share no code."""
    await scene(live)
    ledger, view = Ledger(live.drivers[0].group), ContactView(live.store, "live/0")
    compared = 0
    for stored in live.partitions.records(live.drivers[0].partition):
        record = log_codec.decode(stored.body)
        ledger.fold(record)
        if not isinstance(record, Commit):
            continue
        await view.apply(record)
        for (tenant, stream), aggregate in ledger.aggregates.items():
            live_row = views.row_of(aggregate.state)
            if live_row is not None:
                body = await live.store.get(views.CONTACTS, (tenant, stream.partition("/")[2]))
                assert body is not None
                assert seen(live_row) == seen(views.ROWS.decode(body))
                compared += 1
    assert compared > 0 or scene is refused


def seen(found: ContactRow) -> tuple[object, ...]:
    """What the owner's state can tell: it forgets queues that were left, and legs that are down."""
    up = [
        (leg.leg, leg.party, leg.agent, leg.created_ms, bool(leg.answered_ms)) for leg in found.legs if not leg.ended_ms
    ]
    times = (found.started_ms, found.connected_ms, found.ended_ms)
    return found.phase, found.number, found.caller, found.agent, found.outcome, times, up
