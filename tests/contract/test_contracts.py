"""Each contract suite in the world of each adapter. An adapter joins with a line in `params`."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.contract.blobs_contract import BlobsContract, BlobsWorld
from tests.contract.keys_contract import KeysContract
from tests.contract.log_contract import LogContract
from tests.contract.store_contract import StoreContract, StoreWorld
from tests.contract.worlds import (
    KeysWorld,
    LocalBlobsWorld,
    LogWorld,
    MemoryBlobsWorld,
    MemoryKeysWorld,
    MemoryLogWorld,
    MemoryStoreWorld,
    SqliteKeysWorld,
    SqliteLogWorld,
    SqliteStoreWorld,
)


class TestLog(LogContract):
    @pytest.fixture(params=["memory", "sqlite"])
    def world(self, request: pytest.FixtureRequest, tmp_path: Path) -> LogWorld:
        return {"memory": MemoryLogWorld, "sqlite": lambda: SqliteLogWorld(tmp_path)}[request.param]()


class TestKeys(KeysContract):
    @pytest.fixture(params=["memory", "sqlite"])
    def world(self, request: pytest.FixtureRequest, tmp_path: Path) -> KeysWorld:
        return {"memory": MemoryKeysWorld, "sqlite": lambda: SqliteKeysWorld(tmp_path)}[request.param]()


class TestBlobs(BlobsContract):
    @pytest.fixture(params=["memory", "local"])
    def world(self, request: pytest.FixtureRequest, tmp_path: Path) -> BlobsWorld:
        return {"memory": MemoryBlobsWorld, "local": lambda: LocalBlobsWorld(tmp_path)}[request.param]()


class TestStore(StoreContract):
    @pytest.fixture(params=["memory", "sqlite"])
    def world(self, request: pytest.FixtureRequest, tmp_path: Path) -> StoreWorld:
        return {"memory": MemoryStoreWorld, "sqlite": lambda: SqliteStoreWorld(tmp_path)}[request.param]()
