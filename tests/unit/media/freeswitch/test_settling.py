"""Commands whose outcome an agent did not live to write down (pitfalls E2): what the switch shows decides."""

from __future__ import annotations

import json

import pytest

from tandem.core.ports.media import (
    Answer,
    Bridge,
    Collect,
    Command,
    DeviceUnregistered,
    DigitsCollected,
    HangUp,
    LegEnded,
    LegUnbridged,
    Originate,
    Play,
    RecordStop,
    Stop,
    Verb,
)
from tandem.core.seal import secret
from tandem.media.backend import MergedDirectory, Row, RowKind
from tandem.media.freeswitch.hearing import variable_of
from tandem.media.freeswitch.ids import token_of
from tandem.wire import esl
from tests.unit.media.freeswitch.replay import TENANT
from tests.unit.media.freeswitch.test_verbs import CALLER, DEVICE, LEG, Switch, starts

TOKEN = token_of(TENANT, "k")
MENU = Collect("s1", ("hello",), 4, 5000)
RING = Originate("agent1", 15_000, "offers/1", secret("4930"))
PARKED = {"Channel-State": "CS_EXECUTE", "Call-Direction": "inbound", "variable_current_application": "park"}
UP = {**PARKED, "Answer-State": "answered"}
PLAYS = {
    **UP,
    "variable_tandem_heard": TOKEN,
    "variable_current_application": "playback",
    "variable_current_application_data": "/p/hello.wav",
}
COLLECTS = {
    **PLAYS,
    "variable_current_application": "play_and_get_digits",
    "variable_current_application_data": f"0 4 1 5000 none /p/hello.wav {variable_of(TOKEN)} .+ 3000",
}
COLLECTED = {**COLLECTS, "variable_read_result": "timeout", f"variable_{variable_of(TOKEN)}": "12"}


def row(leg: str, channel: str, stage: str, **more: object) -> Row:
    value = {"tenant": TENANT, "shard": 3, "channel": channel, "switch": "life-1", "inbound": channel == CALLER}
    value |= {"stage": stage, "taken": True, "peer": None, "ring_limit_s": 15.0, "rang": 0} | more
    return Row(RowKind.LEG, leg, value)


class Restarted(Switch):
    """An agent that has just begun to live again beside a switch that went on."""

    def __init__(self, rows: list[Row], verb: Verb, leg: str, channels: dict[str, dict[str, str]]) -> None:
        super().__init__()
        self.node.lost(self.now)
        self.node.restore(rows, 0, self.now)
        self.node.settle(Command(TENANT, "k", leg, verb), self.now)
        for channel in (CALLER, DEVICE):
            fields = channels.get(channel)
            told = json.dumps(fields | {"Unique-ID": channel}) if fields is not None else "-ERR No such channel!\n"
            self.answers[f"uuid_dump {channel}"] = told
        self.sent()
        self.frame(esl.AuthWanted())
        self.wake()

    def again(self, words: str) -> bool:
        return any(words in text for text in self.sent())


CALLER_UP = [row(LEG, CALLER, "UP")]


@pytest.mark.parametrize(
    ("verb", "rows", "channel", "outcomes", "again"),
    [
        (Answer(), [row(LEG, CALLER, "ARRIVED")], UP, ["k DONE"], ""),
        (Answer(), [row(LEG, CALLER, "ARRIVED")], {**PARKED, "Answer-State": "ringing"}, [], "uuid_answer"),
        (HangUp(), CALLER_UP, UP, [], "uuid_kill"),
        (Play(("hello",)), CALLER_UP, PLAYS, [], ""),
        (
            Play(("hello",)),
            CALLER_UP,
            {**PLAYS, "variable_current_application_response": "FILE PLAYED"},
            ["k DONE"],
            "",
        ),
        (Play(("hello",)), CALLER_UP, UP, [], "playback"),
        (Play(("hello",)), CALLER_UP, {**UP, "variable_tandem_heard": TOKEN}, [], "playback"),
        (MENU, CALLER_UP, COLLECTS, [], ""),
        (MENU, CALLER_UP, COLLECTED, ["k DONE"], ""),
        (MENU, CALLER_UP, UP, [], "play_and_get_digits"),
        (Stop(), CALLER_UP, UP, ["k DONE"], ""),
        (RecordStop("r"), CALLER_UP, UP, ["k DONE"], ""),
    ],
)
def test_a_callers_command(
    verb: Verb, rows: list[Row], channel: dict[str, str], outcomes: list[str], again: str
) -> None:
    switch = Restarted(rows, verb, LEG, {CALLER: channel})
    assert switch.outcomes() == outcomes
    sent = switch.sent()
    doing = ("uuid_answer", "uuid_kill", "playback", "play_and_get_digits", "uuid_bridge")
    assert [word for word in doing if any(word in text for text in sent)] == ([again] if again else [])


def test_nothing_is_asked_or_sent_while_something_may_be_under_way() -> None:
    switch = Switch()
    switch.up()
    switch.node.perform(Command(TENANT, "k", LEG, Play(("hello",))), switch.now)
    switch.node.lost(switch.now)
    switch.sent()
    switch.frame(esl.AuthWanted())
    assert not any("uuid_dump" in line for line in switch.sent())
    switch.node.lost(switch.now)
    switch.frame(esl.AuthWanted())
    switch.answers["uuid_dump"] = json.dumps(PLAYS | {"Unique-ID": CALLER})
    switch.node.directory(MergedDirectory({}, {}), switch.now)
    switch.answer()
    switch.perform(Stop(), "stop")
    assert not any("uuid_break" in line for line in switch.sent()), "whatever else it is asked meanwhile"
    switch.wake()
    doing = ("uuid_dump", "playback", "uuid_break")
    assert [line for line in starts(switch.sent()) if any(word in line for word in doing)] == [
        f"api uuid_dump {CALLER} json", f"api uuid_break {CALLER} all",
    ]  # fmt: skip
    switch.complete("k")
    assert switch.outcomes() == ["answer DONE", "k DONE", "stop DONE"]


def test_a_phone_may_be_rung_while_it_is_asked_what_became_of_others() -> None:
    switch = Switch()
    switch.up()
    switch.node.perform(Command(TENANT, "k", LEG, Play(("hello",))), switch.now)
    switch.node.lost(switch.now)
    switch.frame(esl.AuthWanted())
    switch.sent()
    switch.answers[f"uuid_dump {DEVICE}"] = "-ERR No such channel!"
    switch.answers["global_getvar"] = "life-2"
    switch.ring()
    assert switch.sent()[-1].startswith("bgapi originate")
    switch.wake()
    assert not any(f"uuid_dump {DEVICE}" in line for line in switch.sent()), "nothing is in doubt about it"
    switch.event("CHANNEL_ANSWER", DEVICE)
    switch.event("CHANNEL_PARK", DEVICE)
    assert switch.outcomes() == ["answer DONE", "k FAILED LEG_GONE", "ring DONE"], "the switch had begun anew"
    assert switch.tape.rows[RowKind.LEG, f"{LEG}.1"]["switch"] == "life-2"


def test_digits_of_the_gap_are_told() -> None:
    switch = Restarted(CALLER_UP, MENU, LEG, {CALLER: COLLECTED})
    [digits] = [body for _, body in switch.tape.told if isinstance(body, DigitsCollected)]
    assert digits.digits == secret("12")


def test_a_menu_that_runs_on_ends_by_its_event() -> None:
    switch = Restarted(CALLER_UP, MENU, LEG, {CALLER: COLLECTS})
    switch.complete("k", variable_read_result="success", **{f"variable_{variable_of(TOKEN)}": "1"})
    assert switch.outcomes() == ["k DONE"]


def test_a_loop_that_runs_on_makes_room_for_the_next() -> None:
    loops = {**PLAYS, "variable_current_application": "endless_playback", "variable_tandem_heard": "other"}
    switch = Restarted(CALLER_UP, Play(("music",)), LEG, {CALLER: loops})
    assert switch.again("uuid_transfer")
    switch.event("CHANNEL_EXECUTE_COMPLETE", **{"Application-UUID": "other"})
    switch.event("CHANNEL_PARK")
    assert switch.again("/p/music.wav")


def test_a_prompt_that_never_reached_the_switch_is_played() -> None:
    switch = Switch()
    switch.up()
    switch.perform(Play(("hello",)), "one")
    switch.complete("one")
    switch.node.perform(Command(TENANT, "k", LEG, Play(("hello",))), switch.now)
    switch.node.lost(switch.now)
    played = PLAYS | {"variable_tandem_heard": token_of(TENANT, "one"), "variable_current_application_response": "OK"}
    switch.answers["uuid_dump"] = json.dumps(played | {"Unique-ID": CALLER})
    switch.sent()
    switch.frame(esl.AuthWanted())
    switch.wake()
    assert "playback" in switch.sent()[-1]
    assert switch.outcomes() == ["answer DONE", "one DONE"]


def test_a_phone_that_was_perhaps_rung_is_never_rung_again() -> None:
    switch = Restarted(CALLER_UP, RING, f"{LEG}.1", {CALLER: UP})
    assert switch.outcomes() == ["k UNKNOWN NODE_RESTARTED"]
    assert not switch.again("originate")


def test_a_phone_that_rings_is_taken_up() -> None:
    channel = {"Channel-State": "CS_CONSUME_MEDIA", "Call-Direction": "outbound", "Answer-State": "ringing"}
    rows = [*CALLER_UP, row(f"{LEG}.1", DEVICE, "CALLING")]
    switch = Restarted(rows, RING, f"{LEG}.1", {CALLER: UP, DEVICE: channel})
    assert switch.outcomes() == []
    switch.event("CHANNEL_ANSWER", DEVICE)
    assert switch.outcomes() == ["k DONE"]


def test_the_end_of_a_phone_that_nobody_saw_blames_nobody() -> None:
    rows = [*CALLER_UP, row(f"{LEG}.1", DEVICE, "CALLING")]
    switch = Restarted(rows, RING, f"{LEG}.1", {CALLER: UP})
    switch.wake()
    [(leg, end)] = [(leg, body) for leg, body in switch.tape.told if isinstance(body, LegEnded)]
    assert (leg, end.cause, end.by) == (f"{LEG}.1", "FAILED", "NODE")
    assert switch.outcomes() == ["k UNKNOWN FAILED"]


BRIDGED = {**UP, "Channel-State": "CS_EXCHANGE_MEDIA", "variable_bridge_uuid": DEVICE}
BRIDGED_BACK = {**BRIDGED, "Call-Direction": "outbound", "variable_bridge_uuid": CALLER}
BOTH = [*CALLER_UP, row(f"{LEG}.1", DEVICE, "UP")]


def test_a_bridge_that_stands_is_done() -> None:
    switch = Restarted(BOTH, Bridge(f"{LEG}.1"), LEG, {CALLER: BRIDGED, DEVICE: BRIDGED_BACK})
    assert switch.outcomes() == ["k DONE"]
    assert not switch.again("uuid_bridge")


def test_a_bridge_that_only_one_end_names_is_made() -> None:
    parked = {**UP, "Call-Direction": "outbound"}
    switch = Restarted(BOTH, Bridge(f"{LEG}.1"), LEG, {CALLER: UP | {"variable_bridge_uuid": DEVICE}, DEVICE: parked})
    assert switch.outcomes() == []
    assert switch.again("uuid_bridge")


ON_ITS_WAY = {**UP, "Channel-State": "CS_ROUTING"}
ALONE = {**UP, "Call-Direction": "outbound"}
JOINED = [row(LEG, CALLER, "UP", peer=f"{LEG}.1"), row(f"{LEG}.1", DEVICE, "UP", peer=LEG)]


def told_alone(switch: Switch) -> list[str]:
    return [leg for leg, body in switch.tape.told if isinstance(body, LegUnbridged)]


def test_who_is_on_their_way_to_where_they_were_ordered_is_not_told_that_they_are_alone() -> None:
    switch = Restarted(JOINED, Play(("hello",)), LEG, {CALLER: ON_ITS_WAY, DEVICE: ALONE})
    assert told_alone(switch) == [f"{LEG}.1"]
    assert not switch.again("playback")
    switch.event("CHANNEL_PARK")
    assert switch.again("playback")
    switch.complete("k")
    assert told_alone(switch) == [f"{LEG}.1"]
    switch.perform(Bridge(f"{LEG}.1"), "join")
    switch.event("CHANNEL_BRIDGE", **{"Bridge-A-Unique-ID": CALLER, "Bridge-B-Unique-ID": DEVICE})
    switch.event("CHANNEL_PARK")
    assert told_alone(switch) == [f"{LEG}.1", LEG], "a wish counts once"


def test_who_is_on_their_way_for_too_long_is_taken_for_parked() -> None:
    switch = Restarted(JOINED, Play(("hello",)), LEG, {CALLER: ON_ITS_WAY, DEVICE: ALONE})
    switch.sent()
    switch.wake()
    assert switch.again("playback")


def test_who_is_joined_on_their_way_is_not_waited_for() -> None:
    switch = Restarted(BOTH, Bridge(f"{LEG}.1"), LEG, {CALLER: ON_ITS_WAY, DEVICE: ON_ITS_WAY | ALONE})
    switch.event("CHANNEL_BRIDGE", **{"Bridge-A-Unique-ID": CALLER, "Bridge-B-Unique-ID": DEVICE})
    assert switch.outcomes() == ["k DONE"]
    switch.sent()
    switch.perform(Play(("hello",)), "next")
    assert switch.again(f"uuid_transfer {CALLER} park")
    switch.event("CHANNEL_PARK", DEVICE)
    switch.event("CHANNEL_PARK")
    assert told_alone(switch) == [f"{LEG}.1"]


def test_who_was_still_to_be_told_is_told_by_the_next_life() -> None:
    rows = [row(LEG, CALLER, "UP", lost=f"{LEG}.1")]
    switch = Restarted(rows, Stop(), LEG, {CALLER: UP})
    assert told_alone(switch) == [LEG]
    assert switch.tape.rows[RowKind.LEG, LEG]["lost"] == ""


@pytest.mark.parametrize(("verb", "outcome"), [(Answer(), "k FAILED LEG_GONE"), (HangUp(), "k DONE")])
def test_a_leg_of_nobody_is_gone(verb: Verb, outcome: str) -> None:
    assert Restarted([], verb, "nobody", {}).outcomes() == [outcome]


@pytest.mark.parametrize(
    ("contact", "told"),
    [
        ("sofia/tandem/sip:agent1@192.0.2.1:5060", []),
        ("error/user_not_registered", [DeviceUnregistered("agent1")]),
        ("-ERR no reply", [DeviceUnregistered("agent1")]),
    ],
)
def test_a_phone_that_the_list_has_not_yet_is_looked_up(contact: str, told: list[DeviceUnregistered]) -> None:
    switch = Switch()
    switch.node.lost(switch.now)
    switch.tape.told.clear()
    switch.answers |= {"show registrations": json.dumps({"row_count": 0}), "sofia_contact": contact}
    switch.frame(esl.AuthWanted())
    assert "api sofia_contact tandem/agent1@127.0.0.1" in switch.sent()
    assert [body for _, body in switch.tape.told] == told
