"""What a control plane has loaded is taken from the collector's walks before it serves."""

from __future__ import annotations

from pathlib import Path

from tests.e2e.cell import TANDEM, environment
from tests.e2e.programs import Program, free_ports

SCRIPT = """
import gc, runpy, sys, threading, time
def tell():
    while not gc.get_freeze_count():
        time.sleep(0.05)
    print("frozen", gc.get_freeze_count(), flush=True)
threading.Thread(target=tell, daemon=True).start()
sys.argv = ["tandem", "run", "all"]
runpy.run_module("tandem", run_name="__main__")
"""


def test_a_control_plane_that_serves_has_frozen_what_it_loaded(tmp_path: Path) -> None:
    http, grpc = free_ports(2)
    settings = environment(tmp_path / "var", http__port=http, grpc__port=grpc)
    program = Program("control", (TANDEM[0], "-c", SCRIPT), env=settings)
    try:
        ready = program.wait_line("control plane ready")
        frozen = program.wait_line("frozen")
    finally:
        program.stop()
    assert ready
    assert int(frozen.split()[1]) > 10_000
