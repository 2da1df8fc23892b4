"""A cell with something of each kind in both tenants."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import httpx
import pytest_asyncio

from tests.support.mini_cell import TENANTS, MiniCell, mini_cell

STEPS = [
    {"id": "hello", "answer": {"next": "ask"}},
    {
        "id": "ask",
        "menu": {"prompts": ["welcome"], "options": [{"digit": "1", "next": "line"}], "otherwise": "over"},
    },
    {"id": "line", "queue": {"queue": "sales", "music": "music"}},
    {"id": "over", "hangUp": {"prompts": ["bye"]}},
]
NUMBERS = {"red": "1000", "blue": "2000"}


def good(response: httpx.Response) -> Any:
    """The body of an answer that must be right."""
    assert response.status_code == 200, response.text
    return response.json()


def reason(response: httpx.Response) -> str:
    """The reason of an answer that must be wrong."""
    assert response.status_code >= 400, response.text
    return str(response.json()["error"]["details"][0]["reason"])


def violations(response: httpx.Response) -> dict[str, str]:
    """path -> text of the fields that an answer complains of."""
    details = response.json()["error"]["details"]
    return {v["field"]: v["description"] for d in details for v in d.get("fieldViolations", ())}


async def fill(cell: MiniCell, tenant: str) -> None:
    """A queue, an agent, a published flow, a number and a key, all of them in both tenants alike."""
    base = f"/v1/tenants/{tenant}"
    number = NUMBERS[tenant]
    async with cell.client(tenant) as client:
        good(await client.post(f"{base}/queues?queueId=sales", json={"displayName": "Sales"}))
        agent = {"displayName": f"Ann {tenant}", "queues": [f"tenants/{tenant}/queues/sales"]}
        good(await client.post(f"{base}/agents?agentId=ann", json=agent))
        good(await client.post(f"{base}/flows?flowId=main", json={"steps": STEPS}))
        good(await client.post(f"{base}/flows/main:publish", json={}))
        flow = {"flow": f"tenants/{tenant}/flows/main"}
        good(await client.post(f"{base}/numbers?numberId={number}&waitLive=true", json=flow))
    await cell.call(tenant, f"call-{tenant}", number)
    await cell.keep_recording(tenant, f"rec-{tenant}", b"\xff" * 8000)


@pytest_asyncio.fixture
async def cell() -> AsyncIterator[MiniCell]:
    """A cell in which red and blue have the same things under the same ids."""
    async with mini_cell() as made:
        for tenant in TENANTS:
            await fill(made, tenant)
        yield made
        assert made.reported == []
