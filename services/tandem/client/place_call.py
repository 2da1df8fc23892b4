"""The Call button's other end: asks the robots of this host to place a call."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

from tandem.core.errors import NO_OWNER, Rejected
from tandem.runtime.config import Config

SOCKET = "robots.sock"
"""In the run directory, mode 0700: only this user gets at it."""
ANSWER_S = 5.0


def place_call(config: Config) -> Callable[[], Awaitable[str]]:
    """A function that starts one robot caller and returns its name. It raises `Rejected` if
    the robots are not there."""
    path = config.run_dir / SOCKET

    async def ask() -> str:
        try:
            async with asyncio.timeout(ANSWER_S):
                reader, writer = await asyncio.open_unix_connection(path)
                try:
                    writer.write(b"call\n")
                    await writer.drain()
                    name = (await reader.readline()).decode("ascii").strip()
                finally:
                    writer.close()
        except (OSError, TimeoutError) as error:
            raise Rejected(NO_OWNER, "the robots are not there at the moment; try again in a second") from error
        if not name:
            raise Rejected(NO_OWNER, "the robots could not place a call; try again in a second")
        return name

    return ask
