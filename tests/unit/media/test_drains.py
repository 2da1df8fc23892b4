"""Draining a node over its link: the order, what the operator is told, and what owners see of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import grpc
import pytest

from tandem.core.ports.media import Answer, Command, HangUp
from tandem.media.draining import Drained
from tandem.media.link.address import DRAIN_METHOD, LinkAddress, UnsafeLink, dial
from tandem.media.link.drains import WATCHERS_MAX, CannotDrain, Progress, drain
from tandem.media.link.owner_end import KeptHeard, NodeDrains
from tandem.media.link.serve import LinkServer
from tandem.targets.drain import shown
from tests.unit.media.test_link_grpc import DIRECTORY, Clock, Ear, Node, Owner


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(tmp_path)
    await node.start()
    yield node
    await node.stop()


async def ordered(node: Node, on: bool | None, within_ms: int | None = None) -> Progress:
    """The first answer."""
    async with aclosing(drain(node.address, on, within_ms)) as told:
        return await anext(told)


async def test_the_operator_is_told_at_each_change(node: Node) -> None:
    owner = Owner(node.address)
    await owner.until(lambda: owner.of(KeptHeard))
    owner.dialer.send(owner.links[0], DIRECTORY)
    owner.dialer.send(owner.links[0], Command("t1", "k0", "nobody", Answer()))
    await owner.until(owner.bodies)
    assert node.media.call("+491", "c1")
    async with aclosing(drain(node.address, True, 60_000)) as told:
        first = await anext(told)
        assert (first.node, first.draining, first.talking, first.waiting, first.legs) == ("m1", True, 0, 1, 1)
        assert first.left_ms is not None
        assert 59_000 < first.left_ms <= 60_000
        assert not node.media.call("+491", "c2")
        owner.dialer.send(owner.links[0], Command("t1", "k1", "c1", HangUp()))
        assert (await anext(told)).legs == 0
    await owner.stop()


async def test_owners_are_told_too(node: Node, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("tandem.media.link.dial.PING_MS", 20)
    owner = Owner(node.address, shards=range(2))
    await owner.until(lambda: owner.of(KeptHeard)[1:])
    assert owner.dialer.draining is False
    await ordered(node, True)
    await owner.until(lambda: owner.of(NodeDrains)[1:])
    assert owner.dialer.draining is True
    await ordered(node, False)
    await owner.until(lambda: owner.of(NodeDrains)[3:])
    assert owner.of(NodeDrains) == [NodeDrains("m1", True)] * 2 + [NodeDrains("m1", False)] * 2
    await owner.stop()


async def test_it_holds_in_the_next_life_and_can_be_looked_at_without_an_order(node: Node) -> None:
    await ordered(node, True)
    await node.stop()
    await node.start()
    assert (await ordered(node, None)).draining
    assert node.media.draining
    assert not (await ordered(node, False)).draining
    assert not (await ordered(node, None)).draining


async def boots(node: Node) -> None:
    """The host's memory is gone, and the node key with it."""
    await node.stop()
    node.settings.node_key_file.unlink()
    await node.start()


async def test_it_holds_when_the_host_was_booted_until_it_is_undone(node: Node) -> None:
    await ordered(node, True, 60_000)
    for _ in range(2):
        await boots(node)
        told = await ordered(node, None)
        assert (told.draining, told.left_ms) == (True, None)
        assert node.media.draining
    await ordered(node, False)
    await boots(node)
    assert not (await ordered(node, None)).draining
    assert not node.media.draining


async def test_a_node_that_was_drained_before_there_was_a_note_writes_one(node: Node) -> None:
    await ordered(node, True)
    note = node.settings.journal_file.with_name("drained")
    note.unlink()
    await node.stop()
    await node.start()
    assert note.exists()


async def test_a_note_that_cannot_be_written_holds_nobody_up(node: Node, caplog: pytest.LogCaptureFixture) -> None:
    note = node.settings.journal_file.with_name("drained")
    note.symlink_to(note.parent / "nowhere" / "at all")
    assert (await ordered(node, True)).draining
    assert "after a boot of the host it is not" in caplog.text


async def test_an_order_that_cannot_be_read_is_refused(node: Node) -> None:
    async with dial(node.address) as channel:
        for garbage in (b"\x08\x07", b"\xff", b"\x08\x01\x10\xff\xff\xff\xff\xff\x01"):
            with pytest.raises(grpc.aio.AioRpcError) as refused:
                await channel.unary_stream(DRAIN_METHOD)(garbage).read()
            assert refused.value.code() is grpc.StatusCode.INVALID_ARGUMENT
    assert not node.media.draining


async def test_only_so_many_look_on(node: Node) -> None:
    watching = [drain(node.address, None) for _ in range(WATCHERS_MAX)]
    for one in watching:
        await anext(one)
    with pytest.raises(CannotDrain, match="look on already"):
        await ordered(node, None)
    for one in watching:
        await one.aclose()
    while True:  # the node learns a moment later that they went
        try:
            await ordered(node, None)
        except CannotDrain:
            await asyncio.sleep(0)
        else:
            return


async def test_who_looks_on_is_told_that_the_node_ended(node: Node) -> None:
    async with aclosing(drain(node.address, True)) as told:
        await anext(told)
        await node.stop()
        with pytest.raises(CannotDrain):
            await anext(told)
    await node.start()


class Full:
    """A node whose journal cannot be written."""

    node = "m1"
    draining = False

    def drain(self, on: bool, within_ms: int | None) -> bool:
        return False

    def drained(self) -> tuple[Drained, int]:
        return Drained(False, 0, 0, 0, 0, 0), 0


async def test_an_order_that_cannot_be_written_down_is_said(tmp_path: Path) -> None:
    address = LinkAddress(f"unix:{tmp_path}/link/media.sock")
    server = LinkServer(address, Ear(), Clock().boottime_ms, Full())
    await server.start()
    with pytest.raises(CannotDrain, match="the order waits until there is room on its disk"):
        await anext(drain(address, True))
    await server.stop()


async def test_a_node_that_is_not_there(tmp_path: Path) -> None:
    with pytest.raises(UnsafeLink, match="is the media node started"):
        await anext(drain(LinkAddress(f"unix:{tmp_path}/none/media.sock"), True))
    (tmp_path / "link").mkdir(mode=0o700)
    with pytest.raises(CannotDrain, match="is not there"):
        await anext(drain(LinkAddress(f"unix:{tmp_path}/link/media.sock"), True))


@pytest.mark.parametrize(
    ("progress", "line"),
    [
        (Progress("m1", False, 0, None, 1, 1, 3), "node m1 takes callers"),
        (
            Progress("m1", True, 12_900, None, 2, 1, 5),
            "node m1 has taken no new callers for 12 s: 3 left, 2 of them talking, 1 waiting",
        ),
        (
            Progress("m1", True, 0, 4_001, 0, 1, 1),
            (
                "node m1 has taken no new callers for 0 s: 1 left, 0 of them talking, 1 waiting; "
                "who waits is let go in 5 s"
            ),
        ),
        (
            Progress("m1", True, 60_000, 0, 1, 0, 2),
            "node m1 has taken no new callers for 60 s: 1 left, 1 of them talking, 0 waiting",
        ),
        (
            Progress("m1", True, 5_000, None, 0, 0, 0, 2),
            "node m1 has taken no new callers for 5 s: 0 left, 0 of them talking, 0 waiting; an emergency call goes on",
        ),
        (
            Progress("m1", True, 61_000, None, 0, 0, 0),
            "node m1 has taken no new callers for 61 s: nobody is left, it can be stopped",
        ),
    ],
)
def test_what_is_printed(progress: Progress, line: str) -> None:
    assert shown(progress) == line
