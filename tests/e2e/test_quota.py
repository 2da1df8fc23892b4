"""A tenant's quota at the doors of real processes: a foreign phone is told 503, a neighbour hears nothing of it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.e2e.cell import Cell
from tests.e2e.foreign import needs_sipp, sipp
from tests.e2e.rest import Refused


@needs_sipp
async def test_a_call_above_its_tenants_quota(platform: Cell, tmp_path: Path) -> None:
    """503 with Retry-After and a Reason, by decision; it stands in the history, and the call before goes on."""
    async with (
        platform.rest(platform.platform_key) as operator,
        platform.centre() as centre,
        platform.centre() as neighbour,
        centre.rest.watch(centre.tenant) as watch,
        neighbour.rest.watch(neighbour.tenant) as beside,
    ):
        quota = {"overrides": {"liveContacts": 1}}
        await operator.patch(f"{centre.tenant}/quota", quota, waitLive=True)
        seen = await centre.rest.get(f"{centre.tenant}/quota")
        assert (seen["effective"]["liveContacts"], seen["effective"]["setupsPerS"]) == (1, 100)
        stay = ("call_and_stay", platform.sip, "-m", 1)
        async with (
            sipp(tmp_path / "first", *stay, "-s", centre.number, caller="4917000061"),
            sipp(tmp_path / "beside", *stay, "-s", neighbour.number, caller="4917000062"),
        ):
            await watch.event("contact.answered")
            await beside.event("contact.answered")
            async with sipp(
                tmp_path / "second", "call_over_capacity", platform.sip, "-s", centre.number, caller="4917000063"
            ) as second:
                await second.succeeds()
            turned_away = await watch.event("contact.turned_away")
            assert turned_away["data"]["reason"] == "CONTACT_QUOTA_EXCEEDED"
            refused = await centre.rest.get(turned_away["contact"])
            assert (refused["outcome"], refused["state"]) == ("OUTCOME_REFUSED", "STATE_ENDED")
            live = (await centre.rest.get(f"{centre.tenant}/contacts", life="LIFE_LIVE"))["contacts"]
            assert len(live) == 1
        with pytest.raises(Refused) as own:
            await centre.rest.patch(f"{centre.tenant}/quota", quota)
        assert (own.value.status, own.value.reason) == (403, "ROLE_REQUIRED")
