"""Deleted agents stay erased: a backup of `keys.db` that is restored brings their keys back."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import structlog

from tandem.core.errors import Rejected
from tandem.core.ports.keys import Keys
from tandem.core.seal import AUDIO
from tandem.runtime.driver import ShardDriver
from tandem.runtime.host import Host
from tandem.runtime.retry_driver import Retry
from tandem.tenant.domain.words import AgentDeleted
from tandem.tenant.events import DELETED, EVENTS

_log = structlog.get_logger(__name__)

PAGE = 256
"""Agents whose keys are looked up at once."""
COMMITS_A_TURN = 32
"""Commits that are read before other work gets its turn."""
AGAIN_S, AGAIN_MAX_S = 5.0, 60.0
"""Pauses after a pass that was cut off: no owner, or a disk that failed."""


async def hold_erased(host: Host, driver: ShardDriver, keys: Keys) -> None:
    """One pass over a shard's log at the start, begun anew until it comes to its end."""
    retry = Retry(AGAIN_S, AGAIN_MAX_S)
    while True:
        await driver.live()
        try:
            return await hold(host, driver, keys)
        except (Rejected, OSError) as error:
            _log.warning("a look for erased agents was cut off", partition=str(driver.partition), error=str(error))
        await retry.pause()


async def hold(host: Host, driver: ShardDriver, keys: Keys) -> None:
    """Destroy again the keys that the log says are destroyed and that are there all the same.
    Raises `Rejected`, OSError."""
    _, until_n = await driver.query(lambda ledger: None)
    partition, gone = driver.partition, list[str]()
    if not until_n:
        return
    async for _, commit in host.tail(partition.group, partition.shard):
        for envelope in commit.events:
            if envelope.type == DELETED:
                deleted: AgentDeleted = EVENTS.decode(envelope.part)
                gone += (deleted.key_id, deleted.key_id + AUDIO) if deleted.key_id else ()
        if len(gone) >= PAGE:
            await _destroy_again(keys, gone)
            gone.clear()
        if commit.n >= until_n:
            break
        if commit.n % COMMITS_A_TURN == 0:
            await asyncio.sleep(0)
    await _destroy_again(keys, gone)


async def _destroy_again(keys: Keys, gone: Sequence[str]) -> None:
    back = await keys.get(gone)
    if back:
        _log.warning("erased again: their keys were back, from a backup", agents=len(back) // 2)
        await keys.destroy([*back])
