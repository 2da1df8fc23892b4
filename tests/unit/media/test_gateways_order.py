"""An operator has a node read its carriers again, over its link."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tandem.media.backend import GatewaysRead
from tandem.media.link.address import LinkAddress, UnsafeLink
from tandem.media.link.gateways import CannotReread, read_gateways
from tandem.media.link.serve import LinkServer
from tandem.targets.gateways import shown
from tests.unit.media.test_link_grpc import Clock, Ear

READ = GatewaysRead(("a", "b"), ("c",), (), ("d",))


@asynccontextmanager
async def node(home: Path, reread: Callable[[], GatewaysRead] | None) -> AsyncIterator[LinkAddress]:
    address = LinkAddress(f"unix:{home}/link/media.sock")
    server = LinkServer(address, Ear(), Clock().boottime_ms, reread=reread)
    await server.start()
    try:
        yield address
    finally:
        await server.stop()


async def test_it_says_what_became_of_each(tmp_path: Path) -> None:
    async with node(tmp_path, lambda: READ) as address:
        assert await read_gateways(address) == READ


async def test_what_is_wrong_is_said_in_the_nodes_words(tmp_path: Path) -> None:
    def refused() -> GatewaysRead:
        raise CannotReread("media.gateways.north: proxy is not set; nothing has changed")

    async with node(tmp_path, refused) as address:
        with pytest.raises(CannotReread, match=r"^media.gateways.north: proxy is not set; nothing has changed$"):
            await read_gateways(address)


async def test_a_node_that_is_not_there_or_cannot(tmp_path: Path) -> None:
    with pytest.raises(UnsafeLink, match="is the media node started"):
        await read_gateways(LinkAddress(f"unix:{tmp_path}/none/media.sock"))
    async with node(tmp_path, None) as address:
        with pytest.raises(CannotReread, match="older than this command"):
            await read_gateways(address)
    with pytest.raises(CannotReread, match="is not there"):
        await read_gateways(address)


def test_what_has_changed_is_by_name_and_settings() -> None:
    before = {"kept": 1, "changed": 1, "removed": 1}
    now = {"kept": 1, "changed": 2, "new": 1, "another": 1}
    read = GatewaysRead.between(before, now)
    assert read == GatewaysRead(("another", "new"), ("changed",), ("removed",), ("kept",))
    assert shown(read) == (
        "gateway another is new\ngateway changed has changed\ngateway kept is as it was\ngateway new is new\n"
        "gateway removed is taken out\n"
    )
    assert shown(GatewaysRead()) == "there are no gateways\n"
