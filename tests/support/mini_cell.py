"""A cell on memory adapters with every service and the API in front of them. There is no media
node: tests say what one would have told. Two tenants, `red` and `blue` on different shards,
with a key for each role."""

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
from tandem.api.routing.v1 import routing_service_pb2
from tandem.api.session.v1 import session_service_pb2
from tandem.core.access import CELL_TENANT, Principal, Role
from tandem.core.commit import Commit
from tandem.core.points import Points
from tandem.core.ports.log import Partition
from tandem.core.recording import CHUNK_BYTES, Header, Sealer, name_of
from tandem.core.relay import Relay
from tandem.core.seal import Secret, Withheld, seal
from tandem.gateway import Gateway, Settings
from tandem.recording import module as recording
from tandem.recording.domain import KeepRecording
from tandem.recording.inbox import SERVICE as RECORDING
from tandem.routing.events import SERVICE as ROUTING
from tandem.routing.servicer import RoutingServicer
from tandem.runtime import log_codec, positions
from tandem.runtime.auth import Credentials, digest_of
from tandem.runtime.driver import ShardDriver
from tandem.runtime.host import Host
from tandem.runtime.interceptors import Api
from tandem.runtime.limits import ApiLimits
from tandem.runtime.outputs import Perform
from tandem.runtime.service import Group
from tandem.runtime.shared import Shared
from tandem.runtime.step import Offer
from tandem.session.domain import words as sw
from tandem.session.eraser import Eraser
from tandem.session.events import SERVICE as SESSION
from tandem.session.servicer import SessionServicer
from tandem.session.views import ContactView
from tandem.tenant import module as tenant
from tandem.tenant.domain.cell import CELL, CreateApiKey, CreateTenant

SHARDS = 2
RELAY = Relay(("turn:relay.example:3478",), b"a secret of coturn", 600)
RELAY_NOW_S = 1767225000
REALM = "tandem.test"
PROMPTS = ("welcome", "invalid", "timeout", "bye", "music", "welcome-menu", "please-wait", "goodbye")
TENANTS = ("red", "blue")
OPERATOR = Principal(CELL_TENANT, "operator", Role.PLATFORM)


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


class Silent:
    """A `Receiver` behind which there is no node: orders stay pending."""

    def __init__(self) -> None:
        self.orders: list[Perform] = []

    def claimed(self, driver: ShardDriver, epoch: int) -> None:
        """See the port."""

    def perform(self, driver: ShardDriver, order: Perform) -> None:
        """See the port."""
        self.orders.append(order)

    def taken(self, driver: ShardDriver, taken: Any) -> None:
        """See the port."""

    def ask_legs(self, driver: ShardDriver, node: str) -> None:
        """See the port."""

    def dropped(self, driver: ShardDriver, why: str) -> None:
        """See the port."""


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
    numbers: dict[str, int] = field(default_factory=dict)

    def gateway(self, settings: Settings | None = None, **more: Any) -> Gateway:
        """An HTTP front of the API."""
        return Gateway(self.api, self.entropy, settings or Settings(), lambda: self.host.is_ready, **more)

    def client(self, tenant: str = "red", role: str = "ADMIN") -> httpx.AsyncClient:
        """An HTTP client with a key of that role."""
        transport = httpx.ASGITransport(app=self.gateway().app())
        headers = {"authorization": f"Bearer {self.secrets[tenant, role]}"} if role else {}
        return httpx.AsyncClient(transport=transport, base_url="http://cell.test", headers=headers)

    async def call(self, tenant_id: str, contact: str, number: str, caller: str = "+4420111") -> None:
        """A call to one of the tenant's numbers arrives at a node."""
        driver = self.host.driver(tenant_id, "contact")
        self.numbers[tenant_id] = n = self.numbers.get(tenant_id, 0) + 1
        command = sw.TakeCall("m1", 1_700_000_000_000, number, Secret(caller.encode()))
        assert driver.offer(Offer(f"media/m1/i1/{tenant_id}", n, tenant_id, f"contact/{contact}", command))
        while not (
            await self.host.query(tenant_id, "contact", lambda ledger: _there(ledger, tenant_id, contact))
        ).value:
            await asyncio.sleep(0)

    async def keep_recording(self, tenant_id: str, recording_id: str, audio: bytes, started_ms: int = 1) -> str:
        """A recording of that audio (pairs of mu-law samples) in Blobs, known to the recording
        service; returns its position. Its own key is sealed under a fresh key `k/...`."""
        key, data_key = f"k/{recording_id}", self.entropy.secret(32)
        self.keys.allocate((key,))
        sealed = seal(Secret(data_key), key, self.keys.get((key,))[key], bytes(12), b"aad")
        blob, header = name_of(tenant_id, recording_id), Header(self.entropy.secret(8))
        sealer = Sealer(header, data_key, blob)
        chunks = [audio[at : at + CHUNK_BYTES] for at in range(0, len(audio), CHUNK_BYTES)]
        body = header.pack() + b"".join(sealer.seal(chunk) for chunk in chunks)
        await self.blobs.put(blob, body)
        command = KeepRecording(
            recording_id,
            "c1",
            "ann",
            "sales",
            blob,
            len(audio) // 2,
            len(body),
            sha256(body),
            sealed,
            started_ms,
            False,
        )
        driver = self.host.driver(tenant_id, "recording")
        shard, before = driver.partition.shard, await self._recording_position(tenant_id)
        self.numbers["recording"] = n = self.numbers.get("recording", 0) + 1
        part = RECORDING.commands.close(command, lambda type_, value: Withheld())[1]
        source = f"live/{shard}/{tenant_id}"
        assert driver.offer(Offer(source, n, tenant_id, f"recording/{recording_id}", part=part))
        while (position := await self._recording_position(tenant_id)) == before:
            await asyncio.sleep(0)
        assert await self.store.wait("recordings", f"recording/{shard}", positions.decode(position).n, 2)
        return position

    async def _recording_position(self, tenant_id: str) -> str:
        return (await self.host.query(tenant_id, "recording", lambda ledger: None)).position

    def messages(self, tenant_id: str) -> list[Any]:
        """What the tenant service told other groups about a tenant, so far."""
        shard = self.credentials.shard_of(tenant_id)
        assert shard is not None
        commits = self.commits(Partition("tenant", shard))
        return [m for commit in commits for m in commit.messages if m.tenant == tenant_id]

    def commits(self, partition: Partition) -> list[Commit]:
        """What stands in a partition."""
        records = [log_codec.decode(stored.body) for stored in self.partitions.records(partition)]
        return [record for record in records if isinstance(record, Commit)]


def _there(ledger: Any, tenant_id: str, contact: str) -> bool:
    return ledger.aggregate(tenant_id, f"contact/{contact}") is not None


@asynccontextmanager
async def mini_cell(limits: ApiLimits | None = None) -> AsyncIterator[MiniCell]:
    """Runs a cell; without `limits` the API has none."""
    entropy = SeededEntropy()
    partitions, key_table = MemoryPartitions(), KeyTable(entropy)
    log, keys = MemoryLog(partitions), MemoryKeys(key_table)
    store, blobs = MemoryStore(RowTables()), MemoryBlobs(BlobTable())
    credentials = Credentials()
    shape = "live=session+routing tenant recording"
    live = ("reception", "gate", "retention", "desk", "contact")
    elsewhere = {**dict.fromkeys(live, "live"), "recording": "recording"}
    groups = (
        Group("tenant", (tenant.SERVICE,), elsewhere, shape),
        Group("live", (SESSION, ROUTING), elsewhere, shape),
        Group("recording", (RECORDING,), elsewhere, shape),
    )
    silent, eraser = Silent(), Eraser(keys, blobs)
    shared = Shared("owner", log, keys, SystemClock(), Points())
    drivers = [
        ShardDriver(group, shard, shared, receivers={"media": silent, "erase": eraser})
        for group in groups
        for shard in range(SHARDS)
    ]
    host = Host(drivers, log, keys, credentials.shard_of, {"live": ("tenant",), "recording": ("live",)})
    reported: list[tuple[str, BaseException]] = []
    api = Api(credentials, entropy, lambda text, error: reported.append((text, error)), limits)
    setting = tenant.Setting(REALM, SHARDS, PROMPTS, RELAY.urls, lambda user: RELAY.issue(user, RELAY_NOW_S))

    async def taken(tenant_id: str, position: str) -> None:
        assert await host.taken(tenant_id, "desk", position, 2)

    api.add(tenant.API, tenant.build(host, entropy, setting, credentials.reached, taken))
    api.add(tenant.RETENTION_API, tenant.build_retention(host, entropy, setting))
    api.add(recording.API, recording.build(host, store, blobs))
    api.add(session_service_pb2.DESCRIPTOR.services_by_name["SessionService"], SessionServicer(host, store, "live"))
    api.add(routing_service_pb2.DESCRIPTOR.services_by_name["RoutingService"], RoutingServicer(host))
    cell = MiniCell(host, api, credentials, key_table, store, blobs, partitions, entropy, reported=reported)
    async with asyncio.TaskGroup() as tasks:
        running = [
            tasks.create_task(host.run()),
            tasks.create_task(eraser.run()),
            tasks.create_task(credentials.keep_up(host, tenant.accounts)),
            *(tasks.create_task(recording.follow(host.tail("recording", n, 0), store, n)) for n in range(SHARDS)),
            *(
                tasks.create_task(ContactView(store, f"live/{n}").follow(host.batches("live", n, 0)))
                for n in range(SHARDS)
            ),
        ]
        try:
            await host.ready()
            await credentials.learn(host)
            await _first_keys(cell)
            yield cell
        finally:
            for task in running:
                task.cancel()


async def _first_keys(cell: MiniCell) -> None:
    for name in TENANTS:
        command = CreateTenant(name, name.title(), SHARDS)
        answer = await cell.host.ask(CELL_TENANT, CELL, command, principal=OPERATOR)
        assert await cell.credentials.reached(answer.position)
        for role in (Role.AGENT, Role.SUPERVISOR, Role.ANALYST, Role.ADMIN):
            agent = "ann" if role is Role.AGENT else ""
            await _key(cell, name, role, agent)
    await _key(cell, CELL_TENANT, Role.PLATFORM)


async def _key(cell: MiniCell, tenant_id: str, role: Role, agent: str = "") -> None:
    secret, name = "tandem_" + cell.entropy.token(32), role.value.lower()
    command = CreateApiKey(tenant_id, name, "", role, agent, digest_of(secret))
    answer = await cell.host.ask(CELL_TENANT, CELL, command, principal=OPERATOR)
    cell.secrets[tenant_id, role.name] = secret
    assert await cell.credentials.reached(answer.position)


def sha256(body: bytes) -> str:
    """Hex digest."""
    return hashlib.sha256(body).hexdigest()
