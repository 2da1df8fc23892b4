"""What a control process keeps on its host: log, keys, views and blobs."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from dataclasses import dataclass

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.sqlite import CellLock, SqliteKeys, SqliteLog, SqliteStore
from tandem.core.ports.entropy import Entropy
from tandem.runtime.config import Config


@dataclass(frozen=True, slots=True)
class Storage:
    """The cell's files, open."""

    log: SqliteLog
    keys: SqliteKeys
    store: SqliteStore
    blobs: LocalBlobs


async def open_blobs(stack: AsyncExitStack, config: Config) -> LocalBlobs:
    """The blobs, which several processes share. `stack` closes them."""
    blobs = await LocalBlobs.open(config.blobs)
    stack.push_async_callback(blobs.close)
    return blobs


async def open_storage(
    stack: AsyncExitStack, config: Config, entropy: Entropy, lock: CellLock, blobs: LocalBlobs
) -> Storage:
    """Open all that the lock is of, the log first. `stack` closes them. Raises `CannotOpen`, which
    says what to do, from a task group."""
    log = await SqliteLog.open(config.log_dir, lock=lock)
    stack.push_async_callback(log.close)

    async def opened_keys() -> SqliteKeys:
        keys = await SqliteKeys.open(config.log_dir, entropy=entropy, cell_key_file=config.keys.cell_key_file)
        stack.push_async_callback(keys.close)
        return keys

    async def opened_store() -> SqliteStore:
        store = await SqliteStore.open(config.log_dir)
        stack.push_async_callback(store.close)
        return store

    async with asyncio.TaskGroup() as tasks:
        keys, store = tasks.create_task(opened_keys()), tasks.create_task(opened_store())
    return Storage(log, keys.result(), store.result(), blobs)
