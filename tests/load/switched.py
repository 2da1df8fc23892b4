"""What the rows on real FreeSWITCH have in common: a cell with room for many calls, and SIPp in bulk.

They need a FreeSWITCH (`TANDEM_FREESWITCH` names its prefix) and SIPp; `bench` leaves them out by name without one.
"""

from __future__ import annotations

import asyncio
import csv
import os
import signal
import socket
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from tests.e2e.cell import Cell
from tests.e2e.freeswitch.node import CONFIG, FreeSwitch
from tests.e2e.programs import Program
from tests.load.sampler import stop_cell

PREFIX = os.environ.get("TANDEM_FREESWITCH", "")
SCENARIOS = Path(__file__).parent / "sipp"
HOST = "127.0.0.1"
CALLERS_MAX = 2_000
RTP_PORTS = 12_000, 30_000
"""Two for each leg, below the ports that the system gives to anybody who asks for one."""
SILENT_MS = 3_600_000
"""SIPp's callers say nothing: FreeSWITCH must not take them for dead."""
EAR_OFFSET = 10
"""From SIPp's media port to the one that its scenarios name."""


def many_calls_switch(home: Path, config: Path = CONFIG) -> FreeSwitch:
    """A FreeSWITCH with room for `CALLERS_MAX` callers who say nothing. Not started yet."""
    first, last = RTP_PORTS
    return FreeSwitch(
        Path(PREFIX), home, config=config, max_callers=CALLERS_MAX, max_sessions=2 * CALLERS_MAX,
        sessions_per_second=500, rtp_port_min=first, rtp_port_max=last, rtp_timeout_ms=SILENT_MS,
    )  # fmt: skip


@contextmanager
def running(home: Path, switch: FreeSwitch | None, **settings: Any) -> Iterator[Cell]:
    """A cell on that FreeSWITCH, or on the built-in node, as an operator starts it."""
    cell = Cell(home, switch=switch, **settings)
    try:
        cell.start()
        yield cell
    finally:
        stop_cell(cell)


async def quiet_log(switch: FreeSwitch) -> None:
    """A production node logs no line for each thing that a call does."""
    async with switch.connect() as esl:
        await esl.api("fsctl loglevel warning")


# ------------------------------------------------------------------- SIPp


@dataclass(frozen=True, slots=True)
class Counted:
    """Calls of one run, as SIPp counts them at its end."""

    whole: int
    """Went as the scenario says, to its end."""
    failed: int


class Sipp:
    """One run of a scenario, for many calls."""

    def __init__(self, program: Program, statistics: Path) -> None:
        self.program, self._statistics = program, statistics

    def no_more(self) -> None:
        """No new calls; it ends with those that are."""
        self.program.send(signal.SIGUSR1)

    async def counted(self, limit_s: float) -> Counted:
        """What it counted, once it has ended. Raises subprocess.TimeoutExpired."""
        await asyncio.to_thread(self.program.wait_end, limit_s)
        return counted(self._statistics)


def counted(statistics: Path) -> Counted:
    """The last line of a file that SIPp wrote with `-trace_stat`."""
    with statistics.open(newline="") as file:
        rows = list(csv.DictReader(file, delimiter=";"))
    return Counted(int(rows[-1]["SuccessfulCall(C)"]), int(rows[-1]["FailedCall(C)"]))


@contextmanager
def sipp(
    home: Path, scenario: str, target: str, count: int | None, rate: float, *more: str | int, **keys: str
) -> Iterator[Sipp]:
    """So many calls of `sipp/{scenario}.xml` at that rate, with `keys`; with None one after another, until `no_more`.
    What the node sends them is heard by nobody. Ended with the block."""
    home.mkdir(exist_ok=True)
    statistics = home / f"{scenario}.csv"
    pairs = [part for name, value in keys.items() for part in ("-key", name, value)]
    many = [] if count is None else ["-m", str(count), "-l", str(count)]
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as deaf_ear:
        # What comes there is dropped by the kernel, at no cost for whoever sends it.
        deaf_ear.bind((HOST, 0))
        media_port = deaf_ear.getsockname()[1] - EAR_OFFSET
        program = Program(
            f"sipp {scenario}",
            [
                "sipp", target, "-sf", SCENARIOS / f"{scenario}.xml", "-i", HOST, "-r", f"{rate:g}", *many, "-nostdin",
                "-mp", str(media_port), "-trace_err", "-error_file", home / f"{scenario}-errors.log",
                "-trace_stat", "-stf", statistics, "-fd", "1", *pairs, *map(str, more),
            ],
            cwd=home,
        )  # fmt: skip
        try:
            yield Sipp(program, statistics)
        finally:
            program.stop()


def users_file(home: Path, accounts: Sequence[tuple[str, str]]) -> Path:
    """Accounts (user, password) for `register.xml`, one a call."""
    lines = [f"{user};[authentication username={user} password={password}]" for user, password in accounts]
    file = home / "users.csv"
    file.write_text("\n".join(["SEQUENTIAL", *lines]) + "\n")
    return file
