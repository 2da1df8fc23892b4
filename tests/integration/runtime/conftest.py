"""What the tests of the asyncio drivers share: two kinds of disk, and no rest that is left."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from tandem.runtime import driver, keyload
from tests.integration.runtime.toys import Disk, MemoryDisk, SqliteDisk


@pytest.fixture(scope="session", autouse=True)
def few_objects() -> None:
    """What is there before the tests need not be searched for garbage after each."""
    gc.collect()
    gc.freeze()


@pytest.fixture(autouse=True)
async def nothing_unheard(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[None]:
    """Every test: no error goes unheard. A lost shard is claimed again at once."""
    monkeypatch.setattr(driver, "RECLAIM_S", 0.0)
    monkeypatch.setattr(keyload, "KEYS_AGAIN_S", 0.0)
    loop, unheard = asyncio.get_running_loop(), list[dict[str, Any]]()
    loop.set_debug(True)
    loop.slow_callback_duration = 3600
    loop.set_exception_handler(lambda _, context: unheard.append(context))
    yield
    gc.collect()
    await asyncio.sleep(0)
    loop.set_exception_handler(None)
    loop.set_debug(False)
    assert unheard == []


@pytest.fixture
def memory() -> MemoryDisk:
    """A disk that several processes may share."""
    return MemoryDisk()


@pytest.fixture(params=["memory", "sqlite"])
def disk(request: pytest.FixtureRequest, tmp_path: Path) -> Disk:
    """Each kind of disk."""
    return MemoryDisk() if request.param == "memory" else SqliteDisk(tmp_path)
