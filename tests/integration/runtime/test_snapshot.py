"""Snapshots: written beside the work, found again, passed over when they cannot be used."""

from __future__ import annotations

import asyncio
import hashlib
import json
from collections.abc import AsyncIterator, Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import msgspec
import pytest
from structlog.testing import capture_logs

from tandem.adapters.memory import BlobTable, MemoryBlobs, MemoryKeys, MemoryLog, MemoryPartitions
from tandem.core.commit import Commit, Mark
from tandem.core.errors import Rejected
from tandem.core.points import Point
from tandem.core.ports.log import Partition, Stored
from tandem.core.ports.media import By, Cause, LegEnded, LegRinging
from tandem.internal.log.v1 import log_pb2
from tandem.routing.domain import words as rw
from tandem.runtime import ledger as ledger_module
from tandem.runtime import log_codec, places, snapshot
from tandem.runtime.canonical import NotCanonical
from tandem.runtime.ledger import SNAPSHOT_TAKEN, Ledger
from tandem.runtime.past import Past, Row
from tandem.runtime.restore import restore
from tandem.runtime.snapshot import KEEP, Writer, load, prefix, tidy
from tandem.runtime.step import Offer
from tandem.session.domain import reception as r
from tests.integration.runtime.toys import (
    FAR,
    TOYS,
    Disk,
    HandNode,
    MemoryDisk,
    SqliteDisk,
    folded,
    groups,
    process,
    records,
    until,
)
from tests.support.bench import Bench
from tests.support.small_cell import TENANT, SmallCell
from tests.support.toy import NODE, toy_group

EVERYTHING = (
    ("toy/a", "say:x;wake:later:99999999999999;act:ring"),
    ("vault/b", "say:hidden;wake:never:99999999999999"),
    ("toy/c", "say:gone;over"),
)


# ------------------------------------------------------------------- written and found


async def fill(disk: Disk, commits: int, every: int) -> list[bytes]:
    """A life with all kinds of state, and snapshots on the way; its last state."""
    async with process(disk, nodes=(NODE,), receivers={"media": HandNode()}, snapshot_commits=every) as p:
        for n in range(commits):
            stream, script = EVERYTHING[n % 3]
            await p.ask(f"{stream}{n % 7}", f"{script};tell:far/x:say:{n};answer", f"r{n}")
        await until(lambda: p.points.passes(Point.IN_SNAPSHOT) > 0)
        await until(lambda: p.toys._snapshotting is None)
        position = (await p.told("toy/a", "answer")).position
        assert await p.host.taken("t1", "far", position, 10)
        await until(lambda: p.toys._snapshotting is None)
        parts = await p.parts(p.toys)
        assert parts == await folded(p.log, p.toys)
        return parts


class Noted(MemoryLog):
    """Notes from where it is read."""

    def __init__(self, partitions: MemoryPartitions) -> None:
        super().__init__(partitions)
        self.begun: list[tuple[Partition, int]] = []

    def read(self, partition: Partition, after: int = 0) -> AsyncIterator[Sequence[Stored]]:
        """See the port."""
        self.begun.append((partition, after))
        return super().read(partition, after)


async def test_a_snapshot_and_the_log_behind_it_are_the_whole_log(disk: Disk) -> None:
    parts = await fill(disk, 60, 25)
    async with process(disk, "b") as p:
        now = await p.parts(p.toys)
        assert now[1:] == parts[1:], "all but the head, which names epoch and owner"
        assert now == await folded(p.log, p.toys)
        await p.ask("toy/a", "say:more;answer")
        assert await p.parts(p.toys) == await folded(p.log, p.toys)


async def test_a_restart_reads_only_what_is_behind_the_newest_snapshot(memory: MemoryDisk) -> None:
    memory.make_log = Noted
    await fill(memory, 60, 25)
    newest = json.loads(memory.blobs.get(manifests(memory)[-1]))["offset"]
    async with process(memory, "b") as p:
        assert (TOYS, newest) in p.log.begun
        assert newest > 40


async def test_a_state_is_folded_anew_behind_a_snapshot_that_holds_an_earlier_life(disk: Disk) -> None:
    async with process(disk, snapshot_commits=1) as p:
        await p.ask("toy/a", "say:a;say:b;say:c;answer")
        await until(lambda: p.points.passes(Point.IN_SNAPSHOT) > 0)
        await until(lambda: p.toys._snapshotting is None)
    async with process(disk, "b") as p:
        await p.ask("toy/a", "over;answer")
        await p.ask("toy/a", "say:d;answer")
        with pytest.raises(Rejected):
            await p.ask("toy/a", "boom")
        await until(lambda: p.toys.counts.rebuilt)
        assert await p.words("toy/a") == ("d",)
        assert await p.parts(p.toys) == await folded(p.log, p.toys)


async def test_what_a_crash_left_of_the_same_snapshot_is_in_nobody_s_way(memory: MemoryDisk) -> None:
    """A successor that has nothing to commit stands at the same commit, under another epoch."""
    async with process(memory) as p:
        await p.ask("toy/a", "say:x;answer")
    memory.blobs.put(f"{prefix(TOYS)}{1:020d}/part-0000", b"of a head with another epoch")
    memory.blobs.put(f"{prefix(TOYS)}{1:020d}/part-0001", b"more")
    async with process(memory, "b", snapshot_commits=1) as p:
        await until(lambda: manifests(memory))
        assert json.loads(memory.blobs.get(manifests(memory)[0]))["n"] == 1
        await until(lambda: p.toys._snapshotting is None)
    async with process(memory, "c") as p:
        assert (await p.toys.place(1)).arbiter.n == 1


async def test_a_restart_takes_messages_from_where_its_snapshot_says(memory: MemoryDisk) -> None:
    memory.make_log = Noted
    await fill(memory, 60, 25)
    async with process(memory, "b") as p:
        position = (await p.told("toy/a", "tell:far/x:say:new;answer")).position
        assert await p.host.taken("t1", "far", position, 10)
        assert (await p.words("far/x"))[-1] == "new"
        own = json.loads(memory.blobs.get(manifests(memory)[-1]))["offset"]
        begun = [after for partition, after in p.log.begun if partition == TOYS]
        assert len(begun) == 2
        assert own in begun
        assert min(begun) > 40, "the toys' own log, and what far takes of it"


async def test_a_view_that_is_a_little_behind_reads_little_after_a_restart(
    memory: MemoryDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(places, "PLACE_COMMITS", 5)
    await fill(memory, 60, 25)
    async with process(memory, "b") as p:
        n = p.toys._shard.n  # type: ignore[union-attr]
        assert (await p.toys.place(n - 15)).arbiter.n >= n - 30
        assert (await p.toys.place(2)).arbiter.n <= 2


async def test_a_view_that_is_there_before_its_shard_waits_for_the_snapshot(memory: MemoryDisk) -> None:
    memory.make_log = Noted
    await fill(memory, 60, 25)
    async with process(memory, "b", ready=False) as p:
        tailed = p.host.tail("toys", 0, 55)
        assert (await anext(tailed))[1].n == 56
        await tailed.aclose()  # type: ignore[attr-defined]
        await p.host.ready()
        assert min(after for _, after in p.log.begun) >= 25


def manifests(memory: MemoryDisk) -> list[str]:
    """Names of the manifests of whole snapshots of the toys, oldest first."""
    return [name for name in memory.blobs.list(prefix(TOYS)) if name.endswith("/manifest")]


async def test_a_snapshot_of_what_is_not_durable_waits_for_its_log(memory: MemoryDisk) -> None:
    async with process(memory, snapshot_commits=1) as p:
        p.log.hold()
        asked = asyncio.create_task(p.ask("toy/a", "say:x;answer"))
        await until(lambda: p.points.passes(Point.IN_SNAPSHOT) == 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert manifests(memory) == []
        p.log.release()
        await asked
        await until(lambda: manifests(memory))
        assert json.loads(memory.blobs.get(manifests(memory)[0]))["offset"] == 2


async def test_the_newest_two_are_kept(memory: MemoryDisk) -> None:
    memory.blobs.put(f"{prefix(TOYS)}{0:020d}/part-0000", b"what a crash left")
    async with process(memory, snapshot_commits=1) as p:
        for n in range(6):
            await p.ask("toy/a", f"say:{n};answer")
            await until(lambda: p.toys._snapshotting is None)
    numbers = {name.split("/")[3] for name in memory.blobs.list(prefix(TOYS))}
    assert len(numbers) == len(manifests(memory)) == KEEP


class Announced(MemoryBlobs):
    """From its third snapshot on, the log is slow as soon as a manifest is stored."""

    log: MemoryLog
    manifests = 0

    async def put(self, name: str, content: bytes | AsyncIterator[bytes]) -> None:
        """See the port."""
        await super().put(name, content)
        self.manifests += name.endswith("/manifest")
        if self.manifests == KEEP + 1:
            self.log.hold()


@dataclass
class AnnouncedDisk(MemoryDisk):
    """Its blobs know its log."""

    async def open(self) -> tuple[MemoryLog, MemoryKeys, MemoryBlobs]:
        """See `Disk`."""
        log, keys, _ = await super().open()
        blobs = Announced(self.blobs)
        blobs.log = log
        return log, keys, blobs


def announced(stored: Sequence[Stored]) -> list[int]:
    """The snapshots that the log knows of."""
    commits = [record for record in (log_codec.decode(row.body) for row in stored) if isinstance(record, Commit)]
    return [
        log_pb2.SnapshotTaken.FromString(envelope.part.clear).n
        for commit in commits
        for envelope in commit.events
        if envelope.type == SNAPSHOT_TAKEN
    ]


async def test_an_old_snapshot_goes_only_when_the_log_knows_of_a_newer_one() -> None:
    disk = AnnouncedDisk()
    async with process(disk, snapshot_commits=1) as p:
        for n in range(KEEP):
            await p.ask("toy/a", f"say:{n};answer")
            await until(lambda: p.toys._snapshotting is None)
        await p.ask("toy/a", "say:last;answer")
        await until(lambda: len(manifests(disk)) == KEEP + 1)
        for _ in range(20):
            await asyncio.sleep(0)
        assert len(manifests(disk)) == KEEP + 1, "nothing goes before the newest is announced"
        p.log.release()
        await until(lambda: len(manifests(disk)) == KEEP)
        known = announced(await records(p.log, TOYS))
        assert known[-KEEP:] == [int(name.split("/")[3]) for name in manifests(disk)]
        assert len(known) == KEEP + 1


async def test_the_owner_commits_its_state_hash_and_a_successor_compares_it(
    memory: MemoryDisk, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(ledger_module, "HASH_EVERY_MS", 1)
    async with process(memory) as p:
        for n in range(20):
            await p.ask("toy/a", f"say:{n};answer")
            await asyncio.sleep(0.002)
    async with process(memory, "b") as p:
        shard = p.toys._shard
        assert shard is not None
        state = shard.ledger.hash
        assert state.checked > 3
        assert p.toys.counts.hashes_differing == 0


async def test_a_state_that_hashes_otherwise_is_told(memory: MemoryDisk, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ledger_module, "HASH_EVERY_MS", 1)
    async with process(memory) as p:
        shard = p.toys._shard
        assert shard is not None
        shard.ledger.marks["nobody/t1", "t1"] = 7  # what no commit says
        for n in range(20):
            await p.ask("toy/a", f"say:{n};answer")
            await asyncio.sleep(0.002)
            shard.ledger.apply_mark(Mark("nobody/t1", "t1", 8 + n))
    with capture_logs() as told:
        async with process(memory, "b") as p:
            assert await p.ask("toy/a", "say:on;answer"), "it serves all the same"
            assert p.toys.counts.hashes_differing > 0
    assert {line["log_level"] for line in told if line["event"] == "state hash differs"} == {"error"}


async def test_a_full_disk_costs_the_snapshot_and_nothing_else(memory: MemoryDisk) -> None:
    async with process(memory, snapshot_commits=1) as p:
        memory.blobs.full = True
        assert await p.ask("toy/a", "say:x;answer") == "x"
        await until(lambda: p.toys._snapshotting is None)
        memory.blobs.full = False
        assert await p.ask("toy/a", "say:y;answer") == "x y"
        await until(lambda: manifests(memory))
        assert p.toys.life == 1


async def test_a_damaged_snapshot_is_passed_over_at_the_start(tmp_path: Path) -> None:
    disk = SqliteDisk(tmp_path)
    parts = await fill(disk, 60, 20)
    block = max((tmp_path / "blobs").rglob("part-0000*"))
    block.chmod(0o600)
    block.write_bytes(block.read_bytes()[:-1] + b"?")
    with capture_logs() as told:
        async with process(disk, "b") as p:
            assert (await p.parts(p.toys))[1:] == parts[1:]
    assert [line["why"] for line in told if line["event"] == "snapshot passed over"] == [
        "ValueError: part 0 is damaged"
    ]


# ------------------------------------------------------------------- whatever is wrong with one


def folded_bench() -> Ledger:
    """A state with a word in it."""
    bench = Bench().live()
    bench.do("toy/a", "say:x;act:ring")
    bench.settle()
    return bench.shard.ledger


def written(ledger: Ledger) -> tuple[list[bytes], Writer]:
    """Its blocks."""
    writer = Writer(ledger.group, ledger.image())
    return [block for block in writer.blocks(lambda: 0.0, 1.0) if block is not None], writer


def store(table: BlobTable, n: int, blocks: list[bytes], manifest: bytes | None) -> None:
    """A snapshot as it stands in Blobs."""
    for index, block in enumerate(blocks):
        table.put(f"{prefix(TOYS)}{n:020d}/part-{index:04d}", block)
    if manifest is not None:
        table.put(f"{prefix(TOYS)}{n:020d}/manifest", manifest)


def changed(manifest: bytes, **fields: object) -> bytes:
    return json.dumps(json.loads(manifest) | fields).encode()


Damage = Callable[[list[bytes], bytes], tuple[list[bytes], bytes]]
DAMAGES: dict[str, Damage] = {
    "a part is missing": lambda blocks, manifest: ([], manifest),
    "a part is cut": lambda blocks, manifest: ([blocks[0][:-1]], manifest),
    "a bit is flipped": lambda blocks, manifest: ([blocks[0][:-1] + bytes([blocks[0][-1] ^ 1])], manifest),
    "the manifest is cut": lambda blocks, manifest: (blocks, manifest[:-2]),
    "the manifest is no object": lambda blocks, manifest: (blocks, b"[]"),
    "the manifest lacks a field": lambda blocks, manifest: (blocks, b'{"format": 1}'),
    "another format": lambda blocks, manifest: (blocks, changed(manifest, format=99)),
    "other services": lambda blocks, manifest: (blocks, changed(manifest, shape="toys+routing")),
    "another number": lambda blocks, manifest: (blocks, changed(manifest, n=17)),
    "ahead of the log": lambda blocks, manifest: (blocks, changed(manifest, offset=1001)),
    "a state of another release": lambda blocks, manifest: _with_part(manifest, ["Unknown"]),
    "a part of another release": lambda blocks, manifest: _with_part(manifest, [0, "unheard-of"]),
    "no head": lambda blocks, manifest: ([], changed(manifest, blocks=[])),
}


def _with_part(manifest: bytes, raw: object) -> tuple[list[bytes], bytes]:
    part = msgspec.msgpack.encode(raw)
    block = len(part).to_bytes(4, "big") + part
    return [block], changed(manifest, blocks=[hashlib.sha256(block).hexdigest()])


@pytest.mark.parametrize("damage", DAMAGES.values(), ids=DAMAGES.keys())
async def test_what_cannot_be_used_is_passed_over_for_an_older_one(damage: Damage) -> None:
    ledger, table = folded_bench(), BlobTable()
    n = ledger.arbiter.n
    blocks, writer = written(ledger)
    manifest = writer.manifest(n, 7, ledger.group.shape)
    store(table, n, blocks, manifest)
    store(table, n + 5, *damage(blocks, changed(manifest, n=n)))
    told: list[tuple[str, str]] = []
    found = await load(MemoryBlobs(table), TOYS, toy_group(), 1000, lambda name, why: told.append((name, why)))
    assert found is not None
    assert (found.offset, list(found.ledger.parts())) == (7, list(ledger.parts()))
    assert [name for name, _ in told] == [f"{prefix(TOYS)}{n + 5:020d}"]


async def test_parts_without_a_manifest_are_no_snapshot() -> None:
    ledger, table = folded_bench(), BlobTable()
    store(table, 9, written(ledger)[0], None)
    told: list[tuple[str, str]] = []
    assert await load(MemoryBlobs(table), TOYS, toy_group(), 1000, lambda name, why: told.append((name, why))) is None
    assert told == []


class Unlistable(MemoryBlobs):
    """Cannot say what there is."""

    async def list(self, prefix: str, after: str = "", limit: int = 1000) -> Sequence[str]:
        """See the port."""
        raise OSError("the disk does not answer")


async def test_blobs_that_do_not_answer_are_passed_over() -> None:
    told: list[tuple[str, str]] = []
    blobs = Unlistable(BlobTable())
    assert await load(blobs, TOYS, toy_group(), 1000, lambda name, why: told.append((name, why))) is None
    assert len(told) == 1


async def test_tidy_leaves_other_shards_and_what_is_newer_alone() -> None:
    table = BlobTable()
    for n in range(5):
        store(table, n, [b"x"], b"{}")
    store(table, 9, [b"x"], None)  # is being written
    table.put(f"{prefix(FAR)}{0:020d}/manifest", b"{}")
    table.put(f"snapshots/toys/01/{0:020d}/manifest", b"{}")
    await tidy(MemoryBlobs(table), TOYS)
    left = [int(name.split("/")[3]) for name in table.list(prefix(TOYS))]
    assert left == [3, 3, 4, 4, 9]
    assert len(table.list(prefix(FAR))) == len(table.list("snapshots/toys/01/")) == 1


# ------------------------------------------------------------------- packing


def ticking(step_s: float) -> Callable[[], float]:
    """A clock that goes on with each look at it."""
    now = iter(range(10**9))
    return lambda: next(now) * step_s


def test_packing_pauses_whenever_its_time_is_over(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(snapshot, "BLOCK_BYTES", 60)
    ledger = folded_bench()
    whole = list(ledger.parts())
    for step_s in (0.0, 0.0015, 0.003):
        writer = Writer(ledger.group, ledger.image())
        given = list(writer.blocks(ticking(step_s), 0.002))
        blocks = [block for block in given if block is not None]
        assert [part for block in blocks for part in snapshot._split(block)] == whole
        assert len(writer.checksums) == len(blocks) > 1
        assert (None in given) == (step_s > 0.002)


def live_steps(cell: SmallCell) -> Iterator[None]:
    """Things that change every part of a live shard, one after another."""
    cell.configure("ann", "bob")
    yield
    cell.call("c1")
    yield
    (leg,) = (p.payload.leg for p in cell.performed if p.payload.leg.startswith("c1."))
    cell.leg(leg, LegRinging())
    yield
    cell.ask("desk", rw.SetPresence("bob", rw.OFFLINE), "r1", "d1")
    yield
    cell.call("c2")
    yield
    cell.leg(leg, LegEnded(Cause.DECLINED, By.FAR))
    yield
    cell.input("reception", r.NoteDevice("ann-phone", "m1", False, cell.shard.now_ms))
    yield
    cell.leg("c1", LegEnded(Cause.NORMAL, By.FAR))
    yield
    cell.shard.offer(_config(r.PublishNumber("100", 9, "main", True)))
    cell.shard.offer(_config(rw.PublishQueue("sales", 9, 1, 1, True), "desk", 101))
    cell.settle()
    yield


def _config(command: object, stream: str = "reception", number: int = 100) -> Offer:
    return Offer(f"tenant/0/{TENANT}", number, TENANT, stream, command)


def test_an_image_does_not_change_with_the_state_that_it_is_of() -> None:
    """It is packed later, while the desk and all the rest go on."""
    cell = SmallCell()
    taken: list[tuple[Row, Past, list[bytes]]] = []
    for _ in live_steps(cell):
        ledger = cell.shard.ledger
        taken.append((ledger.head(), ledger.moment(), list(ledger.parts())))
    pack = cell.shard.group.canonical.encode
    assert len({tuple(parts) for _, _, parts in taken}) == len(taken), "each step changed something"
    for head, past, parts in taken:
        late = [pack(head), *map(pack, cell.shard.ledger.rows_at(past))]
        assert sorted(late) == sorted(parts)
        assert list(restore(cell.shard.group, late).parts()) == parts
        restored = restore(cell.shard.group, iter(parts))
        assert list(restored.parts()) == parts


def test_what_may_not_stand_in_a_state_is_named() -> None:
    group = groups()[0]
    with pytest.raises(NotCanonical, match=r"builtins\.float"):
        list(Writer(group, (("head", 1.5),)).blocks(lambda: 0.0, 1.0))
