"""Two media nodes behind one door."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.freeswitch.conftest import pytest_runtest_makereport
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.programs import free_ports

__all__ = ["pytest_runtest_makereport"]


@pytest.fixture(scope="module")
def directory_port() -> int:
    """Where both ask for accounts."""
    return free_ports(1)[0]


@pytest.fixture(scope="module")
def nodes(
    freeswitch_prefix: Path, tmp_path_factory: pytest.TempPathFactory, directory_port: int
) -> Iterator[tuple[FreeSwitch, FreeSwitch]]:
    """Both running; a test that kills one starts it again."""
    url = f"http://127.0.0.1:{directory_port}/directory"
    made = [
        FreeSwitch(freeswitch_prefix, _home(tmp_path_factory), fallback_after_s=1, directory_url=url) for _ in range(2)
    ]
    try:
        for node in made:
            node.start()
        yield made[0], made[1]
    finally:
        for node in made:
            node.stop()


def _home(factory: pytest.TempPathFactory) -> Path:
    return factory.mktemp("node")
