"""Ports that somebody else has."""

from __future__ import annotations

import asyncio
import socket
from functools import partial

import pytest

from tandem.targets import serving
from tandem.targets.serving import PortTaken, _bound, _listen


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


async def test_a_port_that_another_program_has_is_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(serving, "PORT_PATIENCE_S", -1.0)
    with _taken() as other, pytest.raises(PortTaken, match=r"http\.port"):
        await _bound(partial(_listen, "127.0.0.1", other.getsockname()[1]))
