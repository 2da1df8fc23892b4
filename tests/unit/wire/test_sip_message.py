"""SIP messages: what is read, what is refused, and that nothing can be slipped into what is written."""

from __future__ import annotations

from dataclasses import replace

import pytest

from tandem.wire.sip.headers import Headers
from tandem.wire.sip.message import (
    HEADERS_MAX,
    LINE_MAX,
    ParseError,
    Request,
    Response,
    addresses,
    expires_of,
    parse,
    respond_to,
)
from tandem.wire.sip.uri import STAR, NameAddr, Uri, Via, parse_uri
from tests.unit.wire.sip_world import raw

INVITE = """
INVITE sip:bob@biloxi.example.com SIP/2.0
Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds
Max-Forwards: 70
To: Bob <sip:bob@biloxi.example.com>
From: Alice <sip:alice@atlanta.example.com>;tag=1928301774
Call-ID: a84b4c76e66710
CSeq: 314159 INVITE
Contact: <sip:alice@pc33.atlanta.example.com>
Content-Type: application/sdp
Content-Length: 4

v=0
"""


def request(text: str = INVITE) -> Request:
    message = parse(raw(text))
    assert isinstance(message, Request), message
    return message


def fault(text: str | bytes) -> ParseError:
    message = parse(raw(text) if isinstance(text, str) else text)
    assert isinstance(message, ParseError), message
    return message


def test_an_invite_is_read() -> None:
    invite = request()
    assert (invite.method, invite.uri) == ("INVITE", Uri("biloxi.example.com", "bob"))
    assert invite.vias == (Via("pc33.atlanta.example.com", None, (("branch", "z9hG4bK776asdhds"),)),)
    assert invite.from_ == NameAddr(Uri("atlanta.example.com", "alice"), "Alice", (("tag", "1928301774"),))
    assert (invite.call_id, invite.cseq.number, invite.max_forwards()) == ("a84b4c76e66710", 314159, 70)
    assert invite.contacts()[0].uri.host == "pc33.atlanta.example.com"
    assert invite.body == b"v=0\n"


def test_what_is_written_is_read_back_the_same() -> None:
    invite = request()
    assert parse(invite.to_bytes()) == invite


def test_compact_forms_and_case_and_folding_mean_the_same() -> None:
    compact = INVITE
    for name, short in (("Via", "v"), ("To", "t"), ("From", "F"), ("Call-ID", "I"), ("Contact", "M")):
        compact = compact.replace(f"\n{name}: ", f"\n{short}  :\t")
    compact = compact.replace("Content-Length: 4", "l: 4").replace("Content-Type: ", "C:\n   ")
    assert request(compact) == request()


def test_repeated_headers_keep_their_order() -> None:
    text = INVITE.replace("Max-Forwards: 70", "Record-Route: <sip:a;lr>, <sip:b;lr>\nX: 1\nrecord-route: <sip:c;lr>")
    assert [str(route) for route in addresses(request(text).headers, "Record-Route")] == [
        "<sip:a;lr>",
        "<sip:b;lr>",
        "<sip:c;lr>",
    ]


@pytest.mark.parametrize(
    ("length", "body", "expected"),
    [("3", "abcdef", b"abc"), ("0", "abc", b""), (None, "abc", b"abc")],
)
def test_content_length_over_udp(length: str | None, body: str, expected: bytes) -> None:
    line = "" if length is None else f"Content-Length: {length}\n"
    text = INVITE.replace("Content-Length: 4\n\nv=0\n", f"{line}\n{body}")
    assert request(text).body == expected


@pytest.mark.parametrize(
    ("old", "new", "where"),
    [
        ("Content-Length: 4", "Content-Length: 400", "Content-Length"),
        ("Content-Length: 4", "Content-Length: -4", "Content-Length"),
        ("Content-Length: 4", "Content-Length: ٤", "Content-Length"),
        ("CSeq: 314159 INVITE", "CSeq: 314159 BYE", "CSeq"),
        ("CSeq: 314159 INVITE", "CSeq: 2147483648 INVITE", "CSeq"),
        ("CSeq: 314159 INVITE", "CSeq: INVITE", "CSeq"),
        ("Call-ID: a84b4c76e66710", "Call-ID: a b", "Call-ID"),
        ("Call-ID: a84b4c76e66710\n", "", "Call-ID"),
        ("To: Bob <sip:bob@biloxi.example.com>", "To: Bob <sip:bob@biloxi.example.com", "To"),
        ("To: Bob <sip", 'To: "Bob <sip', "To"),
        ("To: Bob", "To: Bob, the builder", "To"),
        ("Contact: <sip:alice@pc33.atlanta.example.com>", "Contact: *, <sip:a@b>", "Contact"),
        ("Contact: <sip:alice@pc33.atlanta.example.com>", "Contact: sip:a@b?x=y", "Contact"),
        ("Contact: <", "Contact: <sip:a@b>" + ", <sip:a@b>" * 70 + ", <", "Contact"),
        ("Max-Forwards: 70", "Max-Forwards: 256", "Max-Forwards"),
        ("Max-Forwards: 70", "Max-Forwards: 7\nMax-Forwards: 7", "Max-Forwards"),
        ("INVITE sip:bob@biloxi.example.com", "INVITE sip:bob@" + "b" * 3000, "Request-URI"),
        ("INVITE sip:bob@biloxi.example.com", "INVITE <sip:bob@biloxi.example.com>", "Request-URI"),
        ("INVITE sip:bob@biloxi.example.com", "INVITE sip:bob%4@biloxi.example.com", "Request-URI"),
        ("INVITE sip:bob@biloxi.example.com", "INVITE sip:bob@biloxi.example.com:65536", "Request-URI"),
        ("INVITE sip", "INVITE  sip", "start line"),
    ],
)
def test_a_request_at_fault_can_be_answered_400(old: str, new: str, where: str) -> None:
    assert old in INVITE
    error = fault(INVITE.replace(old, new))
    assert error.where == where
    assert error.reply is not None
    wire = error.reply.to_bytes(error.reply.via.seen_from("192.0.2.1", 5061), "tag1", "Tandem").decode()
    assert wire.startswith("SIP/2.0 400 Bad Request")
    assert "Via: SIP/2.0/UDP pc33.atlanta.example.com;branch=z9hG4bK776asdhds;received=192.0.2.1" in wire
    assert "From: Alice <sip:alice@atlanta.example.com>;tag=1928301774" in wire


def test_what_cannot_be_answered_has_no_reply() -> None:
    assert fault(INVITE.replace("Via: SIP/2.0/UDP", "Via: nonsense")).reply is None
    assert fault(INVITE.replace("INVITE", "ACK").replace("CSeq: 314159", "CSeq: x")).reply is None
    assert fault("SIP/2.0 200 OK\nVia: x\n").reply is None


def test_another_version_gets_505() -> None:
    error = fault(INVITE.replace("SIP/2.0\n", "SIP/3.0\n", 1))
    assert error.reply is not None
    assert error.reply.status == 505


@pytest.mark.parametrize(
    "data",
    [
        b"",
        b"\r\n\r\n",
        b"\xff\xfe\r\n\r\n",
        b"INVITE",
        b"GET / HTTP/1.1\r\n\r\n",
        raw(INVITE) + b"x" * 65_535,
        raw(INVITE.replace("Max-Forwards: 70\n", "X: y\n" * (HEADERS_MAX + 1))),
        raw(INVITE.replace("Alice <", "A" * LINE_MAX + " <")),
        raw(INVITE).replace(b"Max-Forwards: 70\r\n", b"Max-Forwards: 70\n"),
        raw(INVITE).replace(b"Max-Forwards: 70\r\n", b"Max-Forwards 70\r\n"),
    ],
)
def test_no_message_at_all(data: bytes) -> None:
    assert isinstance(parse(data), ParseError)


def test_a_long_run_of_blanks_costs_no_time() -> None:
    # Quadratic backtracking over these would take minutes.
    for line in ("Via: SIP/2.0/UDP host{} x", "From: <sip:a@b>;tag={} x", "To: <sip:a@b>;x= {} y", "CSeq: 1{} x y"):
        many = 8 * (line.format(" " * 8000) + "\n")
        assert isinstance(parse(raw("INVITE sip:a@b SIP/2.0\n" + many)), ParseError)


def test_quotes_and_escapes_survive() -> None:
    text = INVITE.replace("From: Alice ", 'From: "A \\"quoted\\" \\\\ name, with <all>" ')
    sender = request(text).from_
    assert sender.display == 'A "quoted" \\ name, with <all>'
    assert request(request(text).to_bytes().decode().replace("\r\n", "\n")).from_ == sender


@pytest.mark.parametrize(
    ("uri", "parts"),
    [
        ("sip:alice@[2001:db8::10]:5070;transport=udp;lr", ("alice", "[2001:db8::10]", 5070)),
        ("sips:1234;phone-context=x@h", ("1234;phone-context=x", "h", None)),
        ("sip:alice:secret@h", ("alice", "h", None)),
        ("sip:h?subject=a%20b", (None, "h", None)),
        ("sip:%2A21%23@h", ("%2A21%23", "h", None)),
    ],
)
def test_uris(uri: str, parts: tuple[str | None, str, int | None]) -> None:
    parsed = parse_uri(uri)
    assert (parsed.user, parsed.host, parsed.port) == parts
    assert str(parsed) == uri


def test_the_number_of_a_uri() -> None:
    assert Uri("h", "%2A21%23").number == "*21#"
    assert Uri("h", "1234;phone-context=x").number == "1234"
    assert Uri("", scheme="tel", opaque="+1-201;ext=3").number == "+1-201"


def test_star_and_expires() -> None:
    register = INVITE.replace("INVITE", "REGISTER").replace("<sip:alice@pc33.atlanta.example.com>", "*\nExpires: 0")
    message = request(register)
    assert [contact.uri for contact in message.contacts()] == [STAR]
    assert expires_of(message.headers) == 0
    assert b"Contact: *\r\n" in message.to_bytes()


def test_a_response_repeats_what_it_must() -> None:
    invite = request(INVITE.replace("Max-Forwards", "Timestamp: 54\nVia: SIP/2.0/UDP b;branch=1\nMax-Forwards"))
    response = respond_to(invite, 180, to_tag="314")
    assert isinstance(response, Response)
    assert (response.reason, response.vias, response.call_id) == ("Ringing", invite.vias, invite.call_id)
    assert (response.to.tag, response.from_, response.cseq) == ("314", invite.from_, invite.cseq)
    assert parse(response.to_bytes()) == response
    assert respond_to(invite, 100).headers.get("timestamp") == "54"


@pytest.mark.parametrize(
    "change",
    [
        lambda r: replace(r, headers=Headers.of(("X", "a\r\nInjected: yes"))),
        lambda r: replace(r, headers=Headers.of(("X", "a\r\n folded"))),
        lambda r: replace(r, headers=Headers.of(("X", "a\rb"))),
        lambda r: replace(r, headers=Headers.of(("X: y\r\nZ", "a"))),
        lambda r: replace(r, headers=Headers.of(("X y", "a"))),
        lambda r: replace(r, uri=Uri("h\r\nInjected: yes")),
        lambda r: replace(r, to=NameAddr(Uri("h"), "x\nInjected: yes")),
        lambda r: replace(r, call_id="a\r\nInjected: yes"),
        lambda r: replace(r, method="A B"),
        lambda r: respond_to(r, 200, reason="OK\r\nInjected: yes"),
    ],
)
def test_nothing_can_be_injected(change) -> None:
    with pytest.raises(ValueError, match=r"remove it|use letters"):
        change(request()).to_bytes()


@pytest.mark.parametrize(
    ("via", "source", "address"),
    [
        ("192.0.2.1", ("192.0.2.1", 9999), ("192.0.2.1", 5060)),
        ("192.0.2.1:5070", ("192.0.2.1", 9999), ("192.0.2.1", 5070)),
        ("192.0.2.1:5070;rport", ("192.0.2.9", 9999), ("192.0.2.9", 9999)),
        ("pc.example.com:5070", ("192.0.2.9", 9999), ("192.0.2.9", 5070)),
        ("192.0.2.1;received=10.0.0.1;rport=1", ("192.0.2.9", 9999), ("192.0.2.9", 9999)),
        ("[2001:db8::1]:5070", ("2001:db8::1", 9999), ("2001:db8::1", 5070)),
        ("192.0.2.1;maddr=224.2.0.1", ("192.0.2.1", 9999), ("192.0.2.1", 5060)),
    ],
)
def test_responses_go_where_the_request_came_from(via: str, source: tuple[str, int], address: tuple[str, int]) -> None:
    text = INVITE.replace("SIP/2.0/UDP pc33.atlanta.example.com", f"SIP/2.0/UDP {via}")
    assert request(text).vias[0].seen_from(*source).reply_address() == address
