"""What the kill tests ask the API: contacts, and what happened to each."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from tandem.client.count import Blame
from tests.e2e.cell import Centre
from tests.e2e.crowd import PATIENCE_S
from tests.e2e.rest import Json

RANG_OUT = "OFFER_OUTCOME_TIMEOUT"
AGAIN_S = 0.1


async def all_contacts(centre: Centre, life: str = "LIFE_UNSPECIFIED") -> list[Json]:
    """Those of the centre, page by page."""
    found: list[Json] = []
    token = ""
    while True:
        page = await centre.rest.get(f"{centre.tenant}/contacts", life=life, pageSize=200, pageToken=token)
        found += page["contacts"]
        token = page["nextPageToken"]
        if not token:
            return found


async def whole_story(centre: Centre, contact: str) -> list[Json]:
    """A contact's events, once it is complete: none is missing, and one ends it."""
    async with asyncio.timeout(PATIENCE_S):
        while not _is_complete(events := await _events(centre, contact)):
            await asyncio.sleep(AGAIN_S)  # a live stream would end with each control plane
    assert [event["version"] for event in events] == list(range(1, len(events) + 1))
    assert sum(event["type"] == "contact.completed" for event in events) == 1
    return events


async def _events(centre: Centre, contact: str) -> list[Json]:
    found: list[Json] = (await centre.rest.get(f"{contact}/events", pageSize=200))["events"]
    return found


def _is_complete(events: Iterable[Json]) -> bool:
    return any(event["type"] == "contact.completed" for event in events)


def blames_of(events: Iterable[Json], limit_s: float) -> list[Blame]:
    """The offers of a contact that ended because a phone had rung for its whole time."""
    return [Blame(event["data"]["offer"], limit_s) for event in events if event["data"].get("outcome") == RANG_OUT]
