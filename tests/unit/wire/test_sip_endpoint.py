"""The user-agent core: every way a call can begin, change and end."""

from __future__ import annotations

from typing import Any

import pytest

from tandem.wire.sip.dialog import Dialog
from tandem.wire.sip.digest import Authenticator, Credentials, hash_password
from tandem.wire.sip.endpoint import Endpoint
from tandem.wire.sip.events import (
    ByeSettled,
    CallAnswered,
    CallArrived,
    CallConfirmed,
    CallEnded,
    CallProgress,
    DatagramRefused,
    DigitReceived,
    EndCause,
    Event,
    OfferAnswered,
    OfferReceived,
    OfferRefused,
)
from tandem.wire.sip.message import Request, Response, parse
from tandem.wire.sip.reason import Reason
from tandem.wire.sip.uri import NameAddr, Uri
from tests.unit.wire.sip_world import ALICE, ANSWER, BOB, OFFER, Channel, World, call, endpoint, pair, raw, seeded_token

CAROL = ("127.0.0.1", 5090)
INVITE = """
INVITE sip:bob@127.0.0.1 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5090;branch=z9hG4bK1;rport
Max-Forwards: 70
To: <sip:bob@127.0.0.1>
From: <sip:carol@127.0.0.1>;tag=c1
Call-ID: c
CSeq: 1 INVITE
Contact: <sip:carol@127.0.0.1:5090>

"""


def arrived(world: World) -> tuple[str, CallArrived]:
    event = world.first(BOB, CallArrived)
    assert isinstance(event, CallArrived)
    return event.call, event


def talk(world: World) -> tuple[str, str]:
    """Alice and Bob on the line; their handles."""
    handle = call(world)
    world.settle()
    other, _ = arrived(world)
    assert world.endpoints[BOB].answer(other, ANSWER, world.now)
    world.settle()
    return handle, other


def ends(world: World, address: tuple[str, int]) -> list[tuple[EndCause, int]]:
    return [(event.cause, event.status) for event in world.all(address, CallEnded)]  # type: ignore[attr-defined]


def answers(one: Endpoint) -> list[Response]:
    messages = [parse(data) for data, _ in one.take_datagrams()]
    return [message for message in messages if isinstance(message, Response)]


def statuses(one: Endpoint) -> list[int]:
    return [response.status for response in answers(one)]


def feed(one: Endpoint, text: str, now: float = 0.0) -> list[int]:
    one.receive(raw(text), CAROL, now)
    return statuses(one)


# -- a call, whole


def test_a_call_from_invite_to_bye() -> None:
    world = pair()
    handle = call(world, headers=[("X-Tandem-Offer", "o1")])
    world.settle()
    other, event = arrived(world)
    assert (event.offer, event.source) == (OFFER, ALICE)
    assert (event.request.uri.user, event.request.from_.display) == ("bob", "Alice")
    assert event.request.headers.get("x-tandem-offer") == "o1"
    bob = world.endpoints[BOB]
    assert bob.ring(other, 0.0)
    assert bob.ring(other, 0.0, status=183, sdp=b"early")
    assert bob.answer(other, ANSWER, 0.0, headers=[("X-More", "1")])
    world.settle()
    said = world.events[ALICE]
    assert [event for event in said if isinstance(event, CallProgress)] == [
        CallProgress(handle, 180, None),
        CallProgress(handle, 183, b"early"),
    ]
    answered = world.first(ALICE, CallAnswered)
    assert isinstance(answered, CallAnswered)
    assert (answered.answer, answered.headers.get("X-More")) == (ANSWER, "1")
    assert world.all(BOB, CallConfirmed) == [CallConfirmed(other, None)]
    assert world.endpoints[ALICE].hangup(handle, 0.0, reason=Reason("Q.850", 16, 'Normal "clearing"'))
    world.run()
    assert ends(world, ALICE) == [(EndCause.LOCAL_HANGUP, 0)]
    ended = world.first(BOB, CallEnded)
    assert isinstance(ended, CallEnded)
    assert (ended.cause, ended.reason) == (EndCause.REMOTE_BYE, Reason("Q.850", 16, 'Normal "clearing"'))
    assert world.is_at_rest()
    assert world.starts(ALICE) == ["INVITE", "ACK", "BYE"]
    assert world.starts(BOB) == ["100 INVITE", "180 INVITE", "183 INVITE", "200 INVITE", "200 BYE"]


def test_the_called_side_can_hang_up_too() -> None:
    world = pair()
    _, other = talk(world)
    assert world.endpoints[BOB].hangup(other, 0.0)
    world.run()
    assert (ends(world, ALICE), ends(world, BOB)) == ([(EndCause.REMOTE_BYE, 0)], [(EndCause.LOCAL_HANGUP, 0)])
    assert world.is_at_rest()


def test_a_repeated_bye_gets_its_200_again() -> None:
    world = pair()
    handle, _ = talk(world)
    world.endpoints[ALICE].hangup(handle, 0.0)
    world.settle()
    bye = next(data for _, sender, _, data in world.sent if sender == ALICE and data.startswith(b"BYE"))
    world.endpoints[BOB].receive(bye, ALICE, 1.0)
    assert statuses(world.endpoints[BOB]) == [200]
    assert len(world.all(BOB, CallEnded)) == 1


def test_both_hang_up_at_once() -> None:
    world = pair(channel=Channel(delay_max=0.01))
    handle = call(world)
    world.run(1.0)
    other, _ = arrived(world)
    world.endpoints[BOB].answer(other, ANSWER, world.now)
    world.run(2.0)
    world.endpoints[ALICE].hangup(handle, world.now)
    world.endpoints[BOB].hangup(other, world.now)
    world.run()
    assert (ends(world, ALICE), ends(world, BOB)) == ([(EndCause.LOCAL_HANGUP, 0)],) * 2
    assert world.is_at_rest()


@pytest.mark.parametrize("status", [300, 404, 486, 503, 603])
def test_a_rejected_call(status: int) -> None:
    world = pair()
    call(world)
    world.settle()
    other, _ = arrived(world)
    assert world.endpoints[BOB].reject(
        other, status, 0.0, text="Full", reason=Reason("SIP", status, "50 calls"), headers=[("Retry-After", "7")]
    )
    world.run()
    assert ends(world, BOB) == ends(world, ALICE) == [(EndCause.REJECTED, status)]
    ended = world.first(ALICE, CallEnded)
    assert isinstance(ended, CallEnded)
    assert (ended.reason, ended.headers.get("Retry-After")) == (Reason("SIP", status, "50 calls"), "7")
    assert f"SIP/2.0 {status} Full".encode() in b"".join(data for *_, data in world.sent)
    assert world.is_at_rest()


def test_an_unanswered_incoming_call_that_we_hang_up_gets_480() -> None:
    world = pair()
    call(world)
    world.settle()
    assert world.endpoints[BOB].hangup(arrived(world)[0], 0.0)
    world.run()
    assert ends(world, ALICE) == [(EndCause.REJECTED, 480)]


def test_nobody_there() -> None:
    world = World()
    world.add(ALICE)
    call(world)
    world.run()
    assert ends(world, ALICE) == [(EndCause.TIMED_OUT, 408)]
    assert world.starts(ALICE) == ["INVITE"] * 7
    assert world.is_at_rest()


def test_commands_after_the_end_are_no_error() -> None:
    world = pair()
    handle, other = talk(world)
    world.endpoints[ALICE].hangup(handle, 0.0)
    world.run()
    bob = world.endpoints[BOB]
    assert not bob.hangup(other, 0.0)
    assert not bob.ring(other, 0.0)
    assert not bob.answer(other, ANSWER, 0.0)
    assert not bob.reject(other, 486, 0.0)
    assert not bob.offer(other, OFFER, 0.0)
    assert not bob.accept_offer(other, ANSWER, 0.0)
    assert not bob.refuse_offer("never", 488, 0.0)
    assert bob.dialog(other) is None


def test_a_fault_of_the_caller_is_a_value_error_and_changes_nothing() -> None:
    world = pair()
    alice = world.endpoints[ALICE]
    party = NameAddr(Uri("127.0.0.1", "a"))
    with pytest.raises(ValueError, match="CR or LF"):
        alice.invite(Uri(BOB[0], "b", 5060), OFFER, 0.0, caller=party, headers=[("X", "a\r\nVia: x")])
    with pytest.raises(ValueError, match="destination"):
        alice.invite(Uri("example.com", "b"), OFFER, 0.0, caller=party)
    with pytest.raises(ValueError, match="300 to 699"):
        alice.reject("x", 200, 0.0)
    assert world.is_at_rest()


# -- CANCEL


def test_cancel_while_it_rings() -> None:
    world = pair()
    handle = call(world)
    world.settle()
    other, _ = arrived(world)
    world.endpoints[BOB].ring(other, 0.0)
    world.settle()
    assert world.endpoints[ALICE].hangup(handle, 0.0, reason=Reason("SIP", 200, "Call completed elsewhere"))
    world.run()
    assert ends(world, ALICE) == [(EndCause.LOCAL_HANGUP, 0)]
    ended = world.first(BOB, CallEnded)
    assert isinstance(ended, CallEnded)
    assert (ended.cause, ended.reason) == (EndCause.CANCELLED, Reason("SIP", 200, "Call completed elsewhere"))
    assert world.starts(ALICE) == ["INVITE", "CANCEL", "ACK"]
    assert world.starts(BOB) == ["100 INVITE", "180 INVITE", "200 CANCEL", "487 INVITE"]
    tags = {message.to.tag for message in world.messages(BOB) if isinstance(message, Response) and message.to.tag}
    assert tags == {other}
    assert world.is_at_rest()


def test_cancel_waits_for_a_provisional_response() -> None:
    world = pair()
    alice = world.endpoints[ALICE]
    handle = call(world)
    assert alice.hangup(handle, 0.0)
    assert [data[:6] for data, _ in alice.take_datagrams()] == [b"INVITE"]
    world.run()  # the repeated INVITE gets its 100, then CANCEL goes out
    assert [start for start in world.starts(ALICE) if start != "INVITE"] == ["CANCEL", "ACK"]
    assert ends(world, BOB) == [(EndCause.CANCELLED, 487)]
    assert world.is_at_rest()


def test_cancel_that_crosses_the_200_ends_in_ack_and_bye() -> None:
    world = pair(channel=Channel(delay_max=0.001))
    handle = call(world)
    world.run(0.1)
    other, _ = arrived(world)
    world.endpoints[ALICE].hangup(handle, world.now)
    world.endpoints[BOB].answer(other, ANSWER, world.now)
    world.run()
    assert ends(world, ALICE) == [(EndCause.LOCAL_HANGUP, 0)]
    assert ends(world, BOB) == [(EndCause.REMOTE_BYE, 0)]
    assert sorted(world.starts(ALICE)) == ["ACK", "BYE", "CANCEL", "INVITE"]
    assert "200 CANCEL" in world.starts(BOB)
    assert world.all(ALICE, CallAnswered) == []
    assert world.is_at_rest()


def test_a_cancel_that_gets_no_final_response_is_given_up() -> None:
    world = pair()
    handle = call(world)
    world.settle()
    del world.endpoints[BOB]
    world.endpoints[ALICE].hangup(handle, 0.0)
    world.run()
    assert ends(world, ALICE) == [(EndCause.LOCAL_HANGUP, 0)]
    assert world.is_at_rest()


def test_cancel_of_nothing_gets_481() -> None:
    assert feed(endpoint(BOB), INVITE.replace("INVITE", "CANCEL")) == [481]


def test_the_caller_may_end_the_early_dialog_by_bye() -> None:
    one = endpoint(BOB)
    feed(one, INVITE)
    event = one.take_events()[0]
    assert isinstance(event, CallArrived)
    one.ring(event.call, 0.0)
    one.take_datagrams()
    bye = INVITE.replace("INVITE", "BYE").replace("CSeq: 1", "CSeq: 2").replace("K1", "K2")
    assert feed(one, bye.replace("To: <sip:bob@127.0.0.1>", f"To: <sip:bob@127.0.0.1>;tag={event.call}")) == [200, 487]
    assert [type(event) for event in one.take_events()] == [CallEnded]


# -- loss


def test_the_200_is_repeated_until_the_ack_comes() -> None:
    one = endpoint(BOB)
    feed(one, INVITE)
    event = one.take_events()[0]
    assert isinstance(event, CallArrived)
    one.answer(event.call, ANSWER, 0.0)
    one.take_datagrams()
    times = []
    while (at := one.next_wakeup()) is not None and at < 31.9:
        one.tick(at)
        times += [at] * len(one.take_datagrams())
    assert times == [0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    one.tick(32.0)
    assert [type(event).__name__ for event in one.take_events()] == ["CallEnded"]
    assert [data[:4] for data, _ in one.take_datagrams()] == [b"BYE "]


def test_no_ack_is_told_as_such() -> None:
    world = pair()
    call(world)
    world.settle()
    other, _ = arrived(world)
    del world.endpoints[ALICE]
    world.endpoints[BOB].answer(other, ANSWER, 0.0)
    world.run()
    assert ends(world, BOB) == [(EndCause.NO_ACK, 0)]
    assert world.is_at_rest()


def test_bye_waits_for_the_ack() -> None:
    one = endpoint(BOB)
    feed(one, INVITE)
    event = one.take_events()[0]
    assert isinstance(event, CallArrived)
    one.answer(event.call, ANSWER, 0.0)
    one.take_datagrams()
    assert one.hangup(event.call, 0.1)
    assert [type(event) for event in one.take_events()] == [CallEnded]
    assert one.take_datagrams() == []
    ack = INVITE.replace("INVITE sip", "ACK sip").replace("1 INVITE", "1 ACK").replace("K1", "K2")
    one.receive(raw(ack.replace("bob@127.0.0.1>", f"bob@127.0.0.1>;tag={event.call}")), CAROL, 0.2)
    assert [data[:4] for data, _ in one.take_datagrams()] == [b"BYE "]
    assert one.take_events() == []


def test_a_repeated_200_is_acknowledged_again_and_told_once() -> None:
    world = pair()
    talk(world)
    ok = next(data for _, sender, _, data in world.sent if sender == BOB and data.startswith(b"SIP/2.0 200"))
    world.endpoints[ALICE].receive(ok, BOB, 1.0)
    again = [data for data, _ in world.endpoints[ALICE].take_datagrams()]
    assert again == [data for _, sender, _, data in world.sent if sender == ALICE and data.startswith(b"ACK")]
    assert len(world.all(ALICE, CallAnswered)) == 1


def test_a_second_phone_that_answers_gets_ack_and_bye() -> None:
    world = pair()
    handle, _ = talk(world)
    ok = next(data for _, sender, _, data in world.sent if sender == BOB and data.startswith(b"SIP/2.0 200"))
    tag = world.endpoints[ALICE].dialog(handle).remote.tag.encode()  # type: ignore[union-attr]
    fork = ok.replace(b"tag=" + tag, b"tag=other").replace(b"<sip:127.0.0.1:5060>", b"<sip:127.0.0.1:5061>")
    world.endpoints[ALICE].receive(fork, ("127.0.0.1", 5061), 0.0)
    sent = world.endpoints[ALICE].take_datagrams()
    assert [(data[:4], address) for data, address in sent] == [
        (b"ACK ", ("127.0.0.1", 5061)),
        (b"BYE ", ("127.0.0.1", 5061)),
    ]
    assert world.endpoints[ALICE].dialog(handle) is not None
    assert ends(world, ALICE) == []


# -- changes in a call


def test_hold_and_unhold_from_either_side() -> None:
    world = pair()
    handle, other = talk(world)
    alice, bob = world.endpoints[ALICE], world.endpoints[BOB]
    assert alice.offer(handle, b"hold", 0.0)
    assert not alice.offer(handle, b"hold", 0.0)
    world.settle()
    assert world.all(BOB, OfferReceived) == [OfferReceived(other, b"hold")]
    assert bob.accept_offer(other, b"held", 0.0)
    world.settle()
    assert world.all(ALICE, OfferAnswered) == [OfferAnswered(handle, b"held")]
    assert bob.offer(other, b"new", 0.0)
    world.settle()
    assert alice.refuse_offer(handle, 488, 0.0)
    assert not alice.refuse_offer(handle, 488, 0.0)
    world.settle()
    assert world.all(BOB, OfferRefused) == [OfferRefused(other, 488)]
    alice.hangup(handle, 0.0)
    world.run()
    assert world.is_at_rest()


def test_offers_that_cross_get_491_both() -> None:
    world = pair(channel=Channel(delay_max=0.001))
    handle = call(world)
    world.run(0.1)
    other, _ = arrived(world)
    world.endpoints[BOB].answer(other, ANSWER, world.now)
    world.run(0.2)
    world.endpoints[ALICE].offer(handle, b"a", world.now)
    world.endpoints[BOB].offer(other, b"b", world.now)
    world.run(1.0)
    assert world.all(ALICE, OfferRefused) == [OfferRefused(handle, 491)]
    assert world.all(BOB, OfferRefused) == [OfferRefused(other, 491)]


def test_a_refused_offer_is_refused_alike_when_it_comes_again() -> None:
    """The 491 was lost: the offer comes again, and must not be called out of order (500) then."""
    world = pair()
    handle, other = talk(world)
    alice, bob = world.endpoints[ALICE], world.endpoints[BOB]
    assert bob.offer(other, b"b", 0.0)
    bob.take_datagrams()  # lost
    assert alice.offer(handle, b"a", 0.0)
    [(invite, _)] = alice.take_datagrams()
    for _ in range(3):
        bob.receive(invite, ALICE, 0.0)
        [(answer, _)] = bob.take_datagrams()
        assert answer.startswith(b"SIP/2.0 491 ")


def test_an_offer_to_someone_who_is_gone_ends_the_call() -> None:
    world = pair()
    handle, _ = talk(world)
    world.endpoints[BOB] = endpoint(BOB, "restarted")
    world.endpoints[ALICE].offer(handle, b"hold", 0.0)
    world.run()
    assert ends(world, ALICE) == [(EndCause.DIALOG_GONE, 481)]
    assert world.is_at_rest()


def test_a_hangup_while_an_offer_is_open_settles_both() -> None:
    world = pair()
    handle, other = talk(world)
    world.endpoints[ALICE].offer(handle, b"hold", 0.0)
    world.settle()
    world.endpoints[BOB].hangup(other, 0.0)
    world.run()
    assert ends(world, ALICE) == [(EndCause.REMOTE_BYE, 0)]
    assert "487 INVITE" in world.starts(BOB)
    assert world.is_at_rest()


def test_the_far_ends_new_contact_is_used() -> None:
    world = pair()
    handle, other = talk(world)
    world.endpoints[ALICE].offer(handle, b"moved", 0.0)
    moved = [
        (data.replace(b"<sip:127.0.0.1:5070>", b"<sip:127.0.0.1:5099>"), address)
        for data, address in world.endpoints[ALICE].take_datagrams()
    ]
    world.endpoints[BOB].receive(moved[0][0], ALICE, 0.0)
    dialog = world.endpoints[BOB].dialog(other)
    assert dialog is not None
    assert dialog.next_hop() == ("127.0.0.1", 5099)


def test_an_invite_without_an_offer() -> None:
    one = endpoint(BOB)
    feed(one, INVITE)
    event = one.take_events()[0]
    assert isinstance(event, CallArrived)
    assert event.offer is None
    one.answer(event.call, OFFER, 0.0)
    one.take_datagrams()
    ack = INVITE.replace("INVITE sip", "ACK sip").replace("1 INVITE", "1 ACK").replace("K1", "K2").rstrip("\n")
    tagged = ack.replace("bob@127.0.0.1>", f"bob@127.0.0.1>;tag={event.call}")
    one.receive(raw(tagged + "\nContent-Type: application/sdp\n\nv=0 answer"), CAROL, 0.0)
    assert one.take_events() == [CallConfirmed(event.call, b"v=0 answer")]


@pytest.mark.parametrize(
    ("kind", "body", "expected"),
    [
        ("application/dtmf-relay", "Signal=5\nDuration=240\n", ("5", 240)),
        ("application/dtmf-relay", "Signal= #\n", ("#", 160)),
        ("application/dtmf", "*", ("*", 160)),
        ("application/dtmf-relay", "Signal=55\n", None),
        ("text/plain", "5", None),
    ],
)
def test_digits_by_info(kind: str, body: str, expected: tuple[str, int] | None) -> None:
    world = pair()
    _, other = talk(world)
    dialog = world.endpoints[BOB].dialog(other)
    assert dialog is not None
    info = f"""
INFO sip:bob@127.0.0.1 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5070;branch=z9hG4bKinfo
To: {dialog.local}
From: {dialog.remote}
Call-ID: {dialog.call_id}
CSeq: 7 INFO
Content-Type: {kind}

{body}"""
    assert feed(world.endpoints[BOB], info) == [200 if expected else 415]
    assert feed(world.endpoints[BOB], info) == [200 if expected else 415]
    digits = [event for event in world.endpoints[BOB].take_events() if isinstance(event, DigitReceived)]
    assert digits == ([DigitReceived(other, *expected)] if expected else [])


# -- requests that are refused


@pytest.mark.parametrize(
    ("old", "new", "status"),
    [
        ("INVITE", "SUBSCRIBE", 405),
        ("INVITE", "UPDATE", 405),
        ("INVITE", "BYE", 481),
        ("INVITE", "INFO", 481),
        ("<sip:bob@127.0.0.1>", "<sip:bob@127.0.0.1>;tag=unknown", 481),
        ("Max-Forwards: 70", "Require: 100rel, timer", 420),
        ("Max-Forwards: 70", "Accept: text/plain", 406),
        ("INVITE sip:bob@127.0.0.1", "INVITE tel:123", 416),
        ("Max-Forwards: 70", "Max-Forwards: 700", 400),
    ],
)
def test_refusals_are_the_same_each_time_and_hold_nothing(old: str, new: str, status: int) -> None:
    one = endpoint(BOB)
    text = INVITE.replace(old, new)
    one.receive(raw(text), CAROL, 0.0)
    first = one.take_datagrams()
    one.receive(raw(text), CAROL, 0.5)
    assert first == one.take_datagrams()
    ((data, address),) = first
    response = parse(data)
    assert isinstance(response, Response)
    assert (response.status, address) == (status, CAROL)
    assert response.to.tag
    assert (response.headers.get("Allow") is not None) == (status == 405)
    assert (response.headers.get("Unsupported") == "100rel, timer") == (status == 420)
    assert all(isinstance(event, DatagramRefused) for event in one.take_events())
    assert one.next_wakeup() is None


def test_a_merged_request_gets_482_and_its_twin_goes_on() -> None:
    one = endpoint(BOB)
    assert feed(one, INVITE) == [100]
    assert feed(one, INVITE.replace("z9hG4bK1", "z9hG4bK2")) == [482]
    assert feed(one, INVITE) == [100]
    assert len(one.take_events()) == 1


def test_too_many_calls_get_503_with_retry_after() -> None:
    one = endpoint(BOB, calls_max=2, retry_after_s=9)
    for number in range(3):
        one.receive(raw(INVITE.replace("K1", f"K{number}").replace("Call-ID: c", f"Call-ID: c{number}")), CAROL, 0.0)
    last = answers(one)[-1]
    assert (last.status, last.headers.get("Retry-After")) == (503, "9")
    assert len(one.take_events()) == 2
    assert one.invite(Uri("127.0.0.1"), OFFER, 0.0, caller=NameAddr(Uri("h"))) is None


def test_a_flood_cannot_keep_a_bye_out() -> None:
    world = World()
    world.add(ALICE)
    world.add(BOB, transactions_max=4)
    handle, _ = talk(world)
    for number in range(8):
        text = (
            INVITE.replace("INVITE", "REGISTER").replace("K1", f"K{number}").replace("Call-ID: c", f"Call-ID: {number}")
        )
        world.endpoints[BOB].receive(raw(text), CAROL, 0.0)
    assert 503 in statuses(world.endpoints[BOB])
    world.endpoints[ALICE].hangup(handle, 0.0)
    world.settle()
    assert ends(world, BOB) == [(EndCause.REMOTE_BYE, 0)]


def test_requests_in_a_dialog_come_in_order() -> None:
    world = pair()
    _, other = talk(world)
    dialog = world.endpoints[BOB].dialog(other)
    assert dialog is not None
    text = f"""
INFO sip:bob@127.0.0.1 SIP/2.0
Via: SIP/2.0/UDP 127.0.0.1:5090;branch=z9hG4bKxN
To: {dialog.local}
From: {dialog.remote}
Call-ID: {dialog.call_id}
CSeq: N INFO

"""
    assert [
        feed(world.endpoints[BOB], text.replace("N ", f"{n} ").replace("xN", f"x{n}"))[0] for n in (5, 7, 6, 8)
    ] == [
        200,
        200,
        500,
        200,
    ]


def test_options_says_what_the_application_set() -> None:
    one = endpoint(BOB)
    options = INVITE.replace("INVITE", "OPTIONS")
    one.receive(raw(options), CAROL, 0.0)
    (response,) = answers(one)
    assert (response.status, response.headers.get("Accept")) == (200, "application/sdp")
    assert "INVITE" in (response.headers.get("Allow") or "")
    one.set_options_status(503)
    one.receive(raw(options), CAROL, 0.0)
    (response,) = answers(one)
    assert (response.status, response.headers.get("Retry-After")) == (503, "5")
    assert feed(one, options.replace("<sip:bob@127.0.0.1>", "<sip:bob@127.0.0.1>;tag=x")) == [481]


def test_keepalives_and_garbage() -> None:
    one = endpoint(BOB)
    for data in (b"", b"\r\n\r\n", b"\0\0\0\0"):
        one.receive(data, CAROL, 0.0)
    assert (one.take_events(), one.take_datagrams()) == ([], [])
    one.receive(b"hello", CAROL, 0.0)
    assert one.take_events() == [DatagramRefused(CAROL, "datagram", "no empty line after the headers")]
    one.receive(b"SIP/2.0 200 OK\r\n\r\n", CAROL, 0.0)
    assert one.take_datagrams() == []


def test_responses_of_strangers_are_of_no_interest() -> None:
    world = pair()
    call(world)
    world.settle()
    ringing = (
        b"SIP/2.0 200 OK\r\nVia: SIP/2.0/UDP x;branch=z9hG4bKnobody\r\nFrom: <sip:a>;tag=1\r\nTo: <sip:b>;tag=2\r\n"
    )
    world.endpoints[ALICE].receive(ringing + b"Call-ID: x\r\nCSeq: 1 INVITE\r\n\r\n", CAROL, 0.0)
    assert (world.endpoints[ALICE].take_events(), world.endpoints[ALICE].take_datagrams()) == ([], [])


# -- credentials


def guarded(world: World, password: str) -> tuple[Any, list[int]]:
    """Bob asks for credentials before he takes a call."""
    realm = "tandem"
    gate = Authenticator(realm, b"s", seeded_token("gate"))
    kept = {"alice": hash_password("alice", realm, "right")}
    seen: list[int] = []

    def react(address: tuple[str, int], event: Event) -> None:
        if address == BOB and isinstance(event, CallArrived):
            verdict = gate.verify(event.request, kept.get, world.now)
            seen.append(verdict.status)
            if verdict.status == 200:
                world.endpoints[BOB].answer(event.call, ANSWER, world.now)
            else:
                world.endpoints[BOB].reject(event.call, verdict.status, world.now, headers=verdict.headers)

    world.react = react
    handle = call(world, credentials=Credentials("alice", password))
    world.settle()
    return handle, seen


def test_a_call_with_credentials() -> None:
    world = pair()
    handle, seen = guarded(world, "right")
    assert seen == [401, 200]
    assert [event.call for event in world.all(ALICE, CallAnswered)] == [handle]  # type: ignore[attr-defined]
    ack = [message for message in world.messages(ALICE) if isinstance(message, Request)][-1]
    assert (ack.method, ack.cseq.number) == ("ACK", 2)
    assert ack.headers.get("Authorization") is not None
    world.endpoints[ALICE].hangup(handle, 0.0)
    world.run()
    assert ends(world, BOB)[-1] == (EndCause.REMOTE_BYE, 0)
    assert world.is_at_rest()


def test_a_call_with_a_wrong_password() -> None:
    world = pair()
    _, seen = guarded(world, "wrong")
    assert seen == [401, 403]
    assert ends(world, ALICE) == [(EndCause.REJECTED, 403)]


def test_endless_challenges_end() -> None:
    world = pair()
    gate = Authenticator("tandem", b"s", seeded_token("gate"))

    def react(address: tuple[str, int], event: Event) -> None:
        if isinstance(event, CallArrived):
            challenge = gate.challenge(world.now, stale=True)
            world.endpoints[BOB].reject(event.call, 401, world.now, headers=challenge)

    world.react = react
    call(world, credentials=Credentials("alice", "x"))
    world.run()
    assert ends(world, ALICE) == [(EndCause.REJECTED, 401)]
    assert len(world.all(BOB, CallArrived)) == 4
    assert world.is_at_rest()


# -- after a restart


def test_a_restarted_endpoint_says_bye_in_the_dialogs_it_kept() -> None:
    world = pair()
    handle, other = talk(world)
    kept = world.endpoints[BOB].dialog(other)
    assert kept is not None
    journal = kept.to_dict()
    world.endpoints[BOB] = endpoint(BOB, "a new life")
    world.endpoints[BOB].bye_restored(Dialog.from_dict(journal), 10.0, reason=Reason("Q.850", 41))
    world.settle()
    assert world.all(BOB, ByeSettled) == [ByeSettled(other, 200)]
    ended = world.first(ALICE, CallEnded)
    assert isinstance(ended, CallEnded)
    assert (ended.call, ended.cause, ended.reason) == (handle, EndCause.REMOTE_BYE, Reason("Q.850", 41))
    world.run()
    assert world.is_at_rest()


def test_a_restored_bye_to_nobody_is_settled_too() -> None:
    world = pair()
    _, other = talk(world)
    kept = world.endpoints[BOB].dialog(other)
    assert kept is not None
    alone = World()
    alone.add(BOB)
    alone.endpoints[BOB].bye_restored(kept, 0.0)
    alone.run()
    assert alone.all(BOB, ByeSettled) == [ByeSettled(other, 408)]


def test_ringing_is_repeated_every_minute() -> None:
    world = pair()
    handle = call(world)
    world.settle()
    world.endpoints[BOB].ring(arrived(world)[0], 0.0)
    world.run(130.0)
    assert world.starts(BOB).count("180 INVITE") == 3
    assert world.all(ALICE, CallProgress) == [CallProgress(handle, 180, None)] * 3
