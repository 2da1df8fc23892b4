"""Contacts of phones: what may be dialled, what it needs, and which of them are there."""

from __future__ import annotations

from urllib.parse import unquote

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.media.freeswitch.places import LATELY_MAX, PLACES_MAX, Lately, Places, dialled, needs

WSS = (
    "sofia/tandem/sip:q7v0@c4mvk.invalid;transport=ws;fs_nat=yes;"
    "fs_path=sip%3Aq7v0%40127.0.0.1%3A39170%3Btransport%3Dwss"
)
TLS = '"Ann" <sips:ann-0x55@192.0.2.7:5061;transport=tls>'
UDP = "<sip:ann@[2001:db8::7]:5060>"


def test_what_events_and_lists_say_is_one_dial_string() -> None:
    assert dialled(WSS) == WSS
    assert dialled(f'"" <{unquote(WSS).removeprefix("sofia/tandem/")}>') == WSS, "as an event has it"
    assert dialled(TLS) == "sofia/tandem/sip:ann-0x55@192.0.2.7:5061;transport=tls"
    assert dialled(UDP) == "sofia/tandem/sip:ann@[2001:db8::7]:5060"


@pytest.mark.parametrize(
    "contact",
    [
        "",
        "ann",
        "tel:+4930",
        "<sip:ann@h,sofia/gateway/north/+4990012345>",
        "<sip:ann@h|sofia/gateway/north/1>",
        "<sip:ann@h:_:user>",
        "<sip:ann@h> <sip:x@y z>",
        "<sip:ann@${h}>",
        "<sip:a'b@h>",
        "<sip:a{b}@h>",
        "<sip:ann@h\n&park()>",
        f"<sip:{'a' * 1001}@h>",
        "sofia/gateway/north/1",
    ],
)
def test_what_could_call_anybody_else_is_not_dialled(contact: str) -> None:
    assert dialled(contact) == ""


@given(st.text(max_size=60))
def test_whatever_a_phone_writes_a_dial_string_is_one_place_of_the_profile(text: str) -> None:
    for contact in (f"<sip:{text}>", f'"{text}" <sip:ann@h>', text):
        found = dialled(contact)
        assert not found or found.startswith("sofia/tandem/sip:")
        assert not set(found.removeprefix("sofia/tandem/")) & set(" ,|{}<>'\"$\\^/\r\n\0")
        assert ":_:" not in found
    assert dialled(f'"{text.replace("<", "")}" <sip:ann@h>') == "sofia/tandem/sip:ann@h" or ">" in text


@pytest.mark.parametrize(
    ("contact", "srtp", "variables"),
    [
        (WSS, "no", {"media_webrtc": "true"}),
        ("<sip:a@b;transport=WSS>", "optional", {"media_webrtc": "true"}),
        (TLS, "optional", {"rtp_secure_media": "optional"}),
        (TLS, "mandatory", {"rtp_secure_media": "mandatory"}),
        (TLS, "no", {}),
        (UDP, "mandatory", {}),
        ("<sip:a@b;transport=tcp>", "mandatory", {}),
        ("<sip:transport=tls@b>", "mandatory", {}),
    ],
)
def test_what_a_place_needs_is_read_from_how_it_registered(contact: str, srtp: str, variables: dict) -> None:
    assert needs(dialled(contact), srtp) == variables


def test_a_device_has_the_places_that_it_registered_at() -> None:
    places = Places()
    places.add("ann", "one", UDP)
    places.add("ann", "two", TLS)
    assert places.of("ann") == [dialled(UDP), dialled(TLS)]
    places.add("ann", "one", UDP)
    assert places.of("ann") == [dialled(TLS), dialled(UDP)], "the one that registered last is the last"
    assert not places.remove("ann", "two")
    assert places.of("ann") == [dialled(UDP)]
    assert places.remove("ann", "one")
    assert places.of("ann") == []


def test_a_phone_that_began_anew_is_one_place() -> None:
    places = Places()
    places.add("ann", "before", TLS)
    places.add("ann", "after", TLS)
    assert places.of("ann") == [dialled(TLS)]
    assert not places.remove("ann", "before"), "its registration of before runs out, and it is there"
    assert places.of("ann") == [dialled(TLS)]


def test_places_are_counted_and_those_that_cannot_be_dialled_are_not_named() -> None:
    places = Places()
    for number in range(PLACES_MAX + 2):
        places.add("ann", f"call-{number}", f"<sip:ann@192.0.2.{number}>")
    assert places.of("ann") == [dialled(f"<sip:ann@192.0.2.{number}>") for number in range(2, PLACES_MAX + 2)]
    places.replace([("bob", "b", "<sip:bob@h,x/y>"), ("cat", "c", UDP)])
    assert (places.of("ann"), places.of("bob"), places.of("cat")) == ([], [], [dialled(UDP)])
    assert places.remove("bob", "b")


def test_what_events_told_within_the_last_seconds_lies_over_a_list_that_lags() -> None:
    lately = Lately(5.0)
    lately.told("ann", "desk", "<sip:ann@desk.test>", 10.0)
    lately.told("ann", "browser", None, 12.0)
    listed = [("ann", "browser", "sofia/tandem/sip:ann@b.test"), ("ann", "mobile", "sofia/tandem/sip:ann@m.test")]
    assert lately.over(listed, 14.0) == [listed[1], ("ann", "desk", "<sip:ann@desk.test>")]
    assert lately.over(listed, 15.0) == [listed[1]], "the desk's may be in the list by now, and is not"
    assert lately.over(listed, 17.0) == listed


def test_what_events_told_is_bounded() -> None:
    lately = Lately(5.0)
    for call in range(LATELY_MAX + 1):
        lately.told("ann", f"{call}", "<sip:ann@desk.test>", 10.0)
    calls = [call for _, call, _ in lately.over([], 10.0)]
    assert (calls[0], len(calls)) == ("1", LATELY_MAX)
