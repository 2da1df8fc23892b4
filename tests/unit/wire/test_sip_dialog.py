"""Dialogs: route sets, CSeq, and what a journal gives back."""

from __future__ import annotations

import json

import pytest

from tandem.wire.sip.dialog import Dialog, dialog_of_client, dialog_of_server, literal_address
from tandem.wire.sip.message import Request, Response, parse, respond_to
from tandem.wire.sip.uri import Uri, Via
from tests.unit.wire.sip_world import raw

SOURCE = ("192.0.2.7", 5062)
VIA = Via("us")
INVITE = """
INVITE sip:bob@192.0.2.1 SIP/2.0
Via: SIP/2.0/UDP p2.example.com;branch=z9hG4bK1
Record-Route: <sip:192.0.2.20:5080;lr>, <sip:192.0.2.21;lr>
To: "Bob, B" <sip:bob@192.0.2.1>
From: <sip:carol@example.com>;tag=c1
Call-ID: c
CSeq: 5 INVITE
Contact: <sip:carol@192.0.2.30:5090;ob>

"""


def invite(text: str = INVITE) -> Request:
    message = parse(raw(text))
    assert isinstance(message, Request)
    return message


def response() -> Response:
    routes = [("Record-Route", value) for value in invite().headers.all("Record-Route")]
    return respond_to(invite(), 200, to_tag="b1", headers=[*routes, ("Contact", "<sip:bob@192.0.2.40:5066>")])


def test_the_called_side_goes_by_the_routes_in_order() -> None:
    dialog = dialog_of_server(invite(), "b1", SOURCE)
    assert dialog.next_hop() == ("192.0.2.20", 5080)
    after, bye = dialog.request("BYE", VIA)
    assert str(bye.uri) == "sip:carol@192.0.2.30:5090;ob"
    assert bye.headers.all("Route") == ["<sip:192.0.2.20:5080;lr>", "<sip:192.0.2.21;lr>"]
    assert (bye.from_.tag, bye.to.tag, bye.cseq.number, after.local_cseq) == ("b1", "c1", 1, 1)
    assert (bye.from_.display, bye.call_id) == ("Bob, B", "c")


def test_the_calling_side_goes_by_them_in_reverse() -> None:
    dialog = dialog_of_client(invite(), response(), SOURCE)
    assert dialog.next_hop() == ("192.0.2.21", 5060)
    ack = dialog.ack(5, VIA)
    assert (str(ack.uri), ack.cseq.number) == ("sip:bob@192.0.2.40:5066", 5)
    assert ack.headers.all("Route") == ["<sip:192.0.2.21;lr>", "<sip:192.0.2.20:5080;lr>"]
    assert dialog.request("BYE", VIA)[1].cseq.number == 6


def test_both_sides_have_the_same_dialog() -> None:
    ours, theirs = dialog_of_server(invite(), "b1", SOURCE), dialog_of_client(invite(), response(), SOURCE)
    assert (ours.local.tag, ours.remote.tag) == (theirs.remote.tag, theirs.local.tag)
    assert ours.key != theirs.key


def test_a_strict_router_gets_what_it_wants() -> None:
    dialog = dialog_of_server(invite(INVITE.replace("5080;lr", "5080")), "b1", SOURCE)
    _, bye = dialog.request("BYE", VIA)
    assert str(bye.uri) == "sip:192.0.2.20:5080"
    assert bye.headers.all("Route") == ["<sip:192.0.2.21;lr>", "<sip:carol@192.0.2.30:5090;ob>"]


def test_a_name_is_not_looked_up() -> None:
    text = INVITE.replace("192.0.2.30", "phone.example.com").replace("Record-Route: ", "X: ")
    assert dialog_of_server(invite(text), "b1", SOURCE).next_hop() == SOURCE
    assert literal_address(Uri("[2001:db8::1]", None, 5070)) == ("2001:db8::1", 5070)
    assert literal_address(Uri("999.1.1.1")) is None


def test_order_of_requests() -> None:
    dialog = dialog_of_server(invite(), "b1", SOURCE)
    assert dialog.received(invite()) is None
    later = dialog.received(invite(INVITE.replace("5 INVITE", "9 INVITE")))
    assert later is not None
    assert later.remote_cseq == 9


@pytest.mark.parametrize(
    "dialog", [dialog_of_server(invite(), "b1", SOURCE), dialog_of_client(invite(), response(), SOURCE)]
)
def test_a_journal_gives_it_back(dialog: Dialog) -> None:
    assert Dialog.from_dict(json.loads(json.dumps(dialog.to_dict()))) == dialog
    assert dialog.restored().local_cseq > dialog.local_cseq + 50


@pytest.mark.parametrize("bad", [{}, {"address": 1}, {"local": "<"}, {"routes": 3}, {"local_cseq": "x"}])
def test_a_bad_journal_entry_is_named(bad: dict[str, object]) -> None:
    kept = dialog_of_server(invite(), "b1", SOURCE).to_dict() if len(bad) == 1 else {}
    with pytest.raises(ValueError, match="journal entry"):
        Dialog.from_dict(kept | bad)
