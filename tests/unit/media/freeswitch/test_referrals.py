"""Phones that hand a call over: the other party is taken before the fallback comes, and its owner is told once."""

from __future__ import annotations

import json

import pytest

from tandem.core.ports.media import Bridge, Cause, LegEnded, LegReferred, LegUnbridged, MediaEvent, Play
from tandem.core.seal import secret
from tandem.media.backend import Row
from tandem.wire import esl
from tests.unit.media.freeswitch.test_verbs import CALLER, DEVICE, LEG, Switch

AGENT = f"{LEG}.1"
REFERRED = {
    "Caller-Context": "referred", "Caller-Dialplan": "XML", "Caller-Profile-Created-Time": "17",
    "Caller-Destination-Number": "4930\x07999", "Answer-State": "answered",
}  # fmt: skip
TOLD: list[MediaEvent] = [LegUnbridged(AGENT), LegReferred(AGENT, secret("4930999"))]
CANCELLED = f"api sched_del {CALLER}"


@pytest.fixture
def talk() -> Switch:
    """The caller with an agent."""
    switch = Switch()
    switch.up()
    switch.ring_up()
    switch.perform(Bridge(AGENT), "join")
    bridged(switch)
    return switch


def bridged(switch: Switch) -> None:
    switch.event("CHANNEL_BRIDGE", **{"Bridge-A-Unique-ID": CALLER, "Bridge-B-Unique-ID": DEVICE})
    switch.sent()
    switch.tape.told.clear()


def told(switch: Switch, leg: str = LEG) -> list[MediaEvent]:
    return [body for of, body in switch.tape.told if of == leg]


def test_the_other_party_is_taken_at_once_and_its_owner_told(talk: Switch) -> None:
    talk.event("CHANNEL_PARK", **REFERRED)
    assert talk.sent() == [CANCELLED]
    assert told(talk) == TOLD
    talk.perform(Play(("hello",)), "say")
    assert "playback" in talk.sent()[-1], "it is the owner's"


def test_a_talk_that_follows_ends_as_any_other(talk: Switch) -> None:
    """The channel keeps the context that it was sent to."""
    talk.event("CHANNEL_PARK", **REFERRED)
    bridged(talk)
    talk.event("CHANNEL_PARK", **REFERRED)
    assert told(talk) == [LegUnbridged(AGENT)]
    assert talk.sent() == []
    bridged(talk)
    talk.event("CHANNEL_PARK", **REFERRED | {"Caller-Profile-Created-Time": "18"})
    assert told(talk) == TOLD, "a REFER of its own"


def test_what_the_agent_itself_parks_was_not_handed_over(talk: Switch) -> None:
    """A transfer that names no context comes to the same one."""
    talk.event("CHANNEL_PARK", **REFERRED | {"Caller-Dialplan": "inline"})
    assert told(talk) == [LegUnbridged(AGENT)]


def test_a_phone_that_is_gone_first_tells_it_itself(talk: Switch) -> None:
    """Else its end would look like that of a talk, and the caller be hung up on."""
    moved = {"variable_transfer_to": f"blind:{CALLER}", "variable_transfer_destination": "blind:4930999"}
    talk.event("CHANNEL_HANGUP_COMPLETE", DEVICE, **{"Hangup-Cause": "NORMAL_CLEARING"}, **moved)
    assert [(leg, type(body)) for leg, body in talk.tape.told] == [
        (LEG, LegUnbridged), (LEG, LegReferred), (AGENT, LegEnded),
    ]  # fmt: skip
    talk.event("CHANNEL_PARK", **REFERRED)
    assert told(talk) == TOLD
    assert talk.sent() == [CANCELLED]


def test_who_takes_a_talk_by_themselves_is_ended_and_the_other_party_is_the_owners_again(talk: Switch) -> None:
    joined = {"Bridge-A-Unique-ID": "stranger", "Bridge-B-Unique-ID": CALLER}
    talk.event("CHANNEL_BRIDGE", "stranger", **joined)
    assert talk.sent() == [], "it is none that took a place"
    talk.event("CHANNEL_BRIDGE", "stranger", variable_sip_replaces_call_id="x", **joined)
    assert talk.sent() == ["api uuid_kill stranger CALL_REJECTED"]
    talk.event("CHANNEL_HANGUP_COMPLETE", DEVICE, **{"Hangup-Cause": "PICKED_OFF"})
    talk.perform(Play(("hello",)), "say")
    assert talk.sent() == []
    talk.event("CHANNEL_PARK", **{"Caller-Context": "arrivals", "Caller-Dialplan": "XML"})
    assert "playback" in talk.sent()[-1]


def again(talk: Switch, **channel: str) -> Switch:
    """The agent's next life, which finds the channel so."""
    later = Switch()
    dump = {"Unique-ID": CALLER, "Call-Direction": "inbound", "Channel-State": "CS_EXECUTE"}
    later.answers[f"uuid_dump {CALLER}"] = json.dumps(dump | REFERRED | channel)
    later.node.lost(later.now)
    later.node.restore([Row(kind, id, value) for (kind, id), value in talk.tape.rows.items()], 0, later.now)
    later.frame(esl.AuthWanted())
    return later


def test_the_agents_next_life_finds_who_was_handed_over_and_tells_it_once(talk: Switch) -> None:
    later = again(talk)
    assert told(later)[:2] == TOLD
    assert CANCELLED in later.sent()
    assert LegReferred not in [type(body) for body in told(again(later))]


def test_a_caller_whom_the_fallback_had_first_ends_with_it(talk: Switch) -> None:
    later = again(talk, **{"Caller-Context": "fallback"})
    later.event("CHANNEL_HANGUP_COMPLETE", **{"Hangup-Cause": "NORMAL_TEMPORARY_FAILURE"})
    [end] = [body for body in told(later) if isinstance(body, LegEnded)]
    assert end.cause is Cause.FALLBACK


def test_an_agents_phone_that_hands_its_call_over_has_a_place_to_send_it_to() -> None:
    switch = Switch()
    switch.ring()
    assert "force_transfer_context=referred" in switch.sent()[-1]
