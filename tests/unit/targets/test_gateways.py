"""Carriers read again from the settings: what a running node takes, and what it refuses with nothing changed."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.system import SystemClock, SystemEntropy
from tandem.media.backend import GatewaysRead
from tandem.media.freeswitch.config import FreeswitchConfig
from tandem.media.freeswitch.driver import FreeswitchNode, Switch
from tandem.media.freeswitch.files import Files
from tandem.media.link.gateways import CannotReread
from tandem.runtime.config import Config
from tandem.runtime.settings import load
from tandem.targets.carriers import gateways_of
from tandem.targets.gateways import Rereading
from tests.unit.media.freeswitch.replay import Tape

NORTH = '[media.gateways.north]\nproxy = "north.test"\n'
SOUTH = '[media.gateways.south]\nproxy = "south.test"\n'


class Running:
    """A node with the carriers of a file that is changed while it runs."""

    def __init__(self, home: Path, blobs: LocalBlobs) -> None:
        self.home, self.file, self.gateways = home, home / "tandem.toml", home / "gateways"
        self.write(NORTH)
        files = Files(home / "spool", home / "cdr", blobs, SystemEntropy(), self.gateways)
        where = Switch("127.0.0.1", 9, "127.0.0.1", 0)
        config = FreeswitchConfig(recordings_dir=str(home / "memory"))
        gateways = tuple(gateways_of(self.settings()))
        self.node = FreeswitchNode(config, where, "esl", {}, files, SystemClock(), Tape(), gateways)
        self.reread = Rereading(self.settings)
        self.reread.node = self.node

    def write(self, gateways: str, media: str = 'backend = "freeswitch"') -> None:
        self.file.write_text(f"[media]\n{media}\n{gateways}")

    def settings(self) -> Config:
        return load(Config, self.file, {})

    def files(self) -> dict[str, str]:
        return {path.name: path.read_text() for path in sorted(self.gateways.iterdir())}


@pytest.fixture
async def running(tmp_path: Path) -> AsyncIterator[Running]:
    blobs = await LocalBlobs.open(tmp_path / "blobs")
    made = Running(tmp_path, blobs)
    yield made
    await made.node.close()
    await blobs.close()


async def test_what_is_new_changed_and_gone_is_taken(running: Running) -> None:
    running.write(NORTH + SOUTH)
    assert running.reread() == GatewaysRead(added=("south",), kept=("north",))
    running.write(NORTH + "port = 5070\n")
    assert running.reread() == GatewaysRead(changed=("north",), removed=("south",))
    assert list(running.files()) == ["north.xml"]
    assert "5070" in running.files()["north.xml"]
    running.write("")
    assert running.reread() == GatewaysRead(removed=("north",))
    assert running.reread() == GatewaysRead()
    assert running.files() == {}


@pytest.mark.parametrize(
    ("gateways", "media", "says"),
    [
        (NORTH + "prxy = 1\n" + SOUTH, 'backend = "freeswitch"', "prxy"),
        (NORTH + 'transport = "carrier pigeon"\n', 'backend = "freeswitch"', "media.gateways.north.transport"),
        (NORTH + "register = true\n", 'backend = "freeswitch"', "register needs username and password_file"),
        (
            NORTH + 'username = "a"\npassword_file = "/nowhere"\n',
            'backend = "freeswitch"',
            "media.gateways.north.password_file /nowhere cannot be read",
        ),
        ("", 'backend = "builtin"', "media.backend is another one now"),
        ("", "no toml", "the configuration cannot be used"),
        (SOUTH, 'backend = "freeswitch"', r"south.xml was not written by Tandem"),
    ],
)
async def test_what_cannot_be_is_refused_and_nothing_has_changed(
    running: Running, gateways: str, media: str, says: str
) -> None:
    (running.gateways / "south.xml").write_text('<gateway name="south"/>')
    before = running.files()
    running.write(gateways, media)
    with pytest.raises(CannotReread, match=f"(?s){says}.*; nothing has changed$"):
        running.reread()
    assert running.files() == before
    running.write(NORTH)
    assert running.reread() == GatewaysRead(kept=("north",))


async def test_a_node_without_gateways_says_so(tmp_path: Path) -> None:
    with pytest.raises(CannotReread, match="the built-in node has no gateways"):
        Rereading(Config)()
