"""A contact's trace begins at the node, with its call, for the part of the contacts that is asked for."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

from tandem.core import trace
from tandem.core.ports.media import (
    Command,
    DeviceRegistered,
    Directory,
    DirectoryNumber,
    Event,
    HangUp,
    Hello,
    LegArrived,
    LegRinging,
)
from tandem.core.seal import secret
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import AgentSettings
from tandem.media.journal.changes import EventKept, KeyTaken, decode_change, encode_change
from tandem.media.journal.state import JournalState
from tandem.runtime.media_codec import decode_from_node, decode_to_node, encode_from_node, encode_to_node

SETTINGS = AgentSettings("m1", "boot", sample_ratio=1.0)
CONTEXT = trace.begin("c1", 1.0)


def told(settings: AgentSettings, *events: tuple[str, Any]) -> list[Event]:
    """What an owner is sent of these (leg, body)."""
    agent = MediaAgent(settings, JournalState())
    agent.receive("l1", Hello("live", 0, 1, "", ()), 5)
    agent.receive("l1", Directory(1, (DirectoryNumber("100", "t1", 0),), ()), 5)
    for leg, body in events:
        agent.emit("t1", leg, body, 6)
    return [frame for _, frame in agent.take().sends if isinstance(frame, Event)]


ARRIVED = ("c1", LegArrived("100", secret("4911")))
RINGING = ("c1.x", LegRinging())
DEVICE = ("", DeviceRegistered("ann"))


def test_events_of_a_contacts_legs_carry_its_trace_and_devices_have_none():
    assert [event.trace for event in told(SETTINGS, ARRIVED, RINGING, DEVICE)] == [CONTEXT, CONTEXT, ""]


def test_nothing_is_traced_without_a_ratio():
    assert [event.trace for event in told(replace(SETTINGS, sample_ratio=0.0), ARRIVED, RINGING)] == ["", ""]


def test_the_trace_goes_over_the_link_and_through_the_journal():
    (event,) = told(SETTINGS, ARRIVED)
    command = Command("t1", "t1/contact/c1/1/0", "c1", HangUp(), trace.child(CONTEXT, "k"))
    assert decode_from_node(encode_from_node([(1, event)]))[0][1] == event
    assert decode_to_node(encode_to_node([(1, command)]))[0][1] == command
    for change in (EventKept(event), KeyTaken(command)):
        assert decode_change(encode_change(change)) == change
