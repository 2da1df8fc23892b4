"""Answers a node's look-ups of accounts as the media agent would, until it is closed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from urllib.parse import parse_qs

USER = """\
<document type="freeswitch/xml"><section name="directory"><domain name="{domain}">
  <user id="{user}" cacheable="60000"><params><param name="password" value="{password}"/></params></user>
</domain></section></document>
"""
UNKNOWN = """\
<document type="freeswitch/xml"><section name="result"><result status="not found"/></section></document>
"""


class Directory:
    """The accounts, and what was asked of them."""

    def __init__(self, accounts: dict[str, str]) -> None:
        self._accounts = accounts
        self.asked: list[dict[str, str]] = []

    async def answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One request of one connection."""
        head = (await reader.readuntil(b"\r\n\r\n")).decode()
        size = next(int(line.split(":")[1]) for line in head.lower().split("\r\n") if line.startswith("content-length"))
        form = {name: values[0] for name, values in parse_qs((await reader.readexactly(size)).decode()).items()}
        self.asked.append(form)
        password = self._accounts.get(form.get("user", ""))
        body = UNKNOWN if password is None else USER.format(**form, password=password)
        writer.write(b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: %d\r\n\r\n" % len(body.encode()))
        writer.write(body.encode())
        with contextlib.suppress(ConnectionError):  # the node waits two seconds and no longer
            await writer.drain()
        writer.close()


@asynccontextmanager
async def directory(port: int, accounts: dict[str, str]) -> AsyncIterator[Directory]:
    """Accounts by user name and password, at that port. Gone with the block."""
    answers = Directory(accounts)
    server = await asyncio.start_server(answers.answer, "127.0.0.1", port)
    try:
        yield answers
    finally:
        server.close()
        await server.wait_closed()
