"""Quotas over HTTP: the platform sets them, the tenant's administrator sees them, everybody keeps to them."""

from __future__ import annotations

from typing import Any

from tandem.core.access import CELL_TENANT
from tandem.core.quota import Limits
from tandem.runtime.auth import CELL_SHARD, TENANT_GROUP
from tandem.runtime.ledger import Ledger
from tandem.runtime.limits import ApiLimits, Rate
from tandem.session.domain.gate import Gate
from tandem.tenant.module import quotas, tell_defaults
from tests.integration.gateway.conftest import good, reason, violations
from tests.support.mini_cell import MiniCell

RED = "/v1/tenants/red"
DEFAULTS = Limits(1000, 100, 200, 50, 100, 25, 50, 10, 100, 1000, 1000, 100)


async def _patch(cell: MiniCell, overrides: dict[str, Any], mask: str = "", tenant: str = "red") -> Any:
    async with cell.client("-", "PLATFORM") as client:
        path = f"/v1/tenants/{tenant}/quota?waitLive=true" + (f"&updateMask={mask}" if mask else "")
        return await client.patch(path, json={"overrides": overrides})


async def test_the_platform_sets_a_quota_and_the_administrator_sees_it(cell: MiniCell) -> None:
    set_ = good(await _patch(cell, {"liveContacts": 7, "queues": 3}))
    assert set_["name"] == "tenants/red/quota"
    async with cell.client("red") as client:
        seen = good(await client.get(f"{RED}/quota"))
        assert (seen["overrides"]["liveContacts"], seen["effective"]["queues"]) == (7, 3)
        assert seen["etag"] == set_["etag"]
        refused = await client.patch(f"{RED}/quota", json={"overrides": {"queues": 100}})
        assert (refused.status_code, reason(refused)) == (403, "ROLE_REQUIRED")
    async with cell.client("blue") as client:
        assert good(await client.get("/v1/tenants/blue/quota"))["overrides"]["queues"] == 0


async def test_a_process_that_starts_knows_the_quotas_from_the_owner_s_state(cell: MiniCell) -> None:
    """As it would have read them in the whole log."""
    await _patch(cell, {"apiBurst": 7})
    await _patch(cell, {"streams": 3}, tenant="blue")
    whole, begun = (ApiLimits(DEFAULTS, Rate(1, 1), lambda: 0.0) for _ in range(2))
    for driver in cell.host.of_group(TENANT_GROUP):
        found, n = await driver.query(quotas)
        begun.begin(found)
        if n:
            async for _, commit in cell.host.tail(TENANT_GROUP, driver.partition.shard):
                whole.apply(commit)
                if commit.n == n:
                    break
    assert [begun.quota(tenant) for tenant in ("red", "blue")] == [whole.quota(tenant) for tenant in ("red", "blue")]
    assert (begun.quota("red").api_burst, begun.quota("blue").streams) == (7, 3)


async def test_a_mask_says_what_changes_and_gives_a_number_back(cell: MiniCell) -> None:
    await _patch(cell, {"liveContacts": 7, "queues": 3})
    changed = good(await _patch(cell, {"queues": 9}, "overrides.live_contacts"))
    assert (changed["overrides"]["liveContacts"], changed["overrides"]["queues"]) == (0, 3)
    assert list(violations(await _patch(cell, {}, "effective.queues"))) == ["update_mask"]


async def test_a_quota_reaches_those_who_decide_on_calls(cell: MiniCell) -> None:
    def gate(ledger: Ledger) -> Gate | None:
        found = ledger.aggregate("red", "gate")
        return None if found is None else found.state

    good(await _patch(cell, {"liveContacts": 7, "setupsPerS": 8, "setupBurst": 9}))
    state = (await cell.host.query("red", "gate", gate)).value
    assert state is not None
    assert (state.version, state.live_contacts, state.setups_per_s, state.setup_burst) == (1, 7, 8, 9)


async def test_a_resource_above_the_quota_is_answered_429_with_what_to_do(cell: MiniCell) -> None:
    good(await _patch(cell, {"queues": 1, "numbers": 1}))
    async with cell.client("red") as client:
        refused = await client.post(f"{RED}/queues?queueId=second", json={})
        assert (refused.status_code, reason(refused)) == (429, "RESOURCE_QUOTA_EXCEEDED")
        assert "operator" in refused.json()["error"]["message"]
        flow = {"flow": "tenants/red/flows/main"}
        refused = await client.post(f"{RED}/numbers?numberId=1001", json=flow)
        assert (refused.status_code, reason(refused)) == (429, "RESOURCE_QUOTA_EXCEEDED")
    async with cell.client("blue") as client:  # the refused number was not kept from others
        good(await client.post("/v1/tenants/blue/numbers?numberId=1001", json={"flow": "tenants/blue/flows/main"}))


async def test_the_settings_of_a_process_become_every_tenant_s_defaults(cell: MiniCell) -> None:
    good(await _patch(cell, {"queues": 3}))

    async def until_now() -> Any:
        end = (await cell.host.query(CELL_TENANT, "cell", lambda ledger: ledger.arbiter.n)).value
        async for position, commit in cell.host.tail(TENANT_GROUP, CELL_SHARD):
            yield position, commit
            if commit.n >= end:
                return

    for _ in range(2):  # another process with the same settings changes nothing
        await tell_defaults(cell.host, until_now(), cell.credentials.reached, DEFAULTS)
    async with cell.client("red") as client:
        seen = good(await client.get(f"{RED}/quota"))
    assert (seen["effective"]["queues"], seen["effective"]["agents"]) == (3, DEFAULTS.agents)
    assert seen["etag"] == '"2"'
