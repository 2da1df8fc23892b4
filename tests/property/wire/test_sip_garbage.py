"""Whatever bytes arrive: a parser returns, an endpoint lives, and what was read can be written."""

from __future__ import annotations

from hypothesis import given, settings
from hypothesis import strategies as st

from tandem.wire.sip.digest import Authenticator, hash_password
from tandem.wire.sip.events import CallArrived, RegisterArrived
from tandem.wire.sip.message import ParseError, Request, Response, parse
from tandem.wire.sip.registrar import Registrar, address_of_record
from tandem.wire.sip.uri import NameAddr, Uri
from tests.support.rfc4475 import MESSAGES as TORTURE
from tests.unit.wire.sip_world import ALICE, ANSWER, BOB, OFFER, endpoint, seeded_token

MESSAGES = [row.wire for row in TORTURE]
BYTES = [b"\r\n", *(bytes([code]) for code in b'\r\n \t"\\<>;,:=@%*[]')]


@st.composite
def mutated(draw: st.DrawFn) -> bytes:
    """A message with a few pieces cut, doubled or replaced."""
    data = draw(st.sampled_from(MESSAGES))
    for _ in range(draw(st.integers(1, 6))):
        start = draw(st.integers(0, len(data)))
        end = min(len(data), start + draw(st.integers(0, 30)))
        piece = draw(st.one_of(st.sampled_from(BYTES), st.binary(max_size=8), st.just(data[start:end] * 2)))
        data = data[:start] + piece + data[end:]
    return data


def check(data: bytes) -> None:
    message = parse(data)
    if isinstance(message, ParseError):
        if message.reply is not None:
            via = message.reply.via.seen_from("127.0.0.1", 5090)
            assert b"\r\n\r\n" in message.reply.to_bytes(via, "tag", "us")
        return
    assert parse(message.to_bytes()) == message
    # What parse accepted, no accessor stumbles over.
    message.contacts()
    if isinstance(message, Request):
        message.max_forwards()
        message.vias[0].seen_from("127.0.0.1", 5090).reply_address()


@given(st.binary(max_size=2000))
def test_any_bytes(data: bytes) -> None:
    check(data)


@settings(max_examples=400)
@given(mutated())
def test_any_mutation(data: bytes) -> None:
    check(data)


@settings(max_examples=200)
@given(
    st.builds(
        NameAddr,
        st.builds(Uri, st.from_regex(r"[a-z0-9][a-z0-9.\-]{0,20}", fullmatch=True), st.none() | st.just("u%41")),
        st.text(max_size=30).map(str.strip),
        st.lists(
            st.tuples(st.from_regex(r"[a-z0-9\-]{1,8}", fullmatch=True), st.none() | st.text(max_size=10)), max_size=4
        ).map(tuple),
    )
)
def test_any_name_survives_or_is_refused_by_the_writer(name: NameAddr) -> None:
    base = parse(MESSAGES[4])
    assert isinstance(base, Request)
    message = Request(base.method, base.uri, base.vias, name, name, base.call_id, base.cseq)
    try:
        wire = message.to_bytes()
    except ValueError:
        assert any(char in f"{name}" for char in "\r\n") or not str(name).isprintable()
        return
    again = parse(wire)
    assert isinstance(again, Request), (wire, again)
    assert (again.from_, again.to) == (name, name)


@settings(max_examples=300, deadline=None)
@given(st.lists(st.one_of(mutated(), st.binary(max_size=200)), min_size=1, max_size=8), st.integers(0, 2**32))
def test_an_endpoint_takes_anything_in_any_state(datagrams: list[bytes], seed: int) -> None:
    one = endpoint(BOB, seed)
    gate, table = Authenticator("tandem", b"s", seeded_token(seed)), Registrar()
    call = one.invite(Uri("127.0.0.1", "a", 5070), OFFER, 0.0, caller=NameAddr(Uri("127.0.0.1", "b")))
    assert call is not None
    now = 0.0
    for data in datagrams:
        now += 0.1
        one.receive(data, ALICE, now)
        for event in one.take_events():
            if isinstance(event, CallArrived):
                one.ring(event.call, now)
                one.answer(event.call, ANSWER, now)
            elif isinstance(event, RegisterArrived):
                gate.verify(event.request, lambda _: hash_password("u", "r", "p"), now)
                reply = table.register(address_of_record(event.request), event.request, event.source, now)
                one.respond(event.transaction, reply.status, now, text=reply.text, headers=reply.headers)
    for sent, _ in one.take_datagrams():
        answered = parse(sent)
        # A refusal of something unreadable repeats what came; all else is a message as it should be.
        assert isinstance(answered, Request | Response) or sent.startswith(b"SIP/2.0 400") or b" 505 " in sent[:20]
    while (at := one.next_wakeup()) is not None:
        one.tick(at)
    assert not one._layer.clients
    assert not one._layer.servers or any(call for call in one._calls._by_handle)
