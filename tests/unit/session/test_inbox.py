"""What a media node tells, as inputs of contacts and receptions."""

from __future__ import annotations

from typing import Any

import pytest

from tandem.core.decider import EffectEnded
from tandem.core.ports import media
from tandem.core.seal import Secret, Withheld
from tandem.session.domain import words as w
from tandem.session.domain.reception import NoteDevice
from tandem.session.inbox import media_offer, stream_of

CALLER = Secret(b"+49555")


@pytest.mark.parametrize(
    ("leg", "body", "stream", "command"),
    [
        ("c1", media.LegArrived("100", CALLER), "contact/c1", w.TakeCall("m1", 77, "100", CALLER)),
        ("c1.o1", media.LegRinging(), "contact/c1", w.NoteLeg("m1", "c1.o1", 77, media.LegRinging())),
        (
            "c1",
            media.DigitsCollected("menu#1", Secret(b"1"), media.Collected.COMPLETE),
            "contact/c1",
            w.TakeDigits("c1", 77, "menu#1", Secret(b"1"), media.Collected.COMPLETE),
        ),
        (
            "c1",
            media.LegReferred("c1.o1", Secret(b"+49666")),
            "contact/c1",
            w.NoteLeg("m1", "c1", 77, media.LegReferred("c1.o1", Withheld())),
        ),
        (
            "c1",
            media.LegHandedOut(Secret(b"{}")),
            "contact/c1",
            w.TakeDialog("c1", 77, Secret(b"{}")),
        ),
        ("c1", media.LegTakenOver(), "contact/c1", w.NoteLeg("m1", "c1", 77, media.LegTakenOver())),
        ("", media.DeviceRegistered("anna-desk"), "reception", NoteDevice("anna-desk", "m1", True, 77)),
        ("", media.DeviceUnregistered("anna-desk"), "reception", NoteDevice("anna-desk", "m1", False, 77)),
    ],
)
def test_each_event_becomes_one_numbered_input(leg: str, body: Any, stream: str, command: Any) -> None:
    offer = media_offer("m1", "i1", media.Event("t1", 5, 1, leg, body), 77)
    assert (offer.source, offer.number, offer.tenant) == ("media/m1/i1/t1", 5, "t1")
    assert (offer.stream, offer.command, offer.settles) == (stream, command, "")


def test_an_outcome_settles_the_effect_of_its_key() -> None:
    key = "t1/contact/c1/7.312/0"
    offer = media_offer("m1", "i1", media.Event("t1", 6, 1, "c1", media.CommandSettled(key, media.Outcome.DONE)), 77)
    assert (offer.stream, offer.settles) == ("contact/c1", key)
    assert offer.command == EffectEnded("", media.Outcome.DONE, "")
    assert stream_of("t1/reception/9.1/1") == stream_of("t1/reception/9/1") == "reception"


def test_a_refused_call_is_a_contact_of_its_own_the_same_at_each_repeat() -> None:
    def of(number: int) -> str:
        event = media.Event("t1", number, 1, "", media.CallRefused("100", "CAPACITY"))
        return media_offer("m1", "i1", event, 77).stream

    assert of(8) == of(8) != of(9)
