"""Answers FreeSWITCH's look-ups of accounts (mod_xml_curl), over HTTP on loopback.

A phone proves its password to FreeSWITCH, against the digest that stands in the answer. The answer may be
kept for ever: the node has it forgotten when the account changes (`Keeping.forget`), and
a phone whose account is kept can register while no agent lives (pitfalls M2).
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from urllib.parse import parse_qs
from xml.sax.saxutils import quoteattr

from tandem.media.backend import MergedDirectory

MAX_HEAD_BYTES = 16 * 1024
MAX_FORM_BYTES = 64 * 1024
"""What mod_xml_curl sends of a REGISTER is 2 KB."""
REQUEST_S = 5.0
_UNKNOWN = '<document type="freeswitch/xml"><section name="result"><result status="not found"/></section></document>'
_USER = (
    '<document type="freeswitch/xml"><section name="directory"><domain name={realm}>'
    '<user id={user} cacheable="true"><params><param name="a1-hash" value={digest}/></params></user>'
    "</domain></section></document>"
)


class BadRequest(Exception):
    """Not a look-up as mod_xml_curl sends it."""


def account(directory: MergedDirectory | None, form: bytes) -> str | None:
    """The answer to a look-up; None while nobody has told whose accounts there are. Raises `BadRequest`."""
    try:
        fields = parse_qs(form.decode(), max_num_fields=500)
    except ValueError as error:
        raise BadRequest(str(error)) from error
    if directory is None:
        return None
    user, realm = fields.get("user", [""])[0], fields.get("domain", fields.get("key_value", [""]))[0]
    entry = directory.devices.get(user)
    if entry is None or entry.realm != realm or not entry.ha1_md5:
        return _UNKNOWN
    return _USER.format(realm=quoteattr(realm), user=quoteattr(user), digest=quoteattr(entry.ha1_md5))


class Accounts:
    """A server of look-ups. It listens from `open` to `close`, to this host alone."""

    def __init__(self, host: str, port: int, directory: Callable[[], MergedDirectory | None]) -> None:
        self._host, self._port = host, port
        self._directory = directory
        self._server: asyncio.Server | None = None

    @property
    def port(self) -> int:
        """The bound port."""
        assert self._server is not None
        port: int = self._server.sockets[0].getsockname()[1]
        return port

    async def open(self) -> None:
        """Raises OSError if the port is taken."""
        self._server = await asyncio.start_server(self._serve, self._host, self._port, limit=MAX_HEAD_BYTES)

    async def close(self) -> None:
        """Give the port back. Idempotent."""
        server, self._server = self._server, None
        if server is not None:
            server.close()
            await server.wait_closed()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """One look-up of one connection."""
        try:
            async with asyncio.timeout(REQUEST_S):
                answer = account(self._directory(), await _form(reader))
                writer.write(_response(200, answer) if answer is not None else _response(503, ""))
                await writer.drain()
        except (BadRequest, TimeoutError):
            writer.write(_response(400, ""))
        except OSError:
            pass  # whoever asked is gone
        finally:
            writer.close()


async def _form(reader: asyncio.StreamReader) -> bytes:
    """The body of a POST. Raises `BadRequest`, TimeoutError, OSError."""
    try:
        head = (await reader.readuntil(b"\r\n\r\n")).decode("latin-1").lower()
        lines = head.split("\r\n")
        sizes = [line.partition(":")[2].strip() for line in lines if line.startswith("content-length:")]
        if not lines[0].startswith("post ") or len(sizes) != 1 or not sizes[0].isdecimal():
            raise BadRequest("no POST with a length")
        if int(sizes[0]) > MAX_FORM_BYTES:
            raise BadRequest(f"over {MAX_FORM_BYTES} bytes")
        return await reader.readexactly(int(sizes[0]))
    except (asyncio.IncompleteReadError, asyncio.LimitOverrunError) as error:
        raise BadRequest(str(error)) from error


def _response(status: int, text: str) -> bytes:
    reason = {200: "OK", 400: "Bad Request", 503: "Service Unavailable"}[status]
    body = text.encode()
    lines = (
        f"HTTP/1.1 {status} {reason}", "Content-Type: text/xml", f"Content-Length: {len(body)}", "Connection: close",
    )  # fmt: skip
    return "\r\n".join((*lines, "", "")).encode() + body
