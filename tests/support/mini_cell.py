"""A cell without live work: the groups `tenant` and `recording` on memory adapters, with the
API in front of them. Two tenants, `red` and `blue`, with a key for each role."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from random import Random
from typing import Any

import httpx
from tandem.adapters.memory import (
    BlobTable,
    KeyTable,
    MemoryBlobs,
    MemoryKeys,
    MemoryLog,
    MemoryPartitions,
    MemoryStore,
    RowTables,
)
from tandem.adapters.system import SystemClock
from tandem.core.access import CELL_TENANT, Role
from tandem.core.commit import Commit
from tandem.core.points import Points
from tandem.core.ports.log import Partition
from tandem.gateway import Gateway, Settings
from tandem.recording import module as recording
from tandem.runtime.auth import CELL_SHARD, TENANT_GROUP, Credentials
from tandem.runtime.driver import ShardDriver
from tandem.runtime.host import Host
from tandem.runtime.interceptors import Api
from tandem.runtime.service import Group
from tandem.tenant import module as tenant

SHARDS = 2
REALM = "tandem.test"
PROMPTS = ("welcome", "invalid", "timeout", "bye", "music")
TENANTS = ("red", "blue")


class SeededEntropy:
    """The `Entropy` port from a seed."""

    def __init__(self, seed: int = 1) -> None:
        self._random = Random(seed)

    def token(self, size: int = 16) -> str:
        """See the port."""
        letters = "abcdefghijklmnopqrstuvwxyz234567"
        return "".join(self._random.choice(letters) for _ in range(-(-size * 8 // 5)))

    def secret(self, size: int) -> bytes:
        """See the port."""
        return self._random.randbytes(size)


@dataclass
class MiniCell:
    """A running cell. `secrets` are API keys by (tenant, role name)."""

    host: Host
    api: Api
    credentials: Credentials
    keys: KeyTable
    store: MemoryStore
    blobs: MemoryBlobs
    partitions: MemoryPartitions
    entropy: SeededEntropy
    secrets: dict[tuple[str, str], str] = field(default_factory=dict)
    reported: list[tuple[str, BaseException]] = field(default_factory=list)

    def gateway(self, settings: Settings | None = None, **more: Any) -> Gateway:
        """An HTTP front of the API."""
        return Gateway(self.api, self.entropy, settings or Settings(), lambda: self.host.is_ready, **more)

    def client(self, tenant: str = "red", role: str = "ADMIN") -> httpx.AsyncClient:
        """An HTTP client with a key of that role."""
        transport = httpx.ASGITransport(app=self.gateway().app())
        headers = {"authorization": f"Bearer {self.secrets[tenant, role]}"} if role else {}
        return httpx.AsyncClient(transport=transport, base_url="http://cell.test", headers=headers)

    async def messages(self, tenant_id: str) -> list[Any]:
        """What the tenant service told other groups about a tenant, so far."""
        shard = self.credentials.shard_of(tenant_id)
        assert shard is not None
        commits = await self.commits(Partition("tenant", shard))
        return [m for commit in commits for m in commit.messages if m.tenant == tenant_id]

    async def commits(self, partition: Partition) -> list[Commit]:
        """What stands in a partition, counted."""
        from tandem.runtime import log_codec

        records = [log_codec.decode(stored.body) for stored in self.partitions.records(partition)]
        return [record for record in records if isinstance(record, Commit)]


@asynccontextmanager
async def mini_cell(services: tuple[tuple[Any, Any], ...] = ()) -> AsyncIterator[MiniCell]:
    """Runs a cell. `services` are further (descriptor, servicer) pairs to serve."""
    entropy = SeededEntropy()
    partitions, key_table = MemoryPartitions(), KeyTable(entropy)
    log, keys = MemoryLog(partitions), MemoryKeys(key_table)
    store, blobs = MemoryStore(RowTables()), MemoryBlobs(BlobTable())
    credentials = Credentials()
    shape = "tenant|recording"
    groups = (
        Group("tenant", (tenant.SERVICE,), {"reception": "live", "desk": "live"}, shape),
        Group("recording", (recording.SERVICE,), {}, shape),
    )
    drivers = [
        ShardDriver(group, shard, "owner", log, keys, SystemClock(), Points())
        for group in groups
        for shard in range(SHARDS)
    ]

    def placement(tenant_id: str) -> int | None:
        return credentials.shard_of(tenant_id)

    host = Host(drivers, log, keys, placement, {})
    reported: list[tuple[str, BaseException]] = []
    api = Api(credentials, entropy, lambda text, error: reported.append((text, error)))
    setting = tenant.Setting(REALM, SHARDS, PROMPTS)
    waited: list[tuple[str, str]] = []

    async def live(tenant_id: str, position: str) -> None:
        waited.append((tenant_id, position))

    api.add(tenant.API, tenant.build(host, entropy, setting, credentials.reached, live))
    api.add(recording.API, recording.build(host, store, blobs))
    for descriptor, servicer in services:
        api.add(descriptor, servicer)
    cell = MiniCell(host, api, credentials, key_table, store, blobs, partitions, entropy, reported=reported)
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(host.run()),
            tasks.create_task(credentials.follow(host.tail(TENANT_GROUP, CELL_SHARD, 0))),
            *(tasks.create_task(recording.follow(host.tail("recording", n, 0), store, n)) for n in range(SHARDS)),
        ]
        try:
            await host.ready()
            await _first_keys(cell)
            yield cell
        finally:
            for task in running:
                task.cancel()


async def _first_keys(cell: MiniCell) -> None:
    for name in TENANTS:
        await cell.credentials.reached(await tenant.create_tenant(cell.host, name, name.title(), SHARDS))
        for role in (Role.AGENT, Role.SUPERVISOR, Role.ANALYST, Role.ADMIN):
            agent = "ann" if role is Role.AGENT else ""
            await _key(cell, name, role, agent)
    await _key(cell, CELL_TENANT, Role.PLATFORM)


async def _key(cell: MiniCell, tenant_id: str, role: Role, agent: str = "") -> None:
    secret, position = await tenant.create_key(cell.host, cell.entropy, tenant_id, role.value.lower(), role, agent)
    cell.secrets[tenant_id, role.name] = secret
    assert await cell.credentials.reached(position)


def sha256(body: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(body).hexdigest()
