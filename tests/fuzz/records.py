"""Fuzz targets: frames of the media link, records of the log, parts of snapshots, the node's journal."""

from __future__ import annotations

from contextlib import suppress

import msgspec

from tandem.media.journal.changes import BadChange, Opened, decode_change, encode_change
from tandem.media.journal.file import MAGIC, MemoryStore, Unreadable, _file_key, _seal_record, load, open_journal
from tandem.runtime import media_codec
from tandem.runtime.canonical import NotCanonical
from tandem.runtime.log_codec import BadRecord, decode, encode
from tandem.runtime.restore import restore
from tandem.runtime.snapshot import _split
from tests.support.small_cell import live_group

NODE_KEY = b"n" * 32
GROUP = live_group()


def link(data: bytes) -> None:
    """Read or refused in one way; what was read goes there and back."""
    for read, write in (
        (media_codec.decode_to_node, media_codec.encode_to_node),
        (media_codec.decode_from_node, media_codec.encode_from_node),
    ):
        try:
            frames = read(data)
        except media_codec.MediaCodecError as refused:
            assert len(str(refused)) < 500
            continue
        try:
            wire = write(frames)  # type: ignore[arg-type]
        except media_codec.OverLimit:
            continue
        assert read(wire) == frames, "written and read again, these are other frames"


def log(data: bytes) -> None:
    """Read or refused in one way; writing what was read is a fixed point."""
    try:
        record = decode(data)
    except BadRecord:
        return
    body = encode(record)
    assert decode(body) == record
    assert encode(decode(body)) == body


def canonical(data: bytes) -> None:
    """A value out of bytes is written as bytes that give the same value; a ledger takes it or refuses it."""
    try:
        value = GROUP.canonical.decode(data)
    except NotCanonical:
        value = None
    else:
        with suppress(NotCanonical):
            body = GROUP.canonical.encode(value)
            assert GROUP.canonical.encode(GROUP.canonical.decode(body)) == body
    # As `snapshot.load` does it: whatever is wrong with a snapshot, it is passed over.
    parts = list(_split(data))
    assert sum(map(len, parts)) <= len(data)
    with suppress(Exception):
        restore(GROUP, iter(parts))


def journal(data: bytes) -> None:
    """The bytes of a file, and changes in a sound file: a fold or `Unreadable`, and a fold survives rewriting."""
    with suppress(Unreadable):
        load(data, NODE_KEY)
    with suppress(BadChange):
        decode_change(data)
    salt = bytes(16)
    key = _file_key(NODE_KEY, salt)
    opened = encode_change(Opened("one"))
    # The same bytes as content of a record, past the seal: what a bug of an older release might have left.
    try:
        changes = msgspec.msgpack.decode(data, type=list[bytes])
    except msgspec.MsgspecError:
        changes = [data]
    first = MAGIC + salt + _seal_record(key, 0, [opened])
    file = first + _seal_record(key, 1, changes[:50])
    try:
        state = load(file, NODE_KEY)
    except Unreadable:
        return
    rows = list(state.rows())
    store = MemoryStore(file)
    _, again, anew = open_journal(store, NODE_KEY, lambda size: bytes(size), "two")
    if anew:
        return
    assert list(again.rows()) == rows, "read twice, two folds"
    assert list(load(store.read(), NODE_KEY).rows()) == rows, "rewriting changed the fold"
    # Torn wherever: the last record is lost, and nothing else.
    whole = len(file) - len(first)
    for cut in (len(first), len(first) + 1, len(first) + whole // 3, len(file) - 1):
        assert list(load(file[:cut], NODE_KEY).rows()) == [opened]
