"""Kamailio with our configuration, on free ports of 127.0.0.1."""

from __future__ import annotations

import asyncio
import secrets
import socket
from collections.abc import AsyncIterator, Sequence
from contextlib import asynccontextmanager
from pathlib import Path

from tests.e2e.programs import PATIENCE_S, Program, free_udp_port

CONFIG = Path(__file__).parents[3] / "infra/kamailio/kamailio.cfg"


class Door:
    """One that runs."""

    def __init__(self, program: Program, port: int) -> None:
        self.program, self.port = program, port

    @property
    def sip(self) -> str:
        """Where callers dial and phones register."""
        return f"127.0.0.1:{self.port}"

    async def says(self, part: str, *, count: int = 1) -> None:
        """Until it has logged so many lines with `part`."""
        await asyncio.to_thread(self.program.wait_line, part, count=count)


@asynccontextmanager
async def door(home: Path, nodes: Sequence[int | str], **settings: str | int) -> AsyncIterator[Door]:
    """A door to nodes at these ports of 127.0.0.1, or at these addresses, that ends with the block. `settings` are
    written as in settings.cfg."""
    home.mkdir(exist_ok=True)
    port = free_udp_port()
    places = [f"127.0.0.1:{node}" if isinstance(node, int) else node for node in nodes]
    (home / "nodes.list").write_text("".join(f"1 sip:{place}\n" for place in places))
    given = {"DOOR_PORT": port, "NODES_FILE": f'"{home / "nodes.list"}"', "PING_S": 1} | settings
    defines = [part for name, value in given.items() for part in ("-A", f"{name}={value}")]
    program = Program(
        "kamailio",
        ["kamailio", "-f", CONFIG, "-DD", "-E", "-m", "16", "-M", "4", "-Y", home, "-P", home / "pid", *defines],
    )
    try:
        await asyncio.to_thread(program.wait_line, "door: open")
        yield Door(program, port)
    finally:
        program.stop()


class Stranger:
    """Sends single requests from an address of its own on loopback and collects what is answered."""

    def __init__(self, address: str, door: Door) -> None:
        self._own = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._own.setblocking(False)
        self._own.bind((address, 0))
        self.here = f"{address}:{self._own.getsockname()[1]}"
        self._door = door

    def send(
        self, method: str, number: str = "4930123456", *, at: str = "", headers: str = "", to_tag: str = ""
    ) -> None:
        """One request to the door, `at` a node behind it or for itself, outside of any call if there is no `to_tag`."""
        request = (
            f"{method} sip:{number}@{at or self._door.sip} SIP/2.0\r\n"
            f"Via: SIP/2.0/UDP {self.here};rport;branch=z9hG4bK{secrets.token_hex(8)}\r\n"
            f"From: <sip:stranger@{self.here}>;tag={secrets.token_hex(4)}\r\n"
            f"To: <sip:{number}@{self._door.sip}>{to_tag}\r\n"
            f"Call-ID: {secrets.token_hex(8)}\r\nCSeq: 1 {method}\r\nContact: <sip:stranger@{self.here}>\r\n"
            f"Max-Forwards: 70\r\n{headers}Content-Length: 0\r\n\r\n"
        )
        self._own.sendto(request.encode(), ("127.0.0.1", self._door.port))

    async def answer(self) -> int:
        """The status of the next answer that is final."""
        async with asyncio.timeout(PATIENCE_S):
            while True:
                datagram = await asyncio.get_running_loop().sock_recv(self._own, 65536)
                if (status := int(datagram.split()[1])) >= 200:
                    return status

    def waiting(self) -> int:
        """How many answers have come that nobody read."""
        count = 0
        while True:
            try:
                self._own.recv(65536)
            except BlockingIOError:
                return count
            count += 1

    def close(self) -> None:
        """Give its port back."""
        self._own.close()
