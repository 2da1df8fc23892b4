"""Real FreeSWITCH, where somebody names one (see `tests/conftest.py`)."""

from __future__ import annotations

import secrets
import uuid
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest

from tests.e2e.freeswitch.certificates import lay_down
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.programs import free_ports


@pytest.fixture(scope="session")
def node(freeswitch_prefix: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[FreeSwitch]:
    """A node that every test may use and none may break."""
    node = FreeSwitch(freeswitch_prefix, tmp_path_factory.mktemp("freeswitch"), fallback_after_s=2)
    try:
        node.start()
        yield node
    finally:
        node.stop()


@pytest.fixture(scope="session")
def tls_port() -> int:
    """Where phones come in encrypted."""
    return free_ports(1)[0]


@pytest.fixture(scope="session")
def wss_port() -> int:
    """Where browsers come in."""
    return free_ports(1)[0]


@pytest.fixture(scope="session")
def directory_port() -> int:
    """Where the node with certificates asks for accounts."""
    return free_ports(1)[0]


@pytest.fixture
def unused_uuid() -> str:
    """For a leg that a test makes."""
    return str(uuid.UUID(bytes=secrets.token_bytes(16), version=4))


@pytest.fixture(scope="session")
def secure(
    freeswitch_prefix: Path,
    tmp_path_factory: pytest.TempPathFactory,
    tls_port: int,
    wss_port: int,
    directory_port: int,
) -> Iterator[FreeSwitch]:
    """A node with certificates, where phones may hand their calls over."""
    home = tmp_path_factory.mktemp("secure")
    node = FreeSwitch(
        freeswitch_prefix, home, tls="true", tls_port=tls_port, wss=f"127.0.0.1:{wss_port}", fallback_after_s=2,
        directory_url=f"http://127.0.0.1:{directory_port}/directory", refuse_refer="false",
    )  # fmt: skip
    lay_down(node.certificates)
    try:
        node.start()
        yield node
    finally:
        node.stop()


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its node printed."""
    report = yield
    if report.failed and isinstance(item, pytest.Function):
        for value in item.funcargs.values():
            if isinstance(value, FreeSwitch):
                report.sections.append(("freeswitch", "\n".join(value.lines[-200:])))
    return report
