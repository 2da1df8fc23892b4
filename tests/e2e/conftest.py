"""A cell of real processes for the tests that need one."""

from __future__ import annotations

from collections.abc import Callable, Generator, Iterator
from pathlib import Path

import pytest

from tests.e2e.cell import Cell
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.kill_tally import Tally


@pytest.fixture(scope="session")
def new_switch(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Callable[[], FreeSwitch | None]:
    """Makes a FreeSWITCH for a cell where `--media` says so; it is not started yet."""
    if request.config.getoption("--media") != "freeswitch":
        return lambda: None
    prefix: Path = request.getfixturevalue("freeswitch_prefix")
    return lambda: FreeSwitch(prefix, tmp_path_factory.mktemp("switch"))


@pytest.fixture(scope="session")
def platform(tmp_path_factory: pytest.TempPathFactory, new_switch: Callable[[], FreeSwitch | None]) -> Iterator[Cell]:
    """A cell that every test may use and none may break; each makes its own tenant (`platform.centre`)."""
    cell = Cell(tmp_path_factory.mktemp("cell"), switch=new_switch())
    try:
        cell.start()
        yield cell
    finally:
        cell.stop()


@pytest.fixture
def own_cell(tmp_path_factory: pytest.TempPathFactory, new_switch: Callable[[], FreeSwitch | None]) -> Iterator[Cell]:
    """A cell that the test may break. It starts it itself."""
    cell = Cell(tmp_path_factory.mktemp("own"), "--allow-faults", switch=new_switch())
    try:
        yield cell
    finally:
        cell.stop()


@pytest.fixture(scope="session")
def tally(request: pytest.FixtureRequest) -> Tally:
    """What the kill tests of this run have counted (`--kill-json`)."""
    return Tally(request.config.getoption("--kill-json"))


@pytest.hookimpl(wrapper=True)
def pytest_runtest_makereport(
    item: pytest.Item, call: pytest.CallInfo[None]
) -> Generator[None, pytest.TestReport, pytest.TestReport]:
    """A failed test shows what its cells printed."""
    report = yield
    if report.failed:
        for program in [program for cell in Cell.running for program in cell.programs]:
            report.sections.append((f"{program.name} {program.pid}", program.output))
        for switch in [cell.switch for cell in Cell.running if cell.switch is not None]:
            report.sections.append(("freeswitch", "\n".join(switch.lines[-300:])))
    return report
