"""Recordings that come after their contact is over: listed, or gone if the contact is erased."""

from __future__ import annotations

import itertools
from collections.abc import AsyncIterator

import pytest

from tandem.core.changed import changed
from tandem.core.commit import Commit
from tandem.core.decider import Act, Answer, EffectEnded, Settle, Tell, Wake
from tandem.core.destroy import ASK_AGAIN_MS
from tandem.core.errors import UNKNOWN_NAME
from tandem.core.ports import media
from tandem.core.ports.log import Partition
from tandem.core.recording import CHUNK_FRAMES, HEADER_BYTES, STORED_CHUNK_BYTES, name_of
from tandem.core.seal import AUDIO, Sealed, Withheld
from tandem.internal.recording.v1 import recording_pb2
from tandem.runtime import log_codec
from tandem.session.domain import late
from tandem.session.domain import words as w
from tandem.session.domain.erasure import ErasureScope
from tandem.session.events import EVENTS
from tandem.session.servicer import SessionServicer
from tandem.simulation.poison import Plant, Poison
from tests.support import live_host as module
from tests.support.given import AT, Given
from tests.support.live_host import NODE, LiveHost, live_host
from tests.support.small_cell import live_group
from tests.unit.session.test_erasure import admin, erase, reason_of
from tests.unit.session.test_servicer import all_events, get
from tests.unit.session.test_sweep import later, policy, sweep, swept, there

KEY = Sealed("k1/audio", b"n" * 12, b"aad", b"data")
STORED = media.RecordingStored("c1-o1", "recordings/t1/c1-o1", 8, 99, "ab", False)
EXPECTED = late.LateExpected("c1-o1", "c1", "m1", "sales", "ann", 5, KEY, AT - 9)
CAME = late.LateStored("c1-o1", "c1", "sales", "ann", 5, STORED.blob, 8, 99, "ab", False, KEY, AT)


def a_late(*past: object) -> Given:
    return Given(late.KIND, "late/c1-o1", past)


def drop(key: str) -> Act:
    return Act("drop", "erase", late.DropRecording("c1-o1", key), ASK_AGAIN_MS)


def given_up(reason: str) -> late.LateGivenUp:
    return late.LateGivenUp("c1-o1", "c1", reason, AT)


# ------------------------------------------------------------------- the decider


def test_one_that_a_contact_does_not_wait_for_is_expected_for_a_while() -> None:
    when = a_late().when(late.ExpectRecording("c1-o1", "c1", "m1", "sales", "ann", 5, KEY))
    expected = late.LateExpected("c1-o1", "c1", "m1", "sales", "ann", 5, KEY, AT)
    find = Act("find", "erase", late.FindRecording("c1-o1"), ASK_AGAIN_MS)
    when.then([expected], [Wake("give_up", AT + late.EXPECTED_MS, late.GiveUpRecording()), find])


def test_one_that_is_there_already_is_listed_and_may_lack_its_end() -> None:
    when = a_late(EXPECTED).when(late.FoundRecording(STORED.blob, 8, 99, "ab"))
    assert when.events == [changed(CAME, truncated=True)]


def test_one_that_is_not_there_yet_is_waited_for() -> None:
    not_found = late.LateNotFound("c1-o1", AT)
    when = a_late(EXPECTED).when(EffectEnded("find", media.Outcome.DONE))
    when.then([not_found], [Answer(not_found)])
    assert a_late(EXPECTED, not_found).when(late.NoteLateRecording("c1", AT, STORED)).events == [CAME]


def test_that_it_was_looked_for_does_not_end_what_is_to_go() -> None:
    a_late(EXPECTED, CAME).when(EffectEnded("find", media.Outcome.DONE)).nothing()


def test_one_that_comes_is_listed_and_deleted_if_its_key_is_gone() -> None:
    when = a_late(EXPECTED).when(late.NoteLateRecording("c1", AT, STORED))
    kept = w.RecordingKept("c1-o1", "c1", "sales", "ann", 5, STORED.blob, 8, 99, "ab", False, KEY)
    when.then([CAME], [Settle("give_up"), Tell("recording/c1-o1", kept), drop("k1/audio")])


def test_one_without_a_key_is_deleted_in_any_case() -> None:
    keyless = late.LateExpected("c1-o1", "c1", "m1", "sales", "ann", 5, Withheld(), AT - 9)
    assert drop("") in a_late(keyless).when(late.NoteLateRecording("c1", AT, STORED)).actions


def test_one_that_nothing_expects_is_deleted() -> None:
    when = a_late().when(late.NoteLateRecording("c1", AT, STORED))
    when.then([given_up(late.NOT_EXPECTED)], [Settle("give_up"), drop("")])
    a_late().when(late.NoteLateRecording("c1", AT, media.RecordingFailed("c1-o1", "SPOOL_FAILED"))).nothing()


def test_one_that_never_comes_is_given_up_and_may_be_there_all_the_same() -> None:
    gone = [Settle("give_up"), drop("k1/audio")]
    failed = late.NoteLateRecording("c1", AT, media.RecordingFailed("c1-o1", "SPOOL_FAILED"))
    a_late(EXPECTED).when(failed).then([given_up("SPOOL_FAILED")], gone)
    a_late(EXPECTED).when(late.GiveUpRecording()).then([given_up(late.NEVER_CAME)], gone)
    a_late(EXPECTED).when(w.NoteNewJournal("m1", AT)).then([given_up(late.JOURNAL_LOST)], gone)
    a_late(EXPECTED).when(w.NoteNewJournal("m2", AT)).nothing()


def test_it_is_over_when_what_was_to_go_is_gone() -> None:
    for past in ((EXPECTED, CAME), (EXPECTED, given_up("x")), (given_up("x"),)):
        when = a_late(*past).when(EffectEnded("drop", media.Outcome.DONE))
        when.then([late.LateSettled("c1-o1", AT)], [Answer(late.LateSettled("c1-o1", AT))])
        assert late.KIND.over(when.state)


def test_every_other_pair_changes_nothing() -> None:
    states = ((), (EXPECTED,), (EXPECTED, CAME))
    commands = (
        late.ExpectRecording("c1-o1", "c1", "m1", "sales", "ann", 5, KEY),
        late.NoteLateRecording("c1", AT, STORED),
        w.NoteNewJournal("m1", AT),
        late.GiveUpRecording(),
        EffectEnded("drop", media.Outcome.DONE),
        late.FoundRecording(STORED.blob, 8, 99, "ab"),
    )
    does = {(0, 0), (0, 1), (1, 1), (1, 2), (1, 3), (2, 4), (1, 5)}
    for (at, past), (which, command) in itertools.product(enumerate(states), enumerate(commands)):
        assert bool(a_late(*past).when(command).events) == ((at, which) in does), (past, command)


# ------------------------------------------------------------------- behind a host


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


def commits(live: LiveHost) -> list[Commit]:
    records = [log_codec.decode(stored.body) for stored in live.partitions.records(Partition("live", 0))]
    return [record for record in records if isinstance(record, Commit)]


def told(live: LiveHost) -> list[recording_pb2.RecordingStored]:
    """What the recording service was told."""
    messages = [m for commit in commits(live) for m in commit.messages if m.part.type == "recording.stored"]
    return [recording_pb2.RecordingStored.FromString(message.part.clear) for message in messages]


def lates(live: LiveHost) -> list[str]:
    """The events of late recordings in the log."""
    return [e.type for commit in commits(live) for e in commit.events if e.type.startswith("late.")]


async def over_without_recording(live: LiveHost) -> tuple[str, str]:
    """c1 is over, its recording still on the node: (key, blob)."""
    leg = await live.talk("red", "c1")
    key: str = await live.state("red", lambda ledger: ledger.aggregates["red", "contact/c1"].key)
    await live.hang_up("red", "c1")
    await live.leg("red", leg, media.LegEnded(media.Cause.NORMAL, media.By.TANDEM))
    await live._take("red", f"media/{NODE}/i1", "contact/c1", w.CompleteAnyway())
    await live.until(lambda: lates(live) == ["late.expected", "late.not_found"])
    await live.project()
    return key, name_of("red", f"c1-{leg.partition('.')[2]}")


async def comes(live: LiveHost, blob: str) -> None:
    """The node has stored it at last; until nothing more happens."""
    await live.blobs.put(blob, b"sealed audio")
    stored = media.RecordingStored(blob.rpartition("/")[2], blob, 8, 12, "ab", False)
    await live.leg("red", "c1", stored)
    await live.until(lambda: lates(live)[-1] == "late.settled")
    await live.project()


async def test_after_an_erasure_the_blob_is_deleted_and_the_recording_says_erased(
    live: LiveHost, servicer: SessionServicer
) -> None:
    key, blob = await over_without_recording(live)
    await erase(live, servicer, admin(live))
    await comes(live, blob)
    assert await live.blobs.list("recordings/") == []
    assert live.keys.get((key, key + AUDIO)) == {}
    assert [stored.recording for stored in told(live)] == [blob.rpartition("/")[2]]  # whose key is gone: erased
    left = await live.state("red", lambda ledger: [*ledger.pending, *(stream for _, stream in ledger.aggregates)])
    assert [name for name in left if "late" in name] == []


async def test_without_an_erasure_it_is_listed_and_the_contact_names_it(
    live: LiveHost, servicer: SessionServicer
) -> None:
    _, blob = await over_without_recording(live)
    assert list((await get(servicer, admin(live))).recordings) == []
    await comes(live, blob)
    assert await live.blobs.list("recordings/") == [blob]
    (stored,) = told(live)
    assert (stored.blob, stored.contact, stored.agent, stored.queue) == (blob, "c1", "ann", "sales")
    shown = await get(servicer, admin(live))
    assert list(shown.recordings) == [f"tenants/red/recordings/{stored.recording}"]
    assert (await all_events(servicer, admin(live)))[-1].type == "late.stored"
    await erase(live, servicer, admin(live))  # and it goes with the rest
    assert await live.blobs.list("recordings/") == []


async def test_one_that_was_stored_unheard_is_found_and_listed(live: LiveHost, poison: Poison) -> None:
    """The contact could not decide what its node said of it, and waited an hour for nothing."""
    leg = await live.talk("red", "c1")
    blob = name_of("red", f"c1-{leg.partition('.')[2]}")
    await live.blobs.put(blob, bytes(HEADER_BYTES + STORED_CHUNK_BYTES))
    poison.plant(Plant("contact", "decide", 1))
    await live.stored("red", "c1", leg)
    await live.hang_up("red", "c1")
    await live.leg("red", leg, media.LegEnded(media.Cause.NORMAL, media.By.TANDEM))
    await live._take("red", f"media/{NODE}/i1", "contact/c1", w.CompleteAnyway())
    await live.until(lambda: lates(live)[-1] == "late.settled")
    (found,) = told(live)
    assert (found.blob, found.frames, found.truncated) == (blob, CHUNK_FRAMES, True)
    assert await live.blobs.list("recordings/") == [blob]


async def test_it_comes_twice_and_is_told_once(live: LiveHost) -> None:
    _, blob = await over_without_recording(live)
    await comes(live, blob)
    await comes(live, blob)  # expected by nothing now: deleted, and listed once
    assert len(told(live)) == 1


async def test_one_of_a_quarantined_contact_is_listed(
    live: LiveHost, servicer: SessionServicer, poison: Poison
) -> None:
    """The contact is over with its last leg, and does not wait for its recording."""
    leg = await live.talk("red", "c1")
    poison.plant(Plant("contact", "evolve", 1))
    await live.leg("red", "c1", media.LegHeld())
    await live.until(lambda: lates(live) == ["late.expected", "late.not_found"])
    await live.hang_up("red", leg)
    await live.hang_up("red", "c1")
    blob = name_of("red", f"c1-{leg.partition('.')[2]}")
    await comes(live, blob)
    assert (await live.blobs.list("recordings/"), len(told(live))) == ([blob], 1)
    assert len((await get(servicer, admin(live))).recordings) == 1
    await erase(live, servicer, admin(live))
    assert await live.blobs.list("recordings/") == []


async def test_one_that_comes_while_its_contact_is_still_in_quarantine_is_listed(
    live: LiveHost, poison: Poison
) -> None:
    leg = await live.talk("red", "c1")
    poison.plant(Plant("contact", "evolve", 1))
    await live.leg("red", "c1", media.LegHeld())
    await comes(live, name_of("red", f"c1-{leg.partition('.')[2]}"))
    assert len(told(live)) == 1


async def test_one_of_a_contact_that_nobody_knows_is_deleted(live: LiveHost, servicer: SessionServicer) -> None:
    await comes(live, name_of("red", "c1-o1"))
    assert await live.blobs.list("recordings/") == []
    assert (lates(live), told(live)) == (["late.given_up", "late.settled"], [])
    assert await reason_of(get(servicer, admin(live))) is UNKNOWN_NAME


async def test_who_is_set_aside_is_erased_by_age_with_the_recordings(live: LiveHost, poison: Poison) -> None:
    """A contact in quarantine is over with its last leg, and has no event that says so."""
    await policy(live, "red", 1, 30, 7)
    leg = await live.talk("red", "c1")
    key: str = await live.state("red", lambda ledger: ledger.aggregates["red", "contact/c1"].key)
    poison.plant(Plant("contact", "evolve", 1))
    await live.leg("red", "c1", media.LegHeld())
    await live.hang_up("red", leg)
    await live.hang_up("red", "c1")
    assert await live.state("red", lambda ledger: ledger.aggregate("red", "contact/c1")) is None
    blob = name_of("red", f"c1-{leg.partition('.')[2]}")
    await live.blobs.put(blob, b"sealed audio")
    await live.stored("red", "c1", leg)
    by = sweep(live)
    await later(live, 8)
    assert await swept(live, by, 1) == [("red", "c1", ErasureScope.RECORDINGS)]
    assert (there(live, key), await live.blobs.list("")) == ("c", [])
    await later(live, 23)
    assert len(await swept(live, by, 2)) == 2
    assert there(live, key) == ""


async def test_a_lost_journal_ends_the_waiting(live: LiveHost) -> None:
    _, blob = await over_without_recording(live)
    await live.blobs.put(blob, b"sealed audio")  # it was stored, and the node could not say so
    recording = blob.rpartition("/")[2]
    await live._take("red", "legs", late.stream_of(recording), w.NoteNewJournal(NODE, live.now_ms))
    await live.until(lambda: lates(live)[-1] == "late.settled")
    assert await live.blobs.list("recordings/") == [blob]  # an erasure finds it there


def test_the_events_of_late_recordings_have_names() -> None:
    named = {cls for name, cls in EVENTS.classes() if name.startswith("late.")}
    assert named == {late.LateExpected, late.LateNotFound, late.LateStored, late.LateGivenUp, late.LateSettled}
