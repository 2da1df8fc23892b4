"""How the Call button reaches the robots: a line each way over a Unix socket in the run
directory, which only this user can enter.

    call 1     ->  ok 441632960123        or  no <what to do>
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path

from tandem.core.errors import NO_OWNER, TOO_MANY, Rejected
from tandem.runtime.config import Config

SOCKET = "robots.sock"
"""In the run directory, mode 0700: only this user gets at it."""
ANSWER_S = 5.0
LINE_MAX = 256


def place_call(config: Config) -> Callable[[], Awaitable[str]]:
    """A function that starts one robot caller and returns its number. It raises `Rejected` if
    the robots are not there, or are all on the phone."""
    path = config.run_dir / SOCKET

    async def ask() -> str:
        try:
            word, text = await _ask(path)
        except (OSError, TimeoutError, ValueError) as error:
            raise Rejected(NO_OWNER, "the robots are not there at the moment; try again in a second") from error
        if word != "ok":
            raise Rejected(TOO_MANY, text or "the robots could not place a call")
        return text

    return ask


async def _ask(path: Path) -> tuple[str, str]:
    async with asyncio.timeout(ANSWER_S):
        reader, writer = await asyncio.open_unix_connection(path, limit=LINE_MAX)
        try:
            writer.write(b"call\n")
            await writer.drain()
            word, _, text = (await reader.readline()).decode("ascii").strip().partition(" ")
            return word, text
        finally:
            writer.close()


class Busy(Exception):
    """No more calls at this moment."""


@asynccontextmanager
async def answering(run_dir: Path, place: Callable[[str], str]) -> AsyncIterator[None]:
    """Answer such lines. `place` is told the digits to press, "" for any, and gives the caller's
    number; it raises `Busy`."""

    async def answer(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            async with asyncio.timeout(ANSWER_S):
                line = (await reader.readline()).decode("ascii")
                writer.write(f"{_reply(line, place)}\n".encode("ascii"))
                await writer.drain()
        except (OSError, TimeoutError, ValueError):
            pass  # whoever asked is gone, or is none of us
        finally:
            writer.close()

    path = run_dir / SOCKET
    path.unlink(missing_ok=True)
    server = await asyncio.start_unix_server(answer, path, limit=LINE_MAX)
    try:
        yield
    finally:
        server.close()
        path.unlink(missing_ok=True)


def _reply(line: str, place: Callable[[str], str]) -> str:
    word, _, digits = line.strip().partition(" ")
    if word != "call":
        return "no ask with `call` and perhaps a digit"
    try:
        return f"ok {place(digits)}"
    except Busy as error:
        return f"no {error}"
