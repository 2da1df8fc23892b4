"""The control plane: all shards of all groups of this process, with their views and links."""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Callable, Coroutine, Iterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from functools import partial
from typing import Any

import structlog

from tandem.adapters.sqlite import CannotOpen
from tandem.adapters.system import SystemClock, SystemEntropy
from tandem.core.errors import NO_OWNER, Rejected
from tandem.core.points import Points
from tandem.core.ports.clock import Clock
from tandem.core.ports.log import Partition
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
from tandem.runtime.following import Ahead
from tandem.runtime.gate import Gate
from tandem.runtime.host import Host
from tandem.runtime.interceptors import Api
from tandem.runtime.limits import ApiLimits, Rate
from tandem.runtime.methods import methods_of
from tandem.runtime.receiver import Receiver
from tandem.runtime.service import Group
from tandem.runtime.shared import Shared
from tandem.runtime.step import Offer
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.calls import WatchedApi
from tandem.runtime.telemetry.process import Telemetry
from tandem.runtime.telemetry.stages import Observed
from tandem.runtime.telemetry.views import inbox_lags
from tandem.session import observe as session_observe
from tandem.session import servicer as session_servicer
from tandem.session.directory import make_directory
from tandem.session.eraser import Eraser
from tandem.session.inbox import media_offer
from tandem.session.sweep import Sweep
from tandem.targets.groups import FOLLOWS, PROMPTS, make_groups, prompt_names
from tandem.targets.projections import project
from tandem.targets.relay import issuer, open_relay
from tandem.targets.secret_file import BadSecretFile
from tandem.targets.standby import taken_cell
from tandem.targets.storage import Storage, open_blobs, open_storage
from tandem.tenant import module as tenant_module

_log = structlog.get_logger(__name__)

REALM = "tandem"
"""SIP realm of all digests: a digest is of user, realm and password, so it stays."""
CANNOT_START = (CannotOpen, BadSecretFile)
"""Errors of `control` that say what to do."""
OBSERVED = Observed(
    stages={"contact": session_observe.stages},
    measures=session_observe.MEASURES,
    census={"desk": routing_observe.census},
    states=("contact",),
    rings=frozenset({"contact.agent_offered"}),
)
"""What is to be seen of the services."""
CONFIG_WAIT_S = 2.0
"""How long `wait=LIVE` waits (spine 9)."""


@dataclass(slots=True)
class Control:
    """A running control plane."""

    config: Config
    host: Host
    owners: MediaOwners
    api: Api
    storage: Storage
    entropy: SystemEntropy
    credentials: Credentials
    telemetry: Telemetry
    limits: ApiLimits
    eraser: Eraser

    @property
    def ready(self) -> bool:
        """Whether calls can be taken: every shard is live and the media node is up."""
        return self.host.is_ready and self.owners.is_up


@dataclass(frozen=True, slots=True)
class _Means:
    """What a control process has before it has the cell."""

    owner: str
    clock: Clock
    entropy: SystemEntropy
    points: Points
    telemetry: Telemetry


@asynccontextmanager
async def control(
    config: Config,
    points: Points,
    *,
    wait_for_lock: bool = False,
    clock: Callable[[Clock], Clock] = lambda clock: clock,
) -> AsyncIterator[Control]:
    """The control plane of this process: all shards of all groups, ready to be served. `clock`
    makes another of the host's, in tests. Raises `LogBusy` and `CANNOT_START`, which say what to do."""
    time, entropy = clock(SystemClock()), SystemEntropy()
    # What takes time and needs no lock is done by one that waits before it is needed.
    groups = make_groups()
    for service in (tenant_module.API, session_servicer.API, routing_servicer.API, recording_module.API):
        methods_of(service)
    owner = f"{config.cell}/{os.uname().nodename}/{os.getpid()}/{entropy.token(5)}"
    async with AsyncExitStack() as stack:
        telemetry = Telemetry(config, "all", owner, time, OBSERVED)
        stack.callback(telemetry.close)  # last of all: a successor does not wait for our last spans
        blobs = await open_blobs(stack, config)
        means = _Means(owner, time, entropy, points, telemetry)
        hosts: list[Host] = []
        owners = _owners(config, means, hosts)
        async with telemetry.running(), asyncio.TaskGroup() as tasks:
            # The nodes are dialled while another process still has the cell: who gets it only says Hello.
            running = [tasks.create_task(owners.run())]
            try:
                async with taken_cell(config, groups, blobs, time, wait=wait_for_lock) as taken:
                    storage = await open_storage(stack, config, entropy, taken.lock, blobs)
                made = _build(config, groups, means, storage, owners, taken.ahead)
                hosts.append(made.host)
                running += [tasks.create_task(work) for work in _work(made, time)]
                yield made
            finally:
                for task in running:
                    task.cancel()


def _owners(config: Config, means: _Means, hosts: Sequence[Host]) -> MediaOwners:
    """The links to the nodes. `hosts` has the host of the shards by the time that one is live."""
    return MediaOwners(
        {node: LinkAddress(link) for node, link in config.media_links.items()},
        means.clock,
        means.entropy,
        means.points,
        _translate,
        lambda driver: make_directory(hosts[0], driver),
    )


def _build(
    config: Config,
    groups: Mapping[str, Group],
    means: _Means,
    storage: Storage,
    owners: MediaOwners,
    ahead: Mapping[Partition, Ahead],
) -> Control:
    """All objects of the process; nothing runs yet."""
    telemetry, clock, entropy = means.telemetry, means.clock, means.entropy
    eraser = Eraser(storage.keys, storage.blobs)
    credentials = Credentials()
    drivers = _drivers(config, groups, means, storage, {"media": owners, "erase": eraser}, ahead)
    host = Host(drivers, storage.log, storage.keys, credentials.shard_of, FOLLOWS)
    telemetry.shards(lambda: (driver.watch for driver in drivers))
    telemetry.meters.watch(owners.readings)
    telemetry.meters.watch(eraser.readings)
    telemetry.meters.watch(lambda: inbox_lags(host.lags()))
    strangers = Rate(config.limits.strangers_per_s, config.limits.strangers_burst)
    limits = ApiLimits(_defaults(config), strangers, clock.monotonic_s)
    api = WatchedApi(credentials, entropy, _report, telemetry.instruments, limits)
    made = Control(config, host, owners, api, storage, entropy, credentials, telemetry, limits, eraser)
    _add_servicers(made, clock)
    return made


def _drivers(
    config: Config,
    groups: Mapping[str, Group],
    means: _Means,
    storage: Storage,
    receivers: Mapping[str, Receiver],
    ahead: Mapping[Partition, Ahead],
) -> list[ShardDriver]:
    """One for each shard of each group."""
    shared = Shared(
        means.owner,
        storage.log,
        storage.keys,
        means.clock,
        means.points,
        storage.blobs,
        config.log.snapshot_commits,
        means.telemetry.instruments,
        Gate(config.limits.quarantined_max),
        round(config.media.lost_after_s * 1000),
    )
    return [
        ShardDriver(
            group,
            shard,
            shared,
            tuple(config.media_links) if name == "live" else (),
            receivers if name == "live" else {"erase": receivers["erase"]},
            ahead.get(Partition(name, shard)),
        )
        for name, group in groups.items()
        for shard in range(config.live.shards)
    ]


def _work(made: Control, clock: Clock) -> Iterator[Coroutine[Any, Any, None]]:
    """What runs as long as the process."""
    host, storage = made.host, made.storage
    yield host.run()
    yield made.eraser.run()
    yield made.credentials.keep_up(host, tenant_module.accounts)
    yield _tell_defaults(made)
    for shard in range(made.config.live.shards):
        yield _when_live(host, partial(project, host, storage.store, made.telemetry.meters, shard))
    for driver in host.of_group(TENANT_GROUP):
        yield _when_live(host, partial(_know_quotas, made, driver))
        yield _when_live(host, partial(tenant_module.hold_erased, host, driver, storage.keys))
    for driver in host.of_group("live"):
        yield Sweep(host, driver, storage.keys, made.eraser, clock, made.config.retention.sweep_every_s).run()


async def _know_quotas(made: Control, driver: ShardDriver) -> None:
    """Begin with the state of the owner, of this process, and follow its log from there."""
    while True:
        await driver.live()
        try:
            quotas, n = await driver.query(tenant_module.quotas)
        except Rejected:
            continue  # the owner changed in this very moment
        break
    made.limits.begin(quotas)
    await made.limits.follow(made.host.tail(TENANT_GROUP, driver.partition.shard, n))


async def _when_live(host: Host, work: Callable[[], Coroutine[Any, Any, None]]) -> None:
    """Callers wait for the shards, and nobody for this."""
    await host.ready()
    await work()


def _report(text: str, error: BaseException) -> None:
    _log.error(names.CALL_FAILED, what=text, exc_info=error)


def _translate(heard: Heard) -> Offer:
    event = Event(heard.tenant, heard.number, heard.time_ms, heard.leg, heard.body)
    offer = media_offer(heard.node, heard.incarnation, event, heard.time_ms)
    offer.trace = heard.trace
    return offer


def _not_yet() -> Rejected:
    return Rejected(NO_OWNER, "it is saved, but calls do not know it yet; it will be used in a moment")


def _add_servicers(made: Control, clock: Clock) -> None:
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

    relay = open_relay(config.relay)
    setting = tenant_module.Setting(REALM, config.live.shards, prompts, relay.urls, issuer(relay, clock))
    servicer = tenant_module.build(host, made.entropy, setting, credentials.reached, live)
    made.api.add(tenant_module.API, servicer)
    made.api.add(tenant_module.RETENTION_API, tenant_module.build_retention(host, made.entropy, setting))
    made.api.add(session_servicer.API, session_servicer.SessionServicer(host, made.storage.store, "live"))
    made.api.add(routing_servicer.API, routing_servicer.RoutingServicer(host))
    made.api.add(recording_module.API, recording_module.build(host, made.storage.store, made.storage.blobs))


async def _tell_defaults(made: Control) -> None:
    """The settings of this process are the cell's defaults, recorded with each tenant (rule 7)."""
    cell = made.host.tail(TENANT_GROUP, CELL_SHARD)
    await tenant_module.tell_defaults(made.host, cell, made.credentials.reached, _defaults(made.config))


def _defaults(config: Config) -> Limits:
    return Limits(*(getattr(config.limits.tenant, name) for name in NAMES))
