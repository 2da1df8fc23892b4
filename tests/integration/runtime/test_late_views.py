"""The store is away: calls go on, history is late and comes (rule 13)."""

from __future__ import annotations

import asyncio

import pytest

from tandem.session import views
from tandem.session.views import ContactView, Phase
from tandem.targets import projections
from tandem.targets.projections import _patiently
from tests.integration.runtime.toys import until
from tests.support.live_host import live_host


async def test_a_view_whose_store_failed_goes_on_where_it_stood(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(projections, "STORE_AGAIN_S", 0.0)
    begun: list[int] = []
    async with live_host() as live:

        async def follow() -> None:
            view = ContactView(live.store, "live/0")
            begun.append(await view.start())
            await view.follow(live.host.batches("live", 0, begun[-1]))

        following = asyncio.create_task(_patiently("contacts", follow))
        await live.ring("red", "c1")
        _, n = await live.drivers[0].query(lambda ledger: None)
        assert await live.store.wait(views.VIEW, "live/0", n, 20)
        live.tables.full = True
        await live.press("red", "c1")
        await until(lambda: len(begun) > 2)
        assert begun[1:] == [n] * (len(begun) - 1), "begun anew behind what is stored"
        live.tables.full = False
        await live.hang_up("red", "c1")
        _, n = await live.drivers[0].query(lambda ledger: None)
        assert await live.store.wait(views.VIEW, "live/0", n, 20)
        body = await live.store.get(views.CONTACTS, ("red", "c1"))
        assert body is not None
        row = views.ROWS.decode(body)
        following.cancel()
        await asyncio.wait([following])
    assert (row.phase, row.queue, row.outcome) == (Phase.CLOSING, "sales", "ABANDONED")  # the phone still rings
