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
from tandem.core.ports.clock import Clock
from tandem.core.ports.media import Event
from tandem.core.quota import NAMES, Limits
from tandem.media.link.address import LinkAddress
from tandem.media.link.owner_end import Heard
from tandem.media.link.owners import MediaOwners
from tandem.recording import module as recording_module
from tandem.routing import observe as routing_observe
from tandem.routing import servicer as routing_servicer
from tandem.runtime.auth import CELL_SHARD, TENANT_GROUP, Credentials
from tandem.runtime.config import Config
from tandem.runtime.driver import ShardDriver
from tandem.runtime.gate import Gate
from tandem.runtime.host import Host
from tandem.runtime.interceptors import Api
from tandem.runtime.limits import ApiLimits, Rate
from tandem.runtime.methods import methods_of
from tandem.runtime.step import Offer
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.calls import WatchedApi
from tandem.runtime.telemetry.process import Telemetry
from tandem.runtime.telemetry.stages import Observed
from tandem.runtime.telemetry.views import ViewWatch, inbox_lags
from tandem.session import observe as session_observe
from tandem.session import servicer as session_servicer
from tandem.session.directory import make_directory
from tandem.session.eraser import Eraser
from tandem.session.inbox import media_offer
from tandem.session.sweep import Sweep
from tandem.session.views import ContactView
from tandem.targets.groups import FOLLOWS, PROMPTS, make_groups, prompt_names
from tandem.tenant import module as tenant_module

_log = structlog.get_logger(__name__)

REALM = "tandem"
"""SIP realm of all digests: a digest is of user, realm and password, so it stays."""
CANNOT_START = (CannotOpen,)
"""Errors of `control` that say what to do."""
OBSERVED = Observed(
    stages={"contact": session_observe.stages},
    measures=session_observe.MEASURES,
    census={"desk": routing_observe.census},
    states=("contact",),
    rings=frozenset({"contact.agent_offered"}),
)
"""What is to be seen of the services."""
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
    telemetry: Telemetry

    @property
    def ready(self) -> bool:
        """Whether calls can be taken: every shard is live and the media node is up."""
        return self.host.is_ready and self.owners.is_up


@asynccontextmanager
async def control(
    config: Config,
    points: Points,
    *,
    wait_for_lock: bool = False,
    clock: Callable[[Clock], Clock] = lambda clock: clock,
) -> AsyncIterator[Control]:
    """The control plane of this process: all shards of all groups, ready to be served. `clock`
    makes another of the host's, in tests. Raises `LogBusy` and `CannotOpen`, which say what to do."""
    time, entropy = clock(SystemClock()), SystemEntropy()
    # What takes time and needs no lock is done by one that waits before it is needed.
    groups = make_groups()
    for service in (tenant_module.API, session_servicer.API, routing_servicer.API, recording_module.API):
        methods_of(service)
    owner = f"{config.cell}/{os.uname().nodename}/{os.getpid()}/{entropy.token(5)}"
    async with AsyncExitStack() as stack:
        telemetry = Telemetry(config, "all", owner, time, OBSERVED)
        stack.callback(telemetry.close)  # last of all: a successor does not wait for our last spans
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
            time,
            entropy,
            points,
            _translate,
            lambda driver: make_directory(hosts[0], driver),
        )
        eraser = Eraser(keys, blobs)
        gate = Gate(config.limits.quarantined_max)
        drivers = [
            ShardDriver(
                group,
                shard,
                owner,
                log,
                keys,
                time,
                points,
                (node,) if name == "live" else (),
                {"media": owners, "erase": eraser} if name == "live" else {"erase": eraser},
                blobs,
                config.log.snapshot_commits,
                telemetry.instruments,
                gate,
                round(config.media.lost_after_s * 1000),
            )
            for name, group in groups.items()
            for shard in range(config.live.shards)
        ]
        host = Host(drivers, log, keys, credentials.shard_of, FOLLOWS)
        hosts.append(host)
        telemetry.shards(lambda: (driver.watch for driver in drivers))
        telemetry.meters.watch(owners.readings)
        telemetry.meters.watch(eraser.readings)
        telemetry.meters.watch(lambda: inbox_lags(host.lags()))
        strangers = Rate(config.limits.strangers_per_s, config.limits.strangers_burst)
        limits = ApiLimits(_defaults(config), strangers, time.monotonic_s)
        api = WatchedApi(credentials, entropy, _report, telemetry.instruments, limits)
        made = Control(config, host, owners, api, store, blobs, entropy, credentials, telemetry)
        _add_servicers(made)
        async with telemetry.running(), asyncio.TaskGroup() as tasks:
            running = [
                tasks.create_task(host.run()),
                tasks.create_task(owners.run()),
                tasks.create_task(eraser.run()),
                tasks.create_task(credentials.keep_up(host, tenant_module.accounts)),
                tasks.create_task(_tell_defaults(made)),
                *(
                    tasks.create_task(tenant_module.hold_erased(host, driver, keys))
                    for driver in drivers
                    if driver.partition.group == TENANT_GROUP
                ),
                *(tasks.create_task(limits.follow(host.tail(TENANT_GROUP, n))) for n in range(config.live.shards)),
                *(tasks.create_task(_project(made, shard)) for shard in range(config.live.shards)),
                *(
                    tasks.create_task(Sweep(host, driver, keys, eraser, time, config.retention.sweep_every_s).run())
                    for driver in drivers
                    if driver.partition.group == "live"
                ),
            ]
            try:
                yield made
            finally:
                for task in running:
                    task.cancel()


def _report(text: str, error: BaseException) -> None:
    _log.error(names.CALL_FAILED, what=text, exc_info=error)


def _translate(heard: Heard) -> Offer:
    event = Event(heard.tenant, heard.number, heard.time_ms, heard.leg, heard.body)
    offer = media_offer(heard.node, heard.incarnation, event, heard.time_ms)
    offer.trace = heard.trace
    return offer


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
    made.api.add(tenant_module.RETENTION_API, tenant_module.build_retention(host, made.entropy, setting))
    made.api.add(session_servicer.API, session_servicer.SessionServicer(host, made.store, "live"))
    made.api.add(routing_servicer.API, routing_servicer.RoutingServicer(host))
    made.api.add(recording_module.API, recording_module.build(host, made.store, made.blobs))


async def _tell_defaults(made: Control) -> None:
    """The settings of this process are the cell's defaults, recorded with each tenant (rule 7)."""
    cell = made.host.tail(TENANT_GROUP, CELL_SHARD)
    await tenant_module.tell_defaults(made.host, cell, made.credentials.reached, _defaults(made.config))


def _defaults(config: Config) -> Limits:
    return Limits(*(getattr(config.limits.tenant, name) for name in NAMES))


async def _project(made: Control, shard: int) -> None:
    """Keep the views up with a shard."""
    store, host = made.store, made.host
    recordings = recording_module.partition(shard)

    meters = made.telemetry.meters
    seen = ViewWatch(meters, "contacts", shard, lambda: host.durable("live", shard))
    heard = ViewWatch(meters, "recordings", shard, lambda: host.durable("recording", shard))

    async def contacts() -> None:
        view = ContactView(store, f"live/{shard}")
        done = await view.start()
        await view.follow(seen.following(done, host.tail("live", shard, done)))

    async def kept() -> None:
        done = await store.position(recording_module.VIEW, recordings)
        await recording_module.follow(heard.following(done, host.tail("recording", shard, done)), store, shard)

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
