"""`tandem up --demo` with a FreeSWITCH of its own: the demo works on it, it is started again, it ends with the rest."""

from __future__ import annotations

import os
import select
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.cell import TANDEM, environment
from tests.e2e.programs import PATIENCE_S, Program, free_ports, free_udp_port

PARTS = ("freeswitch", "media", "control", "robots")


@dataclass
class Run:
    """A running `tandem up --demo`."""

    up: Program
    data_dir: Path
    settings: dict[str, str]

    def pid(self, part: str) -> int:
        """Of a part, by its pid file."""
        return int((self.data_dir / "run" / f"{part}.pid").read_text())

    def demo(self, *flags: str) -> str:
        """What the demo prints, whose calls go as they should."""
        done = subprocess.run((*TANDEM, "demo", *flags), env=self.settings, capture_output=True, text=True, check=False)
        assert done.returncode == 0, f"{done.stdout}\n{done.stderr}"
        return done.stdout


@pytest.fixture
def run(freeswitch_prefix: Path, tmp_path: Path) -> Iterator[Run]:
    memory = Path(tempfile.mkdtemp(prefix="tandem-e2e-", dir="/dev/shm"))
    http, grpc, esl, lookups = free_ports(4)
    settings = environment(
        tmp_path / "var", media__freeswitch__prefix=freeswitch_prefix, media__freeswitch__port=esl,
        media__freeswitch__lookup_port=lookups, media__node_key_file=memory / "node.key", http__port=http,
        grpc__port=grpc, sip__port=free_udp_port(),
    )  # fmt: skip
    up = Program("up", (*TANDEM, "up", "--demo"), env=settings)
    try:
        yield Run(up, tmp_path / "var", settings)
    finally:
        up.stop()
        shutil.rmtree(memory)


@pytest.mark.timeout(600)
def test_the_demo_works_on_it_and_on_its_next_life(run: Run, freeswitch_prefix: Path) -> None:
    run.up.wait_line("Ctrl-C ends everything.")
    assert run.up.wait_line("  Media ").split(None, 1)[1].startswith(f"FreeSWITCH of {freeswitch_prefix};")
    assert "The caller heard the agent" in run.demo()
    first, agent = run.pid("freeswitch"), run.pid("media")
    os.kill(first, signal.SIGKILL)
    run.up.wait_line("freeswitch ended (SIGKILL); starting it again in ")
    run.up.wait_line("SWITCH_ANSWERS", count=2)
    assert (run.pid("freeswitch") != first, run.pid("media")) == (True, agent), "the agent goes on"
    assert "The caller heard the agent" in run.demo()
    assert "0  calls dropped" in run.demo("--kill")
    pids = {part: run.pid(part) for part in PARTS}
    run.up.send(signal.SIGINT)
    assert run.up.wait_end() == 0
    assert [part for part, pid in pids.items() if Path(f"/proc/{pid}").exists()] == []
    password = run.data_dir / "freeswitch/esl.password"
    assert password.stat().st_mode & 0o077 == 0
    assert password.read_text().strip() not in run.up.output


def test_it_ends_with_a_supervisor_that_is_killed(run: Run) -> None:
    run.up.wait_line("SWITCH_ANSWERS")
    handles = [os.pidfd_open(run.pid(part)) for part in ("freeswitch", "media")]
    try:
        os.kill(run.up.pid, signal.SIGKILL)
        for handle in handles:
            assert select.select([handle], [], [], PATIENCE_S)[0], "it goes on"
    finally:
        for handle in handles:
            os.close(handle)


def test_a_prefix_without_a_freeswitch_is_said(tmp_path: Path) -> None:
    settings = environment(tmp_path / "var", media__freeswitch__prefix=tmp_path)
    done = subprocess.run((*TANDEM, "up"), env=settings, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stdout) == (64, "")
    assert "there is no bin/freeswitch in it" in done.stderr
