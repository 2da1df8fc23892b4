"""The registrar's table, and a phone that registers with it over the wire."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from tandem.wire.sip.digest import Authenticator, Credentials, hash_password
from tandem.wire.sip.events import (
    Event,
    RegisterArrived,
    Registered,
    RegistrationFailed,
    Unregistered,
)
from tandem.wire.sip.message import Request, parse
from tandem.wire.sip.registrar import Bound, RegisterReply, Registrar, RegistrarConfig, Unbound, address_of_record
from tandem.wire.sip.uri import Uri
from tests.unit.wire.sip_world import ALICE, BOB, Address, Channel, World, pair, raw, seeded_token

SOURCE = ("192.0.2.7", 5062)
DESK = "<sip:alice@192.0.2.7:5062>"
MOBILE = "<sip:alice@192.0.2.8>"


def register(contacts: str, *, cseq: int = 1, call_id: str = "c", expires: str = "600") -> Request:
    lines = "".join(f"Contact: {contact}\n" for contact in contacts.split(" | ") if contact)
    message = parse(
        raw(f"""
REGISTER sip:example.com SIP/2.0
Via: SIP/2.0/UDP 192.0.2.7;branch=z9hG4bK1
To: <sip:alice@Example.com>
From: <sip:alice@example.com>;tag=1
Call-ID: {call_id}
CSeq: {cseq} REGISTER
{f"Expires: {expires}" if expires else "X: y"}
{lines}
""")
    )
    assert isinstance(message, Request), message
    return message


def take(one: Registrar, contacts: str, now: float = 0.0, **extra: object) -> RegisterReply:
    return one.register("alice", register(contacts, **extra), SOURCE, now)  # type: ignore[arg-type]


def where(one: Registrar, now: float = 0.0) -> list[str]:
    return [str(binding.contact) for binding in one.bindings("alice", now)]


def test_whom_it_is_for() -> None:
    assert address_of_record(register("")) == "alice@example.com"


def test_bind_ask_and_unbind() -> None:
    one = Registrar()
    reply = take(one, f"{DESK} | {MOBILE};expires=60")
    assert (reply.status, [change.is_new for change in reply.changes if isinstance(change, Bound)]) == (
        200,
        [True, True],
    )
    assert sorted(value for _, value in reply.headers) == [f"{DESK};expires=600", f"{MOBILE};expires=60"]
    assert take(one, "", 10.0).headers == (("Contact", f"{DESK};expires=590"), ("Contact", f"{MOBILE};expires=50"))
    assert where(one, 10.0) == ["sip:alice@192.0.2.8", "sip:alice@192.0.2.7:5062"]
    gone = take(one, f"{DESK};expires=0", 10.0, cseq=2)
    assert [(type(change), str(change.binding.contact)) for change in gone.changes] == [
        (Unbound, "sip:alice@192.0.2.7:5062")
    ]
    assert where(one, 10.0) == ["sip:alice@192.0.2.8"]
    assert one.bindings("alice", 10.0)[0].address == SOURCE


def test_refresh_is_not_new() -> None:
    one = Registrar()
    take(one, DESK)
    reply = take(one, DESK.replace("192.0.2.7:5062", "192.0.2.7:5062;ob"), 5.0, cseq=2)
    assert [change.is_new for change in reply.changes if isinstance(change, Bound)] == [False]
    assert one.bindings("alice", 5.0)[0].expires_at == 605.0


@pytest.mark.parametrize(
    ("contact", "expires", "granted"),
    [
        (DESK, "600", 600),
        (DESK, "", 3600),
        (f"{DESK};expires=90", "600", 90),
        (DESK, "999999", 3600),
        (f"{DESK};expires=soon", "600", 3600),
        (DESK, "4294967295", 3600),
    ],
)
def test_how_long(contact: str, expires: str, granted: int) -> None:
    one = Registrar()
    take(one, contact, expires=expires)
    assert one.bindings("alice", 0.0)[0].expires_at == granted


def test_too_brief_is_423_and_changes_nothing() -> None:
    one = Registrar(RegistrarConfig(expires_min_s=60))
    reply = take(one, f"{DESK} | {MOBILE};expires=59")
    assert (reply.status, reply.headers, where(one)) == (423, (("Min-Expires", "60"),), [])


def test_out_of_order_changes_nothing() -> None:
    one = Registrar()
    take(one, DESK, cseq=5)
    assert take(one, f"{DESK};expires=0 | {MOBILE}", cseq=5).status == 500
    assert where(one) == ["sip:alice@192.0.2.7:5062"]
    assert take(one, f"{DESK};expires=0", cseq=1, call_id="restarted").status == 200
    assert where(one) == []


def test_remove_all() -> None:
    one = Registrar()
    take(one, f"{DESK} | {MOBILE}")
    assert take(one, "*", expires="600", cseq=2).status == 400
    assert take(one, "*", expires="", cseq=2).status == 400
    assert take(one, "*", expires="0", cseq=1).status == 500
    assert len(take(one, "*", expires="0", cseq=2).changes) == 2
    assert (where(one), one.records()) == ([], ())


def test_bounds() -> None:
    one = Registrar(RegistrarConfig(contacts_max=1, records_max=1))
    assert take(one, f"{DESK} | {MOBILE}").status == 403
    assert take(one, DESK).status == 200
    assert take(one, f"{DESK};expires=0 | {MOBILE}", cseq=2).status == 200
    assert one.register("bob", register(DESK), SOURCE, 0.0).status == 503
    assert one.register("bob", register(""), SOURCE, 0.0).status == 200
    assert take(one, "<tel:123>").status == 400


def test_expiry() -> None:
    one = Registrar()
    take(one, f"{DESK};expires=60 | {MOBILE};expires=90")
    assert one.next_wakeup() == 60.0
    assert one.tick(59.9) == ()
    (change,) = one.tick(60.0)
    assert (change.expired, change.binding.contact.host) == (True, "192.0.2.7")
    late = take(one, "", 100.0, cseq=9)
    assert [type(change) for change in late.changes] == [Unbound]
    assert (one.next_wakeup(), one.records()) == (None, ())


def test_drop() -> None:
    one = Registrar()
    take(one, DESK)
    assert len(one.drop("alice")) == 1
    assert (one.drop("alice"), where(one)) == ((), [])


def test_a_journal_gives_it_back() -> None:
    one = Registrar()
    take(one, f"{DESK} | {MOBILE}")
    again = Registrar.from_dict(json.loads(json.dumps(one.to_dict())))
    assert again.bindings("alice", 0.0) == one.bindings("alice", 0.0)
    assert take(again, DESK).status == 500
    for bad in ({"a": 1}, {"a": [{}]}, {"a": [{"address": ["h", "x"]}]}):
        with pytest.raises(ValueError, match="journal entry"):
            Registrar.from_dict(bad)


# -- over the wire


class Server:
    """Bob as a registrar."""

    def __init__(self, world: World, **settings: int) -> None:
        self.world = world
        self.gate = Authenticator("tandem", b"s", seeded_token("gate"), nonce_life_s=100.0)
        self.table = Registrar(replace(RegistrarConfig(), **settings))
        self.seen: list[int] = []
        world.react = self.react

    def react(self, address: Address, event: Event) -> None:
        if not isinstance(event, RegisterArrived):
            return
        kept = {"alice": hash_password("alice", "tandem", "right")}
        verdict = self.gate.verify(event.request, kept.get, self.world.now)
        status, headers = verdict.status, verdict.headers
        if status == 200:
            reply = self.table.register(verdict.user or "", event.request, event.source, self.world.now)
            status, headers = reply.status, reply.headers
        self.seen.append(status)
        assert self.world.endpoints[address].respond(event.transaction, status, self.world.now, headers=headers)
        assert not self.world.endpoints[address].respond(event.transaction, 500, self.world.now)


def phone(world: World, password: str = "right", expires_s: int = 300) -> str:
    handle = world.endpoints[ALICE].register(
        Uri(BOB[0], None, BOB[1]),
        Uri("example.com", "alice"),
        world.now,
        expires_s=expires_s,
        credentials=Credentials("alice", password),
    )
    assert handle is not None
    return handle


def test_a_phone_registers_refreshes_and_leaves() -> None:
    world = pair()
    server = Server(world)
    handle = phone(world)
    world.run(1000.0)
    assert server.seen[:3] == [401, 200, 401]  # the nonce has gone stale by the first refresh
    assert world.all(ALICE, Registered)[0] == Registered(handle, 300)
    assert len(world.all(ALICE, Registered)) == 5
    assert [str(b.contact) for b in server.table.bindings("alice", world.now)] == ["sip:alice@127.0.0.1:5070"]
    assert world.endpoints[ALICE].unregister(handle, world.now)
    assert not world.endpoints[ALICE].unregister(handle, world.now)
    world.run()
    assert world.all(ALICE, Unregistered) == [Unregistered(handle)]
    assert server.table.records() == ()
    assert world.is_at_rest()


def test_a_live_nonce_is_used_again_without_a_challenge() -> None:
    world = pair()
    server = Server(world)
    phone(world, expires_s=60)
    world.run(65.0)
    assert server.seen == [401, 200, 200, 200]


def test_a_wrong_password_fails_at_once() -> None:
    world = pair()
    server = Server(world)
    handle = phone(world, "wrong")
    world.run()
    assert server.seen == [401, 403]
    assert world.all(ALICE, RegistrationFailed) == [RegistrationFailed(handle, 403, "Forbidden")]
    assert world.is_at_rest()


def test_too_brief_is_asked_again() -> None:
    world = pair()
    server = Server(world, expires_min_s=120)
    handle = phone(world, expires_s=60)
    world.run(10.0)
    assert server.seen == [401, 423, 200]
    assert world.all(ALICE, Registered) == [Registered(handle, 120)]


def test_no_registrar() -> None:
    world = World()
    world.add(ALICE)
    handle = phone(world)
    world.run()
    assert world.all(ALICE, RegistrationFailed) == [RegistrationFailed(handle, 408, "Request Timeout")]


def test_leaving_while_a_refresh_is_under_way() -> None:
    world = pair(channel=Channel(delay_max=0.01))
    server = Server(world)
    handle = phone(world)
    assert world.endpoints[ALICE].unregister(handle, 0.0)
    world.run()
    assert world.all(ALICE, Unregistered) == [Unregistered(handle)]
    assert world.all(ALICE, Registered) == []
    assert server.table.records() == ()


def test_an_application_that_never_answers_leaks_nothing() -> None:
    world = pair()
    phone(world)
    world.run()
    assert len(world.all(ALICE, RegistrationFailed)) == 1
    assert world.is_at_rest()
