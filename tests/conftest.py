"""What all tests share: how hard hypothesis looks, and programs that a test needs."""

from __future__ import annotations

import asyncio
import os
import shutil
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio
from hypothesis import settings

# No deadline: a busy machine is no fault of the code. A failure prints what replays it.
settings.register_profile("tandem", deadline=None, print_blob=True)
settings.load_profile("tandem")

FREESWITCH = os.environ.get("TANDEM_FREESWITCH", "")
"""The prefix of an installed FreeSWITCH 1.10. It cannot be had everywhere: where nobody names one, what needs it is
not collected, and the header of the run says so."""

collect_ignore = [] if FREESWITCH else ["e2e/freeswitch", "e2e/kamailio"]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--kills", type=int, default=10, help="how often the kill tests kill at random moments")
    parser.addoption(
        "--media", choices=("builtin", "freeswitch"), default="builtin",
        help="what carries the calls of tests/e2e; freeswitch is the one in TANDEM_FREESWITCH",
    )  # fmt: skip
    parser.addoption("--kill-json", type=Path, default=None, help="where the kill tests write what they counted")


def pytest_report_header() -> str:
    return f"FreeSWITCH: {FREESWITCH or 'none (TANDEM_FREESWITCH names its prefix); its tests are not collected'}"


def pytest_configure(config: pytest.Config) -> None:
    if FREESWITCH and not (Path(FREESWITCH) / "bin/freeswitch").is_file():
        raise pytest.UsageError(f"TANDEM_FREESWITCH: there is no bin/freeswitch in {FREESWITCH}")
    if config.getoption("--media") == "freeswitch" and not FREESWITCH:
        raise pytest.UsageError("--media=freeswitch: TANDEM_FREESWITCH has to name the prefix of a FreeSWITCH 1.10")
    config.addinivalue_line("markers", "builtin(why): skip with --media=freeswitch")
    config.addinivalue_line("markers", "needs(*programs): skip where one of these programs is not installed")


def pytest_runtest_setup(item: pytest.Item) -> None:
    builtin = item.get_closest_marker("builtin")
    if builtin is not None and item.config.getoption("--media") != "builtin":
        pytest.skip(f"of the built-in node alone: {builtin.args[0]}")
    for marker in item.iter_markers("needs"):
        for program in marker.args:
            if shutil.which(program) is None:
                pytest.skip(f"{program} is not installed; `make test` installs it as root")


@pytest_asyncio.fixture(autouse=True)
async def no_task_is_left() -> AsyncIterator[None]:
    """All tests share one event loop (gRPC has one poller for a process, which outlives a loop of one test's
    own and then stumbles over it), so a test must end what it began; what is ending has a second for it."""
    before = asyncio.all_tasks()
    yield
    left = asyncio.all_tasks() - before - {asyncio.current_task()}
    if left:
        _, left = await asyncio.wait(left, timeout=1)
    for task in left:
        task.cancel()
    assert not left, f"{len(left)} tasks still run: {sorted(map(repr, left))[:5]}"


@pytest.fixture(scope="session")
def freeswitch_prefix() -> Path:
    """Where FreeSWITCH 1.10 is installed."""
    if not FREESWITCH:
        pytest.fail("TANDEM_FREESWITCH has to name the prefix of a FreeSWITCH 1.10")
    return Path(FREESWITCH)


@pytest.fixture
def kills(request: pytest.FixtureRequest) -> int:
    """How many random kills a kill test makes (`make kill N=10`)."""
    count: int = request.config.getoption("--kills")
    return count
