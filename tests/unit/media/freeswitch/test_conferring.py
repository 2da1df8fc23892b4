"""Conferences: what the switch is sent, and when the owner is told that it is so."""

from __future__ import annotations

import json

import pytest

from tandem.core.ports.media import Bridge, Confer, LegUnbridged, Play, Stop, Supervise, Supervision, Verb
from tandem.media.backend import Row
from tandem.media.freeswitch.ids import room_of
from tandem.wire import esl
from tests.unit.media.freeswitch.replay import TENANT
from tests.unit.media.freeswitch.test_verbs import CALLER, DEVICE, LEG, Switch, starts

AGENT = f"{LEG}.1"
ROOM = room_of(TENANT, "x")
IN = "api uuid_transfer {} 'conference:{}@default,park' inline"
OUT = f"api uuid_transfer {CALLER} park inline"


@pytest.fixture
def switch() -> Switch:
    switch = Switch()
    switch.up()
    switch.ring_up()
    return switch


def comes_in(switch: Switch, channel: str = CALLER, room: str = ROOM, action: str = "add-member") -> None:
    fields = {"Event-Name": "CUSTOM", "Event-Subclass": "conference::maintenance", "Unique-ID": channel}
    switch.frame(esl.JsonEvent({**fields, "Action": action, "Conference-Name": room}))


def both(switch: Switch) -> None:
    """Caller and agent are in the room."""
    for leg, channel in ((LEG, CALLER), (AGENT, DEVICE)):
        switch.perform(Confer("x"), leg, leg)
        comes_in(switch, channel)
    switch.sent()


def alone(switch: Switch) -> list[tuple[str, str]]:
    return [(leg, body.other) for leg, body in switch.tape.told if isinstance(body, LegUnbridged)]


def test_who_comes_in_is_told_by_the_switch(switch: Switch) -> None:
    switch.perform(Confer("x"), "it")
    assert switch.sent() == [IN.format(CALLER, ROOM)]
    comes_in(switch, action="start-talking")
    comes_in(switch, room="another")
    assert switch.outcomes()[2:] == []
    comes_in(switch)
    assert switch.outcomes()[2:] == ["it DONE"]
    switch.perform(Confer("x"), "again")
    assert switch.outcomes()[2:] == ["it DONE", "again DONE"]
    assert switch.sent() == []


def test_the_next_one_room_goes_through_the_door(switch: Switch) -> None:
    both(switch)
    switch.perform(Confer("y"), "next")
    assert switch.sent()[-1] == OUT
    switch.event("CHANNEL_PARK")
    assert switch.sent()[-1] == IN.format(CALLER, room_of(TENANT, "y"))
    assert alone(switch) == [(AGENT, LEG)]


@pytest.mark.parametrize("verb", [Play(("hello",)), Stop(), Supervise(AGENT, Supervision.MONITOR)])
def test_another_order_takes_the_leg_out(switch: Switch, verb: Verb) -> None:
    both(switch)
    switch.perform(verb, "next")
    assert switch.sent()[-1] == OUT
    switch.event("CHANNEL_PARK")
    assert alone(switch) == [(AGENT, LEG)]
    assert not any("conference" in line for line in switch.sent())


def test_two_who_are_joined_leave_first(switch: Switch) -> None:
    both(switch)
    switch.perform(Bridge(AGENT), "join")
    assert not any("uuid_bridge" in line for line in switch.sent())
    switch.event("CHANNEL_PARK")
    switch.event("CHANNEL_PARK", DEVICE)
    assert starts(switch.sent())[-1] == f"bgapi uuid_bridge {CALLER} {DEVICE}"
    assert alone(switch) == []


def test_who_is_put_out_is_told_and_so_is_who_is_alone_then(switch: Switch) -> None:
    both(switch)
    switch.event("CHANNEL_PARK")
    assert alone(switch) == [(AGENT, LEG), (LEG, "")]
    switch.perform(Play(("hello",)), "say")
    assert "playback" in switch.sent()[-1], "it waits for the owner"


def test_a_room_that_lets_nobody_in(switch: Switch) -> None:
    switch.perform(Confer("x"), "it")
    switch.event("CHANNEL_PARK")
    assert switch.outcomes()[2:] == ["it FAILED CONFERENCE_FAILED"]
    assert alone(switch) == []
    switch.answers["uuid_transfer"] = "-ERR No such channel!"
    switch.perform(Confer("x"), "again")
    assert switch.outcomes()[3:] == ["again FAILED LEG_GONE"]


def test_a_switch_that_says_nothing(switch: Switch) -> None:
    switch.perform(Confer("x"), "it")
    switch.wake()
    assert switch.outcomes()[2:] == ["it FAILED SWITCH_SILENT"]
    switch.sent()
    switch.perform(Play(("hello",)), "next")
    assert switch.sent()[-1] == OUT, "it may have come in all the same"


def again(switch: Switch, **caller: str) -> Switch:
    """The agent's next life; the caller's channel is found so, the agent's in the room."""
    later = Switch()
    inside = {
        "Channel-State": "CS_EXECUTE", "Answer-State": "answered", "Call-Direction": "inbound",
        "variable_current_application": "conference", "variable_current_application_data": f"{ROOM}@default",
    }  # fmt: skip
    later.answers |= {
        f"uuid_dump {CALLER}": json.dumps(inside | {"Unique-ID": CALLER} | caller),
        f"uuid_dump {DEVICE}": json.dumps(inside | {"Unique-ID": DEVICE}),
    }
    later.node.lost(later.now)
    later.node.restore([Row(kind, id, value) for (kind, id), value in switch.tape.rows.items()], 0, later.now)
    later.frame(esl.AuthWanted())
    later.sent()
    return later


def test_the_agents_next_life_finds_who_is_in_the_room(switch: Switch) -> None:
    both(switch)
    later = again(switch)
    assert alone(later) == []
    later.perform(Play(("hello",)), "next")
    assert later.sent()[-1] == OUT, "never inside of what runs"


def test_who_was_put_out_meanwhile_is_told(switch: Switch) -> None:
    both(switch)
    later = again(switch, variable_current_application="park")
    assert alone(later) == [(AGENT, LEG), (LEG, "")]
