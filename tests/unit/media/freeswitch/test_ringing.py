"""A device that rings in several places: what the switch is told, and what becomes of it in gaps."""

from __future__ import annotations

import json

import pytest

from tandem.core.ports.media import Command, HangUp, LegAnswered, LegEnded, LegRinging, Originate
from tandem.core.seal import secret
from tandem.media.freeswitch.ids import channel_of_device
from tandem.media.freeswitch.records import event_of
from tandem.wire import esl
from tests.unit.media.freeswitch.replay import TENANT
from tests.unit.media.freeswitch.test_settling import Restarted, row
from tests.unit.media.freeswitch.test_verbs import LEG, Switch

RING = Originate("agent1", 15_000, "offers/1", secret("4930"))
AGENT = f"{LEG}.1"
ONE, TWO = channel_of_device(TENANT, "ring", "agent1"), channel_of_device(TENANT, "ring", "agent1@1")
CONTACTS = {"call-one": "<sip:agent1@192.0.2.1>", "call-two": "<sip:agent1@192.0.2.2;transport=tls>"}


@pytest.fixture
def switch() -> Switch:
    switch = Switch()
    for call, contact in CONTACTS.items():
        fields = {"Event-Name": "CUSTOM", "Event-Subclass": "sofia::register", "from-user": "agent1"}
        switch.frame(esl.JsonEvent(fields | {"call-id": call, "contact": contact}))
    # What the list at the start named had no contact.
    switch.node._devices.unregister("agent1", "", switch.now)
    switch.sent()
    return switch


def ring(switch: Switch) -> str:
    switch.perform(RING, "ring", AGENT)
    [line] = switch.sent()
    return line.partition("\n")[0]


def told(switch: Switch) -> list[str]:
    return [type(body).__name__ for leg, body in switch.tape.told if leg == AGENT and type(body) in KINDS]


KINDS = (LegRinging, LegAnswered, LegEnded)


def job_ends(switch: Switch, result: str) -> None:
    switch.node._board.jobs.popitem()[1](result, switch.now)
    switch.answer()


def test_each_place_is_a_channel_of_its_own_with_what_it_needs(switch: Switch) -> None:
    line = ring(switch)
    assert line.endswith(
        f"}}[origination_uuid={ONE}]sofia/tandem/sip:agent1@192.0.2.1,"
        f"[origination_uuid={TWO},rtp_secure_media=optional]sofia/tandem/sip:agent1@192.0.2.2;transport=tls &park()"
    )
    assert "origination_uuid" not in line.partition("}")[0]
    assert "fail_on_single_reject=CALL_REJECTED" in line.partition("}")[0]


def test_an_end_asked_for_is_the_end_of_all_places(switch: Switch) -> None:
    ring(switch)
    switch.perform(HangUp(), "stop", AGENT)
    assert switch.sent() == [f"api uuid_kill {channel} NORMAL_CLEARING" for channel in (ONE, TWO)]
    for channel in (TWO, ONE):
        assert told(switch) == []
        switch.event("CHANNEL_HANGUP_COMPLETE", channel, **{"Hangup-Cause": "NORMAL_CLEARING"})
    assert told(switch) == ["LegEnded"]
    assert switch.outcomes() == ["ring FAILED CANCELED", "stop DONE"]


def test_what_one_place_says_after_another_answered_is_nobodys_business(switch: Switch) -> None:
    ring(switch)
    switch.event("CHANNEL_PROGRESS", ONE)
    switch.event("CHANNEL_PROGRESS", TWO)
    switch.event("CHANNEL_ANSWER", TWO)
    switch.event("CHANNEL_HANGUP_COMPLETE", ONE, **{"Hangup-Cause": "LOSE_RACE", "Call-Direction": "outbound"})
    assert told(switch) == ["LegRinging", "LegAnswered"]
    switch.perform(HangUp(), "stop", AGENT)
    assert switch.sent()[-1] == f"api uuid_kill {TWO} NORMAL_CLEARING"
    switch.event("CHANNEL_HANGUP_COMPLETE", TWO, **{"Hangup-Cause": "NORMAL_CLEARING"})
    assert told(switch) == ["LegRinging", "LegAnswered", "LegEnded"]


def test_a_place_that_the_switch_could_not_even_call_keeps_nobody_waiting(switch: Switch) -> None:
    """It never was a channel, so nothing tells of its end."""
    ring(switch)
    switch.event("CHANNEL_HANGUP_COMPLETE", ONE, **{"Hangup-Cause": "USER_BUSY", "Call-Direction": "outbound"})
    assert told(switch) == []
    job_ends(switch, "-ERR USER_BUSY")
    switch.wake()
    assert told(switch) == ["LegEnded"]
    assert switch.outcomes() == ["ring FAILED BUSY"]


def gap(switch: Switch, alive: dict[str, str], **more: str) -> None:
    """The connection was gone; of the channels those live, in that state."""
    switch.node.lost(switch.now)
    for channel in (ONE, TWO):
        fields = {"Unique-ID": channel, "Call-Direction": "outbound", "Answer-State": alive.get(channel, "")}
        fields |= {"variable_tandem_leg": AGENT, "variable_tandem_tenant": TENANT} | more
        there = json.dumps(fields) if channel in alive else "-ERR No such channel!\n"
        switch.answers[f"uuid_dump {channel}"] = there
    switch.answers["show channels"] = json.dumps({"row_count": 2, "rows": [{"uuid": channel} for channel in alive]})
    switch.sent()
    switch.frame(esl.AuthWanted())


def test_who_answered_in_a_gap_is_found_and_the_others_are_not_missed(switch: Switch) -> None:
    ring(switch)
    gap(switch, {TWO: "answered"})
    assert told(switch) == ["LegAnswered"]
    assert switch.outcomes() == ["ring DONE"]
    before = len(switch.tape.told)
    due = switch.node.next_wakeup()
    assert due is not None
    switch.node.wake(switch.now + 1.5)
    switch.answer()
    assert len(switch.tape.told) == before


def wrote_down(switch: Switch) -> None:
    """The first place lost, the second one answered and hung up."""
    for channel, cause, answered in ((ONE, "LOSE_RACE", "0"), (TWO, "NORMAL_CLEARING", "5000000")):
        variables = {"uuid": channel, "direction": "outbound", "hangup_cause": cause, "end_uepoch": "9000000"}
        variables |= {"progress_uepoch": "4000000", "answer_uepoch": answered, "sip_hangup_disposition": "recv_bye"}
        record = event_of(json.dumps({"variables": variables}).encode())
        assert record is not None
        switch.records[channel] = record


def test_who_answered_and_hung_up_in_a_gap_is_told_from_who_was_only_rung(switch: Switch) -> None:
    ring(switch)
    wrote_down(switch)
    gap(switch, {})
    assert told(switch) == [], "their events may be under way"
    switch.wake()
    assert told(switch) == ["LegRinging", "LegAnswered", "LegEnded"]
    assert switch.outcomes() == ["ring DONE"]


def test_places_of_which_no_row_tells_are_one_leg(switch: Switch) -> None:
    switch.node.lost(switch.now)
    switch.node.settle(Command(TENANT, "ring", AGENT, RING), switch.now)
    gap(switch, {ONE: "ringing", TWO: "ringing"}, **{"Caller-Channel-Progress-Time": "4000000"})
    switch.wake()
    assert [live.leg for live in switch.node.legs()] == [AGENT]
    assert not [line for line in switch.sent() if "originate" in line]
    due = switch.node.next_wakeup()
    assert due is not None and due > switch.now + 14, "it rings on for as long as was ordered"
    switch.event("CHANNEL_ANSWER", TWO)
    assert switch.outcomes() == ["ring DONE"]
    switch.event("CHANNEL_HANGUP_COMPLETE", ONE, **{"Hangup-Cause": "LOSE_RACE"})
    assert told(switch) == ["LegRinging", "LegAnswered"]


def test_a_row_tells_of_all_places() -> None:
    switch = Restarted([row(AGENT, ONE, "CALLING", rings=[ONE, TWO])], RING, AGENT, {})
    wrote_down(switch)
    switch.wake()
    assert told(switch) == ["LegRinging", "LegAnswered", "LegEnded"]
    assert switch.outcomes() == ["k DONE"]
