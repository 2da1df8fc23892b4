"""What the node sends for each verb, and when: a switch of one's own, answer by answer."""

from __future__ import annotations

import json
from collections.abc import Iterable
from dataclasses import replace

import pytest

from tandem.core.ports.media import (
    Answer,
    Bridge,
    CallRefused,
    Collect,
    Command,
    CommandSettled,
    HangUp,
    LegBridged,
    LegEnded,
    Originate,
    Play,
    RecordingFailed,
    RecordingStored,
    RecordPause,
    RecordResume,
    RecordStart,
    RecordStop,
    Stop,
    Verb,
)
from tandem.core.seal import Erased, Secret, secret
from tandem.media.backend import MergedDirectory, Row, RowKind
from tandem.media.freeswitch.board import Seal
from tandem.media.freeswitch.config import FreeswitchConfig
from tandem.media.freeswitch.hearing import variable_of
from tandem.media.freeswitch.ids import channel_of_device, leg_of_caller, token_of
from tandem.media.freeswitch.node import Node
from tandem.media.freeswitch.recorder import file_of
from tandem.media.freeswitch.records import event_of
from tandem.wire import esl
from tests.unit.media.freeswitch.replay import DIRECTORY, SHARD, TENANT, Tape

CALLER = "1709d99b-8793-4403-8605-8e0fdb58413b"
LEG = leg_of_caller(CALLER) or ""
DEVICE = channel_of_device(TENANT, "ring", "agent1")
LATER = f"api uuid_setvar {CALLER} sip_rh_Retry-After 5"
PROMPTS = {"hello": "/p/hello.wav", "music": "/p/music.wav"}


class Switch:
    """Answers each command with `+OK`, unless told otherwise; `sent` is what came since it was asked last."""

    def __init__(self) -> None:
        self.tape = Tape()
        self.node = Node(FreeswitchConfig(heartbeat_s=20.0, recordings_dir="/mem"), self.tape, PROMPTS, "ClueCon")
        self.now = 10.0
        self.records: dict[str, esl.Event] = {}
        """What the switch wrote down of channels that ended."""
        self.seals: list[Seal] = []
        self.answers: dict[str, str] = {
            "show registrations": json.dumps({"row_count": 1, "rows": [{"reg_user": "agent1"}]}),
            "show channels": json.dumps({"row_count": 0}),
            "global_getvar": "life-1",
            "sched_del": "+OK Deleted: 1\n",
        }
        self._sent: list[str] = []
        self.node.directory(DIRECTORY, self.now)
        self.node.owner_present(SHARD, True, self.now)
        self.frame(esl.AuthWanted())
        self.sent()

    def frame(self, frame: esl.Frame) -> None:
        self.now += 0.01
        self.node.frame(frame, self.now)
        self.answer()

    def answer(self) -> None:
        while (out := self.node.take()).data or out.records or out.seals:
            self.seals += out.seals
            for channel in out.records:
                self.node.record(channel, self.records.get(channel), self.now)
            for data in out.data:
                text = data.decode()
                self._sent.append(text)
                line = text.partition("\n")[0].removeprefix("api ")
                said = next((said for begin, said in self.answers.items() if line.startswith(begin)), "+OK")
                reply = esl.ApiReply(said) if text.startswith("api ") else esl.Reply(said, {})
                self.node.frame(reply, self.now)

    def event(self, name: str, channel: str = CALLER, **headers: str) -> None:
        fields = {"Event-Name": name, "Unique-ID": channel, "Call-Direction": "inbound"}
        fields |= {key.replace("__", "-"): value for key, value in headers.items()}
        self.frame(esl.JsonEvent(fields))

    def sent(self) -> list[str]:
        sent, self._sent = self._sent, []
        return [text.removesuffix("\n\n") for text in sent]

    def perform(self, verb: Verb, key: str, leg: str = LEG) -> None:
        self.node.perform(Command(TENANT, key, leg, verb), self.now)
        self.answer()

    def wake(self) -> None:
        due = self.node.next_wakeup()
        assert due is not None
        self.now = due
        self.node.wake(due)
        self.answer()

    def arrive(self, number: str = "tandem-0") -> None:
        headers = {"Answer-State": "ringing", "Caller-Destination-Number": number, "Caller-Caller-ID-Number": "4930"}
        self.event("CHANNEL_PARK", **headers)

    def up(self) -> None:
        self.arrive()
        self.perform(Answer(), "answer")
        self.event("CHANNEL_ANSWER")
        self.sent()

    def complete(self, key: str, **headers: str) -> None:
        self.event("CHANNEL_EXECUTE_COMPLETE", **{"Application-UUID": token_of(TENANT, key)}, **headers)

    def outcomes(self) -> list[str]:
        bodies = [body for _, body in self.tape.told if isinstance(body, CommandSettled)]
        return [f"{body.key} {body.outcome}{body.reason and f' {body.reason}'}" for body in bodies]

    def ring(self, verb: Originate | None = None) -> None:
        self.perform(verb or Originate("agent1", 15_000, "offers/1", secret("4930")), "ring", f"{LEG}.1")

    def ring_up(self) -> None:
        self.ring()
        self.event("CHANNEL_ANSWER", DEVICE)
        self.event("CHANNEL_PARK", DEVICE)
        self.sent()


@pytest.fixture
def switch() -> Switch:
    return Switch()


def starts(lines: Iterable[str]) -> list[str]:
    return [line.partition("\n")[0] for line in lines]


def test_the_owner_who_answers_cancels_the_fallback_first(switch: Switch) -> None:
    switch.arrive()
    assert switch.sent() == []
    switch.perform(Answer(), "answer")
    music = f"api uuid_setvar {CALLER} hold_music /p/music.wav"
    assert switch.sent() == [f"api sched_del {CALLER}", music, f"api uuid_answer {CALLER}"]
    assert switch.outcomes() == []
    switch.event("CHANNEL_ANSWER")
    assert switch.outcomes() == ["answer DONE"]


def test_an_owner_who_comes_after_the_fallback_is_told_so(switch: Switch) -> None:
    switch.answers["sched_del"] = "+OK Deleted: 0\n"
    switch.answers["uuid_dump"] = json.dumps({"Unique-ID": CALLER, "variable_current_application": "playback"})
    switch.arrive()
    switch.perform(Answer(), "answer")
    assert switch.outcomes() == ["answer FAILED FALLBACK"]
    assert not [line for line in switch.sent() if "uuid_answer" in line]


def test_a_dialplan_without_a_fallback_is_no_hindrance(switch: Switch) -> None:
    switch.answers["sched_del"] = "+OK Deleted: 0\n"
    switch.answers["uuid_dump"] = json.dumps({"Unique-ID": CALLER, "variable_current_application": "park"})
    switch.arrive()
    switch.perform(Answer(), "answer")
    assert switch.sent()[-1] == f"api uuid_answer {CALLER}"


def test_a_number_of_nobody_is_not_found(switch: Switch) -> None:
    switch.arrive("nobody")
    assert switch.sent() == [f"api uuid_kill {CALLER} UNALLOCATED_NUMBER"]
    assert switch.node.legs() == ()


def test_a_call_over_the_dialplans_limit_is_on_record(switch: Switch) -> None:
    headers = {"Hangup-Cause": "SWITCH_CONGESTION", "Caller-Destination-Number": "tandem-0"}
    switch.event("CHANNEL_HANGUP_COMPLETE", **headers)
    assert switch.tape.told[-1] == ("", CallRefused("tandem-0", "CAPACITY"))
    switch.event("CHANNEL_HANGUP_COMPLETE", **headers | {"Hangup-Cause": "ORIGINATOR_CANCEL"})
    assert len(switch.tape.told) == 2


def test_no_call_begins_while_the_journal_is_away(switch: Switch) -> None:
    switch.node.journal_away(True, switch.now)
    switch.arrive()
    assert switch.sent() == [LATER, f"api uuid_kill {CALLER} SWITCH_CONGESTION"]


def test_who_rings_is_let_go_when_the_journal_goes(switch: Switch) -> None:
    switch.arrive()
    switch.node.journal_away(True, switch.now)
    switch.answer()
    assert switch.sent() == [LATER, f"api uuid_kill {CALLER} SWITCH_CONGESTION"]


def test_a_prompt_replaces_another_when_that_has_ended(switch: Switch) -> None:
    switch.up()
    switch.perform(Play(("hello",)), "one")
    first = switch.sent()
    assert first[0] == f"api uuid_setvar_multi {CALLER} tandem_heard={token_of(TENANT, 'one')}"
    assert first[1].startswith(f"sendmsg {CALLER}\ncall-command: execute\nexecute-app-name: playback\n")
    assert first[1].endswith("\n\n/p/hello.wav")
    switch.perform(Play(("hello", "music")), "two")
    assert switch.sent() == [f"api uuid_break {CALLER} all"]
    switch.complete("one")
    assert switch.sent()[1].endswith("file_string:///p/hello.wav!/p/music.wav")
    assert switch.outcomes()[1:] == ["one DONE"]


def test_what_follows_an_answer_waits_for_it(switch: Switch) -> None:
    switch.arrive()
    switch.perform(Answer(), "answer")
    switch.sent()
    switch.perform(Play(("hello",)), "one")
    assert switch.sent() == []
    switch.event("CHANNEL_ANSWER")
    assert "playback" in switch.sent()[-1]
    assert switch.outcomes() == ["answer DONE"]


def test_one_break_makes_room_for_many(switch: Switch) -> None:
    switch.up()
    for key in ("one", "two", "three"):
        switch.perform(Play(("hello",)), key)
    assert [line for line in switch.sent() if "break" in line] == [f"api uuid_break {CALLER} all"]
    switch.complete("one")
    assert starts(switch.sent())[1:] == [f"sendmsg {CALLER}", f"api uuid_break {CALLER} all"]
    switch.complete("two")
    assert switch.outcomes()[1:] == ["one DONE", "two DONE"]


def test_a_loop_is_ended_by_being_parked_anew(switch: Switch) -> None:
    """A break begins it anew: what came next ran inside of it, or in the bridge, where nobody heard the other."""
    switch.up()
    switch.perform(Play(("music",), loop=True), "loop")
    switch.sent()
    switch.perform(Play(("hello",)), "next")
    assert switch.sent()[-1] == f"api uuid_transfer {CALLER} park inline"
    switch.complete("loop")
    assert switch.sent() == []
    switch.event("CHANNEL_PARK")
    assert "/p/hello.wav" in switch.sent()[-1]


def test_a_break_that_ends_nothing_does_not_stop_the_leg(switch: Switch) -> None:
    switch.up()
    switch.perform(Play(("hello",)), "one")
    switch.perform(Play(("music",), loop=True), "two")
    switch.sent()
    switch.wake()
    assert "endless_playback" in switch.sent()[1]
    assert switch.outcomes()[1:] == ["one DONE", "two DONE"]


def test_a_menu_is_the_switchs_to_collect(switch: Switch) -> None:
    switch.up()
    switch.perform(Collect("s1", ("hello",), 4, 5000, terminators="#"), "menu")
    variable = variable_of(token_of(TENANT, "menu"))
    assert switch.sent()[1].endswith(f"\n\n0 4 1 5000 # /p/hello.wav silence_stream://20 {variable} .+ 3000")
    switch.complete("menu", variable_read_result="timeout", **{f"variable_{variable}": "12"})
    assert [type(body).__name__ for _, body in switch.tape.told][-2:] == ["DigitsCollected", "CommandSettled"]


def test_sensitive_digits_leave_the_channel(switch: Switch) -> None:
    switch.up()
    switch.perform(Collect("s1", (), 4, 5000, sensitive=True), "menu")
    assert " none silence " in switch.sent()[1]
    variable = variable_of(token_of(TENANT, "menu"))
    switch.complete("menu", variable_read_result="success", **{f"variable_{variable}": "1234"})
    assert switch.sent() == [f"api uuid_setvar {CALLER} {variable}"]
    assert "1234" not in repr(switch.tape.told)


def test_the_wait_for_digits_ends_by_being_parked_anew(switch: Switch) -> None:
    switch.up()
    switch.perform(Collect("s1", ("hello",), 4, 5000), "menu")
    switch.sent()
    switch.perform(Stop(), "stop")
    assert switch.sent()[-1] == f"api uuid_transfer {CALLER} park inline"
    switch.complete("menu", variable_read_result="failure")
    assert switch.outcomes()[1:] == ["menu DONE", "stop DONE"]
    switch.perform(Play(("hello",)), "next")
    assert switch.sent() == []
    switch.event("CHANNEL_PARK")
    assert "playback" in switch.sent()[-1]


def test_a_ringing_device_gets_the_limit_and_the_offer(switch: Switch) -> None:
    switch.up()
    switch.ring()
    [line, job] = switch.sent()[0].split("\n")
    assert job == f"Job-UUID: {token_of(TENANT, 'ring')}"
    assert line.startswith(f"bgapi originate {{origination_uuid={DEVICE},origination_caller_id_number=4930,")
    assert ",originate_timeout=18," in line
    assert ",sip_h_X-Tandem-Offer=offers/1}" in line
    assert line.endswith("sofia/tandem/agent1%127.0.0.1 &park()")


def test_our_clock_ends_the_ringing(switch: Switch) -> None:
    switch.up()
    switch.ring()
    switch.event("CHANNEL_PROGRESS", DEVICE, **{"Event-Date-Timestamp": "1000000"})
    rang = switch.now
    switch.sent()
    switch.wake()
    assert switch.now == pytest.approx(rang + 15)
    assert switch.sent() == [f"api uuid_kill {DEVICE} NO_ANSWER"]
    disposition = {"Hangup-Cause": "NO_ANSWER", "variable_sip_hangup_disposition": "send_cancel"}
    switch.event("CHANNEL_HANGUP_COMPLETE", DEVICE, **disposition, **{"Event-Date-Timestamp": "16000000"})
    [end] = [body for _, body in switch.tape.told if isinstance(body, LegEnded)]
    assert (end.cause, end.by, end.rang_ms) == ("NO_ANSWER", "NODE", 15_000)


@pytest.mark.parametrize(
    "verb",
    [
        Originate("agent1", 15_000, "offers/1\r\nX-Evil: 1", secret("49\n\napi shutdown")),
        Originate("agent1", 15_000, "a,b=c}", secret("4930}sofia/x,")),
        Originate("agent1", 15_000, "", Erased()),
    ],
)
def test_no_text_of_a_command_breaks_out_of_its_place(switch: Switch, verb: Originate) -> None:
    switch.up()
    switch.ring(verb)
    [sent] = switch.sent()
    assert sent.count("\n") == 1
    assert "origination_caller_id_number=anonymous," in sent
    assert "X-Tandem-Offer" not in sent


def test_a_device_of_nobody_is_not_rung(switch: Switch) -> None:
    switch.up()
    switch.ring(Originate("agent2", 15_000, "", secret("4930")))
    assert switch.sent() == []
    assert switch.outcomes()[1:] == ["ring FAILED UNREACHABLE"]


def test_nothing_is_rung_without_a_connection(switch: Switch) -> None:
    switch.up()
    switch.node.lost(switch.now)
    switch.ring()
    assert switch.outcomes()[1:] == ["ring FAILED REFUSED"]


def test_a_bridge_waits_until_both_are_parked(switch: Switch) -> None:
    switch.up()
    switch.ring()
    switch.event("CHANNEL_ANSWER", DEVICE)
    switch.sent()
    switch.perform(Bridge(f"{LEG}.1"), "join")
    assert switch.sent() == []
    switch.event("CHANNEL_PARK", DEVICE)
    sent = starts(switch.sent())
    assert sent == [
        f"api uuid_setvar_multi {CALLER} park_after_bridge=true;hangup_after_bridge=false",
        f"api uuid_setvar_multi {DEVICE} park_after_bridge=true;hangup_after_bridge=false",
        f"bgapi uuid_bridge {CALLER} {DEVICE}",
    ]
    for _ in range(2):
        switch.event("CHANNEL_BRIDGE", **{"Bridge-A-Unique-ID": CALLER, "Bridge-B-Unique-ID": DEVICE})
    assert switch.outcomes()[2:] == ["join DONE"]
    assert [body for _, body in switch.tape.told if isinstance(body, LegBridged)] == [LegBridged(f"{LEG}.1")]


def test_a_bridge_to_a_leg_that_ends_meanwhile_fails(switch: Switch) -> None:
    switch.up()
    switch.ring_up()
    switch.perform(Bridge(f"{LEG}.1"), "join")
    switch.event("CHANNEL_HANGUP_COMPLETE", DEVICE, **{"Hangup-Cause": "NORMAL_CLEARING"})
    assert switch.outcomes()[2:] == ["join FAILED OTHER_GONE"]
    switch.perform(Play(("hello",)), "next")
    assert "playback" in switch.sent()[-1]


def test_a_bridge_whose_event_stays_away_fails_in_time(switch: Switch) -> None:
    switch.up()
    switch.ring_up()
    switch.perform(Bridge(f"{LEG}.1"), "join")
    switch.wake()
    assert switch.outcomes()[2:] == ["join FAILED SWITCH_SILENT"]


def test_a_prompt_takes_a_leg_out_of_its_bridge(switch: Switch) -> None:
    switch.up()
    switch.ring_up()
    switch.perform(Bridge(f"{LEG}.1"), "join")
    switch.event("CHANNEL_BRIDGE", **{"Bridge-A-Unique-ID": CALLER, "Bridge-B-Unique-ID": DEVICE})
    switch.sent()
    switch.perform(Play(("hello",)), "say")
    assert switch.sent()[-1] == f"api uuid_transfer {CALLER} park inline"
    switch.event("CHANNEL_PARK", DEVICE)
    switch.event("CHANNEL_PARK")
    assert "playback" in switch.sent()[-1]
    told = [(leg, type(body).__name__) for leg, body in switch.tape.told if "Unbridged" in type(body).__name__]
    assert told == [(f"{LEG}.1", "LegUnbridged")]


@pytest.mark.parametrize(
    ("verb", "outcome"),
    [
        (Play(("nowhere",)), "it FAILED UNKNOWN_PROMPT"),
        (Play(()), "it DONE"),
        (Stop(), "it DONE"),
        (Collect("s", (), 1, 1000, terminators="=x"), "it FAILED BAD_TERMINATORS"),
        (Bridge("gone"), "it FAILED OTHER_GONE"),
        (RecordStart("r1", secret("k")), "it FAILED NO_KEY"),
        (RecordStart("r1", Erased()), "it FAILED NO_KEY"),
        (RecordStart("../r1", secret("k" * 32)), "it FAILED BAD_NAME"),
        (RecordStop("r1"), "it DONE"),
    ],
)
def test_what_cannot_be_done_says_why(switch: Switch, verb: Verb, outcome: str) -> None:
    switch.up()
    switch.perform(verb, "it")
    assert switch.outcomes()[1:] == [outcome]


@pytest.mark.parametrize("verb", [Play(("hello",)), Collect("s", (), 1, 1000), Bridge("x")])
def test_a_caller_who_was_not_answered_hears_nothing(switch: Switch, verb: Verb) -> None:
    switch.arrive()
    switch.perform(verb, "it")
    assert switch.outcomes() == ["it FAILED NOT_ANSWERED"]


def test_a_leg_that_nobody_has_is_gone(switch: Switch) -> None:
    switch.perform(Answer(), "answer", "nobody")
    switch.perform(HangUp(), "end", "nobody")
    assert switch.outcomes() == ["answer FAILED LEG_GONE", "end DONE"]


def test_a_silent_switch_is_left(switch: Switch) -> None:
    switch.wake()
    assert switch.node.take().close == "NO_HEARTBEAT"
    assert not switch.node.ready


def test_a_switch_that_says_anything_is_not_silent(switch: Switch) -> None:
    switch.now += 50
    switch.event("CHANNEL_PROGRESS", "nobody's")
    switch.wake()
    assert switch.node.take().close == ""
    switch.wake()
    assert switch.node.take().close == "NO_HEARTBEAT"


def test_a_wrong_password_closes(switch: Switch) -> None:
    node = Node(FreeswitchConfig(), Tape(), PROMPTS, "wrong")
    node.frame(esl.AuthWanted(), 1.0)
    assert node.take().data == (b"auth wrong\n\n",)
    node.frame(esl.Reply("-ERR invalid", {}), 1.1)
    assert node.take().close == "ESL_PASSWORD"


def test_lost_events_are_found_out(switch: Switch) -> None:
    switch.up()
    switch.answers["uuid_dump"] = "-ERR No such channel!\n"
    switch.frame(esl.Other("log/data", "2026 [CRIT] mod_event_socket.c:392 Lost [17] events! Event Queue size: [1/2]"))
    assert f"api uuid_dump {CALLER} json" in switch.sent()
    switch.wake()
    assert switch.node.legs() == ()


def test_what_lists_cannot_be_read_is_said(switch: Switch) -> None:
    switch.answers["show"] = "[["
    switch.answers.pop("show channels")
    switch.answers.pop("show registrations")
    switch.node.lost(switch.now)
    switch.node.frame(esl.AuthWanted(), switch.now)
    for _ in range(8):
        out = switch.node.take()
        for _ in out.data:
            switch.node.frame(esl.ApiReply("[["), switch.now)
        if any(notice.reason == "BAD_LIST" for notice in out.notices):
            return
    raise AssertionError("nothing was said")


# ------------------------------------------------------------------ recordings

KEY = bytes(range(32))
START = RecordStart("r1", Secret(KEY))
TAPE = f"/mem/{file_of('recordings/t1/r1')}"
STORED = RecordingStored("r1", "recordings/t1/r1", 8000, 1, "", False)


def test_a_recording_is_begun_as_it_is_stored_and_ended_by_its_event(switch: Switch) -> None:
    switch.up()
    switch.perform(START, "record")
    as_stored = f"api uuid_setvar_multi {CALLER} RECORD_STEREO=true;record_sample_rate=8000;"
    assert switch.sent() == [f"{as_stored}enable_file_write_buffering=false", f"api uuid_record {CALLER} start {TAPE}"]
    assert switch.outcomes()[1:] == ["record DONE"]
    assert switch.seals == []
    switch.event("RECORD_STOP", **{"Record-File-Path": TAPE})
    assert switch.seals == [Seal("recordings/t1/r1", TAPE, KEY, truncated=False)]
    switch.node.recording_stored("recordings/t1/r1", STORED, switch.now)
    assert switch.tape.told[-1] == (LEG, STORED)
    assert (RowKind.RECORDING, "recordings/t1/r1") not in switch.tape.rows


def test_a_recording_goes_on_without_the_agent(switch: Switch) -> None:
    """Its key is in its row: the next life seals it when FreeSWITCH has ended it, and once."""
    switch.up()
    switch.perform(START, "record")
    rows = [Row(kind, id, value) for (kind, id), value in switch.tape.rows.items()]
    later = Switch()
    later.answers[f"uuid_dump {CALLER}"] = json.dumps({"Unique-ID": CALLER, "Answer-State": "answered"})
    later.node.lost(later.now)
    later.node.restore(rows, 0, later.now)
    later.frame(esl.AuthWanted())
    assert later.seals == []
    later.event("RECORD_STOP", **{"Record-File-Path": TAPE})
    later.event("CHANNEL_HANGUP_COMPLETE", **{"Hangup-Cause": "NORMAL_CLEARING"})
    assert later.seals == [Seal("recordings/t1/r1", TAPE, KEY, truncated=False)]


def test_a_recording_whose_leg_ended_is_sealed_at_once(switch: Switch) -> None:
    switch.up()
    switch.perform(START, "record")
    rows = [Row(kind, id, value) for (kind, id), value in switch.tape.rows.items() if kind is RowKind.RECORDING]
    later = Switch()
    later.node.restore(rows, 0, later.now)
    later.answer()
    assert [seal.file for seal in later.seals] == [TAPE]


def test_a_recording_that_died_with_the_switch_lacks_its_end(switch: Switch) -> None:
    switch.up()
    switch.perform(START, "record")
    switch.node.lost(switch.now)
    switch.answers["global_getvar"] = "life-2"
    switch.frame(esl.AuthWanted())
    switch.wake()
    assert [seal.truncated for seal in switch.seals] == [True]


def test_a_recording_that_freeswitch_refuses_has_failed(switch: Switch) -> None:
    switch.up()
    switch.answers["uuid_record"] = "-ERR Cannot record session!"
    switch.perform(START, "record")
    assert switch.outcomes()[1:] == ["record FAILED NOT_RECORDED"]
    assert switch.tape.told[-1] == (LEG, RecordingFailed("r1", "NOT_RECORDED"))
    assert (RowKind.RECORDING, "recordings/t1/r1") not in switch.tape.rows


def test_what_is_said_in_a_pause_is_masked(switch: Switch) -> None:
    switch.up()
    switch.perform(START, "record")
    switch.sent()
    switch.perform(RecordPause("r1"), "pause")
    switch.perform(RecordResume("r1"), "resume")
    assert switch.sent() == [f"api uuid_record {CALLER} mask {TAPE}", f"api uuid_record {CALLER} unmask {TAPE}"]
    switch.answers["uuid_record"] = "-ERR Cannot mask recording!"
    switch.perform(RecordPause("r1"), "again")
    switch.perform(RecordPause("r2"), "other")
    assert switch.outcomes()[2:] == [
        "pause DONE", "resume DONE", "again FAILED NOT_RECORDING", "other FAILED NOT_RECORDING",
    ]  # fmt: skip


def test_a_leg_makes_one_recording(switch: Switch) -> None:
    switch.up()
    switch.perform(START, "one")
    switch.perform(START, "again")
    switch.perform(RecordStart("r2", Secret(KEY)), "two")
    switch.perform(RecordStop("r2"), "stop two")
    assert switch.outcomes()[1:] == ["one DONE", "again DONE", "two FAILED ALREADY_RECORDING", "stop two DONE"]
    switch.sent()
    switch.perform(RecordStop("r1"), "stop one")
    assert switch.sent() == [f"api uuid_record {CALLER} stop {TAPE}"]
    assert switch.outcomes()[-1] == "stop one DONE"
    switch.wake()
    assert [seal.file for seal in switch.seals] == [TAPE], "its event was missed"


# ------------------------------------------------------------------ behind, and gone


def test_who_is_behind_listens_to_less(switch: Switch) -> None:
    switch.sent()
    switch.node.backlog(49_999, switch.now)
    switch.answer()
    assert switch.sent() == []
    for frames in (50_000, 90_000, 5_001):
        switch.node.backlog(frames, switch.now)
        switch.answer()
    [nix] = switch.sent()
    assert nix.startswith("nixevent CHANNEL_PROGRESS ") and "HANGUP" not in nix
    switch.node.backlog(5_000, switch.now)
    switch.answer()
    everything, *asked = switch.sent()
    assert everything.startswith("event plain CHANNEL_PARK ")
    assert "api show channels as json" in asked


def test_a_switch_where_nobody_listens_is_gone_after_a_while(switch: Switch) -> None:
    switch.up()
    switch.node.lost(switch.now)
    first = switch.now
    for later in (0, 1, 2):
        switch.node.refused(first + later)
    assert switch.node.next_wakeup() == first + 10
    switch.wake()
    assert switch.tape.ends() == [LEG]
    [end] = [body for _, body in switch.tape.told if isinstance(body, LegEnded)]
    assert (end.cause, end.by) == ("MEDIA_LOST", "NODE")


def test_a_switch_that_comes_back_in_time_is_not(switch: Switch) -> None:
    switch.up()
    switch.answers[f"uuid_dump {CALLER}"] = json.dumps({"Unique-ID": CALLER, "Answer-State": "answered"})
    switch.node.lost(switch.now)
    switch.node.refused(switch.now)
    switch.frame(esl.AuthWanted())
    switch.now += 11
    switch.node.wake(switch.now)
    assert switch.tape.ends() == []


# ------------------------------------------------------------------ no owner


def test_a_caller_without_an_owner_hears_music_until_the_next_command(switch: Switch) -> None:
    switch.up()
    switch.perform(Collect("menu", ("hello",), 1, 1000), "menu")
    switch.node.owner_present(SHARD, False, switch.now)
    switch.sent()
    switch.complete("menu")
    assert [line for line in switch.sent() if "endless_playback" in line and "/p/music.wav" in line]
    switch.node.owner_present(SHARD, True, switch.now)
    switch.perform(Play(("hello",)), "next")
    assert switch.sent()[-1] == f"api uuid_transfer {CALLER} park inline"
    token = token_of(TENANT, f"comfort {LEG}")
    switch.event("CHANNEL_EXECUTE_COMPLETE", **{"Application-UUID": token})
    assert switch.sent() == []
    switch.event("CHANNEL_PARK")
    assert any("playback" in line for line in switch.sent())
    assert switch.outcomes()[1:] == ["menu DONE"]


def test_whoever_listens_or_talks_hears_no_music_of_ours(switch: Switch) -> None:
    switch.up()
    switch.perform(Play(("hello",)), "play")
    switch.sent()
    switch.node.owner_present(SHARD, False, switch.now)
    switch.answer()
    assert switch.sent() == []


# ------------------------------------------------------------------ accounts


def test_accounts_that_changed_are_looked_up_again(switch: Switch) -> None:
    switch.sent()
    changed = replace(DIRECTORY.devices["agent1"], ha1_md5="other")
    switch.node.directory(MergedDirectory(DIRECTORY.numbers, {"agent1": changed}), switch.now)
    switch.answer()
    flushed = [line for line in switch.sent() if "flush" in line]
    assert flushed == [f"api xml_flush_cache id {user} 127.0.0.1" for user in ("agent1", "agent2")]


# ------------------------------------------------------------------ call records


def test_the_end_that_nobody_saw_is_told_by_the_call_record(switch: Switch) -> None:
    """A phone was picked up and put down while nobody listened."""
    switch.up()
    switch.ring()
    record = {
        "uuid": DEVICE, "direction": "outbound", "hangup_cause": "NORMAL_CLEARING", "end_uepoch": "9000000",
        "progress_uepoch": "1000000", "answer_uepoch": "4000000", "sip_hangup_disposition": "recv_bye",
    }  # fmt: skip
    event = event_of(json.dumps({"variables": record}).encode())
    assert event is not None
    switch.records[DEVICE] = event
    switch.node.lost(switch.now)
    switch.answers[f"uuid_dump {CALLER}"] = json.dumps({"Unique-ID": CALLER, "Answer-State": "answered"})
    switch.answers[f"uuid_dump {DEVICE}"] = "-ERR No such channel!"
    switch.frame(esl.AuthWanted())
    switch.wake()
    told = [type(body).__name__ for leg, body in switch.tape.told if leg == f"{LEG}.1"]
    assert told == ["LegRinging", "LegAnswered", "CommandSettled", "LegEnded"]
    [end] = [body for _, body in switch.tape.told if isinstance(body, LegEnded)]
    assert (end.cause, end.by, end.rang_ms) == ("NORMAL", "FAR", 3000)


@pytest.mark.parametrize("record", [b"", b"{", b"[]", b'{"variables": 3}', b"\xff", b"[" * 100_000])
def test_half_a_call_record_is_none(record: bytes) -> None:
    assert event_of(record) is None
