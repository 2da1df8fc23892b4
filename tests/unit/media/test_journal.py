"""The journal's file: what it survives, what it refuses, and that nothing stands in it in plain."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from tandem.core.ports.log import Partition
from tandem.core.ports.media import Collected as Why
from tandem.core.ports.media import DigitsCollected, Event
from tandem.core.seal import Secret
from tandem.media.backend import RowKind
from tandem.media.journal.changes import Change, EpochSeen, EventKept, RowKept, encode_change
from tandem.media.journal.disk import (
    BadNodeKey,
    DiskStore,
    JournalInUse,
    default_node_key_file,
    file_system,
    node_key,
)
from tandem.media.journal.file import (
    COMPACT_FROM_BYTES,
    MAGIC,
    Journal,
    MemoryStore,
    Unreadable,
    load,
    open_journal,
)
from tandem.media.journal.state import JournalState
from tests.support.full_store import FullStore

KEY = bytes(range(32))
LIVE = Partition("live", 0)


def opened(store: MemoryStore, key: bytes = KEY, incarnation: str = "i1") -> tuple[Journal, JournalState, str]:
    return open_journal(store, key, os.urandom, incarnation)


def write(journal: Journal, state: JournalState, *changes: Change) -> None:
    encoded = [encode_change(change) for change in changes]
    for change, data in zip(changes, encoded, strict=True):
        state.apply(change, data)
    journal.append(encoded)


def digits(number: int, text: bytes = b"4711") -> EventKept:
    return EventKept(Event("t1", number, number, "c1", DigitsCollected("pin", Secret(text), Why.COMPLETE)))


def test_a_new_journal_begins_an_incarnation_and_says_so() -> None:
    _, state, anew = opened(MemoryStore())
    assert (state.incarnation, anew) == ("i1", "there was no journal")


def test_what_was_written_is_there_again_in_the_same_incarnation() -> None:
    store = MemoryStore()
    journal, state, _ = opened(store)
    write(journal, state, EpochSeen(LIVE, 7), digits(1))
    _, again, anew = opened(store, incarnation="i2")
    assert (again.incarnation, anew) == ("i1", "")
    assert again.epochs == {LIVE: 7}
    assert again.kept("t1") == state.kept("t1")


def test_another_node_key_begins_a_new_incarnation() -> None:
    store = MemoryStore()
    journal, state, _ = opened(store)
    write(journal, state, EpochSeen(LIVE, 7))
    _, again, anew = opened(store, bytes(32), "i2")
    assert again.incarnation == "i2"
    assert again.epochs == {}
    assert "another node key" in anew


def test_a_torn_end_takes_its_turn_with_it_and_nothing_else() -> None:
    store = MemoryStore()
    journal, state, _ = opened(store)
    write(journal, state, digits(1))
    whole = len(store.data)
    write(journal, state, digits(2), digits(3))
    for end in range(whole, len(store.data)):
        assert [event.number for event in load(store.data[:end], KEY).kept("t1")] == [1]


@pytest.mark.parametrize("place", ["head", "length", "checksum", "body", "last byte"])
def test_damage_is_not_taken_for_a_torn_end(place: str) -> None:
    store = MemoryStore()
    journal, state, _ = opened(store)
    before = len(store.data)
    write(journal, state, digits(1))
    at = {"head": 0, "length": before, "checksum": before + 4, "body": before + 20, "last byte": len(store.data) - 1}
    data = bytearray(store.data)
    data[at[place]] ^= 1
    with pytest.raises(Unreadable):
        load(bytes(data), KEY)


def test_records_cannot_change_places() -> None:
    store = MemoryStore()
    journal, state, _ = opened(store)
    start = len(store.data)
    write(journal, state, digits(1))
    middle = len(store.data)
    write(journal, state, digits(2))
    swapped = store.data[:start] + store.data[middle:] + store.data[start:middle]
    with pytest.raises(Unreadable):
        load(swapped, KEY)


def test_a_file_of_something_else_is_unreadable() -> None:
    for data in (b"x", b"SQLite format 3\0" * 10, MAGIC, MAGIC + bytes(16)):
        with pytest.raises(Unreadable):
            load(data, KEY)


def test_every_start_seals_under_a_key_of_its_own() -> None:
    store = MemoryStore()
    opened(store)
    first = store.data
    opened(store)
    assert store.data[len(MAGIC) :] != first[len(MAGIC) :]


def test_nothing_stands_in_it_in_plain() -> None:
    store = MemoryStore()
    journal, state, _ = opened(store)
    write(journal, state, digits(1, b"4711471147114711"), RowKept(RowKind.LEG, "c1", {"caller": "+49301234567"}))
    for plain in (b"4711", b"+4930", b"caller", b"pin", b"c1", KEY):
        assert plain not in store.data


def test_it_is_rewritten_when_most_of_it_is_of_no_use() -> None:
    store = MemoryStore()
    journal, state, _ = opened(store)
    row = {"text": "x" * 10_000}
    while not journal.overgrown():
        write(journal, state, RowKept(RowKind.LEG, "c1", row))
    assert len(store.data) > COMPACT_FROM_BYTES
    journal.rewrite(state)
    assert len(store.data) < 20_000
    assert not journal.overgrown()
    write(journal, state, digits(1))
    assert load(store.data, KEY).kept("t1") == state.kept("t1")


# ---------------------------------------------------------------------------------- disk


def test_a_disk_journal_is_0600_and_one_agents_own(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with DiskStore(path) as store:
        open_journal(store, KEY, os.urandom, "i1")
        assert path.stat().st_mode & 0o777 == 0o600
        with pytest.raises(JournalInUse, match="another media agent"):
            DiskStore(path)
    with DiskStore(path) as store:
        assert open_journal(store, KEY, os.urandom, "i2")[1].incarnation == "i1"


def test_what_a_full_disk_left_behind_is_cut_off(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with DiskStore(path) as store:
        journal, state, _ = open_journal(store, KEY, os.urandom, "i1")
        write(journal, state, digits(1))
        with path.open("ab") as torn:
            torn.write(b"half a rec")
        write(journal, state, digits(2))
    assert [event.number for event in load(path.read_bytes(), KEY).kept("t1")] == [1, 2]


def test_what_stands_on_a_full_disk_is_taken_up_and_written_when_there_is_room() -> None:
    old = MemoryStore()
    write(*opened(old)[:2], EpochSeen(LIVE, 7), digits(1))
    store = FullStore(old.data)
    journal, state, anew = opened(store, incarnation="i2")
    assert (state.incarnation, state.kept_count("t1"), anew) == ("i1", 1, "")
    assert not journal.is_written
    for number in (2, 3):
        with pytest.raises(OSError, match="No space"):
            write(journal, state, digits(number))
    assert store.data == old.data, "what an earlier life wrote stands"
    store.full = False
    for number in (2, 3):
        write(journal, state, digits(number))
    assert journal.is_written
    again = load(store.data, KEY)
    assert (again.epochs, again.kept("t1")) == ({LIVE: 7}, state.kept("t1"))


@pytest.mark.parametrize("data", [b"", b"damaged"])
def test_a_journal_that_can_neither_be_read_nor_made_is_none(data: bytes) -> None:
    with pytest.raises(OSError, match="No space"):
        opened(FullStore(data))


def test_a_copy_that_a_full_disk_did_not_take_leaves_its_room(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with DiskStore(path) as store:
        open_journal(store, KEY, os.urandom, "i1")
        path.unlink()
        path.mkdir()  # so that no file can take its place
        with pytest.raises(OSError, match="journal"):
            store.replace(b"whole")
        assert not path.with_name("journal.new").exists()


def test_a_file_left_by_a_death_while_rewriting_does_no_harm(tmp_path: Path) -> None:
    path = tmp_path / "journal"
    with DiskStore(path) as store:
        journal, state, _ = open_journal(store, KEY, os.urandom, "i1")
        write(journal, state, digits(1))
    path.with_name("journal.new").write_bytes(b"half a journal")
    with DiskStore(path) as store:
        _, state, _ = open_journal(store, KEY, os.urandom, "i2")
    assert state.kept_count("t1") == 1
    assert not path.with_name("journal.new").exists()


# ---------------------------------------------------------------------------------- node key


def test_the_node_key_is_made_once_and_private(tmp_path: Path) -> None:
    path = tmp_path / "tandem" / "node.key"
    key = node_key(path, os.urandom, allow_on_disk=True)
    assert node_key(path, os.urandom, allow_on_disk=True) == key
    assert path.stat().st_mode & 0o777 == 0o600
    assert [entry.name for entry in path.parent.iterdir()] == ["node.key"]


def test_a_node_key_on_a_disk_is_refused(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text("22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n")
    with pytest.raises(BadNodeKey, match=f"{EXAMPLE}; or set media.allow_node_key_on_disk"):
        node_key(tmp_path / "node.key", os.urandom, mounts=mounts)
    assert not (tmp_path / "node.key").exists()


def test_a_node_key_that_others_can_read_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    node_key(path, os.urandom, allow_on_disk=True)
    path.chmod(0o640)
    with pytest.raises(BadNodeKey, match="chmod 600"):
        node_key(path, os.urandom, allow_on_disk=True)


def test_a_node_key_in_a_directory_that_others_can_write_to_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o770)
    with pytest.raises(BadNodeKey, match="chmod 700"):
        node_key(tmp_path / "node.key", os.urandom, allow_on_disk=True)


EXAMPLE = rf"for example /dev/shm/tandem-{os.geteuid()}/node\.key"
"""What every advice to go elsewhere names: a place that is right."""


def test_a_node_key_in_a_directory_that_all_share_is_sent_elsewhere(tmp_path: Path) -> None:
    """Directly in /dev/shm, say: a chmod of that would be bad advice."""
    tmp_path.chmod(0o1777)
    with pytest.raises(BadNodeKey, match=EXAMPLE) as refused:
        node_key(tmp_path / "node.key", os.urandom, allow_on_disk=True)
    assert "chmod" not in str(refused.value)
    with pytest.raises(BadNodeKey, match=EXAMPLE):
        node_key(Path("/dev/shm/node.key"), os.urandom, allow_on_disk=True)


def test_a_node_key_behind_a_link_is_sent_elsewhere(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(BadNodeKey, match=EXAMPLE):
        node_key(tmp_path / "link" / "node.key", os.urandom, allow_on_disk=True)
    node_key(tmp_path / "real" / "other.key", os.urandom, allow_on_disk=True)
    (tmp_path / "real" / "node.key").symlink_to("other.key")
    with pytest.raises(BadNodeKey, match=EXAMPLE):
        node_key(tmp_path / "real" / "node.key", os.urandom, allow_on_disk=True)


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
def test_a_node_key_of_another_user_is_refused_with_both_ways_out(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    node_key(path, os.urandom, allow_on_disk=True)
    os.chown(path, 12345, -1)
    with pytest.raises(BadNodeKey, match=r"belongs to user 12345.*start the node as that user, or remove"):
        node_key(path, os.urandom, allow_on_disk=True)
    os.chown(tmp_path, 12345, -1)
    with pytest.raises(BadNodeKey, match=EXAMPLE):
        node_key(path, os.urandom, allow_on_disk=True)


def test_a_node_key_of_another_length_is_refused(tmp_path: Path) -> None:
    path = tmp_path / "node.key"
    path.write_bytes(b"short")
    path.chmod(0o600)
    with pytest.raises(BadNodeKey, match="32 bytes"):
        node_key(path, os.urandom, allow_on_disk=True)


def test_where_the_node_key_lies_by_default() -> None:
    assert default_node_key_file({"XDG_RUNTIME_DIR": "/run/user/7"}) == Path("/run/user/7/tandem/node.key")
    assert default_node_key_file({}) == Path(f"/dev/shm/tandem-{os.geteuid()}/node.key")


def test_the_kernels_mount_table_says_what_holds_a_path(tmp_path: Path) -> None:
    mounts = tmp_path / "mountinfo"
    mounts.write_text(
        "22 1 8:1 / / rw,relatime shared:1 - ext4 /dev/sda1 rw\n"
        "23 22 0:5 / /run/user\\0407 rw - tmpfs tmpfs rw\n"
        "24 22 0:6 / /dev/shm rw - tmpfs tmpfs rw\n"
        "25 24 0:7 / /dev/shm/disk rw - xfs /dev/sdb rw\n"
    )
    assert file_system(Path("/var/lib"), mounts) == "ext4"
    assert file_system(Path("/dev/shm/tandem"), mounts) == "tmpfs"
    assert file_system(Path("/dev/shm/disk/x"), mounts) == "xfs"
    assert file_system(Path("/run/user 7/x"), mounts) == "tmpfs"
    assert file_system(Path("/"), tmp_path / "none") == "unknown"
