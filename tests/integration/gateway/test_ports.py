"""Ports that somebody else has."""

from __future__ import annotations

import asyncio
import socket
from functools import partial
from typing import ClassVar

import pytest

from tandem.targets import serving
from tandem.targets.serving import PortTaken, _bound, _listen
from tests.support.pauses import NotedRetry, grow


def _taken() -> socket.socket:
    return socket.create_server(("127.0.0.1", 0))


async def test_a_port_that_a_dying_predecessor_has_is_waited_for() -> None:
    """A standby can be there before the kernel has closed all that the owner had."""
    with _taken() as predecessor:
        port = predecessor.getsockname()[1]
        waiting = asyncio.create_task(_bound(partial(_listen, "127.0.0.1", port)))
        await asyncio.sleep(0)
        assert not waiting.done()
    with await waiting as listener:
        assert listener.getsockname()[1] == port


async def test_a_port_that_stays_taken_is_tried_less_and_less_often(monkeypatch: pytest.MonkeyPatch) -> None:
    class Pauses(NotedRetry):
        pauses_s: ClassVar[list[float]] = []

    async def bind() -> int:
        if len(Pauses.pauses_s) < 6:
            raise PortTaken("grpc.port", "127.0.0.1", 1)
        return 1

    monkeypatch.setattr(serving, "Retry", Pauses)
    assert await _bound(bind) == 1
    assert grow(Pauses.pauses_s, serving.PORT_AGAIN_S, serving.PORT_AGAIN_MAX_S)


async def test_a_port_that_another_program_has_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "PORT_PATIENCE_S", -1.0)
    with _taken() as other, pytest.raises(PortTaken, match=r"http\.port"):
        await _bound(partial(_listen, "127.0.0.1", other.getsockname()[1]))
