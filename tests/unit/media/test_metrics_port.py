"""Where the node's metrics are served, for scrapers of this host."""

from __future__ import annotations

import logging
from pathlib import Path

import pytest

from tandem.runtime.config import Config
from tandem.targets.media import METRICS, _write_port


def test_it_stands_in_a_file(tmp_path: Path) -> None:
    config = Config(data_dir=tmp_path)
    _write_port(config, 4711)
    assert "127.0.0.1:4711/metrics" in (config.run_dir / METRICS).read_text()


def test_a_node_whose_disk_does_not_take_that_file_says_it_and_goes_on(
    tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    config = Config(data_dir=tmp_path)
    config.run_dir.write_text("in its place")
    with caplog.at_level(logging.ERROR):
        _write_port(config, 4711)
    assert "metrics are on port 4711" in caplog.text
