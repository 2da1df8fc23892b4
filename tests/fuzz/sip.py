"""Fuzz targets: SIP messages, an endpoint over its whole life, a registrar with digest."""

from __future__ import annotations

import hashlib
import re
from collections import Counter
from collections.abc import Iterator

from tandem.wire.sip.digest import Authenticator, AuthOutcome, Verdict, find_challenge, hash_password
from tandem.wire.sip.endpoint import Endpoint
from tandem.wire.sip.events import (
    Address,
    CallAnswered,
    CallArrived,
    CallEnded,
    EndpointConfig,
    Event,
    OfferReceived,
    RegisterArrived,
)
from tandem.wire.sip.message import ParseError, Refusal, Request, Response, expires_of, parse, respond_to, tokens
from tandem.wire.sip.reason import find_reason
from tandem.wire.sip.registrar import Registrar, RegistrarConfig, address_of_record
from tandem.wire.sip.uri import NameAddr, Uri

PEER: Address = ("127.0.0.2", 5070)


# ------------------------------------------------------------------ one message


def message(data: bytes) -> None:
    """Reading is stable, what was read can be written and is read as the same, accessors never fail."""
    found = parse(data)
    assert parse(data) == found, "two verdicts on the same bytes"
    if isinstance(found, ParseError):
        if found.reply is not None:
            _refusal(found.reply)
        return
    wire = found.to_bytes()
    assert parse(wire) == found, "written and read again, it is another message"
    found.contacts()
    expires_of(found.headers)
    find_reason(found.headers)
    for name in ("Require", "Supported", "Accept"):
        tokens(found.headers, name)
    if isinstance(found, Response):
        find_challenge(found.headers, found.status)
        return
    found.max_forwards()
    address_of_record(found)
    seen = found.vias[0].seen_from(*PEER)
    host, port = seen.reply_address()
    assert host and 0 <= port <= 65_535
    answer = respond_to(found, 200, to_tag="ours")
    assert parse(answer.to_bytes()) == answer, "our answer is not what we meant"


def _refusal(reply: Refusal) -> None:
    wire = reply.to_bytes(reply.via.seen_from(*PEER), "ours", "us")
    assert wire.endswith(b"\r\n\r\n")
    assert wire.count(b"\r\n\r\n") == 1, "a peer's text ends our headers"
    assert wire.startswith(b"SIP/2.0 %d " % reply.status)
    known = {b"via", b"from", b"to", b"call-id", b"cseq", b"server", b"content-length"}
    for line in wire.split(b"\r\n")[1:-2]:
        assert line.partition(b":")[0].lower() in known, "a peer's text became a header of ours"


# ------------------------------------------------------------------ a life of an endpoint

SEPARATOR = b"\n--\n"
"""Between the parts of an endpoint's life. The first byte of a part says what the application
does, the second how much time passes before it; the rest is a datagram."""

CALLS_MAX, TRANSACTIONS_MAX = 4, 12
PARTS_MAX = 24
LIFE_S = 4000.0
WAKES_MAX = 5000
OURS = b"v=0\r\no=- 1 1 IN IP4 127.0.0.1\r\ns=-\r\nc=IN IP4 127.0.0.1\r\nt=0 0\r\nm=audio 4000 RTP/AVP 0\r\n"


class _Tokens:
    """Tokens that a fuzzer can guess, so that it gets into dialogs."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self) -> str:
        self._count += 1
        return f"tok{self._count:04d}"


class _Life:
    """An application that does what the input says, and checks what it is told."""

    def __init__(self) -> None:
        config = EndpointConfig(
            "127.0.0.1", 5060, calls_max=CALLS_MAX, transactions_max=TRANSACTIONS_MAX, retry_after_s=5
        )
        self.endpoint = Endpoint(config, _Tokens())
        self.now = 0.0
        self.handles: Counter[str] = Counter()
        self.ended: Counter[str] = Counter()
        self.registers: list[str] = []

    def part(self, data: bytes) -> None:
        verb, wait, datagram = data[0], data[1], data[2:]
        self._pass(wait * wait / 256)
        sent_before = len(datagram)
        self.endpoint.receive(datagram, PEER if verb & 1 else ("127.0.0.3", 5060), self.now)
        self._take(verb, sent_before)
        if verb & 0x80:
            self._call()
        self._check_bounds()

    def _call(self) -> None:
        handle = self.endpoint.invite(Uri("127.0.0.2", "bob", 5070), OURS, self.now, caller=NameAddr(Uri("us", "a")))
        if handle is not None:
            self.handles[handle] += 1
        self._take(0, None)

    def _take(self, verb: int, received: int | None) -> None:
        while events := self.endpoint.take_events():
            for event in events:
                self._told(event, verb)
        for wire, target in self.endpoint.take_datagrams():
            assert isinstance(parse(wire), Request | Response) or b"SIP/2.0 400" in wire or b"SIP/2.0 505" in wire
            assert target[0], "a datagram to nowhere"
            if received is not None:
                assert len(wire) < 4 * received + 2000, "a small datagram is answered with a big one"

    def _told(self, event: Event, verb: int) -> None:
        handle = getattr(event, "call", None)
        if handle is not None:
            assert not self.ended[handle], f"{type(event).__name__} after the end"
        match event:
            case CallArrived(call):
                assert not self.handles[call], "a handle twice"
                self.handles[call] += 1
                self._arrived(call, verb)
            case CallEnded(call):
                assert self.handles[call] == 1, "the end of a call that never was"
                self.ended[call] += 1
            case OfferReceived(call):
                if verb & 2:
                    self.endpoint.accept_offer(call, OURS, self.now)
                elif verb & 4:
                    self.endpoint.refuse_offer(call, 488, self.now)
            case CallAnswered(call) if verb & 2:
                self.endpoint.offer(call, OURS, self.now)
            case RegisterArrived(transaction):
                if verb & 2:
                    assert self.endpoint.respond(transaction, 200, self.now)
                else:
                    self.registers.append(transaction)
            case _:
                pass

    def _arrived(self, call: str, verb: int) -> None:
        match verb >> 1 & 7:
            case 0:
                self.endpoint.reject(call, 486, self.now)
            case 1 | 2:
                self.endpoint.ring(call, self.now)
            case 3:
                self.endpoint.hangup(call, self.now)
            case _:
                self.endpoint.answer(call, OURS, self.now)

    def _pass(self, seconds: float) -> None:
        """Let time go by, wake for wake."""
        until = self.now + seconds
        for _ in range(WAKES_MAX):
            at = self.endpoint.next_wakeup()
            if at is None or at > until:
                self.now = until
                return
            self.now = max(self.now, at)
            self.endpoint.tick(self.now)
            self._take(0, None)
        raise AssertionError("its timers never come to an end")

    def _check_bounds(self) -> None:
        layer, calls = self.endpoint._layer, self.endpoint._calls
        assert len(layer.servers) <= 2 * TRANSACTIONS_MAX
        assert len(layer.clients) <= 2 * TRANSACTIONS_MAX + CALLS_MAX
        assert len(layer._requests) <= len(layer.servers)
        assert len(calls._by_handle) <= CALLS_MAX
        assert len(calls._by_dialog) <= 2 * CALLS_MAX
        assert len(layer.timers._heap) <= 2 * len(layer.timers._armed) + 65

    def over(self) -> None:
        """The application hangs up what is left; then nothing may stay behind."""
        for handle in self.handles:
            self.endpoint.hangup(handle, self.now)
        self._take(0, None)
        self._pass(LIFE_S)
        assert self.handles == self.ended, "not one end for each call"
        layer, calls = self.endpoint._layer, self.endpoint._calls
        left = (layer.clients, layer.servers, layer._requests, calls._by_handle, calls._by_dialog)
        assert not any(left), f"left behind: {left}"
        assert self.endpoint.next_wakeup() is None, "a timer of nothing"


def endpoint(data: bytes) -> None:
    """Bounded at every step, one end for each call, nothing left behind."""
    life = _Life()
    for part in data.split(SEPARATOR)[:PARTS_MAX]:
        if len(part) >= 2:
            life.part(part)
    life.over()


# ------------------------------------------------------------------ registrar and digest

REALM, USER, PASSWORD = "tandem", "anna", "secret"
KEPT = hash_password(USER, REALM, PASSWORD)
CONTACTS_MAX, RECORDS_MAX, NONCES_MAX = 3, 4, 8


def registrar(data: bytes) -> None:
    """The table and the used nonces stay small; only a right answer is accepted; the table survives a journal."""
    authenticator = Authenticator(REALM, b"k" * 32, _Tokens(), nonces_max=NONCES_MAX)
    config = RegistrarConfig(contacts_max=CONTACTS_MAX, records_max=RECORDS_MAX)
    table = Registrar(config)
    now = 0.0
    for part in data.split(SEPARATOR)[:PARTS_MAX]:
        if len(part) < 2:
            continue
        now += part[1]
        table.tick(now)
        # The seeds answer the nonce that this very authenticator gives first.
        nonce = re.search(rb'nonce="([^"]+)"', authenticator.challenge(0.0)[0][1].encode())
        assert nonce is not None
        found = parse(part[2:].replace(b"@NONCE@", nonce[1]))
        if isinstance(found, Request):
            verdict = authenticator.verify(found, lambda user: KEPT if user == USER else None, now)
            _check_verdict(verdict, found)
            # Half of the parts come past the check, or the table would hardly ever be met.
            if verdict.outcome is AuthOutcome.ACCEPTED or part[0] & 1:
                _take_register(table, found, now)
        assert len(authenticator._used) <= NONCES_MAX
        assert len(table.records()) <= RECORDS_MAX
    kept = table.to_dict()
    again = Registrar.from_dict(kept, config)
    assert again.to_dict() == kept, "the journal changes the table"
    assert again.next_wakeup() == table.next_wakeup()
    table.tick(now + 4000)
    assert table.records() == (), "a registration for ever"


def _take_register(table: Registrar, request: Request, now: float) -> None:
    record = address_of_record(request)
    before = table.bindings(record, now)
    reply = table.register(record, request, PEER, now)
    after = table.bindings(record, now)
    assert len(after) <= CONTACTS_MAX
    assert reply.status == 200 or after == before, "refused, and taken all the same"
    response = respond_to(request, reply.status, to_tag="ours", reason=reply.text or None, headers=reply.headers)
    assert isinstance(parse(response.to_bytes()), Response)


def _check_verdict(verdict: Verdict, request: Request) -> None:
    """An answer that is accepted holds the right hash: computed here once more, by the book."""
    assert verdict.status in (200, 401, 403)
    if verdict.outcome is not AuthOutcome.ACCEPTED:
        assert verdict.user is None
        return
    assert verdict.user == USER
    assert any(_is_right(line, request.method) for line in request.headers.all("Authorization"))


def _is_right(text: str, method: str) -> bool:
    def value(name: str) -> str:
        match = re.search(rf'[ ,]{name}\s*=\s*"?([^",]*)', text, re.IGNORECASE)
        return match[1] if match else ""

    def hashed(line: str) -> str:
        kind = hashlib.sha256 if "SHA-256" in text.upper() else hashlib.md5
        return kind(line.encode()).hexdigest()

    uri = re.search(r'[ ,]uri\s*=\s*"([^"]*)"', text, re.IGNORECASE)
    inner = f"{value('nonce')}:{value('nc')}:{value('cnonce')}:auth"
    ha1 = hashed(f"{USER}:{REALM}:{PASSWORD}")
    return hashed(f"{ha1}:{inner}:{hashed(f'{method}:{uri[1] if uri else str()}')}") in text.lower()


def parts(*each: tuple[int, int, bytes]) -> bytes:
    """An input of `endpoint` or `registrar`: (verb, time, datagram) for each part."""
    return SEPARATOR.join(bytes((verb, wait)) + datagram for verb, wait, datagram in each)


def datagrams(data: bytes) -> Iterator[bytes]:
    """The datagrams of such an input."""
    for part in data.split(SEPARATOR):
        yield part[2:]
