"""The node's edge, over TCP, before a scripted switch: it connects, comes back, falls behind and catches up."""

from __future__ import annotations

import asyncio
import contextlib
import json
import threading
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from tandem.adapters.blobs import LocalBlobs
from tandem.adapters.system import SystemClock, SystemEntropy
from tandem.core.ports.media import (
    Answer,
    Cause,
    Command,
    CommandSettled,
    DirectoryDevice,
    DirectoryNumber,
    HangUp,
    LegArrived,
    LegEnded,
    RecordingStored,
    RecordStart,
    Verb,
)
from tandem.core.recording import CHUNK_BYTES, HEADER_BYTES, Opener, at, frames_in
from tandem.core.seal import Secret
from tandem.media.backend import MergedDirectory
from tandem.media.freeswitch import files
from tandem.media.freeswitch.config import FreeswitchConfig
from tandem.media.freeswitch.connection import SPARED
from tandem.media.freeswitch.driver import FreeswitchNode, Switch
from tandem.media.freeswitch.files import Files
from tandem.media.freeswitch.ids import channel_of_caller
from tests.support.scripted_switch import SILENCE, ScriptedSwitch
from tests.unit.media.freeswitch.replay import Tape

TENANT, NUMBER, KEY = "t1", "4930100", bytes(range(32))
DIRECTORY = MergedDirectory(
    {NUMBER: DirectoryNumber(NUMBER, TENANT, 0)}, {"ann": DirectoryDevice("ann", TENANT, 0, "tandem", "0f" * 16, "")}
)


class Server:
    """A scripted switch that listens; time is the loop's."""

    def __init__(self) -> None:
        self.switch = ScriptedSwitch()
        self.port = 0
        self._server: asyncio.Server | None = None
        self._writer: asyncio.StreamWriter | None = None

    @property
    def writer(self) -> asyncio.StreamWriter:
        """Of the connection that is open."""
        assert self._writer is not None
        return self._writer

    async def open(self) -> None:
        self._server = await asyncio.start_server(self._talk, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Nobody listens any more, and the connection is gone."""
        if self._server is not None:
            self._server.close()
            self._server = None
            self.cut()

    def cut(self) -> None:
        """The connection is gone."""
        self.switch.cut()
        if self._writer is not None:
            self._writer.transport.abort()

    def flush(self) -> None:
        """Let the switch's time go on, and send what it says."""
        self.switch.tick(asyncio.get_running_loop().time())
        if self._writer is not None:
            self._writer.write(self.switch.take())

    async def _talk(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._writer = writer
        self.switch.connect()
        self.flush()
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                self.switch.receive(data)
                self.flush()
        writer.close()


class Bench:
    """A node with its switch; `tape` is its agent."""

    def __init__(self, server: Server, node: FreeswitchNode, tape: Tape, home: Path, blobs: LocalBlobs) -> None:
        self.server, self.switch, self.node, self.tape = server, server.switch, node, tape
        self.home, self.blobs = home, blobs

    async def until(self, found: Callable[[], object]) -> None:
        async with asyncio.timeout(20):
            while not found():
                self.server.flush()
                await asyncio.sleep(0.005)

    def command(self, leg: str, verb: Verb, key: str) -> None:
        self.node.perform(Command(TENANT, key, leg, verb))

    async def arrived(self) -> str:
        """A call has come; its leg."""
        await self.until(lambda: "sofia::expire" in self.switch.subscribed)
        self.switch.dial(NUMBER)
        await self.until(lambda: self.of(LegArrived))
        return self.of(LegArrived)[-1]

    def of(self, kind: type) -> list[str]:
        """Legs that were told of such an event."""
        return [leg for leg, body in self.tape.told if isinstance(body, kind)]

    def ends(self) -> list[LegEnded]:
        return [body for _, body in self.tape.told if isinstance(body, LegEnded)]


@asynccontextmanager
async def bench(home: Path, **config: float) -> AsyncIterator[Bench]:
    """A node that is to connect to a switch, and has been restored from an empty journal."""
    server, tape = Server(), Tape()
    await server.open()
    blobs = await LocalBlobs.open(home / "blobs")
    places = Files(home / "spool", home / "cdr", blobs, SystemEntropy())
    places.cdr_dir.mkdir()
    settings = FreeswitchConfig(recordings_dir=str(home / "memory"), **config)  # type: ignore[arg-type]
    where = Switch("127.0.0.1", server.port, "127.0.0.1", 0)
    node = FreeswitchNode(settings, where, "esl", {"music": "/p/music.wav"}, places, SystemClock(), tape)
    await node.open()
    node.directory(DIRECTORY)
    node.restore([], 0)
    running = asyncio.create_task(node.run())
    try:
        yield Bench(server, node, tape, home, blobs)
    finally:
        running.cancel()
        await asyncio.wait([running])
        await node.close()
        await server.close()
        await blobs.close()


async def test_a_call_comes_is_answered_and_ends(tmp_path: Path) -> None:
    async with bench(tmp_path) as at_work:
        leg = await at_work.arrived()
        at_work.command(leg, Answer(), "answer")
        at_work.command(leg, HangUp(), "end")
        await at_work.until(lambda: at_work.of(LegEnded))
        assert at_work.tape.settled() == ["answer", "end"]


async def test_a_lost_connection_is_made_again_and_the_call_lives(tmp_path: Path) -> None:
    async with bench(tmp_path) as at_work:
        leg = await at_work.arrived()
        at_work.server.cut()
        await at_work.until(lambda: at_work.switch.commands.count("auth esl") == 2)
        await at_work.until(lambda: "sofia::expire" in at_work.switch.subscribed)
        at_work.command(leg, Answer(), "answer")
        await at_work.until(lambda: at_work.tape.settled() == ["answer"])
        assert at_work.ends() == []


async def test_a_hang_up_in_the_gap_is_told_with_its_cause(tmp_path: Path) -> None:
    async with bench(tmp_path) as at_work:
        leg = await at_work.arrived()
        channel = channel_of_caller(leg) or ""
        await at_work.server.close()
        at_work.switch.hang_up(channel)
        record = at_work.home / "cdr" / f"{channel}.cdr.json"
        record.write_text(json.dumps({"variables": at_work.switch.records[channel]}))
        await at_work.server.open()
        await at_work.until(lambda: at_work.of(LegEnded))
        [end] = at_work.ends()
        assert (end.cause, end.by, end.detail) == (Cause.NORMAL, "FAR", "NORMAL_CLEARING")
        await at_work.until(lambda: not record.exists())


async def test_call_records_that_nobody_asked_for_are_swept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(files, "SWEPT_AFTER_S", 0.1)
    async with bench(tmp_path) as at_work:
        await at_work.arrived()
        left = at_work.home / "cdr" / "somebody.cdr.json"
        left.write_text("{}")
        (other := at_work.home / "cdr" / "notes.txt").touch()
        at_work.server.cut()
        await at_work.until(lambda: not left.exists())
        assert other.exists()


async def test_a_switch_that_began_anew_has_lost_its_calls(tmp_path: Path) -> None:
    async with bench(tmp_path) as at_work:
        await at_work.arrived()
        await at_work.server.close()
        at_work.switch.die()
        await at_work.server.open()
        await at_work.until(lambda: at_work.of(LegEnded))
        assert [end.cause for end in at_work.ends()] == [Cause.MEDIA_LOST]


async def test_a_switch_that_stays_away_has_lost_its_calls(tmp_path: Path) -> None:
    async with bench(tmp_path, gone_after_s=0.3) as at_work:
        await at_work.arrived()
        await at_work.server.close()
        await at_work.until(lambda: at_work.of(LegEnded))
        assert [(end.cause, end.detail) for end in at_work.ends()] == [(Cause.MEDIA_LOST, "the switch is gone")]


async def test_who_is_behind_listens_to_less_and_then_asks_what_was_missed(tmp_path: Path) -> None:
    async with bench(tmp_path, behind_frames=500) as at_work:
        leg = await at_work.arrived()
        switch = at_work.switch
        # A thousand events of a channel that is nobody's, in one piece: more than is worked off at once.
        for _ in range(1000):
            switch.fire("CHANNEL_ANSWER", None, **{"Unique-ID": "x"})
        dumps = switch.commands.count(f"api uuid_dump {channel_of_caller(leg)} json")
        at_work.server.flush()
        await at_work.until(lambda: any(line.startswith("nixevent") for line in switch.commands))
        await at_work.until(lambda: set(SPARED) <= switch.subscribed)
        await at_work.until(lambda: switch.commands.count(f"api uuid_dump {channel_of_caller(leg)} json") > dumps)
        assert at_work.ends() == []


async def test_what_came_is_worked_off_before_an_alarm(tmp_path: Path) -> None:
    """The loop stood still, and the sign of life lay behind much else: the switch is not left."""
    async with bench(tmp_path, heartbeat_s=0.1) as at_work:
        leg = await at_work.arrived()
        for _ in range(6000):
            at_work.switch.fire("CHANNEL_ANSWER", None, **{"Unique-ID": "x" * 300})
        at_work.switch.fire("HEARTBEAT")
        # From a thread, as another process would send it.
        data, writer = at_work.switch.take(), at_work.server.writer
        connection = writer.get_extra_info("socket").dup()
        connection.setblocking(True)
        sending = threading.Thread(target=connection.sendall, args=(data,))
        sending.start()
        time.sleep(0.5)  # the loop stands still
        sending.join()
        connection.close()
        at_work.command(leg, Answer(), "answer")
        await at_work.until(lambda: at_work.tape.settled() == ["answer"])
        assert at_work.switch.commands.count("auth esl") == 1


async def test_a_recording_is_sealed_and_stored_and_nothing_plain_is_left(tmp_path: Path) -> None:
    async with bench(tmp_path) as at_work:
        leg = await at_work.arrived()
        at_work.command(leg, Answer(), "answer")
        at_work.command(leg, RecordStart("r1", Secret(KEY)), "record")
        await at_work.until(lambda: at_work.tape.settled() == ["answer", "record"])
        at_work.command(leg, HangUp(), "end")
        await at_work.until(lambda: at_work.of(RecordingStored))
        [stored] = [body for _, body in at_work.tape.told if isinstance(body, RecordingStored)]
        assert (stored.frames, stored.truncated) == (len(SILENCE) // 2, False)
        blob = b"".join([part async for part in at_work.blobs.read(stored.blob)])
        assert frames_in(len(blob)) == stored.frames
        opener = Opener(blob[:HEADER_BYTES], KEY, stored.blob)
        place, size = at(stored.frames, 0)
        assert opener.open(0, blob[place : place + size]) == SILENCE[:CHUNK_BYTES]
        assert list((at_work.home / "memory").iterdir()) == list((at_work.home / "spool").iterdir()) == []


async def test_a_wrong_password_is_tried_again_and_no_more_than_that(tmp_path: Path) -> None:
    async with bench(tmp_path) as at_work:
        at_work.switch.password = "another"
        at_work.server.cut()
        await at_work.until(lambda: at_work.switch.commands.count("auth esl") >= 3)
        assert not any(isinstance(body, CommandSettled) for _, body in at_work.tape.told)
        at_work.switch.password = "esl"
        await at_work.arrived()
