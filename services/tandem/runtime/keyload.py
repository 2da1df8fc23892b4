"""Allocates and gets the data keys that a shard asks for."""

from __future__ import annotations

import structlog

from tandem.core.ports.keys import KeyExists, Keys
from tandem.core.ports.log import Partition
from tandem.runtime.outputs import LoadKeys
from tandem.runtime.retry_driver import Retry

_log = structlog.get_logger(__name__)

KEYS_AGAIN_S, KEYS_AGAIN_MAX_S = 0.5, 5.0
"""Pauses before keys are asked for again after their storage failed."""

Found = dict[str, bytes]


async def load_keys(keys: Keys, partition: Partition, wanted: LoadKeys) -> tuple[Found, Found]:
    """The allocated keys and the old ones. Storage that fails is asked again; meanwhile the shard
    goes on with the keys that it has."""
    found: Found | None = None
    in_doubt, retry = False, Retry(KEYS_AGAIN_S, KEYS_AGAIN_MAX_S)
    while found is None:
        try:
            found = await _allocated(keys, wanted, in_doubt)
        except OSError as error:
            _log.error("no keys", partition=str(partition), error=str(error))
            in_doubt = True
            await retry.pause()
    fresh = {key: found[key] for key in wanted.allocate}
    return fresh, {key: found[key] for key in wanted.get if key in found}


async def _allocated(keys: Keys, wanted: LoadKeys, in_doubt: bool) -> Found:
    if wanted.allocate:
        try:
            await keys.allocate(wanted.allocate)
        except KeyExists:
            # The attempt before this was done after all: the ids hold our epoch, so nobody else made them.
            if not in_doubt:
                raise
    return await keys.get((*wanted.allocate, *wanted.get))
