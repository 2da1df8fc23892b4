"""Credentials: a fold of the cell's events, asked without waiting."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tandem.api.event.v1 import tenant_pb2 as event
from tandem.api.type.v1 import access_pb2
from tandem.core.access import Principal, Role
from tandem.core.commit import Commit, Envelope, Part
from tandem.core.errors import BAD_CREDENTIAL, NO_CREDENTIAL, NO_OWNER, Rejected
from tandem.runtime import positions
from tandem.runtime.auth import Account, Accounts, Credentials, digest_of
from tandem.runtime.host import Answer


def commit(n: int, *events: tuple[str, Any]) -> Commit:
    """A commit of the cell's partition."""
    envelopes = tuple(
        Envelope(f"e{i}", "-", "cell", i, 0, "", "", "", Part(name, body.SerializeToString()))
        for i, (name, body) in enumerate(events)
    )
    return Commit(1, n, 0, "", 0, "1", events=envelopes)


def created(tenant: str, key: str, secret: str, role: int = access_pb2.ROLE_ADMIN, agent: str = "") -> tuple[str, Any]:
    body = event.ApiKeyBody(tenant=tenant, api_key=key, sha256=digest_of(secret), agent=agent)
    body.role = role  # type: ignore[assignment]
    return "api_key.created", event.ApiKeyCreated(api_key=body)


def test_a_key_is_its_tenant_s() -> None:
    table = Credentials()
    table.apply(commit(1, created("red", "ops", "s1"), created("blue", "ops", "s2", access_pb2.ROLE_AGENT, "ann")))
    assert table.principal("Bearer s1") == Principal("red", "red/ops", Role.ADMIN)
    assert table.principal("bearer  s2") == Principal("blue", "blue/ops", Role.AGENT, "ann")


def test_a_deleted_key_is_refused_and_the_other_tenant_s_is_not() -> None:
    table = Credentials()
    table.apply(commit(1, created("red", "ops", "s1"), created("blue", "ops", "s2")))
    table.apply(commit(2, ("api_key.deleted", event.ApiKeyDeleted(tenant="red", api_key="ops"))))
    with pytest.raises(Rejected):
        table.principal("Bearer s1")
    assert table.principal("Bearer s2").tenant == "blue"


class Cell:
    """A host whose cell stands at a position."""

    def __init__(self, n: int) -> None:
        self._n = n

    async def query(self, tenant: str, kind: str, ask: Any) -> Answer[None]:
        """See `Host`."""
        return Answer(None, positions.encode(positions.Position("tenant", 0, self._n)))


async def learned(table: Credentials) -> Credentials:
    """The table once it knows all."""
    await table.learn(Cell(table.n))  # type: ignore[arg-type]
    return table


async def test_a_process_that_does_not_know_all_keys_yet_refuses_none() -> None:
    table = Credentials()
    learning = asyncio.ensure_future(table.learn(Cell(2)))  # type: ignore[arg-type]
    table.apply(commit(1))
    await asyncio.sleep(0)
    with pytest.raises(Rejected) as caught:
        table.principal("Bearer s1")
    assert caught.value.reason is NO_OWNER
    table.apply(commit(2, created("red", "ops", "s1")))
    await learning
    assert table.principal("Bearer s1").tenant == "red"


@pytest.mark.parametrize(
    ("header", "reason"),
    [
        (None, NO_CREDENTIAL),
        ("", NO_CREDENTIAL),
        ("s1", NO_CREDENTIAL),
        ("Basic s1", NO_CREDENTIAL),
        ("Bearer ", NO_CREDENTIAL),
        ("Bearer s2", BAD_CREDENTIAL),
        ("Bearer s1 s1", BAD_CREDENTIAL),
        ("Bearer " + "s" * 100_000, BAD_CREDENTIAL),
        ("Bearer \udcff", BAD_CREDENTIAL),
    ],
)
async def test_what_is_no_key_is_refused_without_its_text(header: str | None, reason: Any) -> None:
    table = Credentials()
    table.apply(commit(1, created("red", "ops", "s1")))
    await learned(table)
    with pytest.raises(Rejected) as caught:
        table.principal(header)
    assert caught.value.reason is reason
    assert "s1" not in str(caught.value)


def test_places_follow_the_log() -> None:
    table = Credentials()
    assert table.shard_of("red") is None
    table.apply(commit(1, ("tenant.placed", event.TenantPlaced(tenant="red", shard=3))))
    assert table.shard_of("red") == 3
    assert table.n == 1


async def test_a_waiter_is_woken_by_its_position() -> None:
    table = Credentials()
    waiting = asyncio.ensure_future(table.reached(positions.encode(positions.Position("tenant", 0, 2))))
    table.apply(commit(1))
    await asyncio.sleep(0)
    assert not waiting.done()
    table.apply(commit(2))
    assert await waiting is True
    assert await table.reached(positions.encode(positions.Position("tenant", 0, 9)), 0.0) is False


def test_a_table_that_begins_with_the_owner_s_state_goes_on_from_there() -> None:
    table = Credentials()
    ops = Account("red", "ops", digest_of("s1"), Role.ADMIN, "")
    gone = Account("red", "gone", digest_of("s2"), Role.AGENT, "ann")
    table.begin(7, Accounts((ops, gone), {"red": 2}))
    assert (table.n, table.shard_of("red")) == (7, 2)
    assert table.principal("Bearer s2") == Principal("red", "red/gone", Role.AGENT, "ann")
    table.apply(commit(8, ("api_key.deleted", event.ApiKeyDeleted(tenant="red", api_key="gone"))))
    assert table.principal("Bearer s1").credential == "red/ops"
    with pytest.raises(Rejected):
        table.principal("Bearer s2")
