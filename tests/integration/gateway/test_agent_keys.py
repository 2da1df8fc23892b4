"""What is private of an agent has a key of its own, and is gone with the agent."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator, Sequence

import pytest

from tandem.adapters.memory import MemoryKeys
from tandem.core.arbiter import Arbiter
from tandem.core.commit import Part
from tandem.core.ports.log import Partition
from tandem.core.seal import AUDIO, Sealed
from tandem.runtime import log_codec
from tandem.runtime.ledger import Ledger
from tandem.runtime.redecide import Redecide
from tandem.session import eraser
from tandem.tenant.holding import hold
from tandem.tenant.servicer import agents
from tests.integration.gateway.conftest import good, reason
from tests.support.mini_cell import MiniCell

RED = "/v1/tenants/red"
BOB = {"displayName": "Bob Grabowsky", "queues": ["tenants/red/queues/sales"], "sipPassword": "a-password"}


def partition(cell: MiniCell, group: str = "tenant") -> Partition:
    """Red's."""
    shard = cell.credentials.shard_of("red")
    assert shard is not None
    return Partition(group, shard)


def parts(cell: MiniCell, *groups: str) -> Iterator[Part]:
    """Everything of red in these logs that may have something private."""
    for group in groups:
        for commit in cell.commits(partition(cell, group)):
            rows = (*commit.inputs, *commit.events, *commit.messages, *commit.replies)
            yield from (row.part for row in rows if row.tenant == "red")


def keys_of(cell: MiniCell, *names: str) -> set[str]:
    """Keys that seal private values of parts of these names."""
    found = [value for part in parts(cell, "tenant") if part.type in names for _, value in part.private]
    assert all(isinstance(value, Sealed) for value in found)
    return {value.key for value in found if isinstance(value, Sealed)}


def types(cell: MiniCell) -> list[str]:
    """Of all events of red's configuration."""
    return [e.type for commit in cell.commits(partition(cell)) for e in commit.events if e.tenant == "red"]


async def test_each_agent_has_a_key_for_all_that_is_private(cell: MiniCell) -> None:
    assert len(keys_of(cell, "agent.create", "agent.created", "agent.secret_set", "config.device", "agent")) == 1
    async with cell.client("red") as client:
        good(await client.post(f"{RED}/agents?agentId=bob", json=BOB))
        made = keys_of(cell, "agent.create", "agent.created", "agent.secret_set", "config.device", "agent")
        (of_bob,) = made - of_ann(cell)
        good(await client.patch(f"{RED}/agents/bob", json={"displayName": "Bobby"}))
        good(await client.post(f"{RED}/agents/bob:resetSipPassword", json={}))
        assert keys_of(cell, "agent.update", "agent.updated", "agent.reset_secret") == {of_bob}
        assert good(await client.get(f"{RED}/agents/bob"))["displayName"] == "Bobby"
    configuration = cell.host.driver("red", "configuration")
    own = (await configuration.query(lambda ledger: ledger.aggregates["red", "configuration"].key))[0]
    assert own not in made, "the configuration's own key seals no person's name"


async def test_a_deleted_agent_s_key_is_gone_when_it_is_answered_and_nobody_else_s(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        path = f"{RED}/agents?agentId=bob&requestId=r1"
        good(await client.post(path, json=BOB))
        (of_bob,) = keys_of(cell, "agent.created") - of_ann(cell)
        assert set(cell.keys.get((of_bob, of_bob + AUDIO))) == {of_bob, of_bob + AUDIO}
        good(await client.delete(f"{RED}/agents/bob"))
        assert cell.keys.get((of_bob, of_bob + AUDIO)) == {}
        assert types(cell)[-2:] == ["agent.deleted", "agent.erased"]
        assert good(await client.get(f"{RED}/agents/ann"))["displayName"] == "Ann red"
        again = good(await client.post(path, json=BOB))  # the first answer, which is kept for a day
        assert "Grabowsky" not in str(again)
        good(await client.post(f"{RED}/agents?agentId=bob", json=BOB))  # somebody new
        assert good(await client.get(f"{RED}/agents/bob"))["displayName"] == "Bob Grabowsky"
        assert len(keys_of(cell, "agent.created")) == 3
    wanted = b"Bob Grabowsky"
    sealed = [value for part in parts(cell, "tenant", "live") for _, value in part.private]
    assert all(wanted not in value.data for value in sealed if isinstance(value, Sealed))


def of_ann(cell: MiniCell) -> set[str]:
    """The key of who was made first."""
    first = next(part for part in parts(cell, "tenant") if part.type == "agent.created")
    return {value.key for _, value in first.private if isinstance(value, Sealed)}


async def test_a_new_owner_has_the_keys_of_persons(cell: MiniCell) -> None:
    driver = cell.host.driver("red", "configuration")
    driver.lose("the test says so")
    while driver.is_live:
        await asyncio.sleep(0)
    await driver.live()
    async with cell.client("red") as client:
        good(await client.patch(f"{RED}/agents/ann", json={"displayName": "Anna"}))
        assert good(await client.get(f"{RED}/agents/ann"))["displayName"] == "Anna"
    assert keys_of(cell, "agent.updated") == of_ann(cell)


async def test_it_is_decided_again_as_it_was_and_a_fold_without_keys_is_the_same(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        good(await client.post(f"{RED}/agents?agentId=bob", json=BOB))
        good(await client.delete(f"{RED}/agents/ann"))
    driver = cell.host.driver("red", "configuration")
    truth, judge = Ledger(driver.group), Arbiter()
    again = Redecide(driver.group, str(partition(cell)), cell.keys.get)
    for stored in cell.partitions.records(partition(cell)):
        record = log_codec.decode(stored.body)
        if not judge.counts(record):
            continue
        judge = judge.after(record)
        truth.fold(record)
        again.take(record, truth)
    assert again.again.different == 0, again.again.faults
    assert again.again.same > 5
    mine = (await driver.query(lambda ledger: list(ledger.parts())))[0]
    assert list(truth.parts()) == mine


async def test_a_backup_of_the_keys_does_not_bring_a_deleted_agent_back(cell: MiniCell) -> None:
    backup = dict(cell.keys._keys)
    (key,) = of_ann(cell)
    async with cell.client("red") as client:
        good(await client.post(f"{RED}/agents?agentId=bob", json=BOB))
        good(await client.delete(f"{RED}/agents/ann"))
        cell.keys._keys.update(backup)
        assert cell.keys.get((key,))
        await hold(cell.host, cell.host.driver("red", "configuration"), MemoryKeys(cell.keys))
        assert cell.keys.get((key, key + AUDIO)) == {}
        assert good(await client.get(f"{RED}/agents/bob"))["displayName"] == "Bob Grabowsky"


async def test_what_takes_long_is_answered_as_under_way_and_goes_on(
    cell: MiniCell, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A program reads keys.db, say."""
    monkeypatch.setattr(agents, "ERASE_WAIT_S", 0.05)
    monkeypatch.setattr(eraser, "AGAIN_FIRST_S", 0.01)
    (key,), destroy = of_ann(cell), cell.keys.destroy

    def refuses(ids: Sequence[str]) -> None:
        raise OSError("another program reads keys.db")

    monkeypatch.setattr(cell.keys, "destroy", refuses)
    async with cell.client("red") as client:
        answer = await client.delete(f"{RED}/agents/ann?requestId=d1")
        assert (answer.status_code, reason(answer)) == (503, "ERASURE_UNDER_WAY")
        assert cell.keys.get((key,))
        monkeypatch.setattr(agents, "ERASE_WAIT_S", 20)
        monkeypatch.setattr(cell.keys, "destroy", destroy)
        assert (await client.delete(f"{RED}/agents/ann?requestId=d1")).status_code == 200
    assert cell.keys.get((key, key + AUDIO)) == {}
