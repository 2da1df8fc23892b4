"""The views of a control process: each shard's, kept up with its log."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import structlog

from tandem.core.ports.store import Store
from tandem.recording import module as recording_module
from tandem.runtime.host import Host
from tandem.runtime.retry_driver import Retry
from tandem.runtime.telemetry.meters import Meters
from tandem.runtime.telemetry.views import ViewWatch
from tandem.session.views import ContactView

_log = structlog.get_logger(__name__)

STORE_AGAIN_S, STORE_AGAIN_MAX_S = 1.0, 10.0
"""Pauses before a view whose store failed goes on."""


async def project(host: Host, store: Store, meters: Meters, shard: int) -> None:
    """Keep the views up with a shard."""
    recordings = recording_module.partition(shard)
    seen = ViewWatch(meters, "contacts", shard, lambda: host.durable("live", shard))
    heard = ViewWatch(meters, "recordings", shard, lambda: host.durable("recording", shard))

    async def contacts() -> None:
        view = ContactView(store, f"live/{shard}")
        done = await view.start()
        await view.follow(seen.following_all(done, host.batches("live", shard, done)))

    async def kept() -> None:
        done = await store.position(recording_module.VIEW, recordings)
        await recording_module.follow(heard.following(done, host.tail("recording", shard, done)), store, shard)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_patiently(f"contacts of live/{shard}", contacts))
        tasks.create_task(_patiently(f"recordings of {recordings}", kept))


async def _patiently(what: str, follow: Callable[[], Awaitable[None]]) -> None:
    """Follow, and begin anew behind what is stored when the store fails: history is late, and
    nothing else is (rule 13)."""
    retry = Retry(STORE_AGAIN_S, STORE_AGAIN_MAX_S)
    while True:
        try:
            return await follow()
        except OSError as error:
            _log.error("a view is late", view=what, error=str(error))
            await retry.pause()
