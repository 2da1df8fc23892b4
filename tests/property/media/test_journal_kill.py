"""`kill -9` of a process that writes a journal, at random moments and at its kill point."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from tandem.media.journal.file import load
from tandem.media.journal.state import JournalState
from tests.property.media.journal_child import KEY


def child(path: Path, **environment: str) -> subprocess.Popen[str]:
    command = [sys.executable, "-m", "tests.property.media.journal_child", str(path)]
    return subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=os.environ | environment
    )


def check(path: Path, said: list[str], before: int) -> JournalState:
    """No gap in what is kept, nothing sent that is not there, nothing numbered twice."""
    state = load(path.read_bytes(), KEY)
    # The last line may be half a line: the pipe was killed too.
    sent = [int(line) for line in said if line.endswith("\n") and not line.startswith("acked")]
    acked = [int(line.split()[1]) for line in said if line.endswith("\n") and line.startswith("acked")]
    kept = [event.number for event in state.kept("t1")]
    assert sent == list(range(before + 1, before + 1 + len(sent)))
    assert kept == list(range(kept[0], state.last["t1"] + 1))
    assert not acked or kept[0] > acked[-1], "what was acknowledged is forgotten"
    assert state.last["t1"] >= sent[-1]
    row = state.backend_rows()[0]
    assert row.value["n"] >= len(sent), "the row is as new as the event that was written with it"
    return state


@pytest.mark.parametrize("seed", range(2))
def test_kills_at_random_moments(tmp_path: Path, seed: int) -> None:
    chance = random.Random(seed)
    path = tmp_path / "journal"
    last, incarnation = 0, ""
    for _ in range(4):
        with child(path) as process:
            assert process.stdout is not None
            assert process.stderr is not None
            said = [process.stdout.readline() for _ in range(chance.randrange(1, 1_500))]
            process.send_signal(signal.SIGKILL)
            said += process.stdout.readlines()
            assert process.stderr.read() == ""
        state = check(path, said, last)
        assert state.incarnation == (incarnation or state.incarnation)
        last, incarnation = state.last["t1"], state.incarnation


def test_the_kill_point_is_between_the_journal_and_the_backend(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with child(path, TANDEM_KILL_AT="journalled:2") as process:
        said, complaint = process.communicate()
    assert process.returncode == -signal.SIGKILL
    assert complaint == "TANDEM_KILL_AT=journalled:2 reached\n"
    assert len(said.splitlines()) > 0
    assert [command.key for command in load(path.read_bytes(), KEY).open_commands()] == ["k50", "k100"]
