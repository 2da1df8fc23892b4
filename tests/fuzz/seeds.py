"""Where fuzzing begins: messages of our own endpoints, RFC 4475, requests of our own API, and
what fuzzing has found before (`corpus/*.txt`: one input a line, as a Python bytes literal)."""

from __future__ import annotations

import ast
import json
from collections.abc import Callable
from pathlib import Path

import msgspec

from tandem.core.commit import Claim, Commit, Effect, Envelope, Input, Mark, Message, Part, Reply
from tandem.core.ports import media
from tandem.core.ports.log import Partition
from tandem.core.seal import Withheld, secret
from tandem.media.backend import RowKind
from tandem.media.builtin.node import Node
from tandem.media.journal.changes import Change, EpochSeen, EventKept, KeyTaken, Opened, RowKept, encode_change
from tandem.runtime import log_codec, media_codec
from tandem.runtime.pages import Page
from tandem.wire import rtp
from tandem.wire.dtmf import EventSender
from tandem.wire.g711 import Law
from tandem.wire.sdp import Direction
from tandem.wire.sip.digest import Credentials
from tandem.wire.sip.endpoint import Endpoint
from tandem.wire.sip.events import CallArrived, EndpointConfig, OfferReceived, RegisterArrived
from tandem.wire.sip.uri import NameAddr, Uri
from tests.fuzz import api, node, records, sip
from tests.support.rfc4475 import MESSAGES
from tests.unit.media.builtin.bench import Bench, Handset
from tests.unit.wire.test_sdp import PHONE

CORPUS = Path(__file__).parent / "corpus"


def found(name: str) -> list[bytes]:
    """What is kept of earlier runs."""
    file = CORPUS / f"{name}.txt"
    if not file.exists():
        return []
    lines = file.read_text("utf-8").splitlines()
    return [ast.literal_eval(line) for line in lines if line and not line.startswith("#")]


def all_of(name: str) -> list[bytes]:
    """All seeds of a target."""
    return [*_MADE[name](), *found(name)]


# ------------------------------------------------------------------ SIP


class _Recorder:
    """A phone that talks to a node; keeps what the phone sent, as an input of `sip.endpoint`."""

    def __init__(self, verb: int) -> None:
        self.verb = verb
        self.now = 0.0
        self.phone = Endpoint(EndpointConfig(*sip.PEER), _phone_tokens())
        self.node = Endpoint(EndpointConfig("127.0.0.1", 5060), sip._Tokens())
        self.sent: list[tuple[int, int, bytes]] = []
        self.arrived = ""

    def exchange(self, after: int = 0) -> None:
        """Carry datagrams to and fro until nobody has more to say."""
        wait = after
        while outward := self.phone.take_datagrams():
            for data, _ in outward:
                self.sent.append((self.verb, wait, data))
                wait = 0
                self.node.receive(data, sip.PEER, self.now)
                self._application()
            for data, _ in self.node.take_datagrams():
                self.phone.receive(data, ("127.0.0.1", 5060), self.now)
            self._phone()

    def _application(self) -> None:
        for event in self.node.take_events():
            match event:
                case CallArrived(call):
                    self.arrived = call
                    self.node.answer(call, sip.OURS, self.now)
                case OfferReceived(call):
                    self.node.accept_offer(call, sip.OURS, self.now)
                case RegisterArrived(transaction):
                    self.node.respond(transaction, 200, self.now)
                case _:
                    pass

    def _phone(self) -> None:
        for event in self.phone.take_events():
            if isinstance(event, OfferReceived):
                self.phone.accept_offer(event.call, sip.OURS, self.now)


def _phone_tokens() -> Callable[[], str]:
    numbers = iter(range(10_000))
    return lambda: f"phone{next(numbers):03d}"


def _invite(recorder: _Recorder) -> str:
    call = recorder.phone.invite(
        Uri("127.0.0.1", "4930", 5060), sip.OURS, recorder.now, caller=NameAddr(Uri("127.0.0.2", "anna"), "Anna")
    )
    assert call is not None
    return call


def _lives() -> list[bytes]:
    talk = _Recorder(0b1001 | 2)
    call = _invite(talk)
    talk.exchange()
    talk.phone.offer(call, sip.OURS, talk.now)
    talk.exchange(20)
    talk.phone.hangup(call, talk.now)
    talk.exchange(40)
    ringing = _Recorder(0b0011)
    call = _invite(ringing)
    [(invite, _)] = ringing.phone.take_datagrams()
    cancel = invite.replace(b"INVITE", b"CANCEL")
    register = _Recorder(0b0011)
    register.phone.register(Uri("127.0.0.1", None, 5060), Uri("us", "anna"), 0.0)
    register.exchange()
    return [
        sip.parts(*talk.sent),
        sip.parts(*talk.sent[:2], *talk.sent[:2], *talk.sent[2:]),
        sip.parts((3, 0, invite), (3, 5, cancel)),
        sip.parts(*register.sent),
        sip.parts((0x81, 0, b"\r\n\r\n"), (3, 30, MESSAGES[0].wire)),
        *(sip.parts((9, 1, message.wire)) for message in MESSAGES),
    ]


def _single() -> list[bytes]:
    return [part for life in _lives()[:4] for part in sip.datagrams(life)] + [message.wire for message in MESSAGES]


def _registers() -> list[bytes]:
    authenticator = sip.Authenticator(sip.REALM, b"k" * 32, sip._Tokens())
    recorder = _Recorder(2)
    recorder.phone.register(
        Uri("127.0.0.1", None, 5060), Uri("us", sip.USER), 0.0, credentials=Credentials(sip.USER, sip.PASSWORD)
    )
    [(first, _)] = recorder.phone.take_datagrams()
    recorder.node.receive(first, sip.PEER, 0.0)
    [arrived] = recorder.node.take_events()
    assert isinstance(arrived, RegisterArrived)
    # Signed with the nonce that the target's own authenticator gives first at time 0.
    recorder.node.respond(arrived.transaction, 401, 0.0, headers=authenticator.challenge(0.0))
    for data, _ in recorder.node.take_datagrams():
        recorder.phone.receive(data, ("127.0.0.1", 5060), 0.0)
    [(second, _)] = recorder.phone.take_datagrams()
    star = first.replace(b"Contact: <sip:anna@127.0.0.2:5070>", b"Contact: *").replace(b"Expires: 300", b"Expires: 0")
    return [
        sip.parts((0, 0, first), (0, 0, second)),
        sip.parts((1, 0, first), (1, 9, star)),
        sip.parts((1, 0, first), (1, 0, first.replace(b"5070>", b"5071>")), (1, 200, second)),
    ]


class _RecordedBench(Bench):
    """Keeps what phones send to the node, in every life of it, as parts of an input."""

    def __init__(self) -> None:
        self.parts: list[tuple[int, int, bytes]] = []
        super().__init__(capacity=node.CAPACITY, guard=node.GUARD)

    def new_node(self) -> Node:
        made = super().new_node()
        receive = made.sip

        def recorded(data: bytes, source: tuple[str, int], now: float) -> bool:
            self.parts.append((0, 0, data))
            return receive(data, source, now)

        made.sip = recorded  # type: ignore[method-assign]
        return made


def _deaths() -> list[bytes]:
    """A node that dies while it rings a phone, before and after the phone has answered."""
    found = []
    for answers in (False, True):
        bench = _RecordedBench()
        bench.phones[node.SOURCES[0]] = phone = Handset(bench, "ann", node.SOURCES[0], Law.MU)
        phone.register()
        bench.parts.append((0x60, 0, b""))
        ringing = node._command(6, [], 0)
        assert ringing is not None
        bench.do(*ringing)
        if answers:
            phone.answer()
        bench.parts.append((node.DIES, 4, b""))
        node._die(bench, {})
        found.append(sip.parts(*bench.parts))
    return found


def _calls() -> list[bytes]:
    """What a caller and an agent's phone send to a node, which draws its tokens as the target does."""
    bench = _RecordedBench()
    sent = bench.parts
    bench.phones[node.SOURCES[0]] = phone = Handset(bench, "ann", node.SOURCES[0], Law.MU)
    phone.register()
    phone.dial()
    leg = bench.node.legs()[0].leg
    sent.append((0x10, 0, b""))
    bench.do(leg, media.Answer())
    phone.hold(Direction.SENDONLY)
    phone.hold(Direction.SENDRECV)
    packets = [rtp.pack(0, False, n, 160 * n, 7, bytes(160)) for n in range(3)]
    sent += [(0x34, 1, packets[0]), (4, 1, packets[1]), (0x64, 1, packets[2])]
    phone.hang_up()
    invite = next(data for _, _, data in sent if data.startswith(b"INVITE"))
    return [
        *_deaths(),
        sip.parts(*sent),
        sip.parts((0x11, 0, invite), (0x72, 9, invite.replace(b";tag=", b";tag=x")), (0x24, 80, packets[0])),
        *(sip.parts((0x10, 1, message.wire)) for message in MESSAGES[:20]),
    ]


# ------------------------------------------------------------------ audio


def _packets() -> list[bytes]:
    def row(flags: int, data: bytes) -> bytes:
        return bytes((flags, min(255, len(data)))) + data[:255]

    speech = b"".join(row(5, rtp.pack(0, n == 0, n, 160 * n, 7, b"\xff" * 160)) for n in range(6))
    sender, digit = EventSender("5", 4800), b""
    while (packet := sender.take()) is not None:
        digit += row(5, rtp.pack(101, packet.marker, 30, packet.timestamp, 7, packet.payload))
    return [speech, speech + digit, digit + digit, row(0x17, b"") + speech]


def _wavs() -> list[bytes]:
    def file(code: int, bits: int, audio: bytes) -> bytes:
        form = (
            code.to_bytes(2, "little") + b"\1\0" + (8000).to_bytes(4, "little") + bytes(6) + bits.to_bytes(2, "little")
        )
        chunks = (
            b"WAVEfmt " + len(form).to_bytes(4, "little") + form + b"data" + len(audio).to_bytes(4, "little") + audio
        )
        return b"RIFF" + len(chunks).to_bytes(4, "little") + chunks

    return [file(1, 16, bytes(range(64))), file(7, 8, bytes(range(32))), file(6, 8, bytes(range(32)))]


def _descriptions() -> list[bytes]:
    bodies = [message.wire.partition(b"\r\n\r\n")[2] for message in MESSAGES]
    return [PHONE.encode(), sip.OURS, *dict.fromkeys(body for body in bodies if body.startswith(b"v="))]


# ------------------------------------------------------------------ API

_FLOW = {
    "steps": [
        {"id": "hello", "answer": {"next": "menu"}},
        {
            "id": "menu",
            "menu": {
                "prompts": ["menu"],
                "options": [{"digit": "1", "next": "sales"}],
                "timeout": "5s",
                "tries": 2,
                "otherwise": "bye",
                "sensitive": True,
            },
        },
        {"id": "sales", "queue": {"queue": "tenants/red/queues/sales", "music": "music", "maxWait": "60s"}},
        {"id": "bye", "hangUp": {"prompts": ["apology"]}},
    ]
}


def _rests() -> list[bytes]:
    bodies = {"": b"", "*": b'{"etag": "1"}'}
    made = []
    for index, method in enumerate(api.METHODS):
        body = bodies.get(
            method.route.body, json.dumps(_FLOW if method.route.body == "flow" else {"displayName": "x"}).encode()
        )
        made.append(bytes((index,)) + b"updateMask=displayName&pageSize=3\n" + body)
        made.append(bytes((index,)) + b"\n" + body)
    return made


def _tokens() -> list[bytes]:
    request = api.tenant_service_pb2.ListQueuesRequest(parent="tenants/red")
    bound = api.page_of(request, "red").bound
    return [Page(1, None, bound).token(after).encode() for after in (("a",), (7,), ("a", 7))]


# ------------------------------------------------------------------ records


def _links() -> list[bytes]:
    command = media.Command("t1", "k1", "leg1", media.Answer())
    event = media.Event("t1", 7, 1234, "leg1", media.LegArrived("4930", secret("4917")))
    return [
        media_codec.encode_to_node([(1, media_codec.Ping(5))]),
        media_codec.encode_to_node([(1, media_codec.Close("gone"))]),
        media_codec.to_bytes(command),
        media_codec.to_bytes(event),
        media_codec.encode_from_node([(1, media_codec.Pong(5, 6))]),
    ]


def _logs() -> list[bytes]:
    part = Part("t.A", b"\1\2", ((3, Withheld()),))
    commit = Commit(
        3, 9, 1000, "boot", 5, "e1",
        (Input("api", 1, "t1", "contact/c1", 1000, part, "k", "me", "tr", "", ""),),
        (Mark("api", "t1", 1),),
        (Envelope("e", "t1", "contact/c1", 4, 1000, "c", "me", "tr", part, ("k",)),),
        (Effect("contact/c1/4/0", "t1", "contact/c1", "n", "timer", 2000, part),),
        (Message("recording", "t1", "r/1", "contact/c1", part, part),),
        (Reply("t1", "req", "d", 1000, part),),
    )  # fmt: skip
    return [log_codec.encode(Claim(3, "owner-1", "live")), log_codec.encode(commit)]


def _snapshots() -> list[bytes]:
    rows = (
        ("head", 3, "owner", 9, 1000, "boot", 5),
        ("mark", "api", "t1", 4),
        ("request", "t1", "req", "d", 1000, "t.A", b"", ()),
        ("pending", "contact/c1/4/0", "t1", "contact/c1", "n", "timer", 5, "t.A", b"", ()),
    )
    parts = [records.GROUP.canonical.encode(row) for row in rows]
    return [*parts, b"".join(len(part).to_bytes(4, "big") + part for part in parts)]


def _journals() -> list[bytes]:
    changes: tuple[Change, ...] = (
        Opened("one"),
        EpochSeen(Partition("live", 0), 4),
        KeyTaken(media.Command("t1", "k1", "leg1", media.Answer())),
        EventKept(media.Event("t1", 7, 1234, "leg1", media.LegArrived("4930", secret("4917")))),
        RowKept(RowKind.LEG, "leg1", {"tenant": "t1", "shard": 0}),
    )
    encoded = [encode_change(change) for change in changes]
    return [*encoded, msgspec.msgpack.encode(encoded)]


_MADE: dict[str, Callable[[], list[bytes]]] = {
    "sip_message": _single,
    "sip_endpoint": _lives,
    "registrar": _registers,
    "node": _calls,
    "sdp": _descriptions,
    "rtp": _packets,
    "wav": _wavs,
    "flow": lambda: [json.dumps(_FLOW).encode()],
    "rest": _rests,
    "page": _tokens,
    "link": _links,
    "log": _logs,
    "snapshot": _snapshots,
    "journal": _journals,
}
