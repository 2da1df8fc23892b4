"""Retention: what is due is erased, by the log alone, once; nothing else is."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from tandem.adapters.memory import MemoryKeys
from tandem.core.commit import Commit, Input
from tandem.core.errors import NO_OWNER, Rejected
from tandem.core.ports.log import Partition
from tandem.core.seal import AUDIO
from tandem.runtime import log_codec
from tandem.session.domain.erasure import ContactErased, ErasureCause, ErasureScope
from tandem.session.domain.gate import PublishQuota
from tandem.session.domain.retention import DAY_MS, Retention
from tandem.session.events import ERASED, EVENTS
from tandem.session.sweep import Sweep
from tests.support.live_host import SHARDS, LiveHost, live_host
from tests.unit.session.test_erasure import over


@pytest.fixture
async def live() -> AsyncIterator[LiveHost]:
    async with live_host() as host:
        yield host


async def policy(live: LiveHost, tenant: str, version: int, contact_days: int, recording_days: int = 0) -> None:
    """The tenant service tells it."""
    told = Retention(version, contact_days, recording_days)
    await live._take(tenant, f"tenant/{SHARDS[tenant]}", "retention", told)


def sweep(live: LiveHost, shard: int = 0) -> Sweep:
    """One that remembers nothing."""
    return Sweep(live.host, live.drivers[shard], MemoryKeys(live.keys), live.eraser, live.clock, 3600)


async def later(live: LiveHost, days: float) -> None:
    """So much time passes, and the log knows."""
    live.clock.passed_ms += int(days * DAY_MS)
    await live.refuse("red", f"tick-{live.clock.passed_ms}")
    await live.refuse("blue", f"tick-{live.clock.passed_ms}")


def begun(live: LiveHost, shard: int = 0) -> int:
    """How many erasures were begun in a shard."""
    records = [log_codec.decode(stored.body) for stored in live.partitions.records(Partition("live", shard))]
    events = [envelope for record in records if isinstance(record, Commit) for envelope in record.events]
    return sum(envelope.type == "erasure.begun" for envelope in events)


def erased(live: LiveHost, shard: int = 0) -> list[tuple[str, str, ErasureScope]]:
    """(tenant, contact, scope) of all erasures in the log of a shard, in its order."""
    found = []
    for stored in live.partitions.records(Partition("live", shard)):
        record = log_codec.decode(stored.body)
        for envelope in record.events if isinstance(record, Commit) else ():
            if envelope.type == ERASED:
                event: ContactErased = EVENTS.decode(envelope.part)
                assert (event.cause, event.actor) == (ErasureCause.RETENTION, "")
                found.append((envelope.tenant, event.contact, event.scope))
    return found


async def swept(live: LiveHost, by: Sweep, count: int, shard: int = 0) -> list[tuple[str, str, ErasureScope]]:
    """A pass, and until there are so many erasures in all."""
    await by.once()
    await live.until(lambda: len(erased(live, shard)) >= count)
    return erased(live, shard)


def inputs(live: LiveHost) -> list[Input]:
    """All inputs in the log of the first shard."""
    records = [log_codec.decode(stored.body) for stored in live.partitions.records(Partition("live", 0))]
    return [taken for record in records if isinstance(record, Commit) for taken in record.inputs]


def there(live: LiveHost, key: str) -> str:
    """Which of a contact's keys exist: contact, audio."""
    return "".join("ca"[at] for at, id_ in enumerate((key, key + AUDIO)) if live.keys.get((id_,)))


async def test_recordings_first_then_the_contact_and_only_of_tenants_that_say_so(live: LiveHost) -> None:
    await policy(live, "red", 1, 30, 7)
    red, _ = await over(live, "red", "c1")
    blue, blue_blob = await over(live, "blue", "c1")
    by = sweep(live)
    assert await swept(live, by, 0) == []
    await later(live, 7)
    assert await swept(live, by, 1) == [("red", "c1", ErasureScope.RECORDINGS)]
    assert (there(live, red), there(live, blue)) == ("c", "ca")
    assert await live.blobs.list("") == [blue_blob]
    await sweep(live).once()  # that process knows nothing of the last pass
    assert begun(live) == 1
    await later(live, 23)
    assert await swept(live, by, 2) == [
        ("red", "c1", ErasureScope.RECORDINGS),
        ("red", "c1", ErasureScope.CONTACT),
    ]
    assert (there(live, red), there(live, blue)) == ("", "ca")
    await sweep(live, shard=1).once()
    assert there(live, blue) == "ca"


async def test_each_contact_is_due_by_its_own_end_and_erased_once(live: LiveHost) -> None:
    await policy(live, "red", 1, 10)
    keys = []
    for day in range(4):
        keys.append((await over(live, "red", f"c{day}"))[0])
        await later(live, 1)
    by = sweep(live)
    await later(live, 7)  # now is day 11
    assert [contact for _, contact, _ in await swept(live, by, 2)] == ["c0", "c1"]
    assert [there(live, key) for key in keys] == ["", "", "ca", "ca"]
    for again in (by, sweep(live)):  # a pass more, and one of a process that knows nothing
        await again.once()
    assert begun(live) == 2
    await later(live, 3)
    assert [contact for _, contact, _ in await swept(live, by, 4)] == ["c0", "c1", "c2", "c3"]


async def test_a_contact_that_is_not_over_is_kept_and_found_when_it_is(live: LiveHost) -> None:
    """Its beginning lies before the place up to which the log was seen to."""
    await policy(live, "red", 1, 5)
    leg = await live.talk("red", "long")
    by = sweep(live)
    await later(live, 20)
    await by.once()
    assert erased(live) == []
    await live.stored("red", "long", leg)
    await live.over("red", "long", leg)
    await later(live, 1)
    await by.once()
    assert erased(live) == []
    await later(live, 4)
    assert await swept(live, by, 1) == [("red", "long", ErasureScope.CONTACT)]


async def test_a_new_policy_holds_for_the_past(live: LiveHost) -> None:
    key, _ = await over(live, "red", "c1")
    await later(live, 100)
    by = sweep(live)
    await policy(live, "red", 1, 365)
    await by.once()
    assert there(live, key) == "ca"
    await policy(live, "red", 2, 90)
    await policy(live, "red", 1, 365)  # an older version comes late
    assert await swept(live, by, 1) == [("red", "c1", ErasureScope.CONTACT)]


async def test_a_tenant_that_comes_to_the_same_terms_later_is_seen_to_from_the_beginning(live: LiveHost) -> None:
    red, _ = await over(live, "red", "c1")
    # green has the same shard; a caller who hangs up leaves nothing but the number
    await live.ring("green", "g1")
    green: str = await live.state("green", lambda ledger: ledger.aggregates["green", "contact/g1"].key)
    await live.hang_up("green", "g1")
    by = sweep(live)
    await policy(live, "red", 1, 10)
    await later(live, 11)
    assert len(await swept(live, by, 1)) == 1
    assert (there(live, red), there(live, green)) == ("", "ca")
    await policy(live, "green", 1, 10)
    await later(live, 0)
    assert ("green", "g1", ErasureScope.CONTACT) in await swept(live, by, 2)


async def test_who_was_never_recorded_has_no_recordings_to_erase(live: LiveHost) -> None:
    await policy(live, "red", 1, 30, 7)
    await live.ring("red", "c1")
    await live.hang_up("red", "c1")
    await later(live, 8)
    await sweep(live).once()
    assert begun(live) == 0
    await later(live, 23)
    assert await swept(live, sweep(live), 1) == [("red", "c1", ErasureScope.CONTACT)]


async def test_who_was_turned_away_by_the_quota_is_erased_too(live: LiveHost) -> None:
    """The number of who called stands sealed in the log; and nobody reads that log from there for ever."""
    await policy(live, "red", 1, 30)
    await live._take("red", "tenant/0", "gate", PublishQuota(1, 1, 1000, 1000))
    await live.wait("red", "c1")
    await live.ring("red", "c2")
    assert await live.state("red", lambda ledger: ledger.aggregate("red", "contact/c2")) is None
    (key,) = [taken.key for taken in inputs(live) if taken.stream == "contact/c2"]
    assert there(live, key) == "ca"
    by = sweep(live)
    await later(live, 31)
    assert await swept(live, by, 1) == [("red", "c2", ErasureScope.CONTACT)]
    assert there(live, key) == ""


async def test_time_that_passes_without_a_commit_counts(live: LiveHost) -> None:
    """After a start, say, of a cell that was off for long."""
    await policy(live, "red", 1, 30)
    await over(live, "red", "c1")
    live.clock.passed_ms += 30 * DAY_MS
    assert await swept(live, sweep(live), 1) == [("red", "c1", ErasureScope.CONTACT)]


async def test_many_are_looked_up_page_by_page(live: LiveHost, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tandem.session.sweep.PAGE", 3)
    monkeypatch.setattr("tandem.session.eraser.MAX_WAITING", 2)
    await policy(live, "red", 1, 1)
    for index in range(10):
        await live.ring("red", f"c{index}")
        await live.hang_up("red", f"c{index}")
    await later(live, 2)
    assert len(await swept(live, sweep(live), 10)) == 10


async def test_a_shard_that_is_lost_cuts_the_pass_off_and_the_next_one_finishes(live: LiveHost) -> None:
    await policy(live, "red", 1, 1)
    await over(live, "red", "c1")
    await later(live, 2)
    by = sweep(live)
    live.drivers[0].lose("the test says so")
    with pytest.raises(Rejected) as rejected:
        await by.once()
    assert rejected.value.reason is NO_OWNER
    await live.until(lambda: not live.drivers[0].is_live)
    await live.drivers[0].live()
    assert len(await swept(live, by, 1)) == 1


async def test_a_backup_of_the_keys_does_not_undo_an_erasure(live: LiveHost) -> None:
    await policy(live, "red", 1, 30, 7)
    gone, blob = await over(live, "red", "c1")
    await over(live, "red", "c2")
    backup = dict(live.keys._keys)
    await later(live, 8)
    await swept(live, sweep(live), 2)
    await later(live, 20)
    young, _ = await over(live, "red", "c3")
    await later(live, 3)
    assert len(await swept(live, sweep(live), 4)) == 4
    live.keys._keys.update({key: value for key, value in backup.items() if value})
    await live.blobs.put(blob, b"sealed audio")
    assert there(live, gone) == "ca"
    await sweep(live).hold()
    assert (there(live, gone), there(live, young)) == ("", "ca")
    assert blob not in await live.blobs.list("")
    assert begun(live) == 4  # the log has said it already


async def test_a_log_without_anything_is_no_hindrance(live: LiveHost) -> None:
    await sweep(live, shard=1).hold()
    assert begun(live, shard=1) == 0


async def test_it_runs_at_the_start(live: LiveHost) -> None:
    await policy(live, "red", 1, 1)
    await over(live, "red", "c1")
    await later(live, 2)
    running = asyncio.create_task(sweep(live).run())
    await live.until(lambda: erased(live))
    running.cancel()
