"""The four state machines of RFC 3261 section 17 (and RFC 6026), with their timers."""

from __future__ import annotations

from tandem.wire.sip.headers import Headers
from tandem.wire.sip.message import CSeq, Request, Response, parse, respond_to
from tandem.wire.sip.transaction import (
    InviteClient,
    InviteServer,
    RequestClient,
    RequestServer,
    State,
    TimerValues,
    ack_for_failure,
    cancel_for,
    cancelled_key,
    client_key,
    server_key,
)
from tandem.wire.sip.uri import NameAddr, Uri, Via

T = TimerValues()


def request(method: str = "INVITE", branch: str = "z9hG4bK1", **extra: str) -> Request:
    headers = Headers.of(("Max-Forwards", "70"), *extra.items())
    return Request(
        method,
        Uri("b", "bob"),
        (Via("a", 5060, (("branch", branch),)),),
        NameAddr(Uri("a", "alice")).with_tag("1"),
        NameAddr(Uri("b", "bob")),
        "call",
        CSeq(1, method),
        headers,
    )


def response(status: int, method: str = "INVITE") -> Response:
    return respond_to(request(method), status, to_tag="2")


def send_times(machine, until: float = 100.0) -> list[float]:
    """When it sends, at its own deadlines."""
    times = [0.0] * len(machine.datagrams)
    machine.datagrams.clear()
    while (at := machine.next_wakeup()) is not None and at <= until:
        machine.tick(at)
        times += [at] * len(machine.datagrams)
        machine.datagrams.clear()
    return times


def test_an_unanswered_invite_is_repeated_with_doubling_until_timer_b() -> None:
    machine = InviteClient(request(), T, 0.0)
    assert send_times(machine, 31.99) == [0.0, 0.5, 1.5, 3.5, 7.5, 15.5, 31.5]
    assert machine.tick(32.0)
    assert machine.state is State.TERMINATED
    assert machine.next_wakeup() is None


def test_a_provisional_response_stops_the_repeats_and_waits_for_ever() -> None:
    machine = InviteClient(request(), T, 0.0)
    assert machine.receive(response(100), 0.1) is not None
    assert (machine.state, machine.next_wakeup()) == (State.PROCEEDING, None)
    assert machine.receive(response(180), 0.1) is not None


def test_an_invite_that_is_given_up_ends_however_it_was_answered() -> None:
    for first in (True, False):
        machine = InviteClient(request(), T, 0.0)
        if first:
            machine.receive(response(180), 0.1)
        machine.give_up_at(50.0)
        machine.receive(response(180), 0.2)
        assert machine.next_wakeup() == 50.0
        assert not machine.tick(50.0)
        assert machine.state is State.TERMINATED


def test_a_failure_is_acknowledged_each_time_and_told_once() -> None:
    machine = InviteClient(request(Route="<sip:r;lr>", Authorization="Digest x"), T, 0.0)
    machine.datagrams.clear()
    assert machine.receive(response(486), 1.0) is not None
    assert machine.receive(response(486), 2.0) is None
    assert machine.receive(response(200), 2.0) is None
    acks = [parse(data) for data in machine.datagrams]
    assert len(acks) == 2
    assert acks[0] == acks[1]
    ack = acks[0]
    assert isinstance(ack, Request)
    assert (ack.method, ack.cseq, ack.vias, ack.to.tag) == ("ACK", CSeq(1, "ACK"), request().vias, "2")
    assert ack.headers.get("Route") == "<sip:r;lr>"
    assert machine.next_wakeup() == 33.0  # timer D: 32 s
    assert not machine.tick(33.0)
    assert machine.state is State.TERMINATED


def test_every_2xx_is_told_until_timer_m() -> None:
    machine = InviteClient(request(), T, 0.0)
    machine.datagrams.clear()
    assert machine.receive(response(200), 1.0) is not None
    assert machine.receive(response(200), 2.0) is not None
    assert machine.receive(response(486), 2.0) is None
    assert machine.datagrams == []
    assert (machine.state, machine.next_wakeup()) == (State.ACCEPTED, 33.0)
    assert not machine.tick(33.0)
    assert machine.receive(response(200), 34.0) is None


def test_another_request_is_repeated_up_to_t2_until_timer_f() -> None:
    machine = RequestClient(request("BYE"), T, 0.0)
    assert send_times(machine, 31.99) == [0.0, 0.5, 1.5, 3.5, 7.5, 11.5, 15.5, 19.5, 23.5, 27.5, 31.5]
    assert machine.tick(32.0)


def test_another_request_goes_on_after_a_provisional_but_slowly() -> None:
    machine = RequestClient(request("BYE"), T, 0.0)
    machine.receive(response(100, "BYE"), 0.1)
    assert send_times(machine, 31.9) == [0.0, 0.5, 4.5, 8.5, 12.5, 16.5, 20.5, 24.5, 28.5]
    assert machine.tick(32.0)


def test_another_request_absorbs_repeated_finals_for_timer_k() -> None:
    machine = RequestClient(request("BYE"), T, 0.0)
    assert machine.receive(response(200, "BYE"), 1.0) is not None
    assert machine.receive(response(200, "BYE"), 1.1) is None
    assert machine.next_wakeup() == 6.0
    assert not machine.tick(6.0)
    assert machine.state is State.TERMINATED


def test_an_invite_server_repeats_its_last_provisional() -> None:
    machine = InviteServer(request(), T, 0.0)
    machine.receive(request(), 0.1)
    assert machine.datagrams == []
    machine.respond(response(100), 0.1)
    machine.respond(response(180), 0.2)
    machine.receive(request(), 0.5)
    assert [data[8:11] for data in machine.datagrams] == [b"100", b"180", b"180"]
    assert machine.next_wakeup() is None


def test_an_invite_server_repeats_a_failure_until_its_ack() -> None:
    machine = InviteServer(request(), T, 0.0)
    machine.respond(response(486), 0.0)
    assert send_times(machine, 8.0) == [0.0, 0.5, 1.5, 3.5, 7.5]
    machine.receive(request(), 8.0)
    assert len(machine.datagrams) == 1
    machine.receive(request("ACK"), 9.0)
    assert (machine.state, machine.next_wakeup()) == (State.CONFIRMED, 14.0)  # timer I
    machine.receive(request(), 9.5)
    machine.respond(response(200), 9.5)
    assert len(machine.datagrams) == 1
    assert not machine.tick(14.0)
    assert machine.state is State.TERMINATED


def test_an_invite_server_gives_up_on_the_ack_at_timer_h() -> None:
    machine = InviteServer(request(), T, 0.0)
    machine.respond(response(486), 0.0)
    assert send_times(machine, 31.9)[-1] == 31.5
    assert machine.tick(32.0)
    assert machine.state is State.TERMINATED


def test_an_accepted_invite_absorbs_repeats_and_lets_the_2xx_pass() -> None:
    machine = InviteServer(request(), T, 0.0)
    machine.respond(response(200), 0.0)
    machine.receive(request(), 0.5)
    machine.receive(request("ACK"), 0.6)
    assert (machine.state, len(machine.datagrams)) == (State.ACCEPTED, 1)
    machine.respond(response(200), 1.0)
    machine.respond(response(486), 1.0)
    assert len(machine.datagrams) == 2
    assert machine.next_wakeup() == 32.0  # timer L
    assert not machine.tick(32.0)


def test_another_server_answers_repeats_until_timer_j() -> None:
    machine = RequestServer(request("BYE"), T, 0.0)
    machine.receive(request("BYE"), 0.5)
    assert machine.datagrams == []
    machine.respond(response(100, "BYE"), 0.6)
    machine.respond(response(200, "BYE"), 1.0)
    machine.respond(response(481, "BYE"), 1.0)
    machine.receive(request("BYE"), 2.0)
    assert [data[8:11] for data in machine.datagrams] == [b"100", b"200", b"200"]
    assert machine.next_wakeup() == 33.0
    assert not machine.tick(33.0)
    assert machine.state is State.TERMINATED


def test_another_server_that_is_never_answered_does_not_stay() -> None:
    machine = RequestServer(request("REGISTER"), T, 0.0)
    assert machine.tick(32.0)
    assert machine.state is State.TERMINATED


def test_matching() -> None:
    invite = request()
    assert client_key(response(200)) == client_key(invite)
    assert client_key(response(200, "CANCEL")) != client_key(invite)
    assert server_key(ack_for_failure(invite, response(486))) == server_key(invite)
    assert cancelled_key(cancel_for(invite)) == server_key(invite) != server_key(cancel_for(invite))
    assert server_key(request(branch="z9hG4bK2")) != server_key(invite)


def test_without_a_usable_branch_the_whole_request_counts() -> None:
    for branch in ("old", "z9hG4bK"):
        old, newer = request(branch=branch), Request(**{**_fields(request(branch=branch)), "cseq": CSeq(2, "INVITE")})
        assert server_key(old) == server_key(request(branch=branch))
        assert server_key(old) != server_key(newer)


def _fields(message: Request) -> dict[str, object]:
    return {name: getattr(message, name) for name in Request.__slots__}
