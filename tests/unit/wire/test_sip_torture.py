"""RFC 4475 (SIP torture tests): what our endpoint does with each message, by a table.

Where the RFC leaves a choice (most often: refuse with 400, or be liberal) the row says which
one was made, and why.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from tandem.wire.sip.digest import Authenticator, AuthOutcome
from tandem.wire.sip.events import CallArrived, DatagramRefused, RegisterArrived
from tandem.wire.sip.message import ParseError, Request, Response, parse
from tests.support.rfc4475 import MESSAGES
from tests.unit.wire.sip_world import BOB, endpoint, seeded_token

DROPPED = None
BY_NAME = {message.name: message for message in MESSAGES}

# name -> what the endpoint does: an event, the status that it answers with, or nothing; and why
VERDICTS: dict[str, tuple[object, str]] = {
    # 3.1.1 valid messages
    "wsinv": (481, "well-formed; it is within a dialog that is not ours"),
    "intmeth": (405, "well-formed; an unknown method gets 405 with Allow"),
    "esc01": (CallArrived, "escapes in the URIs"),
    "escnull": (RegisterArrived, "escaped nulls in two contacts"),
    "esc02": (405, "% is an ordinary character of a method: this is not REGISTER"),
    "lwsdisp": (200, "no blank between display name and <"),
    "longreq": (CallArrived, "long values, 34 Vias"),
    "dblreq": (RegisterArrived, "what follows the body in a datagram is dropped (18.3)"),
    "semiuri": (200, "parameters in the user part"),
    "transports": (200, "unknown transports in Vias below the first"),
    "mpart01": (405, "well-formed, multipart body with NULs; we do not do MESSAGE"),
    "unreason": (DROPPED, "a well-formed response to nothing of ours"),
    "noreason": (DROPPED, "a well-formed response to nothing of ours"),
    # 3.1.2 invalid messages
    "badinv01": (400, "extra separators in Via and Contact"),
    "clerr": (400, "Content-Length larger than the datagram's body"),
    "ncl": (400, "negative Content-Length"),
    "scalar02": (400, "CSeq, Max-Forwards, Expires, expires out of range"),
    "scalarlg": (DROPPED, "a response with scalars out of range is discarded"),
    "quotbal": (400, "a quote that is not closed"),
    "ltgtruri": (400, "<> around the Request-URI"),
    "lwsruri": (400, "blanks in the Request-URI"),
    "lwsstart": (400, "two blanks in the start line; the RFC lets us be liberal, we need not"),
    "trws": (400, "blanks at the end of the start line; likewise"),
    "escruri": (400, "headers in the Request-URI; a phone that we obey is not told headers by a caller"),
    "baddate": (CallArrived, "a date that is not in GMT; the RFC lets us ignore a Date that nobody reads"),
    "regbadct": (400, "a Contact with headers outside of <>"),
    "badaspec": (400, "blanks inside of <>"),
    "baddn": (400, "a comma in a display name without quotes"),
    "badvers": (505, "unknown protocol version"),
    "mismatch01": (400, "CSeq of another method"),
    "mismatch02": (400, "CSeq of another method, of one that is unknown; the RFC has 400 or 501"),
    "bigcode": (DROPPED, "a response with an impossible status is discarded"),
    # 3.2 transaction layer
    "badbranch": (200, "a branch of the magic cookie alone is no branch: matched as RFC 2543 does"),
    # 3.3 application layer
    "insuf": (400, "no To, From, Call-ID"),
    "unkscm": (416, "unknown URI scheme"),
    "novelsc": (416, "a known URI scheme that is not SIP's"),
    "unksm2": (400, "a registrar's To must be a SIP URI"),
    "bext01": (420, "unknown extensions required"),
    "invut": (415, "unknown content type"),
    "regaut01": (RegisterArrived, "unknown scheme of authorisation: the registrar challenges, see below"),
    "multi01": (400, "several values in single-value headers"),
    "mcl01": (400, "two Content-Lengths"),
    "bcast": (DROPPED, "a 200 with a Via that is not ours below the first is discarded (8.1.3.3)"),
    "zeromf": (200, "Max-Forwards 0 is no matter to an endpoint"),
    "cparam01": (RegisterArrived, "unknown parameter of the header"),
    "cparam02": (RegisterArrived, "unknown parameter of the URI"),
    "regescrt": (RegisterArrived, "a Contact with escaped headers, in <>"),
    "sdp01": (406, "the caller takes no SDP"),
    # 3.4 backward compatibility
    "inv2543": (CallArrived, "an INVITE of RFC 2543: no branch, no tag, no Max-Forwards, no Contact"),
}


def test_every_message_of_the_rfc_is_here_once() -> None:
    assert [message.name for message in MESSAGES] == list(VERDICTS)
    assert len(VERDICTS) == 49


@pytest.mark.parametrize("name", VERDICTS)
def test_verdict(name: str) -> None:
    verdict, why = VERDICTS[name]
    one = endpoint(BOB, name)
    one.receive(BY_NAME[name].wire, ("192.0.2.9", 5061), 0.0)
    answers = [parse(data) for data, _ in one.take_datagrams()]
    statuses = [answer.status for answer in answers if isinstance(answer, Response)]
    kinds = [type(event) for event in one.take_events() if not isinstance(event, DatagramRefused)]
    if isinstance(verdict, int):
        raw = [int(data.split(b" ")[1]) for data, _ in _answered(name)]
        assert (raw, kinds) == ([verdict], []), why
    elif verdict is DROPPED:
        assert (answers, kinds) == ([], []), why
    else:
        assert ([status for status in statuses if status != 100], kinds) == ([], [verdict]), why


def _answered(name: str) -> list[Any]:
    """What goes back; a refused message may not be one that can be read again."""
    one = endpoint(BOB, name)
    one.receive(BY_NAME[name].wire, ("192.0.2.9", 5061), 0.0)
    return one.take_datagrams()


@pytest.mark.parametrize("name", VERDICTS)
def test_what_was_read_is_written_and_read_again(name: str) -> None:
    message = parse(BY_NAME[name].wire)
    if isinstance(message, ParseError):
        verdict = VERDICTS[name][0]
        assert verdict in (400, 505, DROPPED)
        assert verdict is DROPPED or message.reply is not None
        return
    assert parse(message.to_bytes()) == message


# name -> (what is read, the value)
Read = tuple[Callable[[Any], object], object]
READ: dict[str, tuple[Read, ...]] = {
    "wsinv": (
        (lambda m: [via.host for via in m.vias], ["192.0.2.2", "spindle.example.com", "192.168.255.111"]),
        (lambda m: [via.transport for via in m.vias], ["UDP", "TCP", "UDP"]),
        (lambda m: (m.from_.display, m.from_.tag, m.to.tag), ('J Rosenberg \\"', "98asjd8", "1918181833n")),
        (lambda m: (m.cseq.number, m.max_forwards()), (9, 68)),
        (lambda m: (m.contacts()[0].display, m.contacts()[0].param("q")), ('Quoted string ""', "0.33")),
        (lambda m: m.headers.get("NewFangledHeader"), "newfangled value continued newfangled value"),
        (lambda m: m.headers.get("Subject"), ""),
        (lambda m: len(m.body), 150),
    ),
    "intmeth": (
        (lambda m: m.method, "!interesting-Method0123456789_*+`.%indeed'~"),
        (lambda m: m.to.display, "BEL:\x07 NUL:\x00 DEL:\x7f"),
        (lambda m: m.from_.display, "token1~` token2'+_ token3*%!.-"),
        (lambda m: m.from_.param("fromparam''~+*_!.-%"), "работающий"),
        (lambda m: m.headers.get("extensionHeader-!.%*+_`'~"), "\ufeff大停電"),
    ),
    "esc01": (
        (lambda m: m.uri.number, "sips:user@example.com"),
        (lambda m: m.to.uri.number, "user"),
        (lambda m: m.from_.uri.number, "I have spaces"),
        (lambda m: m.contacts()[0].uri.number, "caller"),
    ),
    "escnull": (
        (lambda m: m.to.uri.number, "null-\0-null"),
        (lambda m: [contact.uri.number for contact in m.contacts()], ["\0", "\0\0"]),
    ),
    "esc02": (
        (lambda m: m.method, "RE%47IST%45R"),
        (lambda m: m.to.display, "%Z%45"),
        # `C%6Fntact` is another header, and no Contact.
        (lambda m: [contact.uri.user for contact in m.contacts()], ["alias1", "alias3"]),
    ),
    "lwsdisp": ((lambda m: (m.from_.display, m.from_.uri.user), ("caller", "caller")),),
    "longreq": (
        (lambda m: len(m.vias), 34),
        (lambda m: m.vias[-1].param("received"), "192.0.2.5"),
        (lambda m: m.to.uri.port, 6000),
        (lambda m: m.to.uri.param("longparam" + "name" * 25), "shortvalue"),
    ),
    "dblreq": ((lambda m: (m.method, m.body), ("REGISTER", b"")),),
    "semiuri": ((lambda m: m.uri.user, "user;par=u%40example.net"), (lambda m: m.uri.host, "example.com")),
    "transports": ((lambda m: [via.transport for via in m.vias], ["UDP", "SCTP", "TLS", "UNKNOWN", "TCP"]),),
    "mpart01": (
        (lambda m: len(m.body), 553),
        (lambda m: m.body.count(b"\0"), 2),
        (lambda m: m.headers.get("Content-Type"), "multipart/mixed;boundary=7a9cbec02ceef655"),
    ),
    "unreason": (
        (lambda m: (m.status, m.reason), (200, "= 2**3 * 5**2 но сто девяносто девять - простое")),
        (lambda m: len(m.body), 154),
    ),
    "noreason": ((lambda m: (m.status, m.reason), (100, "")),),
    "baddate": ((lambda m: m.headers.get("Date"), "Fri, 01 Jan 2010 16:00:00 EST"),),
    "badbranch": ((lambda m: m.vias[0].branch, "z9hG4bK"),),
    "unksm2": (
        (lambda m: (m.to.uri.scheme, m.to.uri.opaque), ("isbn", "2983792873")),
        (lambda m: m.from_.uri.scheme, "http"),
        (lambda m: m.contacts()[0].uri.scheme, "name"),
    ),
    "regaut01": ((lambda m: m.headers.get("Authorization"), "NoOneKnowsThisScheme opaque-data=here"),),
    "bcast": ((lambda m: len(m.vias), 2),),
    "cparam01": (
        (lambda m: m.contacts()[0].param("unknownparam"), ""),
        (lambda m: m.contacts()[0].uri.param("unknownparam"), None),
    ),
    "cparam02": (
        (lambda m: m.contacts()[0].param("unknownparam"), None),
        (lambda m: m.contacts()[0].uri.param("unknownparam"), ""),
    ),
    "regescrt": ((lambda m: m.contacts()[0].uri.headers, "Route=%3Csip:sip.example.com%3E"),),
    "inv2543": (
        (lambda m: (m.vias[0].branch, m.from_.tag, m.max_forwards()), ("", None, None)),
        (lambda m: len(m.body), 105),
    ),
}


@pytest.mark.parametrize("name", READ)
def test_what_is_read(name: str) -> None:
    message = parse(BY_NAME[name].wire)
    assert isinstance(message, Request | Response)
    for read, wanted in READ[name]:
        assert read(message) == wanted


def test_the_bad_display_name_is_refused_for_itself_too() -> None:
    """The archive's message lacks the empty line besides."""
    refused = parse(BY_NAME["baddn"].wire + b"\r\n")
    assert isinstance(refused, ParseError)
    assert refused.where == "From"


def test_an_unknown_scheme_of_authorisation_is_challenged() -> None:
    message = parse(BY_NAME["regaut01"].wire)
    assert isinstance(message, Request)
    verdict = Authenticator("r", b"k" * 32, seeded_token(1)).verify(message, lambda _: None, 0.0)
    assert (verdict.outcome, verdict.status) == (AuthOutcome.MISSING, 401)


def test_two_escaped_nulls_are_not_one() -> None:
    message = parse(BY_NAME["escnull"].wire)
    assert isinstance(message, Request)
    one, two = message.contacts()
    assert one.uri.key() != two.uri.key()


def test_a_branch_of_the_cookie_alone_makes_no_two_requests_one() -> None:
    """3.2.1: whoever matches by it takes all such requests for retransmissions of the first."""
    one = endpoint(BOB)
    wire = BY_NAME["badbranch"].wire.replace(b"OPTIONS", b"REGISTER")
    one.receive(wire, ("192.0.2.1", 5060), 0.0)
    one.receive(wire.replace(b"badbranch.s", b"other.s"), ("192.0.2.1", 5060), 0.0)
    assert len([event for event in one.take_events() if isinstance(event, RegisterArrived)]) == 2
