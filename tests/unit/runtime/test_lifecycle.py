"""What every process does at its start."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest

SHOWS = """
import ctypes, resource, sys
from tandem.runtime.lifecycle import leave_no_core
resource.setrlimit(resource.RLIMIT_CORE, resource.getrlimit(resource.RLIMIT_CORE)[1:] * 2)
if sys.argv[1] == "leave":
    leave_no_core()
print(resource.getrlimit(resource.RLIMIT_CORE)[0], ctypes.CDLL(None).prctl(3, 0, 0, 0, 0))
"""
"""Core limit, and PR_GET_DUMPABLE (prctl(2))."""


@pytest.mark.skipif(sys.platform != "linux", reason="prctl is Linux's")
def test_a_process_leaves_no_core_and_shows_its_memory_to_nobody(tmp_path: Path) -> None:
    def shown(how: str) -> list[str]:
        run = [sys.executable, "-c", SHOWS, how]
        return subprocess.run(run, capture_output=True, text=True, check=True, cwd=tmp_path).stdout.split()

    assert shown("leave") == ["0", "0"]
    assert shown("stay")[1] == "1"  # else the test above would prove nothing
