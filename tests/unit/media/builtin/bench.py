"""A node, its phones and the wire between them, without a socket and on virtual time."""

from __future__ import annotations

import random
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from tandem.core.ports.media import (
    Answer,
    Command,
    CommandSettled,
    DirectoryDevice,
    DirectoryNumber,
    LegArrived,
    MediaEvent,
    Originate,
    RecordingStored,
    Verb,
)
from tandem.core.seal import secret
from tandem.media.backend import MergedDirectory, Row, RowKind
from tandem.media.builtin.config import BuiltinConfig
from tandem.media.builtin.node import Node
from tandem.media.builtin.plane import Sent
from tandem.wire import g711, rtp
from tandem.wire.dtmf import EventSender
from tandem.wire.g711 import Law
from tandem.wire.sdp import Audio, Direction, LocalAudio, Negotiation
from tandem.wire.sip import events as sip
from tandem.wire.sip.digest import Credentials, hash_password
from tandem.wire.sip.endpoint import Endpoint
from tandem.wire.sip.uri import NameAddr, Uri
from tandem.wire.wav import Audio as Clip

NODE = ("10.0.0.1", 5060)
TENANT, NUMBER, REALM, PASSWORD = "t1", "4930100", "demo.test", "secret"
START = 1000.0


def clip(seconds: float, value: int) -> Clip:
    """A clip whose every sample is that byte, in mu-law."""
    mu = bytes([value]) * int(seconds * 8000)
    return Clip(mu, g711.transcode(Law.MU, Law.A, mu))


PROMPTS = {"menu": clip(1.0, 0x10), "short": clip(0.1, 0x20), "music": clip(0.5, 0x30), "apology": clip(0.2, 0x40)}


class Seeded:
    """The `Entropy` port, repeatable."""

    def __init__(self, seed: int) -> None:
        self._random = random.Random(seed)

    def token(self, size: int = 16) -> str:
        return "".join(self._random.choices("abcdefghijklmnopqrstuvwxyz234567", k=size * 8 // 5 + 1))

    def secret(self, size: int) -> bytes:
        return self._random.randbytes(size)


class Numbers:
    """The `Ports` port: numbers alone."""

    def __init__(self) -> None:
        self.open_ports: list[int] = []
        self._next = 20000

    def open(self) -> int | None:
        self._next += 2
        self.open_ports.append(self._next)
        return self._next

    def close(self, port: int) -> None:
        self.open_ports.remove(port)


class MemorySpool:
    """The `Spool` port in memory; `bench.work_spool` lets it do its work."""

    def __init__(self) -> None:
        self.files: dict[str, bytes] = {}
        self.begun: list[str] = []
        self.finished: list[tuple[str, bool]] = []

    def begin(self, name: str, header: bytes) -> None:
        assert name not in self.files
        self.files[name] = header
        self.begun.append(name)

    def append(self, name: str, chunk: bytes) -> None:
        self.files[name] += chunk

    def finish(self, name: str, *, truncated: bool = False) -> None:
        self.finished.append((name, truncated))


class Handset:
    """A phone at an address of its own."""

    def __init__(self, bench: Bench, user: str, address: tuple[str, int], law: Law) -> None:
        self.user, self.address, self.law = user, address, law
        self.endpoint = Endpoint(sip.EndpointConfig(*address), bench.entropy.token)
        self.events: list[Any] = []
        self.call = ""
        self.audio: Audio | None = None
        self.offered = True
        self.heard: list[rtp.RtpPacket] = []
        self._bench = bench
        self._negotiation = self._new()
        self._sent = 0
        self._arrived = 0.0

    def _new(self) -> Negotiation:
        return Negotiation(LocalAudio(self.address[0], self.address[1] + 1000, (self.law.value,)), 1)

    def register(self, password: str = PASSWORD, expires_s: int = 300) -> None:
        self.endpoint.register(
            Uri(*NODE[:1], port=NODE[1]), Uri(NODE[0], self.user), self._bench.now,
            expires_s=expires_s, credentials=Credentials(self.user, password),
        )  # fmt: skip
        self._bench.settle_wire()

    def dial(self, number: str = NUMBER, *, delayed_offer: bool = False) -> None:
        self._negotiation = self._new()
        self.offered = not delayed_offer
        sdp = b"" if delayed_offer else self._negotiation.offer()
        call = self.endpoint.invite(
            Uri(NODE[0], number, NODE[1]), sdp, self._bench.now, caller=NameAddr(Uri("phones.test", self.user))
        )
        assert call is not None
        self.call = call
        self._bench.settle_wire()

    def answer(self) -> bool:
        arrived = next((e for e in reversed(self.events) if isinstance(e, sip.CallArrived)), None)
        if arrived is None or arrived.offer is None:
            return False
        answer = self._negotiation.answer(arrived.offer)
        done = self.endpoint.answer(arrived.call, answer.sdp, self._bench.now)
        if done:
            self.audio = answer.audio
        self._bench.settle_wire()
        return done

    def reject(self, status: int) -> None:
        self.endpoint.reject(self.call, status, self._bench.now)
        self._bench.settle_wire()

    def hang_up(self) -> None:
        self.endpoint.hangup(self.call, self._bench.now)
        self._bench.settle_wire()

    def hold(self, direction: Direction) -> None:
        self.endpoint.offer(self.call, self._negotiation.offer(direction), self._bench.now)
        self._bench.settle_wire()

    def say(self, value: int) -> None:
        """20 ms of samples of that byte."""
        self._send(self.law.payload_type, self._sent * 160, bytes([value]) * 160)

    def press(self, digit: str) -> None:
        """All packets of a digit at once."""
        sender = EventSender(digit, self._sent * 160)
        while (packet := sender.take()) is not None:
            self._send(101, packet.timestamp, packet.payload)
        self._sent += 10

    def _send(self, kind: int, timestamp: int, payload: bytes) -> None:
        if self.audio is None:
            return
        self._sent += 1
        data = rtp.pack(kind, False, self._sent, timestamp, 77, payload)
        self._bench.node.rtp(self.audio.port, data, (self.address[0], self.address[1] + 1000), self._bench.now)
        self._bench.settle_wire()

    def happened(self, event: Any) -> None:
        self.events.append(event)
        match event:
            case sip.CallArrived():
                self.call = event.call
                self._arrived = self._bench.now
                self._negotiation = self._new()
                self.endpoint.ring(event.call, self._bench.now)
            case sip.CallAnswered() | sip.OfferAnswered() if event.answer is not None and self.offered:
                agreed = self._negotiation.accept(event.answer)
                assert isinstance(agreed, Audio), agreed
                self.audio = agreed
            case sip.CallEnded():
                self.audio = None

    def rang_s(self) -> float:
        """Since the last call came."""
        return self._bench.now - self._arrived

    def told(self, kind: type) -> Any:
        """The last event of a kind."""
        return next((event for event in reversed(self.events) if isinstance(event, kind)), None)


class Bench:
    """Everything of one test. Is its own sink."""

    prompts: Mapping[str, Clip] = PROMPTS

    def __init__(self, *, owner: bool = True, seed: int = 1, **settings: Any) -> None:
        self.now = START
        self.entropy = Seeded(seed)
        self.events: list[tuple[str, MediaEvent]] = []
        self.rows: dict[tuple[RowKind, str], Mapping[str, Any]] = {}
        self.ports = Numbers()
        self.spool = MemorySpool()
        self.sent: list[Sent] = []
        self.phones: dict[tuple[str, int], Handset] = {}
        self.config = BuiltinConfig(Path("/nowhere"), Path("/nowhere"), host=NODE[0], sip_port=NODE[1], **settings)
        self._keys = self._asked = 0
        self._ticks = 1
        self.begin(owner)

    def begin(self, owner: bool) -> None:
        """Greet a node without a past."""
        self.node = self.new_node()
        self.node.directory(self.greeting("ann", "bob"), self.now)
        self.node.owner_present(0, owner, self.now)

    def new_node(self) -> Node:
        endpoint = Endpoint(sip.EndpointConfig(*NODE), self.entropy.token)
        return Node(self.config, self.entropy, self, endpoint, self.ports, self.spool, self.prompts)

    @staticmethod
    def greeting(*users: str) -> MergedDirectory:
        devices = {}
        for user in users:
            hashed = hash_password(user, REALM, PASSWORD)
            devices[user] = DirectoryDevice(user, TENANT, 0, REALM, hashed.md5, hashed.sha256)
        return MergedDirectory({NUMBER: DirectoryNumber(NUMBER, TENANT, 0)}, devices)

    # ------------------------------------------------------------------ Sink

    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        assert tenant in (TENANT, "t2")
        assert media_time_ms == int(self.now * 1000)
        self.events.append((leg, body))

    def remember(self, kind: RowKind, id: str, value: Mapping[str, Any] | None) -> None:
        if value is None:
            self.rows.pop((kind, id), None)
        else:
            self.rows[kind, id] = value

    def as_rows(self) -> list[Row]:
        return [Row(*name, value) for name, value in self.rows.items()]

    # ------------------------------------------------------------------ wire and time

    def phone(self, user: str, *, law: Law = Law.MU) -> Handset:
        address = ("10.0.1.1", 6000 + len(self.phones))
        self.phones[address] = phone = Handset(self, user, address, law)
        return phone

    def settle_wire(self) -> None:
        """Carry datagrams until none is on its way."""
        moved = True
        while moved:
            moved = False
            for data, target in self.node.take_sip():
                moved = True
                if target in self.phones:
                    self.phones[target].endpoint.receive(data, NODE, self.now)
            for phone in list(self.phones.values()):
                for event in phone.endpoint.take_events():
                    phone.happened(event)
                for data, target in phone.endpoint.take_datagrams():
                    moved = True
                    if target == NODE:
                        self.node.sip(data, phone.address, self.now)

    def options(self) -> str:
        """The status that OPTIONS gets."""
        stranger = ("10.0.9.9", 5060)
        self._asked += 1
        request = (
            f"OPTIONS sip:10.0.0.1 SIP/2.0\r\nVia: SIP/2.0/UDP 10.0.9.9:5060;branch=z9hG4bKo{self._asked}\r\n"
            "From: <sip:x@y>;tag=f\r\nTo: <sip:10.0.0.1>\r\nCall-ID: o\r\nCSeq: 1 OPTIONS\r\n"
            "Max-Forwards: 70\r\nContent-Length: 0\r\n\r\n"
        )
        self.node.sip(request.encode(), stranger, self.now)
        ((data, _),) = self.node.take_sip()
        return data.split(b" ")[1].decode()

    def advance(self, seconds: float) -> None:
        """Time goes on, with a tick each 20 ms and every deadline in its order."""
        end = round(self.now + seconds, 6)
        while self._next_tick <= end:
            self._deadlines(self._next_tick)
            self._tick()
            self._ticks += 1
        self._deadlines(end)

    @property
    def _next_tick(self) -> float:
        return round(START + self._ticks * 0.02, 6)

    def _deadlines(self, until: float) -> None:
        while (at := self._next()) is not None and at <= until:
            self._wake(max(at, self.now))
        self.now = max(until, self.now)

    def _next(self) -> float | None:
        wanted = [self.node.next_wakeup(), *(phone.endpoint.next_wakeup() for phone in self.phones.values())]
        return min((at for at in wanted if at is not None), default=None)

    def _wake(self, at: float) -> None:
        self.now = at
        self.node.wake(at)
        for phone in self.phones.values():
            phone.endpoint.tick(at)
        self.settle_wire()

    def _tick(self) -> None:
        if not self.node.audible:
            return
        for sent in self.node.tick(self.now):
            self.sent.append(sent)
            phone = self.phones.get((sent.target[0], sent.target[1] - 1000))
            packet = rtp.parse(sent.data)
            if phone is not None and packet is not None:
                phone.heard.append(packet)
        self.node.ticked(self.now)
        self.settle_wire()

    # ------------------------------------------------------------------ commands

    def do(self, leg: str, verb: Verb, tenant: str = TENANT) -> str:
        """Give a command; its key."""
        self._keys += 1
        key = f"k{self._keys}"
        self.node.perform(Command(tenant, key, leg, verb), self.now)
        self.settle_wire()
        return key

    def outcome(self, key: str) -> str | None:
        """DONE, or the reason; None while it is under way."""
        found = [body for _, body in self.events if isinstance(body, CommandSettled) and body.key == key]
        assert len(found) <= 1, found
        return (found[0].reason or found[0].outcome.value) if found else None

    def of(self, leg: str) -> list[MediaEvent]:
        """What was told of a leg, settlements aside."""
        return [body for id, body in self.events if id == leg and not isinstance(body, CommandSettled)]

    def last(self, kind: type) -> Any:
        return next((body for _, body in reversed(self.events) if isinstance(body, kind)), None)

    def call(self, phone: Handset) -> str:
        """A caller, answered; the leg."""
        phone.dial()
        leg = next(id for id, body in reversed(self.events) if isinstance(body, LegArrived))
        assert self.outcome(self.do(leg, Answer())) == "DONE"
        return leg

    def agent(self, leg: str, user: str = "ann") -> Handset:
        """A registered device, rung and answered as that leg."""
        phone = self.phone(user)
        phone.register()
        key = self.ring(leg, user)
        assert phone.answer()
        assert self.outcome(key) == "DONE"
        return phone

    def ring(self, leg: str, user: str = "ann", limit_ms: int = 10_000) -> str:
        return self.do(leg, Originate(user, limit_ms, "offer-1", secret("4917012345")))

    def work_spool(self) -> None:
        """Let the spool make its files and store what is finished."""
        for name in self.spool.begun:
            self.node.recording_begun(name, self.now)
        self.spool.begun.clear()
        for name, truncated in self.spool.finished:
            size = len(self.spool.files.pop(name))
            stored = RecordingStored(name.rpartition("/")[2], name, 0, size, "", truncated)
            self.node.recording_stored(name, stored, self.now)
        self.spool.finished.clear()
