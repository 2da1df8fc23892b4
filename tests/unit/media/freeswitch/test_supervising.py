"""Supervisors: what the switch is sent, and when the owner is told that it is so."""

from __future__ import annotations

import json

import pytest

from tandem.core.ports.media import Bridge, LegUnbridged, Play, Supervise, Supervision
from tandem.media.backend import Row
from tandem.wire import esl
from tests.unit.media.freeswitch.test_verbs import CALLER, DEVICE, LEG, Switch, starts

AGENT = f"{LEG}.1"
"""The leg that is listened to; the caller's is the supervisor's here."""
BEGIN = f"api uuid_transfer {CALLER} eavesdrop:{DEVICE},park inline"


@pytest.fixture
def switch() -> Switch:
    switch = Switch()
    switch.up()
    switch.ring_up()
    return switch


def attach(switch: Switch, function: str = "eavesdrop") -> None:
    switch.event("MEDIA_BUG_START", DEVICE, **{"Media-Bug-Function": function})


@pytest.mark.parametrize(
    ("mode", "agent", "caller"),
    [
        (Supervision.MONITOR, "false", "false"),
        (Supervision.WHISPER, "true", "false"),
        (Supervision.BARGE, "true", "true"),
    ],
)
def test_a_mode_is_in_force_when_the_switch_says_so(switch: Switch, mode: Supervision, agent: str, caller: str) -> None:
    switch.perform(Supervise(AGENT, mode), "it")
    words = f"eavesdrop_enable_dtmf=false;eavesdrop_whisper_bleg={agent};eavesdrop_whisper_aleg={caller}"
    assert switch.sent() == [f"api uuid_setvar_multi {CALLER} {words}", BEGIN]
    attach(switch, "session_record")
    assert switch.outcomes()[2:] == []
    attach(switch)
    assert switch.outcomes()[2:] == ["it DONE"]
    attach(switch)
    assert switch.outcomes()[2:] == ["it DONE"]


def test_what_is_heard_ends_first_and_what_comes_next_ends_the_listening(switch: Switch) -> None:
    switch.perform(Play(("hello",), loop=True), "play")
    switch.sent()
    switch.perform(Supervise(AGENT, Supervision.MONITOR), "it")
    assert switch.sent()[-1] == f"api uuid_transfer {CALLER} park inline"
    switch.complete("play")
    switch.event("CHANNEL_PARK")
    attach(switch)
    switch.sent()
    switch.perform(Play(("hello",)), "next")
    assert switch.sent()[-1] == f"api uuid_transfer {CALLER} park inline"
    switch.event("CHANNEL_PARK")
    assert "playback" in switch.sent()[-1]
    assert not any(isinstance(body, LegUnbridged) for _, body in switch.tape.told)


def test_a_supervisor_who_is_bridged_stops_listening(switch: Switch) -> None:
    switch.perform(Supervise(AGENT, Supervision.MONITOR), "it")
    attach(switch)
    switch.sent()
    switch.perform(Bridge(AGENT), "join")
    assert switch.sent()[-1] == f"api uuid_transfer {CALLER} park inline"
    switch.event("CHANNEL_PARK")
    assert starts(switch.sent())[-1] == f"bgapi uuid_bridge {CALLER} {DEVICE}"


def test_an_agent_who_leaves_first_or_later(switch: Switch) -> None:
    switch.perform(Supervise(AGENT, Supervision.MONITOR), "it")
    switch.event("CHANNEL_PARK")
    assert switch.outcomes()[2:] == ["it FAILED OTHER_GONE"]
    switch.perform(Supervise(AGENT, Supervision.MONITOR), "again")
    attach(switch)
    switch.event("CHANNEL_PARK")
    assert (LEG, LegUnbridged(AGENT)) in switch.tape.told


@pytest.mark.parametrize(
    ("verb", "reason"),
    [
        (Supervise("gone", Supervision.MONITOR), "OTHER_GONE"),
        (Supervise(LEG, Supervision.MONITOR), "OTHER_GONE"),
    ],
)
def test_what_cannot_be_listened_to(switch: Switch, verb: Supervise, reason: str) -> None:
    switch.perform(verb, "it")
    assert switch.outcomes()[2:] == [f"it FAILED {reason}"]
    assert switch.sent() == []


def test_a_switch_that_will_not_or_says_nothing(switch: Switch) -> None:
    switch.answers["uuid_transfer"] = "-ERR No such channel!"
    switch.perform(Supervise(AGENT, Supervision.MONITOR), "it")
    assert switch.outcomes()[2:] == ["it FAILED LEG_GONE"]
    del switch.answers["uuid_transfer"]
    switch.perform(Supervise(AGENT, Supervision.MONITOR), "again")
    switch.wake()
    assert switch.outcomes()[3:] == ["again FAILED SWITCH_SILENT"]


def test_the_agents_next_life_finds_who_listens(switch: Switch) -> None:
    switch.perform(Supervise(AGENT, Supervision.MONITOR), "it")
    attach(switch)
    later = Switch()
    state = {"Channel-State": "CS_EXECUTE", "Answer-State": "answered", "variable_current_application": "eavesdrop"}
    dump = {"Unique-ID": CALLER, "Call-Direction": "inbound", "variable_current_application_data": DEVICE} | state
    parked = {"Unique-ID": DEVICE, "Channel-State": "CS_EXECUTE", "variable_current_application": "park"}
    later.answers |= {f"uuid_dump {CALLER}": json.dumps(dump), f"uuid_dump {DEVICE}": json.dumps(parked)}
    later.node.lost(later.now)
    later.node.restore([Row(kind, id, value) for (kind, id), value in switch.tape.rows.items()], 0, later.now)
    later.frame(esl.AuthWanted())
    later.sent()
    later.perform(Play(("hello",)), "next")
    assert later.sent()[-1] == f"api uuid_transfer {CALLER} park inline", "never inside of what runs"
