"""A carrier's certificate, checked by live FreeSWITCH: who may be called through, and what is said of who may not."""

from __future__ import annotations

import asyncio
import re
import ssl
from collections.abc import AsyncIterator, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from tandem.media.freeswitch.gateways import Gateway
from tests.e2e.freeswitch.backend import TENANT, ordered
from tests.e2e.freeswitch.certificates import HOST, Signed, lay_down, signed_by_itself
from tests.e2e.freeswitch.node import FreeSwitch
from tests.e2e.freeswitch.test_gateways import SHOWN, call, up
from tests.e2e.programs import free_ports

_COPIED = re.compile(r"^(?:Via|From|Call-ID|CSeq):.*\r\n", re.MULTILINE | re.IGNORECASE)
_TO = re.compile(r"^To:.*", re.MULTILINE | re.IGNORECASE)


@pytest.fixture(scope="module")
def authority() -> Signed:
    """Whom the node believes."""
    return signed_by_itself("The carriers' authority")


@pytest.fixture(scope="module")
def switch(
    freeswitch_prefix: Path, tmp_path_factory: pytest.TempPathFactory, directory_port: int, authority: Signed
) -> Iterator[FreeSwitch]:
    """A node with TLS and the settings as they come."""
    url = f"http://127.0.0.1:{directory_port}/directory"
    home = tmp_path_factory.mktemp("carriers")
    node = FreeSwitch(freeswitch_prefix, home, directory_url=url, tls="true", tls_port=free_ports(1)[0])
    trusted = lay_down(node.certificates)
    trusted.write_bytes(trusted.read_bytes() + authority.public)
    try:
        node.start()
        yield node
    finally:
        node.stop()


@dataclass
class Carrier:
    """Answers every request with 200 over TLS."""

    port: int = 0
    asked: list[str] = field(default_factory=list)
    """First lines of what it was asked."""
    open: list[asyncio.StreamWriter] = field(default_factory=list)

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """A connection."""
        self.open.append(writer)
        with suppress(asyncio.IncompleteReadError, OSError):
            while True:
                head = (await reader.readuntil(b"\r\n\r\n")).decode().lstrip("\r\n")
                self.asked.append(head.partition("\r\n")[0])
                to = _TO.search(head)
                assert to is not None
                copied = "".join(_COPIED.findall(head))
                answer = f"SIP/2.0 200 OK\r\n{copied}{to[0].rstrip()};tag=carrier\r\nContent-Length: 0\r\n\r\n"
                writer.write(answer.encode())
        writer.close()


@asynccontextmanager
async def carrier(home: Path, shows: Signed) -> AsyncIterator[Carrier]:
    """A carrier with that certificate."""
    home.mkdir()
    (home / "carrier.pem").write_bytes(shows.public + shows.private)
    context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
    context.load_cert_chain(home / "carrier.pem")
    made = Carrier()
    server = await asyncio.start_server(made.serve, HOST, 0, ssl=context)
    made.port = server.sockets[0].getsockname()[1]
    try:
        yield made
    finally:
        server.close()
        for writer in made.open:
            writer.transport.abort()
        await asyncio.sleep(0.1)


async def test_a_carrier_is_called_through_if_its_certificate_is_right(
    switch, directory_port, tmp_path, authority, caplog
):
    shown = {
        "right": authority.signs(HOST),
        "name": authority.signs("carrier.test"),
        "authority": signed_by_itself(HOST),
        "date": authority.signs(HOST, expired=True),
    }
    async with AsyncExitStack() as stack:
        far = {
            name: await stack.enter_async_context(carrier(tmp_path / name, certificate))
            for name, certificate in shown.items()
        }
        gateways = [
            Gateway(
                name,
                HOST,
                made.port,
                transport="tls",
                ping_s=5,
                caller_id=SHOWN,
                tenants=(TENANT,),
                destinations=("+",),
            )
            for name, made in far.items()
        ]
        made = await stack.enter_async_context(ordered(switch, directory_port, tmp_path / "node", {}, gateways))
        for name in ("name", "authority", "date"):
            async with asyncio.timeout(60):  # FreeSWITCH waits 32 s for the answer that cannot come
                while f"GATEWAY_DOWN: gateway {name} " not in caplog.text:
                    await asyncio.sleep(0.05)
            order = replace(call(), gateway=name)
            assert (await made.order(f"c.{name}", order)).reason == "GATEWAY_DOWN"
            assert far[name].asked == [], "nothing was said to whoever it is"
        assert len(far["right"].asked) > 1
        assert all(line.startswith("OPTIONS sip:") for line in far["right"].asked), far["right"].asked
        assert up(made.node) == {"right": 1, "name": 0, "authority": 0, "date": 0}
    for wrong in (
        "CARRIER_NOT_TRUSTED: whoever answers at 127.0.0.1 has another name in its certificate",
        "does not believe the certificate of /CN=127.0.0.1: self-signed certificate",
        "does not believe the certificate of /CN=127.0.0.1: certificate has expired",
    ):
        assert wrong in caplog.text
