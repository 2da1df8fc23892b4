"""Phones that we did not write: Debian's SIPp and baresip.

SIPp signals and speaks, but keeps nothing of what it hears: its SDP names a port at which the
test listens (`Ear`), and its packets leave with that port as their source. baresip records
what it hears into a WAV file.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import shutil
import socket
from array import array
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from tests.e2e import sounds
from tests.e2e.programs import PATIENCE_S, Program, beside, free_ports

SCENARIOS = Path(__file__).parent / "sipp"
MODULES = Path("/usr/lib/baresip/modules")
HOST = "127.0.0.1"
EAR_OFFSET = 10
"""SIPp itself binds its media port and the one after next; the ear is out of their way."""

needs_sipp = pytest.mark.needs("sipp")
needs_baresip = pytest.mark.needs("baresip")


class Ear(asyncio.DatagramProtocol):
    """Hears for a phone: RTP with mu-law."""

    def __init__(self) -> None:
        self.heard = array("h")
        self._news = asyncio.Event()

    def datagram_received(self, data: bytes, addr: tuple[str, int]) -> None:
        """RFC 3550, 5.1: a header of 12 bytes and 4 for each contributing source."""
        if len(data) > 12 and data[0] >> 6 == 2 and data[1] & 0x7F == 0:
            self.heard.extend(sounds.from_mu_law(data[12 + 4 * (data[0] & 15) :]))
            self._news.set()

    async def hears(self, hz: float, seconds: float = 1.0) -> None:
        """Until that tone was heard for so long in all."""
        await _until(self._news, lambda: sounds.seconds_of(self.heard, hz) >= seconds, f"{hz} Hz")


@asynccontextmanager
async def ear() -> AsyncIterator[tuple[Ear, int]]:
    """An ear and its port, with room for SIPp's own before it."""
    loop = asyncio.get_running_loop()
    transport, protocol = await loop.create_datagram_endpoint(Ear, local_addr=(HOST, 0))
    while not _is_free(port := transport.get_extra_info("sockname")[1] - EAR_OFFSET) or not _is_free(port + 2):
        transport.close()
        transport, protocol = await loop.create_datagram_endpoint(Ear, local_addr=(HOST, 0))
    try:
        yield protocol, port + EAR_OFFSET
    finally:
        transport.close()


def _is_free(port: int) -> bool:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as one:
        try:
            one.bind((HOST, port))
        except OSError:
            return False
    return True


class Sipp:
    """One run of a scenario."""

    def __init__(self, program: Program, ear: Ear) -> None:
        self.program, self.ear = program, ear

    async def succeeds(self) -> None:
        """Until it has ended, with everything as its scenario says."""
        code = await asyncio.to_thread(self.program.wait_end)
        assert code == 0, f"SIPp: exit {code}\n{self.program.output}"

    async def fails(self) -> None:
        """Until it has ended because of an answer that its scenario does not expect."""
        code = await asyncio.to_thread(self.program.wait_end)
        assert code == 1, f"SIPp: exit {code}\n{self.program.output}"

    def vanish(self) -> None:
        """Pull its plug."""
        self.program.kill()


@asynccontextmanager
async def sipp(
    home: Path, scenario: str, target: str, *arguments: str | int, tone_hz: int = 0, port: int = 0, **keys: str | int
) -> AsyncIterator[Sipp]:
    """A run of `sipp/{scenario}.xml`, which may use `keys` and play `tone.pcap`. Ended with the block."""
    home.mkdir(exist_ok=True)
    if tone_hz:
        if os.geteuid() != 0:
            pytest.skip("SIPp speaks through a raw socket, which only root may open")
        sounds.write_tone(home / "tone.pcap", tone_hz, 30)
        # SIPp's own play_dtmf sends no end of a digit (RFC 4733, 2.5.1.4), and FreeSWITCH waits for one.
        sounds.write_digit(home / "digit.pcap", "1")
    async with ear() as (listener, ear_port):
        pairs = [part for name, value in keys.items() for part in ("-key", name, str(value))]
        own = ("-p", str(port)) if port else ()
        program = Program(
            f"sipp {Path(scenario).name}",
            [
                "sipp", target, "-sf", SCENARIOS / f"{scenario}.xml", "-i", HOST, *own, "-m", "1", "-nostdin",
                "-mp", str(ear_port - EAR_OFFSET), "-timeout", str(PATIENCE_S), "-timeout_error",
                "-trace_err", "-error_file", home / f"{Path(scenario).name}-errors.log", *pairs, *map(str, arguments),
            ],
            cwd=home,
        )  # fmt: skip
        try:
            yield Sipp(program, listener)
        finally:
            program.stop()


async def register(home: Path, target: str, user: str, password: str, port: int) -> None:
    """Register SIPp's next run, at `port`, as the device of an agent."""
    async with sipp(home, "register", target, "-s", user, "-au", user, "-ap", password, port=port) as run:
        await run.succeeds()


class Baresip:
    """A softphone under remote control (its module ctrl_tcp)."""

    def __init__(self, program: Program, home: Path, writer: asyncio.StreamWriter) -> None:
        self.program, self._home, self._writer = program, home, writer
        self.events: list[dict[str, Any]] = []
        self._news = asyncio.Event()

    async def read(self, reader: asyncio.StreamReader) -> None:
        """Take what it tells: netstrings of JSON, `12:{...},`."""
        try:
            while True:
                size = int((await reader.readuntil(b":"))[:-1])
                message = json.loads((await reader.readexactly(size + 1))[:-1])
                if message.get("event"):
                    self.events.append(message)
                    self._news.set()
        except asyncio.IncompleteReadError:
            return

    @property
    def control_port(self) -> int:
        """Of its remote control."""
        port: int = self._writer.get_extra_info("peername")[1]
        return port

    def command(self, name: str, parameters: str = "") -> None:
        """One of baresip's commands."""
        body = json.dumps({"command": name, "params": parameters}).encode()
        self._writer.write(b"%d:%b," % (len(body), body))

    async def until(self, type_: str, count: int = 1) -> dict[str, Any]:
        """The `count`-th event of a type, now or to come."""

        def found() -> list[dict[str, Any]]:
            return [event for event in self.events if event["type"] == type_][count - 1 : count]

        told: list[dict[str, Any]] = await _until(self._news, found, f"baresip's {type_}")
        return told[0]

    async def registered(self) -> None:
        """Until the node took its password."""
        await asyncio.to_thread(self.program.wait_line, "200 OK")

    async def refused(self) -> None:
        """Until the node refused its registration."""
        await asyncio.to_thread(self.program.wait_line, "403 Forbidden")

    async def heard(self) -> array[int]:
        """All that it heard in its last call; ends the phone, which then closes its files."""
        await asyncio.to_thread(self.program.stop)
        return sounds.read_wav(max(self._home.glob("dump-*-dec.wav")))


CONFIG = """\
poll_method epoll
sip_listen {host}:0
audio_source aufile,{home}/tone.wav
audio_player aubridge,nowhere
audio_alert aubridge,nowhere
snd_path {home}
module_path {modules}
{codecs}
module aufile.so
module aubridge.so
module sndfile.so
module ctrl_tcp.so
module_app account.so
module_app menu.so
ctrl_tcp_listen {host}:{port}
"""
G711 = ("g711.so",)


@asynccontextmanager
async def baresip(
    home: Path,
    registrar: str,
    user: str,
    password: str = "",
    *,
    tone_hz: int,
    answers: bool = True,
    modules: Sequence[str] = G711,
    media: str = "",
    certificate: Path | None = None,
) -> AsyncIterator[Baresip]:
    """A softphone with a tone for a voice. Without a password it does not register. `modules` are its codecs
    and what else it needs, `media` what its account says of encryption; with a
    `certificate` it can be rung over TLS. Ended with the block."""
    home.mkdir()
    sounds.write_wav(home / "tone.wav", sounds.sine(tone_hz, 60))
    (port,) = free_ports(1)
    codecs = "\n".join(f"module {name}" for name in modules)
    config = CONFIG.format(host=HOST, home=home, modules=MODULES, port=port, codecs=codecs)
    (home / "config").write_text(config if certificate is None else f"{config}sip_certificate {certificate}\n")
    (home / "contacts").touch()
    mode = "auto" if answers else "manual"
    secret = f"auth_pass={password};regint=60" if password else "regint=0"
    (home / "accounts").write_text(f"<sip:{user}@{registrar}>;{secret};answermode={mode}{media}\n")
    program = Program(f"baresip {user}", [shutil.which("baresip") or "baresip", "-4", "-f", home])
    try:
        await asyncio.to_thread(program.wait_line, "baresip is ready")
        reader, writer = await asyncio.open_connection(HOST, port)
        phone = Baresip(program, home, writer)
        try:
            async with beside(phone.read(reader)):
                yield phone
        finally:
            writer.close()
            with contextlib.suppress(OSError):  # the phone may have gone first
                await writer.wait_closed()
    finally:
        program.stop()


async def _until(news: asyncio.Event, ready: Callable[[], Any], what: str) -> Any:
    try:
        async with asyncio.timeout(PATIENCE_S):
            while not (found := ready()):
                news.clear()
                await news.wait()
            return found
    except TimeoutError:
        raise AssertionError(f"{what} did not come in {PATIENCE_S} s") from None
