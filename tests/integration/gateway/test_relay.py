"""`:issueRelay`: who gets a place at the relay, and under which name."""

from __future__ import annotations

import pytest

from tests.integration.gateway.conftest import good, reason
from tests.support.mini_cell import RELAY, RELAY_NOW_S, MiniCell

RED = "/v1/tenants/red/agents"


@pytest.mark.parametrize("role", ["AGENT", "ADMIN"])
async def test_a_place_is_for_the_device_of_that_agent(cell: MiniCell, role: str) -> None:
    async with cell.client("red", role) as client:
        answer = await client.get(f"{RED}/ann:issueRelay")
    issued, expected = good(answer), RELAY.issue("ann.red", RELAY_NOW_S)
    assert (issued["username"], issued["credential"]) == (expected.username, expected.password)
    assert (issued["urls"], issued["expireTime"]) == (list(RELAY.urls), "2026-01-01T00:00:00Z")


async def test_an_agent_gets_none_in_another_ones_name(cell: MiniCell) -> None:
    async with cell.client("red") as client:
        good(await client.post(f"{RED}?agentId=bob", json={}))
    async with cell.client("red", "AGENT") as client:
        assert reason(await client.get(f"{RED}/bob:issueRelay")) == "UNKNOWN_NAME"


async def test_roles_that_do_not_talk_get_none(cell: MiniCell) -> None:
    for role in ("SUPERVISOR", "ANALYST"):
        async with cell.client("red", role) as client:
            assert reason(await client.get(f"{RED}/ann:issueRelay")) == "ROLE_REQUIRED"
