"""A tenant's retention policy over REST: who may, what is refused, and that session hears of it."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from tandem.session.domain.retention import Retention
from tests.integration.gateway.conftest import good, reason, violations
from tests.support.mini_cell import MiniCell

RED = "/v1/tenants/red/retentionPolicy"
BLUE = "/v1/tenants/blue/retentionPolicy"


async def test_a_tenant_that_never_set_one_keeps_everything(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        policy = good(await client.get(RED))
    assert (policy["name"], policy["contactDays"], policy["recordingDays"]) == ("tenants/red/retentionPolicy", 0, 0)


async def test_a_change_is_answered_kept_and_told_to_session_and_is_nobody_else_s(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        changed = good(await client.patch(RED, json={"contactDays": 30, "recordingDays": 7}))
        assert good(await client.get(RED)) == changed
        assert (changed["contactDays"], changed["recordingDays"]) == (30, 7)
        later = good(await client.patch(f"{RED}?updateMask=recordingDays", json={}))
        assert (later["contactDays"], later["recordingDays"]) == (30, 0)
    async with cell.client("blue") as client:
        assert good(await client.get(BLUE))["contactDays"] == 0
    async with asyncio.timeout(20):
        while (await told(cell, "red")) != Retention(2, 30, 0):
            await asyncio.sleep(0)
    assert await told(cell, "blue") is None


async def told(cell: MiniCell, tenant: str) -> Any:
    """What session knows."""

    def ask(ledger: Any) -> Any:
        row = ledger.aggregate(tenant, "retention")
        return None if row is None else row.state

    return (await cell.host.query(tenant, "contact", ask)).value


@pytest.mark.parametrize(
    ("policy", "field"),
    [
        ({"contactDays": -1}, "contact_days"),
        ({"contactDays": 3651}, "contact_days"),
        ({"recordingDays": -1}, "recording_days"),
        ({"recordingDays": 3651}, "recording_days"),
        ({"contactDays": 7, "recordingDays": 8}, "recording_days"),
    ],
)
async def test_terms_that_cannot_be_are_refused_and_change_nothing(
    cell: MiniCell, policy: dict[str, int], field: str
) -> None:
    async with cell.client("red") as client:
        before = good(await client.get(RED))
        answer = await client.patch(RED, json=policy)
        assert (answer.status_code, reason(answer), list(violations(answer))) == (400, "BAD_FIELD", [field])
        assert good(await client.get(RED)) == before


async def test_a_repeat_is_answered_as_the_first_and_an_old_etag_is_refused(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        before = good(await client.get(RED))
        asked = {"contactDays": 30, "etag": before["etag"]}
        first = good(await client.patch(f"{RED}?requestId=once", json=asked))
        assert good(await client.patch(f"{RED}?requestId=once", json=asked)) == first
        assert first["etag"] != before["etag"]
        answer = await client.patch(RED, json=asked)
        assert (answer.status_code, reason(answer)) == (409, "ETAG_MISMATCH")
