"""The log of a real, short load, folded and decided again by another process."""

from __future__ import annotations

import asyncio
import shutil
import sqlite3
import subprocess
import sys
import time
from collections import Counter
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import pytest

from tandem.adapters.sqlite import LogFile
from tandem.core.commit import Commit
from tandem.core.ports.log import Partition
from tandem.internal.log.v1 import log_pb2
from tandem.runtime import log_codec
from tandem.runtime.ledger import STATE_HASHED
from tests.e2e.cell import SHARDS, Cell

HASHED_WITHIN_S = 130
"""A hash comes with the first commit of a minute; an idle owner commits once in that time."""
PLANTED = """
import sys
from dataclasses import replace
from tandem.session import events

def planted(module, kind, evolve):
    at = module.SERVICE.kinds.index(kind)
    kinds = (*module.SERVICE.kinds[:at], replace(kind, evolve=evolve), *module.SERVICE.kinds[at + 1:])
    module.SERVICE = replace(module.SERVICE, kinds=kinds)

kind = next(kind for kind in events.SERVICE.kinds if kind.name == "reception")
right = kind.evolve

def forgetful(state, event):
    after = right(state, event)
    after.changes = min(after.changes, 1)
    return after

planted(events, kind, forgetful)
from tandem.__main__ import main
sys.argv = ["tandem", "admin", "verify"]
main()
"""
"""Another engine: its reception counts wrong."""


@pytest.fixture(scope="module")
def loaded(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cell]:
    """A cell that has taken calls, and hashed the state that they left; it runs."""
    cell = Cell(tmp_path_factory.mktemp("loaded"), log__snapshot_commits=40)
    try:
        cell.start()
        load = cell.command("load", "--rate", "4", "--calls", "16", "--talk-s", "1")
        assert load.returncode == 0, load.stdout + load.stderr
        asyncio.run(hashed(cell))
        yield cell
    finally:
        cell.stop()


async def hashed(cell: Cell) -> None:
    """Until every shard that took calls has hashed a state with them."""
    end = time.monotonic() + HASHED_WITHIN_S
    with closing(LogFile(cell.data_dir / "log")) as log:
        while not all(late for late in _hashes(log)):
            assert time.monotonic() < end, "no state hash in the log"
            await asyncio.sleep(0.5)  # another process's log tells nobody here


def _hashes(log: LogFile) -> Iterator[bool]:
    """Of each live shard with contacts: whether a hash stands behind the last of their events."""
    for partition in (Partition("live", shard) for shard in range(SHARDS)):
        contacts, hashed_n = 0, 0
        for commit in _commits(log, partition):
            for envelope in commit.events:
                if envelope.stream.startswith("contact/"):
                    contacts = commit.n
                elif envelope.type == STATE_HASHED:
                    hashed_n = log_pb2.StateHashed.FromString(envelope.part.clear).n
        if contacts:
            yield hashed_n >= contacts


def _commits(log: LogFile, partition: Partition) -> Iterator[Commit]:
    for stored in log.records(partition, 0, log.end(partition)):
        record = log_codec.decode(stored.body)
        if isinstance(record, Commit):
            yield record


def a_contact(cell: Cell) -> tuple[str, str, Partition]:
    """(name, stream, partition) of the one with most events."""
    found: Counter[tuple[str, str, Partition]] = Counter()
    with closing(LogFile(cell.data_dir / "log")) as log:
        for partition in (Partition("live", shard) for shard in range(SHARDS)):
            for commit in _commits(log, partition):
                for envelope in commit.events:
                    if envelope.stream.startswith("contact/"):
                        name = f"tenants/{envelope.tenant}/contacts/{envelope.stream.partition('/')[2]}"
                        found[name, envelope.stream, partition] += 1
    return found.most_common(1)[0][0]


@pytest.fixture
def copy(loaded: Cell, tmp_path: Path) -> Path:
    """The directory of the cell, whose control plane was killed. Tests that want it running stand above."""
    if loaded.control is not None:
        loaded.kill_control()
    for part in ("log", "blobs"):
        shutil.copytree(loaded.data_dir / part, tmp_path / "copy" / part)
    return tmp_path / "copy"


def test_beside_a_running_tandem(loaded: Cell) -> None:
    verified = loaded.command("admin", "verify", "--check")
    assert verified.returncode == 0, verified.stdout + verified.stderr
    last = verified.stdout.splitlines()[-1]
    assert last.startswith("verified: "), last
    assert int(last.split(", ")[1].split()[0]) >= 2, last
    assert " 0 different" in verified.stdout
    assert "not compared" not in verified.stdout
    assert "live/" in verified.stdout and "from commit" in verified.stdout, "a snapshot and its tail"


def test_a_contacts_life_is_printed_and_decided_again(loaded: Cell) -> None:
    name, _, _ = a_contact(loaded)
    shown = loaded.command("admin", "replay", "--contact", name, "--check")
    assert shown.returncode == 0, shown.stdout + shown.stderr
    for wanted in ("contact.started", "contact.queued", "contact.connected", "contact.completed", "agent.reserved"):
        assert wanted in shown.stdout, wanted
    assert " 0 different" in shown.stdout
    assert "ERASED" not in shown.stdout
    unknown = loaded.command("admin", "replay", "--contact", f"{name}0")
    assert (unknown.returncode, unknown.stdout) == (1, "")


def test_without_the_cell_key_private_values_read_erased(loaded: Cell, copy: Path) -> None:
    name, _, _ = a_contact(loaded)
    (copy / "log" / "cell.key").unlink()
    blind = loaded.command("admin", "replay", "--contact", name, data_dir=copy)
    assert blind.returncode == 0, blind.stderr
    assert "caller=ERASED" in blind.stdout


def test_after_kill_9(loaded: Cell, copy: Path) -> None:
    """What a killed owner leaves: a WAL that nobody has folded in."""
    assert (copy / "log" / "log.db-wal").stat().st_size > 0
    verified = loaded.command("admin", "verify", data_dir=copy)
    assert verified.returncode == 0, verified.stdout + verified.stderr


def test_a_flipped_byte_is_found(loaded: Cell, copy: Path) -> None:
    """In what a contact's first event says, and nowhere else."""
    _, stream, partition = a_contact(loaded)
    with closing(sqlite3.connect(copy / "log" / "log.db")) as database:
        rows = database.execute(
            "SELECT offset, body FROM record WHERE partition = ? ORDER BY offset", (str(partition),)
        )
        for offset, body in rows.fetchall():
            at = body.find(b"contact.queued")
            if at >= 0 and stream.encode() in body:
                enqueued = body.index(b"load", at)  # the queue's name
                flipped = body[:enqueued] + b"m" + body[enqueued + 1 :]
                database.execute(
                    "UPDATE record SET body = ? WHERE partition = ? AND offset = ?", (flipped, str(partition), offset)
                )
                break
        else:
            raise AssertionError("nobody waited")
        database.commit()
    verified = loaded.command("admin", "verify", "--check", data_dir=copy)
    assert verified.returncode == 1, verified.stdout
    assert f"WRONG {partition} from zero" in verified.stdout


def test_another_engine_is_found(loaded: Cell, copy: Path) -> None:
    environment = {**loaded.settings, "TANDEM_DATA_DIR": str(copy)}
    verified = subprocess.run(
        (sys.executable, "-c", PLANTED), env=environment, capture_output=True, text=True, check=False
    )
    assert verified.returncode == 1, verified.stdout + verified.stderr
    assert "the owner's state hashed to" in verified.stdout
    assert verified.stdout.splitlines()[-1].startswith("NOT the same")
