"""The link over gRPC: a media process and an owner's dialer on one Unix domain socket."""

from __future__ import annotations

import asyncio
import os
import random
import sys
import time
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from datetime import UTC, datetime, timedelta
from ipaddress import ip_address
from pathlib import Path
from typing import Any

import grpc
import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from tandem.core.points import Points
from tandem.core.ports.log import Partition
from tandem.core.ports.media import (
    Ack,
    Answer,
    By,
    Cause,
    Command,
    CommandSettled,
    Directory,
    DirectoryNumber,
    Event,
    Hello,
    LegAnswered,
    LegArrived,
    LegEnded,
    MediaEvent,
    Outcome,
    ToNode,
)
from tandem.core.seal import Secret
from tandem.media.backend import Backend, Sink
from tandem.media.driver import MediaProcess, MediaSettings
from tandem.media.link import dial as dial_module
from tandem.media.link.address import METHOD, LinkAddress, TlsFiles, UnsafeLink, check, dial, prepare
from tandem.media.link.dial import NodeDialer
from tandem.media.link.owner_end import Deposed, Heard, KeptHeard, LinkInput, NodeDown, NodeUp, OwnerLink, OwnerStream
from tandem.media.link.serve import LinkServer
from tandem.runtime.media_codec import Close, Ping, decode_from_node, encode_to_node
from tandem.simulation.scripted_media import ScriptedMedia


class Clock:
    """This host's."""

    def wall_ms(self) -> int:
        return time.time_ns() // 1_000_000

    def monotonic_s(self) -> float:
        return time.monotonic()

    def boottime_ms(self) -> int:
        return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000

    def boot_id(self) -> str:
        return "boot"


class Entropy:
    """This host's."""

    def token(self, size: int = 16) -> str:
        return os.urandom(size).hex()

    def secret(self, size: int) -> bytes:
        return os.urandom(size)


class Node:
    """A media process over the scripted backend; `kill` ends it as far as a task can be ended."""

    def __init__(self, directory: Path) -> None:
        self.address = LinkAddress(f"unix:{directory}/link/media.sock")
        self.settings = MediaSettings(
            "m1", self.address, directory / "journal", directory / "node.key", allow_node_key_on_disk=True
        )
        self.media: ScriptedMedia
        self.farewell: MediaEvent | None = None
        """What the backend tells of the leg c1 as it ends."""
        self._task: asyncio.Task[None] | None = None

    def _build(self, sink: Sink) -> AbstractAsyncContextManager[Backend]:
        @asynccontextmanager
        async def built() -> AsyncIterator[Backend]:
            self.media = ScriptedMedia(sink)
            try:
                yield self.media
            finally:
                if self.farewell is not None:
                    sink.emit("t1", "c1", self.farewell, Clock().boottime_ms())

        return built()

    async def start(self) -> None:
        process = MediaProcess(self.settings, Clock(), Entropy(), Points(), self._build)
        ready = asyncio.Event()
        self._task = asyncio.create_task(process.run(ready.set))
        waiting = asyncio.create_task(ready.wait())
        await asyncio.wait((self._task, waiting), return_when=asyncio.FIRST_COMPLETED)
        waiting.cancel()
        if self._task.done():
            self._task.result()

    async def stop(self) -> None:
        assert self._task is not None
        self._task.cancel()
        await asyncio.wait((self._task,))


class Owner:
    """An owners' process with links of some shards."""

    def __init__(
        self, address: LinkAddress, shards: Sequence[int] = (0,), epoch: int = 1, silent_ms: int = 6_000
    ) -> None:
        self.inputs: list[LinkInput] = []
        self.marks: dict[str, int] = {}
        self.incarnation = ""
        self._changed = asyncio.Event()
        self.dialer = NodeDialer(
            OwnerStream("m1", "boot"),
            address,
            self._told,
            Clock().boottime_ms,
            random.Random(1).random,
            silent_ms=silent_ms,
        )
        self.links = [
            OwnerLink("m1", Partition("live", shard), epoch, self._marks, lambda boottime_ms: boottime_ms)
            for shard in shards
        ]
        for link in self.links:
            self.dialer.attach(link)
        self._task = asyncio.create_task(self.dialer.run())

    def _marks(self, _incarnation: str) -> tuple[str, tuple[tuple[str, int], ...]]:
        return self.incarnation, tuple(self.marks.items())

    def _told(self, inputs: Sequence[tuple[OwnerLink, LinkInput]]) -> None:
        self.inputs += [heard for _, heard in inputs]
        self._changed.set()

    async def until(self, done: Callable[[], object]) -> None:
        while not done():
            self._changed.clear()
            await self._changed.wait()

    def of(self, kind: type[LinkInput]) -> list[LinkInput]:
        return [heard for heard in self.inputs if isinstance(heard, kind)]

    def bodies(self) -> list[object]:
        return [heard.body for heard in self.inputs if isinstance(heard, Heard)]

    async def stop(self) -> None:
        self._task.cancel()
        await asyncio.wait((self._task,))


@pytest.fixture
async def node(tmp_path: Path) -> AsyncIterator[Node]:
    node = Node(tmp_path)
    await node.start()
    yield node
    await node.stop()


DIRECTORY = Directory(1, (DirectoryNumber("+491", "t1", 0),), ())


async def test_commands_and_events_cross(node: Node) -> None:
    owner = Owner(node.address)
    await owner.until(lambda: owner.of(KeptHeard))
    owner.dialer.send(owner.links[0], DIRECTORY)
    owner.dialer.send(owner.links[0], Command("t1", "k0", "nobody", Answer()))
    await owner.until(lambda: len(owner.bodies()) == 1)
    assert node.media.call("+491", "c1")
    await owner.until(lambda: len(owner.bodies()) == 2)
    owner.dialer.send(owner.links[0], Command("t1", "k1", "c1", Answer()))
    await owner.until(lambda: len(owner.bodies()) == 4)
    first, arrived, answered, settled = owner.bodies()
    assert first == CommandSettled("k0", Outcome.FAILED, "LEG_GONE")
    assert isinstance(arrived, LegArrived)
    assert (answered, settled) == (LegAnswered(), CommandSettled("k1", Outcome.DONE))
    await owner.stop()


async def test_shards_of_a_process_share_a_stream(node: Node) -> None:
    owner = Owner(node.address, shards=range(4))
    await owner.until(lambda: len(owner.of(KeptHeard)) == 4)
    assert node.media.owners == dict.fromkeys(range(4), True)
    await owner.stop()


async def test_the_node_comes_back_and_goes_on_counting(node: Node) -> None:
    owner = Owner(node.address)
    await owner.until(lambda: owner.of(KeptHeard))
    owner.dialer.send(owner.links[0], DIRECTORY)
    owner.dialer.send(owner.links[0], Command("t1", "k0", "nobody", Answer()))
    await owner.until(lambda: owner.bodies())
    heard = owner.of(Heard)[0]
    assert isinstance(heard, Heard)
    owner.incarnation, owner.marks = heard.incarnation, {"t1": 1}
    owner.dialer.send(owner.links[0], Ack("t1", 1))
    await node.stop()
    await owner.until(lambda: owner.of(NodeDown))
    await node.start()
    await owner.until(lambda: len(owner.of(NodeUp)) == 2)
    assert owner.of(NodeUp)[0] == owner.of(NodeUp)[1]
    node.media.call("+491", "c1")
    await owner.until(lambda: len(owner.of(Heard)) == 2)
    last = owner.of(Heard)[1]
    assert isinstance(last, Heard)
    assert last.number == 2
    await owner.stop()


async def test_what_a_node_says_as_it_is_stopped_is_kept_for_its_owner(node: Node) -> None:
    owner = Owner(node.address)
    await owner.until(lambda: owner.of(KeptHeard))
    owner.dialer.send(owner.links[0], DIRECTORY)
    owner.dialer.send(owner.links[0], Command("t1", "k0", "nobody", Answer()))
    await owner.until(lambda: owner.bodies())
    node.media.call("+491", "c1")
    await owner.until(lambda: len(owner.bodies()) == 2)
    node.farewell = LegEnded(Cause.MEDIA_LOST, By.NODE, 0, "the node was stopped")
    await node.stop()
    ended, node.farewell = node.farewell, None
    await node.start()
    await owner.until(lambda: ended in owner.bodies())
    await owner.stop()


async def test_an_owner_dials_until_the_node_is_there(tmp_path: Path) -> None:
    node = Node(tmp_path)
    owner = Owner(node.address)
    while not owner.dialer.last_fault:
        await asyncio.sleep(0)
    assert "is the media node started?" in owner.dialer.last_fault
    await node.start()
    await owner.until(lambda: owner.of(KeptHeard))
    await owner.stop()
    await node.stop()


async def test_a_shard_that_becomes_ours_does_not_wait_for_the_next_attempt(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A standby dials, too, and its pauses grow while the node is away."""
    monkeypatch.setattr(dial_module, "BACKOFF_FIRST_S", 3600.0)
    monkeypatch.setattr(dial_module, "BACKOFF_MAX_S", 3600.0)
    node = Node(tmp_path)
    owner = Owner(node.address, shards=())
    while not owner.dialer.last_fault:
        await asyncio.sleep(0)
    await node.start()
    owner.dialer.attach(OwnerLink("m1", Partition("live", 0), 1, owner._marks, lambda boottime_ms: boottime_ms))
    await owner.until(lambda: owner.of(KeptHeard))
    await owner.stop()
    await node.stop()


async def test_a_newer_owner_deposes_the_older(node: Node) -> None:
    old = Owner(node.address, epoch=5)
    await old.until(lambda: old.of(KeptHeard))
    new = Owner(node.address, epoch=6)
    await old.until(lambda: old.of(Deposed))
    await new.until(lambda: new.of(KeptHeard))
    assert old.of(Deposed) == [Deposed("m1", 6)]
    await old.stop()
    await new.stop()


async def test_an_owner_that_goes_is_missed(node: Node) -> None:
    owner = Owner(node.address)
    await owner.until(lambda: owner.of(KeptHeard))
    await owner.stop()
    later = Owner(node.address, shards=(1,))
    await later.until(lambda: later.of(KeptHeard))
    while node.media.owners != {0: False, 1: True}:
        await asyncio.sleep(0)
    await later.stop()


# ---------------------------------------------------------------------------------- who may connect


def test_tcp_without_certificates_is_refused() -> None:
    with pytest.raises(UnsafeLink, match="certificates of both ends"):
        check(LinkAddress("127.0.0.1:5070"))


def test_a_directory_that_others_can_enter_is_refused_by_both_ends(tmp_path: Path) -> None:
    address = LinkAddress(f"unix:{tmp_path}/media.sock")
    tmp_path.chmod(0o750)
    for end in (check, prepare):
        with pytest.raises(UnsafeLink, match="chmod 700"):
            end(address)


def test_a_link_in_place_of_the_directory_is_refused(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(UnsafeLink, match="chmod 700"):
        check(LinkAddress(f"unix:{tmp_path}/link/media.sock"))


def test_a_path_that_no_socket_can_have_is_refused(tmp_path: Path) -> None:
    with pytest.raises(UnsafeLink, match="107 bytes"):
        check(LinkAddress(f"unix:{tmp_path}/{'x' * 100}/media.sock"))


# ---------------------------------------------------------------------------------- silence

OWNER_THAT_NEVER_READS = """
import asyncio, pathlib, sys
from tandem.core.ports.media import Hello
from tandem.media.link.address import METHOD, LinkAddress, dial
from tandem.runtime.media_codec import encode_to_node

async def main():
    async with dial(LinkAddress(f"unix:{sys.argv[1]}")) as channel:
        call = channel.stream_stream(METHOD)()
        await call.write(encode_to_node([(1, Hello("live", 0, 1, "", ()))]))
        await asyncio.Event().wait()

asyncio.run(main())
"""


class Ear:
    """Hears the links of a bare server."""

    def __init__(self) -> None:
        self.frames: list[tuple[str, object]] = []
        self.lost_links: list[tuple[tuple[str, ...], str]] = []
        self.changed = asyncio.Event()

    def heard(self, frames: list[tuple[str, ToNode | Close]]) -> None:
        self.frames += frames

    def lost(self, links: tuple[str, ...], reason: str) -> None:
        self.lost_links.append((links, reason))
        self.changed.set()


async def test_an_owners_process_that_is_stopped_is_missed(tmp_path: Path) -> None:
    address = LinkAddress(f"unix:{tmp_path}/link/media.sock")
    ear = Ear()
    server = LinkServer(address, ear, Clock().boottime_ms, silent_ms=50)
    await server.start()
    async with dial(address) as channel:
        call: Any = channel.stream_stream(METHOD)()
        await call.write(encode_to_node([(1, Hello("live", 0, 1, "", ()))]))
        await ear.changed.wait()
    assert ear.lost_links == [(("s1.1",), "the owners' process said or took nothing for 50 ms")]
    await server.stop()


@pytest.mark.parametrize("dies", [True, False], ids=["it dies", "it is stopped"])
async def test_an_owners_process_is_lost_while_it_is_written_to_and_that_is_no_fault(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, dies: bool
) -> None:
    """A write under way fails in gRPC in a way of its own, and behind one that never ends no status can be sent."""
    address = LinkAddress(f"unix:{tmp_path}/link/media.sock")
    ear = Ear()
    server = LinkServer(address, ear, Clock().boottime_ms, silent_ms=6_000 if dies else 500)
    await server.start()
    owner = await asyncio.create_subprocess_exec(sys.executable, "-c", OWNER_THAT_NEVER_READS, str(address.socket))
    while not ear.frames:
        await asyncio.sleep(0)
    (link, _), *_ = ear.frames
    for number in range(1, 2_501):  # far more than a stream takes for one who does not read
        server.send(link, Event("t1", number, 0, "c1", LegArrived("+491", Secret(b"9" * 8_000))))
    server.flush()
    stream, _ = server._streams["s1"]
    while stream.waiting:
        await asyncio.sleep(0)
    if dies:
        owner.kill()
    await ear.changed.wait()
    assert [links for links, _ in ear.lost_links] == [(link,)]
    if not dies:
        owner.kill()
    await owner.wait()
    await server.stop()
    assert [record for record in caplog.records if record.levelname == "ERROR"] == []


async def test_a_node_that_is_stopped_is_missed(tmp_path: Path) -> None:
    address = LinkAddress(f"unix:{tmp_path}/link/media.sock")
    server = LinkServer(address, Ear(), Clock().boottime_ms)
    await server.start()
    owner = Owner(address, silent_ms=50)
    await owner.until(lambda: owner.of(NodeDown))
    assert "no sign of life for 50 ms" in str(owner.of(NodeDown)[0])
    await owner.stop()
    await server.stop()


async def test_garbage_on_a_stream_ends_that_stream_alone(node: Node) -> None:
    owner = Owner(node.address)
    await owner.until(lambda: owner.of(KeptHeard))
    async with dial(node.address) as channel:
        call: Any = channel.stream_stream(METHOD)()
        await call.write(b"\xff\xff\xff")
        with pytest.raises(grpc.aio.AioRpcError, match="cannot read"):
            await call.read()
    owner.dialer.send(owner.links[0], Command("t1", "k0", "nobody", Answer()))
    await owner.until(owner.bodies)
    await owner.stop()


# ---------------------------------------------------------------------------------- mutual TLS


def certificates(
    directory: Path, name: str, authority: tuple[Any, Any] | None = None
) -> tuple[TlsFiles, tuple[Any, Any]]:
    """A certificate for 127.0.0.1, signed by that authority or by one of its own."""
    now = datetime.now(UTC)

    def make(subject: str, issuer: tuple[Any, Any] | None) -> tuple[Any, Any]:
        key = ec.generate_private_key(ec.SECP256R1())
        who = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, subject)])
        builder = (
            x509.CertificateBuilder()
            .subject_name(who)
            .issuer_name(issuer[0].subject if issuer else who)
            .public_key(key.public_key())
            .serial_number(x509.random_serial_number())
            .not_valid_before(now - timedelta(hours=1))
            .not_valid_after(now + timedelta(hours=1))
            .add_extension(x509.SubjectAlternativeName([x509.IPAddress(ip_address("127.0.0.1"))]), critical=False)
            .add_extension(x509.BasicConstraints(ca=issuer is None, path_length=None), critical=True)
        )
        return builder.sign(issuer[1] if issuer else key, hashes.SHA256()), key

    authority = authority or make("authority", None)
    certificate, key = make(name, authority)
    files = TlsFiles(directory / f"{name}.ca", directory / f"{name}.crt", directory / f"{name}.key")
    pem = serialization.Encoding.PEM
    files.ca.write_bytes(authority[0].public_bytes(pem))
    files.certificate.write_bytes(certificate.public_bytes(pem))
    files.key.write_bytes(key.private_bytes(pem, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()))
    return files, authority


async def test_between_hosts_both_ends_show_certificates(tmp_path: Path) -> None:
    node_files, authority = certificates(tmp_path, "node")
    owner_files, _ = certificates(tmp_path, "owner", authority)
    stranger_files, _ = certificates(tmp_path, "stranger")
    ear = Ear()
    server = LinkServer(LinkAddress("127.0.0.1:0", node_files), ear, Clock().boottime_ms)
    await server.start()
    target = f"127.0.0.1:{server.port}"
    stranger_files = TlsFiles(owner_files.ca, stranger_files.certificate, stranger_files.key)
    for files, welcome in ((owner_files, True), (stranger_files, False)):
        async with dial(LinkAddress(target, files)) as channel:
            call: Any = channel.stream_stream(METHOD)()
            if welcome:
                await call.write(encode_to_node([(0, Ping(1))]))
                assert decode_from_node(await call.read())[0][0] == 0
            else:
                with pytest.raises((grpc.aio.AioRpcError, asyncio.InvalidStateError)):
                    await call.write(encode_to_node([(0, Ping(1))]))
                    await call.read()
    await server.stop()
