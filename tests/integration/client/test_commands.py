"""The commands that people type, against a cell that `tandem up --demo` runs: one for all of these tests."""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest

from tandem.client import tones
from tandem.client.palette import agent_hz, caller_hz
from tandem.wire.g711 import Law
from tests.e2e.cell import TANDEM, environment
from tests.e2e.programs import Program, free_ports, free_udp_port

PATIENCE_S = 150


@dataclass(frozen=True)
class Up:
    """A running `tandem up --demo`."""

    program: Program
    data_dir: Path
    environment: dict[str, str]

    def tandem(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """Another command against the same cell."""
        return subprocess.run(
            [*TANDEM, *arguments], env=self.environment, capture_output=True, text=True, timeout=PATIENCE_S, check=False
        )


@pytest.fixture(scope="module")
def up(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Up]:
    home = tmp_path_factory.mktemp("up")
    http, grpc = free_ports(2)
    memory = Path(tempfile.mkdtemp(prefix="tandem-up-", dir="/dev/shm"))
    ports = {"http__port": http, "grpc__port": grpc, "sip__port": free_udp_port()}
    settings = environment(home / "var", media__node_key_file=memory / "node.key", **ports)
    program = Program("up", (*TANDEM, "up", "--demo", "--standby"), env=settings)
    try:
        program.wait_line("Ctrl-C ends everything.")
        yield Up(program, home / "var", settings)
    finally:
        program.send(signal.SIGINT)
        program.wait_end()
        shutil.rmtree(memory)


def test_a_call_as_a_timeline(up: Up) -> None:
    """Both voices of the story, in order, and a recording where it says."""
    shown = up.tandem("demo")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    told = [
        "dials 100",
        "call from ",
        "Tandem answers",
        "presses 1",
        "waits in queue sales",
        "phone rings",
        "talks with ",
        "hears the agent's voice",
        "hangs up",
        "ended by the caller: handled",
        "recorded: ",
        "the contact is complete",
    ]
    places = [shown.stdout.find(words) for words in told]
    assert -1 not in places, (told[places.index(-1)], shown.stdout)
    assert places == sorted(places), shown.stdout
    (path,) = re.findall(r"^\s+(/\S+\.wav)", shown.stdout, re.MULTILINE)
    assert Path(path).stat().st_mode & 0o777 == 0o600
    audio = Path(path).read_bytes().partition(b"data")[2][4:]
    left, right = (tones.samples_of(audio[channel::2], Law.MU) for channel in (0, 1))
    assert tones.seconds_with(left, caller_hz(0)) >= 5
    assert max(tones.seconds_with(right, agent_hz(robot)) for robot in (0, 1)) >= 5


def test_the_kill_and_its_table(up: Up) -> None:
    """Every count is zero, and the supervisor says what died."""
    before = up.program.output.count("ended (SIGKILL)")
    shown = up.tandem("demo", "--kill")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    counts = re.findall(r"^ +(\d+)  (.+)$", shown.stdout, re.MULTILINE)
    assert len(counts) == 7
    assert {number for number, _ in counts} == {"0"}
    assert "kill -9" in shown.stdout
    assert up.program.output.count("ended (SIGKILL)") == before + 1


def test_a_load_and_what_became_of_it(up: Up) -> None:
    """All calls are counted by the phones; a second load finds its tenant there."""
    for _ in range(2):
        shown = up.tandem("load", "--rate", "2", "--calls", "4", "--talk-s", "1")
        assert shown.returncode == 0, shown.stdout + shown.stderr
        rows = dict(re.findall(r"│ (\S[^│]*?)\s*│ (\S+) *s? *│", shown.stdout))
        assert (rows["calls"], rows["heard an agent"], rows["dropped"], rows["rung twice"]) == ("4", "4", "0", "0")


def test_robots_go_home_and_come_back(up: Up) -> None:
    assert "gone" in up.tandem("demo", "--agents", "off").stdout
    assert "back at work" in up.tandem("demo", "--agents", "on").stdout


def test_a_tenant_and_its_first_key(up: Up) -> None:
    made = up.tandem("admin", "create-tenant", "acme", "--title", "Acme")
    assert made.returncode == 0, made.stderr
    assert "tandem_" in made.stdout
    bad = up.tandem("admin", "create-tenant", "Not_Good")
    assert bad.returncode == 1
    assert bad.stderr.startswith("tandem: tenant_id")
    assert "Traceback" not in bad.stderr


def test_a_second_supervisor_is_sent_away_and_takes_nothing(up: Up) -> None:
    pids = {path.name: path.read_text() for path in (up.data_dir / "run").glob("*.pid")}
    second = up.tandem("up", "--demo")
    assert second.returncode == 64
    assert "runs already" in second.stderr
    assert {path.name: path.read_text() for path in (up.data_dir / "run").glob("*.pid")} == pids


def test_a_cell_that_does_not_run(up: Up, tmp_path: Path) -> None:
    elsewhere = {**up.environment, "TANDEM_DATA_DIR": str(tmp_path)}
    shown = subprocess.run(
        [*TANDEM, "admin", "create-tenant", "acme"], env=elsewhere, capture_output=True, text=True, check=False
    )
    assert shown.returncode == 1
    assert "tandem up --demo" in shown.stderr
    assert "Traceback" not in shown.stderr


def test_flows_in_files(up: Up, tmp_path: Path) -> None:
    """Each fault with its path; a good one has none."""
    good = {"steps": [{"id": "a", "answer": {"next": "b"}}, {"id": "b", "hangUp": {"prompts": ["goodbye"]}}]}
    bad = {"steps": [{"id": "a", "answer": {"next": "c"}}, {"id": "b", "hangUp": {"prompts": ["nothing"]}}]}
    for name, flow in (("good", good), ("bad", bad), ("none", {"stepz": []})):
        (tmp_path / name).write_text(json.dumps(flow))
    assert up.tandem("flow", "check", str(tmp_path / "good")).returncode == 0
    found = up.tandem("flow", "check", str(tmp_path / "bad"))
    assert found.returncode == 1
    assert "steps[0].answer.next: there is no step 'c'" in found.stdout
    assert "steps[1].hang_up.prompts[0]: there is no prompt 'nothing'" in found.stdout
    assert up.tandem("flow", "check", str(tmp_path / "none")).returncode == 1
    assert "cannot be read" in up.tandem("flow", "check", str(tmp_path / "absent")).stderr


def test_the_settings_in_force(up: Up) -> None:
    printed = up.tandem("--print-config").stdout
    assert f'data_dir = "{up.data_dir}"' in printed
    assert "[sip]" in printed
