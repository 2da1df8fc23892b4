"""The tests' own client of the event socket: what a node says, told by nobody else."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager

from tandem.wire.esl import ApiReply, AuthWanted, EslReader, Event, Frame, Reply, command, execute
from tests.e2e.programs import PATIENCE_S, beside

HOST = "127.0.0.1"


class Refused(Exception):
    """The node does not take the password."""


class Esl:
    """One connection. Events are kept in the order in which they came."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._reader, self._writer = reader, writer
        self._frames = EslReader()
        self._answers: asyncio.Queue[Frame] = asyncio.Queue()
        self._news = asyncio.Condition()
        self.events: list[Event] = []

    async def read(self) -> None:
        """Take what comes, until the node closes."""
        while data := await self._reader.read(65536):
            for frame in self._frames.receive_data(data):
                if isinstance(frame, Event):
                    self.events.append(frame)
                else:
                    self._answers.put_nowait(frame)
            async with self._news:
                self._news.notify_all()

    async def log_in(self, password: str) -> None:
        """Raises `Refused` for a wrong password."""
        assert isinstance(await self._answer(), AuthWanted)
        self._writer.write(command(f"auth {password}"))
        reply = await self._answer()
        assert isinstance(reply, Reply), reply
        if not reply.ok:
            raise Refused(reply.text)

    async def api(self, line: str) -> str:
        """What an `api` command prints."""
        self._writer.write(command(f"api {line}"))
        answer = await self._answer()
        assert isinstance(answer, ApiReply), answer
        return answer.text

    async def subscribe(self, *names: str) -> None:
        """Have events sent from now on."""
        self._writer.write(command(f"event plain {' '.join(names)}"))
        reply = await self._answer()
        assert isinstance(reply, Reply) and reply.ok, reply

    async def execute(self, channel: str, application: str, argument: str) -> None:
        """Have a channel run an application: at once, even inside one that it runs now."""
        self._writer.write(execute(channel, application, argument))
        reply = await self._answer()
        assert isinstance(reply, Reply) and reply.ok, reply

    async def until(self, name: str, matches: Callable[[Event], bool] = lambda _: True) -> Event:
        """The first event of that name for which it holds, now or to come."""

        def found() -> Event | None:
            return next((event for event in self.events if event.name == name and matches(event)), None)

        try:
            async with asyncio.timeout(PATIENCE_S), self._news:
                await self._news.wait_for(lambda: found() is not None)
        except TimeoutError:
            raise AssertionError(f"{name} did not come; there came {[e.name for e in self.events]}") from None
        event = found()
        assert event is not None
        return event

    async def _answer(self) -> Frame:
        async with asyncio.timeout(PATIENCE_S):
            return await self._answers.get()


@asynccontextmanager
async def connected(port: int, password: str) -> AsyncIterator[Esl]:
    """A connection that is logged in. Closed with the block."""
    reader, writer = await asyncio.open_connection(HOST, port)
    esl = Esl(reader, writer)
    try:
        async with beside(esl.read()):
            await esl.log_in(password)
            yield esl
    finally:
        writer.close()
        with contextlib.suppress(OSError):  # the node may have gone first
            await writer.wait_closed()
