"""The control plane: all shards of all groups of this process, with their views and links."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass

import structlog

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.sqlite import CannotOpen, SqliteKeys, SqliteLog, SqliteStore
from tandem.adapters.system import SystemClock, SystemEntropy
from tandem.core.errors import NO_OWNER, Rejected
from tandem.core.points import Points
from tandem.core.ports.media import Event
from tandem.media.link.address import LinkAddress
from tandem.media.link.owner_end import Heard
from tandem.media.link.owners import MediaOwners
from tandem.recording import module as recording_module
from tandem.routing import servicer as routing_servicer
from tandem.runtime.auth import Credentials
from tandem.runtime.config import Config
from tandem.runtime.driver import ShardDriver
from tandem.runtime.host import Host
from tandem.runtime.interceptors import Api
from tandem.runtime.step import Offer
from tandem.session import servicer as session_servicer
from tandem.session.directory import make_directory
from tandem.session.inbox import media_offer
from tandem.session.views import ContactView
from tandem.targets.groups import FOLLOWS, PROMPTS, make_groups, prompt_names
from tandem.tenant import module as tenant_module

_log = structlog.get_logger(__name__)

REALM = "tandem"
"""SIP realm of all digests: a digest is of user, realm and password, so it stays."""
CANNOT_START = (CannotOpen,)
"""Errors of `control` that say what to do."""
STORE_AGAIN_S = 1.0
"""Pause before a view whose store failed goes on."""
CONFIG_WAIT_S = 2.0
"""How long `wait=LIVE` waits (spine 9)."""


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
                tasks.create_task(credentials.keep_up(host, tenant_module.accounts)),
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


def _not_yet() -> Rejected:
    return Rejected(NO_OWNER, "it is saved, but calls do not know it yet; it will be used in a moment")


def _add_servicers(made: Control) -> None:
    config, host, credentials = made.config, made.host, made.credentials
    prompts = prompt_names(config.media.prompts_dir or PROMPTS)

    async def live(tenant: str, position: str) -> None:
        for kind in ("contact", "desk"):
            if not await host.taken(tenant, kind, position, CONFIG_WAIT_S):
                raise _not_yet()
        try:
            async with asyncio.timeout(CONFIG_WAIT_S):
                await made.owners.told(host.driver(tenant, "contact"))
        except TimeoutError:
            raise _not_yet() from None

    setting = tenant_module.Setting(REALM, config.live.shards, prompts)
    servicer = tenant_module.build(host, made.entropy, setting, credentials.reached, live)
    made.api.add(tenant_module.API, servicer)
    made.api.add(session_servicer.API, session_servicer.SessionServicer(host, made.store, "live"))
    made.api.add(routing_servicer.API, routing_servicer.RoutingServicer(host))
    made.api.add(recording_module.API, recording_module.build(host, made.store, made.blobs))


async def _project(made: Control, shard: int) -> None:
    """Keep the views up with a shard."""
    store, host = made.store, made.host
    recordings = recording_module.partition(shard)

    async def contacts() -> None:
        view = ContactView(store, f"live/{shard}")
        await view.follow(host.tail("live", shard, await view.start()))

    async def kept() -> None:
        done = await store.position(recording_module.VIEW, recordings)
        await recording_module.follow(host.tail("recording", shard, done), store, shard)

    async with asyncio.TaskGroup() as tasks:
        tasks.create_task(_patiently(f"contacts of live/{shard}", contacts))
        tasks.create_task(_patiently(f"recordings of {recordings}", kept))


async def _patiently(what: str, follow: Callable[[], Awaitable[None]]) -> None:
    """Follow, and begin anew behind what is stored when the store fails: history is late, and
    nothing else is (rule 13)."""
    while True:
        try:
            return await follow()
        except OSError as error:
            _log.error("a view is late", view=what, error=str(error))
            await asyncio.sleep(STORE_AGAIN_S)
