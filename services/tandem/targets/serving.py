"""Serves the public API of a control plane: gRPC, and HTTP with the page."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from collections.abc import Awaitable, Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass

import uvicorn

from tandem.core.access import CELL_TENANT, Role
from tandem.gateway.app import Gateway, Settings
from tandem.runtime.config import Config
from tandem.runtime.grpc_server import GrpcServer
from tandem.targets.control import Control
from tandem.tenant import module as tenant_module

ADDRESSES = "addresses.json"
"""File in the run directory that says where the public API is served."""
PLATFORM_KEY = "platform.key"
"""File in the data directory with an API key of the role platform."""


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
            addresses = Addresses(f"{config.grpc.host}:{grpc_port}", f"http://{config.http.host}:{http_port}")
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
