"""Where a running cell of this host is found, and whether it takes calls."""

from __future__ import annotations

import asyncio
import json
from dataclasses import dataclass
from pathlib import Path

from tandem.client.udp import Address
from tandem.runtime.config import Config

ADDRESSES = "addresses.json"
PLATFORM_KEY = "platform.key"
POLL_S = 0.1
"""Between two looks at a cell that is not up yet: it cannot tell us before it is there."""
PROBE_S = 2.0
MAX_PROBE_BYTES = 4096


class NotRunning(Exception):
    """There is no cell to talk to; the text says what to do."""


@dataclass(frozen=True, slots=True)
class Place:
    """A cell of this host, by its configuration."""

    config: Config

    @property
    def sip(self) -> Address:
        """Where phones register and dial. Raises `NotRunning` if the port is any free one."""
        if self.config.sip.port == 0:
            raise NotRunning("sip.port is 0, so nobody can know where to dial: set it to a port, 5060 for example")
        return self.config.sip.host, self.config.sip.port

    @property
    def demo_file(self) -> Path:
        """What phones and people need to know of the demo tenant."""
        return self.config.data_dir / "demo.json"

    def addresses(self) -> tuple[str, str]:
        """(gRPC `host:port`, HTTP base URL). Raises `NotRunning`."""
        path = self.config.run_dir / ADDRESSES
        try:
            found = json.loads(path.read_bytes())
            return str(found["grpc"]), str(found["http"])
        except (OSError, ValueError, KeyError, TypeError):
            raise NotRunning(f"no cell has run in {self.config.data_dir}: start one with `tandem up --demo`") from None

    def platform_key(self) -> str:
        """The key that makes tenants. Raises `NotRunning`."""
        path = self.config.data_dir / PLATFORM_KEY
        try:
            return path.read_text(encoding="ascii").strip()
        except OSError as error:
            raise NotRunning(
                f"{path} cannot be read ({error.strerror}): start the cell first, and as this user"
            ) from None

    async def ready(self, path: str = "/readyz") -> bool:
        """Whether calls can be taken at this moment."""
        try:
            _, http = self.addresses()
        except NotRunning:
            return False
        return await _is_ok(http, path)

    async def until_ready(self, within_s: float | None = None) -> None:
        """Wait until calls can be taken. Raises `NotRunning` after so many seconds."""
        try:
            async with asyncio.timeout(within_s):
                while not await self.ready():  # noqa: ASYNC110 - another process, which cannot wake us
                    await asyncio.sleep(POLL_S)
        except TimeoutError:
            raise NotRunning(
                f"the cell of {self.config.data_dir} takes no calls: start it with `tandem up --demo`"
            ) from None


async def _is_ok(base_url: str, path: str) -> bool:
    host, _, port = base_url.removeprefix("http://").rpartition(":")
    try:
        async with asyncio.timeout(PROBE_S):
            reader, writer = await asyncio.open_connection(host.strip("[]"), int(port))
            try:
                writer.write(f"GET {path} HTTP/1.1\r\nHost: {host}:{port}\r\nConnection: close\r\n\r\n".encode())
                status = (await reader.read(MAX_PROBE_BYTES)).split(b" ", 2)
            finally:
                writer.close()
    except (OSError, TimeoutError):
        return False
    return len(status) > 1 and status[1] == b"200"
