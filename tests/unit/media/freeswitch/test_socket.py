"""The socket is read while the loop stands still, and written without waiting."""

from __future__ import annotations

import asyncio
import socket
import threading
from collections.abc import Iterator
from contextlib import contextmanager

from tandem.media.freeswitch import socket_driver
from tandem.media.freeswitch.socket_driver import EslSocket, connected

EVENT = b"Content-Length: 10\nContent-Type: text/event-plain\n\n" + b"A: b\nC: d\n"


@contextmanager
def pair(wake: object = None) -> Iterator[tuple[socket.socket, EslSocket, asyncio.Event]]:
    """The switch's end, ours, and what tells that ours was woken."""
    ours, theirs = socket.socketpair()
    woken = asyncio.Event()
    link = EslSocket(ours, woken.set)
    try:
        yield theirs, link, woken
    finally:
        link.close()
        theirs.close()


def taken(link: EslSocket) -> bytes:
    parts = []
    while (data := link.take()) is not None:
        parts.append(data)
    return b"".join(parts)


async def test_a_loop_that_stands_still_does_not_hold_up_the_switch() -> None:
    """Far more than the kernel keeps is written while the loop runs nothing, and all of it is there."""
    with pair() as (switch, link, woken):
        total = EVENT * 200_000
        switch.settimeout(20)
        switch.sendall(total)  # on the loop's own thread: nobody but the reader can take it
        switch.close()
        async with asyncio.timeout(20):
            while not link._over:
                await woken.wait()
                woken.clear()
        assert abs(link.frames - 200_000) <= link.received  # one may be cut between two pieces
        assert taken(link) == total
        assert (link.frames, link.over) == (0, True)
        assert link.taken == link.received


async def test_it_wakes_when_something_can_be_taken_after_nothing_could() -> None:
    with pair() as (switch, link, woken):
        for _ in range(3):
            switch.sendall(EVENT)
            await asyncio.wait_for(woken.wait(), 10)
            woken.clear()
            assert taken(link) == EVENT


async def test_what_lies_in_the_kernel_is_known_of() -> None:
    with pair() as (switch, link, woken):
        assert not link.more
        switch.sendall(EVENT)
        assert link.more, "taken by the thread or not"
        await asyncio.wait_for(woken.wait(), 10)
        assert taken(link) == EVENT
        assert not link.more


async def test_more_than_can_be_held_ends_the_connection(monkeypatch) -> None:
    monkeypatch.setattr(socket_driver, "HELD_MAX_BYTES", 1000)
    with pair() as (switch, link, woken):
        switch.sendall(EVENT * 100)
        async with asyncio.timeout(10):
            while not link._over:
                await woken.wait()
                woken.clear()
        assert not link.over  # what came is taken first
        assert taken(link)
        assert link.over


async def test_sending_never_waits_and_loses_nothing() -> None:
    with pair() as (switch, link, _):
        sent = [b"api status %d\n\n" % n for n in range(50_000)]
        for command in sent:
            link.send(command)
        heard = bytearray()
        done = threading.Event()

        def hear() -> None:
            while len(heard) < len(b"".join(sent)):
                heard.extend(switch.recv(65536))
            done.set()

        threading.Thread(target=hear, daemon=True).start()
        assert await asyncio.to_thread(done.wait, 20)
        assert bytes(heard) == b"".join(sent)


async def test_a_switch_that_takes_no_commands_is_given_up(monkeypatch) -> None:
    monkeypatch.setattr(socket_driver, "UNSENT_MAX_BYTES", 1000)
    with pair() as (_, link, woken):
        for _ in range(2000):
            link.send(b"x" * 1000)
        await asyncio.wait_for(woken.wait(), 10)
        assert link.over


async def test_connecting_is_refused_where_nobody_listens() -> None:
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        listener.listen()
        port = listener.getsockname()[1]
        made = await connected("127.0.0.1", port)
        made.close()
    try:
        await connected("127.0.0.1", port)
    except ConnectionRefusedError:
        return
    raise AssertionError("nobody listens there")
