"""What one process runs: the only place where adapters are made and ports are passed.

`run all` is every target but `media`. Which services share a log partition and an owner is
one line in `GROUPS`.
"""

from __future__ import annotations

import asyncio
import importlib
import json
import os
import socket
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import structlog
import uvicorn

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.sqlite import SqliteKeys, SqliteLog, SqliteStore
from tandem.adapters.system import SystemClock, SystemEntropy
from tandem.core.access import CELL_TENANT, Role
from tandem.core.errors import NO_OWNER, Rejected
from tandem.core.points import Points
from tandem.core.ports.media import Event
from tandem.gateway.app import Gateway, Settings
from tandem.media.builtin.config import BuiltinConfig, Fallback
from tandem.media.builtin.driver import BuiltinNode
from tandem.media.builtin.prompts import load_prompts
from tandem.media.driver import MediaProcess, MediaSettings
from tandem.media.journal.disk import default_node_key_file
from tandem.media.link.address import LinkAddress
from tandem.media.link.owner_end import Heard
from tandem.media.link.owners import MediaOwners
from tandem.recording import module as recording_module
from tandem.routing import servicer as routing_servicer
from tandem.runtime.auth import CELL_SHARD, TENANT_GROUP, Credentials
from tandem.runtime.config import Config
from tandem.runtime.driver import ShardDriver
from tandem.runtime.grpc_server import GrpcServer
from tandem.runtime.host import Host
from tandem.runtime.interceptors import Api
from tandem.runtime.service import Group, Service
from tandem.runtime.step import Offer
from tandem.session.directory import make_directory
from tandem.session.inbox import media_offer
from tandem.session import servicer as session_servicer
from tandem.session.views import ContactView
from tandem.tenant import module as tenant_module

_log = structlog.get_logger(__name__)

GROUPS: dict[str, tuple[str, ...]] = {
    "tenant": ("tenant",),
    "live": ("session", "routing"),
    "recording": ("recording",),
}
"""Group -> the services that share its partitions and their owner."""
FOLLOWS: dict[str, tuple[str, ...]] = {"live": ("tenant",), "recording": ("live",)}
"""Group -> the groups whose logs have messages for it."""
SERVICES = {
    "tenant": "tandem.tenant.events:SERVICE",
    "session": "tandem.session.events:SERVICE",
    "routing": "tandem.routing.events:SERVICE",
    "recording": "tandem.recording.inbox:SERVICE",
}
ADDRESSES = "addresses.json"
"""File in the run directory that says where the public API is served."""
PLATFORM_KEY = "platform.key"
"""File in the data directory with an API key of the role platform."""
REALM = "tandem"
"""SIP realm of all digests: a digest is of user, realm and password, so it stays."""
CONFIG_WAIT_S = 2.0
"""How long `wait=LIVE` waits (spine 9)."""
PROMPTS = Path(__file__).parent / "media" / "prompts"


def load_service(name: str) -> Service:
    """A service's tables and deciders."""
    module, _, attribute = SERVICES[name].partition(":")
    service: Service = getattr(importlib.import_module(module), attribute)
    return service


def make_groups(groups: dict[str, tuple[str, ...]] = GROUPS) -> dict[str, Group]:
    """All groups of a cell."""
    services = {name: load_service(name) for name in SERVICES}
    of = {kind.name: group for group, names in groups.items() for name in names for kind in services[name].kinds}
    made: dict[str, Group] = {}
    for group, names in groups.items():
        shape = f"{group}={'+'.join(names)}"
        made[group] = Group(group, [services[name] for name in names], of, shape)
    return made


# ------------------------------------------------------------------- control plane


@dataclass(slots=True)
class Control:
    """A running control plane."""

    config: Config
    host: Host
    owners: MediaOwners
    api: Api
    store: SqliteStore
    blobs: LocalBlobs
    entropy: SystemEntropy
    credentials: Credentials

    @property
    def ready(self) -> bool:
        """Whether calls can be taken: every shard is live and the media node is up."""
        return self.host.is_ready and self.owners.is_up


@asynccontextmanager
async def control(config: Config, points: Points, *, wait_for_lock: bool = False) -> AsyncIterator[Control]:
    """The control plane of this process: all shards of all groups, ready to be served. Raises
    `LogBusy` and `CannotOpen`, which say what to do."""
    clock, entropy = SystemClock(), SystemEntropy()
    async with AsyncExitStack() as stack:
        log = await SqliteLog.open(config.log_dir, wait=wait_for_lock)
        stack.push_async_callback(log.close)
        keys = await SqliteKeys.open(config.log_dir, entropy=entropy, cell_key_file=config.keys.cell_key_file)
        stack.push_async_callback(keys.close)
        store = await SqliteStore.open(config.log_dir)
        stack.push_async_callback(store.close)
        blobs = await LocalBlobs.open(config.data_dir / "blobs")
        stack.push_async_callback(blobs.close)

        credentials = Credentials()
        node = config.media.node
        hosts: list[Host] = []
        owners = MediaOwners(
            {node: LinkAddress(config.media_link)},
            clock,
            entropy,
            points,
            _translate,
            lambda driver: make_directory(hosts[0], driver),
        )
        owner = f"{config.cell}/{os.uname().nodename}/{os.getpid()}/{entropy.token(5)}"
        groups = make_groups()
        drivers = [
            ShardDriver(
                group,
                shard,
                owner,
                log,
                keys,
                clock,
                points,
                (node,) if name == "live" else (),
                {"media": owners} if name == "live" else {},
                blobs,
                config.log.snapshot_commits,
            )
            for name, group in groups.items()
            for shard in range(config.live.shards)
        ]
        host = Host(drivers, log, keys, credentials.shard_of, FOLLOWS)
        hosts.append(host)
        api = Api(credentials, entropy, lambda text, error: _log.error(text, exc_info=error))
        made = Control(config, host, owners, api, store, blobs, entropy, credentials)
        _add_servicers(made)
        async with asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(host.run()),
                tasks.create_task(owners.run()),
                tasks.create_task(credentials.follow(host.tail(TENANT_GROUP, CELL_SHARD))),
                *(tasks.create_task(_project(made, shard)) for shard in range(config.live.shards)),
            ]
            try:
                yield made
            finally:
                for task in running:
                    task.cancel()


def _translate(heard: Heard) -> Offer:
    event = Event(heard.tenant, heard.number, heard.time_ms, heard.leg, heard.body)
    return media_offer(heard.node, heard.incarnation, event, heard.time_ms)


def _add_servicers(made: Control) -> None:
    config, host, credentials = made.config, made.host, made.credentials
    prompts = tuple(sorted(load_prompts(config.media.prompts_dir or PROMPTS)))

    async def live(tenant: str, position: str) -> None:
        for kind in ("contact", "desk"):
            if not await host.taken(tenant, kind, position, CONFIG_WAIT_S):
                raise Rejected(NO_OWNER, "it is saved, but calls do not know it yet; it will be used in a moment")

    setting = tenant_module.Setting(REALM, config.live.shards, prompts)
    servicer = tenant_module.build(host, made.entropy, setting, credentials.reached, live)
    made.api.add(tenant_module.API, servicer)
    made.api.add(session_servicer.API, session_servicer.SessionServicer(host, made.store, "live"))
    made.api.add(routing_servicer.API, routing_servicer.RoutingServicer(host))
    made.api.add(recording_module.API, recording_module.build(host, made.store, made.blobs))


async def _project(made: Control, shard: int) -> None:
    """Keep the views up with a shard."""
    store, host = made.store, made.host
    contacts = ContactView(store, f"live/{shard}")
    recordings = recording_module.partition(shard)
    done = await store.position(recording_module.VIEW, recordings)
    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(contacts.follow(host.tail("live", shard, await contacts.start())))
        tasks.create_task(recording_module.follow(host.tail("recording", shard, done), store, shard))


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the public API is served."""

    grpc: str
    http: str


async def serve(made: Control, started: Callable[[Addresses], Awaitable[None]], demo: bool = False) -> None:
    """Serve the public API until cancelled; `started` is told where. Raises `PortTaken`."""
    config = made.config
    grpc = GrpcServer(made.api)
    listener = _listen(config.http.host, config.http.port)
    try:
        grpc_port = await grpc.start(f"{config.grpc.host}:{config.grpc.port}")
    except RuntimeError as error:
        raise PortTaken("grpc.port", config.grpc.host, config.grpc.port) from error
    http_port = listener.getsockname()[1]
    gateway = _gateway(made, http_port, demo)
    settings = uvicorn.Config(gateway.app(), log_config=None, access_log=False, lifespan="off")
    server = _Uvicorn(settings)
    try:
        async with asyncio.TaskGroup() as tasks:
            # Probes are answered from the first moment; calls as soon as every shard is live.
            serving = tasks.create_task(server.serve([listener]))
            await made.host.ready()
            await _platform_key(made)
            await grpc.set_ready(True)
            addresses = Addresses(
                f"{config.grpc.host}:{grpc_port}", f"http://{config.http.host}:{http_port}"
            )
            _write_addresses(config, addresses)
            await started(addresses)
            await serving
    finally:
        gateway.close()
        server.should_exit = True
        await grpc.stop(config.limits.stop_grace_s)


class _Uvicorn(uvicorn.Server):
    """Leaves signals to the process that it runs in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise PortTaken("http.port", host, port) from error


def _gateway(made: Control, port: int, demo: bool) -> Gateway:
    host = made.config.http.host
    names = tuple(dict.fromkeys((f"{host}:{port}", f"localhost:{port}")))
    settings = Settings(names, tuple(f"http://{name}" for name in names), made.config.limits.body_bytes_max)
    return Gateway(made.api, made.entropy, settings, lambda: made.ready)


def _write_addresses(config: Config, addresses: Addresses) -> None:
    """For the other processes of this host: ports may be 0 in the configuration."""
    path = config.run_dir / ADDRESSES
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({"grpc": addresses.grpc, "http": addresses.http}), encoding="ascii")
    temporary.rename(path)


async def _platform_key(made: Control) -> None:
    """The first credential of a cell, in a file that only this user can read. A lost file is
    replaced by a new key; the old one can be deleted by the API."""
    path = made.config.data_dir / PLATFORM_KEY
    if path.exists():
        return
    id_ = "operator-" + made.entropy.token(5)
    secret, position = await tenant_module.create_key(made.host, made.entropy, CELL_TENANT, id_, Role.PLATFORM)
    await made.credentials.reached(position)
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with os.fdopen(descriptor, "w", encoding="ascii") as file:
        file.write(secret + "\n")


class PortTaken(Exception):
    """Another program listens there."""

    def __init__(self, setting: str, host: str, port: int) -> None:
        super().__init__(f"{host}:{port} is taken: stop the program that has it, or change {setting}")


# ------------------------------------------------------------------- media node


async def run_media(config: Config, points: Points, ready: Callable[[], None]) -> None:
    """The media node of this process, until cancelled."""
    clock, entropy = SystemClock(), SystemEntropy()
    media = config.media
    settings = MediaSettings(
        media.node,
        LinkAddress(config.media_link),
        config.data_dir / "media" / "journal",
        media.node_key_file or default_node_key_file(os.environ),
        media.allow_node_key_on_disk,
    )
    builtin = BuiltinConfig(
        config.data_dir / "media" / "spool",
        media.prompts_dir or PROMPTS,
        config.sip.host,
        config.sip.port,
        media.rtp_port_min,
        media.rtp_port_max,
        media.capacity,
        fallback_after_s=media.fallback_after_s,
        fallback=Fallback.APOLOGY if media.fallback == "apology" else Fallback.REFUSE,
    )
    blobs = await LocalBlobs.open(config.data_dir / "blobs")
    prompts = load_prompts(builtin.prompts_dir)

    @asynccontextmanager
    async def build(sink: Any) -> AsyncIterator[BuiltinNode]:
        node = BuiltinNode(builtin, blobs, entropy, clock, prompts, sink)
        async with asyncio.TaskGroup() as tasks:
            running = tasks.create_task(node.run())
            try:
                yield node
            finally:
                running.cancel()
                node.close()

    try:
        await MediaProcess(settings, clock, entropy, points, build).run(ready)
    finally:
        await blobs.close()
