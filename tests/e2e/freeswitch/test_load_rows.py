"""The benchmarks on FreeSWITCH work: tiny sizes that measure nothing."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from tests.e2e.foreign import needs_sipp
from tests.load import bench


@needs_sipp
@pytest.mark.timeout(300)
def test_a_tiny_run_of_each(tmp_path: Path, freeswitch_prefix: Path) -> None:
    out = tmp_path / "bench.json"
    rows = ["calls"]
    if (freeswitch_prefix / "lib/freeswitch/mod/mod_callcenter.so").exists():
        rows.append("queued")
    assert bench.main([*rows, "--tiny", "--out", str(out)]) == 0
    figures = {one["name"]: one for one in json.loads(out.read_bytes())}
    assert figures["calls.accounted"]["met"] is True
    assert figures["calls.control_cpu_ms"]["peer_value"] > 0
    if "queued" in rows:
        assert {"queued.invite_p50_ms_0", "queued.invite_p50_ms_3"} <= set(figures)
        assert all("not offered" not in one["note"] for name, one in figures.items() if name.startswith("queued."))
