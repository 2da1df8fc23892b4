"""A node runs as a user who may do nothing, and cannot write anywhere but in its own directory."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.freeswitch.node import FreeSwitch

NOBODY = 65534
"""The user and the group to which nothing belongs, on every Linux."""


@pytest.fixture
def home() -> Iterator[Path]:
    """A directory that everybody may look into, as those of pytest are not."""
    path = Path(tempfile.mkdtemp(prefix="tandem-freeswitch-"))
    path.chmod(0o755)
    yield path
    shutil.rmtree(path)


def hand_over(path: Path) -> None:
    """Give a tree to that user."""
    for part in (path, *path.rglob("*")):
        os.chown(part, NOBODY, NOBODY)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can become somebody else; without it the others show the same")
async def test_a_node_needs_no_rights(freeswitch_prefix, home):
    become = ("setpriv", "--reuid", str(NOBODY), "--regid", str(NOBODY), "--clear-groups")
    node = FreeSwitch(freeswitch_prefix, home / "node", become=become)
    hand_over(node.home)
    try:
        node.start()
        assert f"\nUid:\t{NOBODY}\t" in (Path("/proc") / str(node.pid) / "status").read_text()
        async with node.connect() as esl:
            assert "RUNNING" in await esl.api("sofia status")
        assert not [line for line in node.lines if "ermission denied" in line]
    finally:
        node.stop()
