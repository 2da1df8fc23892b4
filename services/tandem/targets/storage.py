"""What a control process keeps on its host: log, keys, views and blobs."""

from __future__ import annotations

from contextlib import AsyncExitStack
from dataclasses import dataclass

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.sqlite import SqliteKeys, SqliteLog, SqliteStore
from tandem.core.ports.entropy import Entropy
from tandem.runtime.config import Config


@dataclass(frozen=True, slots=True)
class Storage:
    """The cell's files, open."""

    log: SqliteLog
    keys: SqliteKeys
    store: SqliteStore
    blobs: LocalBlobs


async def open_storage(stack: AsyncExitStack, config: Config, entropy: Entropy, *, wait_for_lock: bool) -> Storage:
    """Open all, the log first: it holds the lock of the cell. `stack` closes them. Raises `LogBusy`
    and `CannotOpen`, which say what to do."""
    log = await SqliteLog.open(config.log_dir, wait=wait_for_lock)
    stack.push_async_callback(log.close)
    keys = await SqliteKeys.open(config.log_dir, entropy=entropy, cell_key_file=config.keys.cell_key_file)
    stack.push_async_callback(keys.close)
    store = await SqliteStore.open(config.log_dir)
    stack.push_async_callback(store.close)
    blobs = await LocalBlobs.open(config.data_dir / "blobs")
    stack.push_async_callback(blobs.close)
    return Storage(log, keys, store, blobs)
