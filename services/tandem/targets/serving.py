"""Serves the public API of a control plane: gRPC, and HTTP with the page."""

from __future__ import annotations

import asyncio
import gc
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from functools import partial
from typing import TypeVar

import uvicorn

from tandem.core.access import CELL_TENANT, Role
from tandem.gateway.app import Gateway, Settings
from tandem.gateway.connections import ConnectionLimits, Connections
from tandem.gateway.demo_session import DemoSession
from tandem.gateway.metrics import metrics_route
from tandem.gateway.page import Page, PlaceCall, page_routes
from tandem.runtime.config import Config, Http
from tandem.runtime.grpc_server import GrpcServer
from tandem.runtime.host import Host
from tandem.runtime.retry_driver import Retry
from tandem.runtime.telemetry.text import CONTENT_TYPE
from tandem.targets.control import Control
from tandem.tenant import module as tenant_module

T = TypeVar("T")

ADDRESSES = "addresses.json"
"""File in the run directory that says where the public API is served."""
PLATFORM_KEY = "platform.key"
"""File in the data directory with an API key of the role platform."""
PAGE_KEY = "page.key"
"""File in the data directory with the API key that the demo's page stands for."""
SOON_S = 0.5
"""How long the servers wait for shards that come at once."""
PORT_PATIENCE_S = 5.0
"""After this a port that is taken is another program's."""
PORT_AGAIN_S, PORT_AGAIN_MAX_S = 0.02, 0.2
"""Pauses between attempts to have it."""
DEMO_TENANT = "demo"


@dataclass(frozen=True, slots=True)
class Addresses:
    """Where the public API is served."""

    grpc: str
    http: str


async def serve(
    made: Control, started: Callable[[Addresses], Awaitable[None]], place_call: PlaceCall | None = None
) -> None:
    """Serve the public API until cancelled; `started` is told where. With `place_call` there
    is the demo's page, too, and its Call button. Raises `PortTaken`."""
    config = made.config
    await _soon_live(made.host)
    grpc = GrpcServer(made.api)
    listener = await _bound(partial(_listen, config.http.host, config.http.port))
    grpc_port = await _bound(partial(_start, grpc, config.grpc.host, config.grpc.port))
    http_port = listener.getsockname()[1]
    page_key = _kept_secret(made, PAGE_KEY) if place_call is not None else ""
    gateway = _gateway(made, http_port, place_call, page_key)
    server = _Uvicorn(http_settings(gateway, config.http))
    try:
        async with asyncio.TaskGroup() as tasks:
            # Probes are answered from the first moment; calls as soon as every shard is live.
            serving = tasks.create_task(server.serve([listener]))
            await made.host.ready()
            # What was loaded lives on: the collector need not walk over it again and again.
            gc.freeze()
            await made.credentials.learn(made.host)
            await _first_keys(made, page_key)
            await grpc.set_ready(True)
            addresses = Addresses(f"{config.grpc.host}:{grpc_port}", f"http://{config.http.host}:{http_port}")
            _write_addresses(config, addresses)
            await started(addresses)
            await serving
    finally:
        gateway.close()
        server.should_exit = True
        await grpc.stop(config.limits.stop_grace_s)


async def _soon_live(host: Host) -> None:
    """A shard that was followed is live in a moment, and making the servers would only hold it up.
    One that reads the log takes longer: probes are answered meanwhile."""
    with suppress(TimeoutError):
        async with asyncio.timeout(SOON_S):
            await host.ready()


def http_settings(gateway: Gateway, http: Http) -> uvicorn.Config:
    """How uvicorn serves the gateway."""
    limits = ConnectionLimits(
        http.connections_max, http.connections_per_address_max, http.head_s, http.body_s, http.unread_s
    )
    settings = uvicorn.Config(
        gateway.app(),
        log_config=None,
        access_log=False,
        lifespan="off",
        ws="none",
        timeout_keep_alive=round(http.idle_s),
        h11_max_incomplete_event_size=http.head_bytes_max,
    )
    # Its type asks for a class; what is called is one that knows the others.
    settings.http = Connections(limits).protocol  # type: ignore[assignment]
    return settings


class _Uvicorn(uvicorn.Server):
    """Leaves signals to the process that it runs in."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


async def _bound(bind: Callable[[], Awaitable[T]]) -> T:
    """Bind, also where a predecessor that has let go of the lock still has the port: it is on its
    way out, and no event of another process tells when it is. Raises `PortTaken`."""
    clock = asyncio.get_running_loop()
    patient, retry = clock.time() + PORT_PATIENCE_S, Retry(PORT_AGAIN_S, PORT_AGAIN_MAX_S)
    while True:
        try:
            return await bind()
        except PortTaken:
            if clock.time() > patient:
                raise
        await retry.pause()


async def _start(grpc: GrpcServer, host: str, port: int) -> int:
    try:
        return await grpc.start(f"{host}:{port}")
    except RuntimeError as error:
        raise PortTaken("grpc.port", host, port) from error


async def _listen(host: str, port: int) -> socket.socket:
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        return socket.create_server((host, port), family=family, backlog=512)
    except OSError as error:
        raise PortTaken("http.port", host, port) from error


def _gateway(made: Control, port: int, place_call: PlaceCall | None, page_key: str) -> Gateway:
    config = made.config
    names = tuple(dict.fromkeys((f"{config.http.host}:{port}", f"localhost:{port}")))
    origins = tuple(f"http://{name}" for name in names)
    settings = Settings(names, origins, config.limits.body_bytes_max)
    metrics = metrics_route(made.telemetry.text, CONTENT_TYPE)
    if place_call is None:
        return Gateway(made.api, made.entropy, settings, lambda: made.ready, pages=[metrics])
    session = DemoSession(page_key, names, origins, made.entropy)
    page = Page(DEMO_TENANT, f"{config.sip.host}:{config.sip.port}")
    pages = [metrics, *page_routes(page, session, place_call)]
    return Gateway(made.api, made.entropy, settings, lambda: made.ready, session.credential, pages)


def _write_addresses(config: Config, addresses: Addresses) -> None:
    """For the other processes of this host: ports may be 0 in the configuration."""
    path = config.run_dir / ADDRESSES
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    temporary = path.with_suffix(".new")
    temporary.write_text(json.dumps({"grpc": addresses.grpc, "http": addresses.http}), encoding="ascii")
    temporary.rename(path)


async def _first_keys(made: Control, page_key: str) -> None:
    """The credentials that this process itself made: the operator's, and the demo page's."""
    reached = made.credentials.reached
    operator = _kept_secret(made, PLATFORM_KEY)
    if position := await tenant_module.ensure_key(made.host, CELL_TENANT, "operator", Role.PLATFORM, operator):
        await reached(position)
    if page_key:
        position = await tenant_module.ensure_tenant(made.host, DEMO_TENANT, "Demo", made.config.live.shards)
        if position:
            await reached(position)
        if position := await tenant_module.ensure_key(made.host, DEMO_TENANT, "page", Role.SUPERVISOR, page_key):
            await reached(position)


def _kept_secret(made: Control, name: str) -> str:
    """A secret in a file of the data directory that only this user can read; made at the first
    start. A lost file is replaced by a new key; the old one can be deleted by the API."""
    path = made.config.data_dir / name
    if not path.exists():
        temporary = path.with_suffix(".new")  # so that a crash leaves no file without a key in it
        temporary.unlink(missing_ok=True)
        descriptor = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w", encoding="ascii") as file:
            file.write(tenant_module.new_secret(made.entropy) + "\n")
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(path)
    return path.read_text(encoding="ascii").strip()


class PortTaken(Exception):
    """Another program listens there."""

    def __init__(self, setting: str, host: str, port: int) -> None:
        super().__init__(f"{host}:{port} is taken: stop the program that has it, or change {setting}")
