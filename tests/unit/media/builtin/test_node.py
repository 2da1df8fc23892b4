"""The node's rules: every command settles once, every leg ends once, in the right words."""

from __future__ import annotations

import pytest

from tandem.core.ports.media import (
    Answer,
    Bridge,
    By,
    CallRefused,
    Cause,
    Collect,
    Collected,
    Command,
    CommandSettled,
    DeviceRegistered,
    DeviceUnregistered,
    DigitsCollected,
    HangUp,
    LegAnswered,
    LegArrived,
    LegBridged,
    LegEnded,
    LegHeld,
    LegResumed,
    LegRinging,
    LegUnbridged,
    MediaEvent,
    Originate,
    Outcome,
    Play,
    RecordingFailed,
    RecordingStored,
    RecordStart,
    RecordStop,
    Stop,
)
from tandem.core.recording import frames_in
from tandem.core.seal import Erased, Secret, secret
from tandem.media.backend import LiveLeg, RowKind
from tandem.wire import g711
from tandem.wire.g711 import Law
from tandem.wire.sdp import Direction
from tandem.wire.sip import events as sip
from tests.unit.media.builtin.bench import NUMBER, PROMPTS, TENANT, Bench

KEY = Secret(bytes(range(32)))
MENU = Collect("m1", ("short",), max_digits=2, timeout_ms=3000, interdigit_ms=1000, terminators="#")


# ------------------------------------------------------------------ callers


def test_a_caller_arrives_is_answered_and_hangs_up():
    bench = Bench()
    caller = bench.phone("4917055")
    leg = bench.call(caller)
    assert bench.node.legs() == (LiveLeg(TENANT, 0, leg, waits=True),)
    assert bench.rows[RowKind.LEG, leg]["dialog"]["call_id"]
    caller.hang_up()
    assert bench.of(leg) == [
        LegArrived(NUMBER, secret("4917055")),
        LegAnswered(),
        LegEnded(Cause.NORMAL, By.FAR),
    ]
    assert (bench.rows, bench.ports.open_ports, bench.node.legs()) == ({}, [], ())


def test_a_caller_that_wants_our_offer_gives_its_answer_with_the_ack():
    bench = Bench()
    caller = bench.phone("4917055")
    caller.dial(delayed_offer=True)
    ((leg, _),) = bench.events
    assert bench.outcome(bench.do(leg, Answer())) == "DONE"
    # This phone's ACK has no answer in it: nobody could be heard.
    assert bench.of(leg)[-1] == LegEnded(Cause.NO_MEDIA, By.NODE, 0, "no SDP in the ACK")


def test_answering_twice_is_done_and_answering_an_outbound_leg_too():
    bench = Bench()
    leg = bench.call(bench.phone("4917055"))
    assert bench.outcome(bench.do(leg, Answer())) == "DONE"
    assert bench.of(leg).count(LegAnswered()) == 1


@pytest.mark.parametrize(
    ("cause", "status"), [(Cause.NORMAL, 480), (Cause.BUSY, 486), (Cause.DECLINED, 603), (Cause.REFUSED, 503)]
)
def test_a_ringing_caller_is_refused_in_sips_words(cause: Cause, status: int):
    bench = Bench()
    caller = bench.phone("4917055")
    caller.dial()
    leg = bench.events[0][0]
    assert bench.outcome(bench.do(leg, HangUp(cause))) == "DONE"
    assert bench.of(leg)[-1] == LegEnded(cause, By.TANDEM)
    ended = caller.told(sip.CallEnded)
    assert (ended.status, ended.headers.get("Retry-After")) == (status, "5" if status == 503 else None)


def test_a_caller_who_offers_no_codec_of_ours_is_refused():
    bench = Bench()
    caller = bench.phone("4917055")
    offer = b"v=0\r\no=- 1 1 IN IP4 1.2.3.4\r\ns=-\r\nc=IN IP4 1.2.3.4\r\nt=0 0\r\nm=audio 4000 RTP/AVP 9\r\n"
    caller._negotiation.offer = lambda: offer
    caller._new = lambda: caller._negotiation
    caller.dial()
    assert caller.told(sip.CallEnded).status == 488
    assert bench.events == [("", CallRefused(NUMBER, "NO_CODEC"))]
    assert bench.ports.open_ports == []


# ------------------------------------------------------------------ what a leg hears


def test_a_play_settles_at_its_end():
    bench = Bench()
    caller = bench.phone("4917055")
    leg = bench.call(caller)
    key = bench.do(leg, Play(("short", "short")))
    bench.advance(0.2)
    assert bench.outcome(key) is None
    bench.advance(0.02)
    assert bench.outcome(key) == "DONE"
    assert [packet.payload[0] for packet in caller.heard] == [0x20] * 10 + [0xFF]


def test_a_loop_settles_at_once_and_goes_on():
    bench = Bench()
    caller = bench.phone("4917055")
    leg = bench.call(caller)
    assert bench.outcome(bench.do(leg, Play(("music",), loop=True))) == "DONE"
    bench.advance(2.0)
    assert {packet.payload for packet in caller.heard} == {b"\x30" * 160}


@pytest.mark.parametrize("after", [Play(("music",), loop=True), Stop(), MENU])
def test_what_replaces_a_play_settles_it(after):
    bench = Bench()
    leg = bench.call(bench.phone("4917055"))
    key = bench.do(leg, Play(("menu",)))
    later = bench.do(leg, after)
    settled = [body.key for _, body in bench.events if isinstance(body, CommandSettled)]
    assert bench.outcome(key) == "DONE"
    assert later not in settled or settled.index(key) < settled.index(later)


def test_an_unknown_prompt_leaves_what_plays():
    bench = Bench()
    caller = bench.phone("4917055")
    leg = bench.call(caller)
    bench.do(leg, Play(("music",), loop=True))
    assert bench.outcome(bench.do(leg, Play(("music", "nothing")))) == "UNKNOWN_PROMPT"
    assert bench.outcome(bench.do(leg, Collect("m", ("nothing",), 1, 1000))) == "UNKNOWN_PROMPT"
    bench.advance(0.1)
    assert caller.heard[-1].payload == b"\x30" * 160


def test_nothing_is_played_to_a_leg_that_was_not_answered():
    bench = Bench()
    bench.phone("4917055").dial()
    leg = bench.events[0][0]
    for verb in (Play(("short",)), MENU, Bridge("x"), RecordStart("r1", KEY)):
        assert bench.outcome(bench.do(leg, verb)) == "NOT_ANSWERED"


def test_verbs_on_a_leg_that_is_gone():
    bench = Bench()
    for verb in (Answer(), Play(("short",)), Stop(), MENU, Bridge("x"), RecordStart("r1", KEY)):
        assert bench.outcome(bench.do("gone", verb)) == "LEG_GONE"
    for verb in (HangUp(), RecordStop("r1")):
        assert bench.outcome(bench.do("gone", verb)) == "DONE"


def test_another_tenants_leg_is_gone():
    bench = Bench()
    leg = bench.call(bench.phone("4917055"))
    assert bench.outcome(bench.do(leg, Play(("short",)), tenant="t2")) == "LEG_GONE"
    assert bench.outcome(bench.do(leg, HangUp(), tenant="t2")) == "DONE"
    assert bench.node.legs() == (LiveLeg(TENANT, 0, leg, waits=True),)


# ------------------------------------------------------------------ digits


def collected(bench: Bench) -> DigitsCollected:
    return bench.last(DigitsCollected)


def test_digits_until_there_are_enough():
    bench = Bench()
    caller = bench.phone("4917055")
    leg = bench.call(caller)
    key = bench.do(leg, MENU)
    caller.press("1")
    assert collected(bench) is None
    caller.press("2")
    assert collected(bench) == DigitsCollected("m1", secret("12"), Collected.COMPLETE)
    assert bench.outcome(key) == "DONE"
    caller.press("3")
    assert len(bench.of(leg)) == 3


def test_a_terminator_ends_it_and_is_no_digit():
    bench = Bench()
    caller = bench.phone("4917055")
    bench.do(bench.call(caller), MENU)
    caller.press("1")
    caller.press("#")
    assert collected(bench) == DigitsCollected("m1", secret("1"), Collected.COMPLETE)


def test_time_counts_from_the_end_of_the_prompts():
    bench = Bench()
    bench.do(bench.call(bench.phone("4917055")), MENU)
    bench.advance(0.1 + 2.96)
    assert collected(bench) is None
    bench.advance(0.1)
    assert collected(bench) == DigitsCollected("m1", secret(""), Collected.TIMEOUT)


def test_time_between_digits():
    bench = Bench()
    caller = bench.phone("4917055")
    bench.do(bench.call(caller), MENU)
    caller.press("7")
    bench.advance(0.96)
    assert collected(bench) is None
    bench.advance(0.06)
    assert collected(bench) == DigitsCollected("m1", secret("7"), Collected.TIMEOUT)


def test_a_digit_interrupts_the_prompts():
    bench = Bench()
    caller = bench.phone("4917055")
    bench.do(bench.call(caller), MENU)
    bench.advance(0.04)
    caller.press("7")
    bench.advance(0.04)
    assert [packet.payload[0] for packet in caller.heard] == [0x20, 0x20, 0xFF, 0xFF]


def test_what_replaces_a_collection_ends_it_with_the_digits_so_far():
    bench = Bench()
    caller = bench.phone("4917055")
    leg = bench.call(caller)
    key = bench.do(leg, MENU)
    caller.press("7")
    bench.do(leg, Play(("music",), loop=True))
    assert collected(bench) == DigitsCollected("m1", secret("7"), Collected.REPLACED)
    assert bench.outcome(key) == "DONE"


def test_sensitive_digits_are_marked():
    bench = Bench()
    caller = bench.phone("4917055")
    bench.do(bench.call(caller), Collect("pin", (), 1, 1000, sensitive=True))
    caller.press("7")
    assert collected(bench).digits == secret("7", sensitive=True)


def test_the_end_of_a_leg_ends_its_menu_without_digits():
    bench = Bench()
    caller = bench.phone("4917055")
    leg = bench.call(caller)
    key = bench.do(leg, MENU)
    caller.hang_up()
    assert bench.outcome(key) == "LEG_GONE"
    assert isinstance(bench.of(leg)[-1], LegEnded)
    assert collected(bench) is None


# ------------------------------------------------------------------ devices


def test_a_device_rings_and_answers():
    bench = Bench()
    ann = bench.phone("ann")
    ann.register()
    key = bench.ring("c1.1")
    bench.advance(1.0)
    assert bench.outcome(key) is None
    assert ann.answer()
    assert bench.outcome(key) == "DONE"
    assert bench.of("c1.1") == [LegRinging(), LegAnswered()]
    bench.advance(3.0)
    ann.hang_up()
    assert bench.of("c1.1")[-1] == LegEnded(Cause.NORMAL, By.FAR, 1000)


@pytest.mark.parametrize(("answered_after_s", "right"), [(9.999, LegAnswered()), (10.0, None)])
def test_answer_and_ring_limit_have_one_order(answered_after_s: float, right: LegAnswered | None):
    bench = Bench()
    ann = bench.phone("ann")
    ann.register()
    key = bench.ring("c1.1", limit_ms=10_000)
    bench.advance(answered_after_s)
    assert ann.answer() is (right is not None)
    if right is not None:
        assert (bench.of("c1.1")[-1], bench.outcome(key)) == (right, "DONE")
    else:
        assert bench.of("c1.1")[-1] == LegEnded(Cause.NO_ANSWER, By.NODE, 10_000, "ring limit")
        assert bench.outcome(key) == "NO_ANSWER"
        assert ann.told(sip.CallEnded).cause is sip.EndCause.CANCELLED


@pytest.mark.parametrize(
    ("status", "cause"),
    [
        (486, Cause.BUSY), (600, Cause.BUSY), (603, Cause.DECLINED), (403, Cause.DECLINED), (480, Cause.NO_ANSWER),
        (408, Cause.NO_ANSWER), (404, Cause.UNREACHABLE), (488, Cause.NO_MEDIA), (500, Cause.FAILED),
        (302, Cause.FAILED),
    ],
)  # fmt: skip
def test_what_a_refusal_means(status: int, cause: Cause):
    bench = Bench()
    ann = bench.phone("ann")
    ann.register()
    key = bench.ring("c1.1")
    bench.advance(0.5)
    ann.reject(status)
    assert bench.of("c1.1")[-1] == LegEnded(cause, By.FAR, 500, f"SIP {status}")
    assert bench.outcome(key) == cause.value


def test_a_device_that_is_not_there_ends_soon():
    bench = Bench()
    ann = bench.phone("ann")
    ann.register()
    del bench.phones[ann.address]
    key = bench.ring("c1.1")
    bench.advance(4.1)
    assert bench.of("c1.1") == [LegEnded(Cause.UNREACHABLE, By.NODE, 0, "the device did not ring")]
    assert bench.outcome(key) == "UNREACHABLE"


def test_a_device_that_is_not_registered_ends_at_once():
    bench = Bench()
    assert bench.outcome(bench.ring("c1.1")) == "UNREACHABLE"
    assert bench.of("c1.1") == [LegEnded(Cause.UNREACHABLE, By.NODE, 0, "no registration")]


def test_a_leg_that_exists_is_not_rung_again():
    bench = Bench()
    bench.agent("c1.1")
    assert bench.outcome(bench.ring("c1.1")) == "LEG_EXISTS"
    assert bench.of("c1.1") == [LegRinging(), LegAnswered()]


def test_the_caller_that_cannot_be_shown_is_anonymous():
    for caller in (Erased(), secret('x" <sip:evil>\r\nX: y'), secret("")):
        bench = Bench()
        ann = bench.phone("ann")
        ann.register()
        bench.do("c1.1", Originate("ann", 10_000, "bad\r\noffer", caller))
        invite = ann.told(sip.CallArrived).request
        assert invite.from_.display == "Anonymous"
        assert invite.headers.get("X-Tandem-Offer") is None


# ------------------------------------------------------------------ bridges


def talk(bench: Bench):
    caller = bench.phone("4917055", law=Law.A)
    leg = bench.call(caller)
    agent = bench.agent(f"{leg}.1")
    assert bench.outcome(bench.do(leg, Bridge(f"{leg}.1"))) == "DONE"
    return leg, caller, agent


def test_a_bridge_carries_audio_in_the_others_law():
    bench = Bench()
    _, caller, agent = talk(bench)
    for _ in range(6):
        caller.say(0x2A)
        agent.say(0x17)
        bench.advance(0.02)
    assert agent.heard[-1].payload == g711.transcode(Law.A, Law.MU, b"\x2a" * 160)
    assert caller.heard[-1].payload == g711.transcode(Law.MU, Law.A, b"\x17" * 160)


def test_a_bridge_is_told_once():
    bench = Bench()
    leg, _, _ = talk(bench)
    assert bench.outcome(bench.do(leg, Bridge(f"{leg}.1"))) == "DONE"
    assert bench.of(leg).count(LegBridged(f"{leg}.1")) == 1
    assert LegBridged(leg) not in bench.of(f"{leg}.1")


def test_a_bridge_replaces_what_plays_on_both():
    bench = Bench()
    leg = bench.call(bench.phone("4917055"))
    bench.agent(f"{leg}.1")
    first, second = bench.do(leg, Play(("menu",))), bench.do(f"{leg}.1", MENU)
    bench.do(leg, Bridge(f"{leg}.1"))
    assert (bench.outcome(first), bench.outcome(second)) == ("DONE", "DONE")
    assert collected(bench).why is Collected.REPLACED


def test_who_is_left_is_parked():
    bench = Bench()
    leg, _, agent = talk(bench)
    agent.hang_up()
    assert bench.of(leg)[-1] == LegUnbridged(f"{leg}.1")
    assert [live.leg for live in bench.node.legs()] == [leg]
    assert bench.outcome(bench.do(leg, Bridge(f"{leg}.1"))) == "OTHER_GONE"


def test_playing_to_one_ends_the_bridge_for_the_other():
    bench = Bench()
    leg, _, _ = talk(bench)
    bench.do(leg, Play(("music",), loop=True))
    assert bench.of(f"{leg}.1")[-1] == LegUnbridged(leg)
    assert bench.of(leg)[-1] == LegBridged(f"{leg}.1")


def test_a_new_bridge_leaves_the_old_partner():
    bench = Bench()
    leg, _, _ = talk(bench)
    bench.agent(f"{leg}.2", "bob")
    bench.do(leg, Bridge(f"{leg}.2"))
    assert bench.of(f"{leg}.1")[-1] == LegUnbridged(leg)
    assert bench.of(leg)[-1] == LegBridged(f"{leg}.2")


def test_a_ringing_leg_is_not_bridged():
    bench = Bench()
    leg = bench.call(bench.phone("4917055"))
    bench.phone("ann").register()
    bench.ring(f"{leg}.1")
    assert bench.outcome(bench.do(leg, Bridge(f"{leg}.1"))) == "NOT_ANSWERED"
    assert bench.outcome(bench.do(leg, Bridge(leg))) == "OTHER_GONE"


def test_stop_leaves_a_bridge():
    bench = Bench()
    leg, _, _ = talk(bench)
    assert bench.outcome(bench.do(leg, Stop())) == "DONE"
    assert bench.of(leg)[-1] == LegBridged(f"{leg}.1")


@pytest.mark.parametrize("direction", [Direction.SENDONLY, Direction.INACTIVE])
def test_hold_and_resume(direction: Direction):
    bench = Bench()
    leg, caller, agent = talk(bench)
    agent.hold(direction)
    bench.advance(0.1)
    assert bench.of(f"{leg}.1")[-1] == LegHeld()
    caller.heard.clear()
    agent.heard.clear()
    bench.advance(0.1)
    assert {packet.payload for packet in caller.heard} == {PROMPTS["music"].a[:160]}
    assert agent.heard == []
    agent.hold(Direction.SENDRECV)
    assert bench.of(f"{leg}.1")[-1] == LegResumed()
    bench.advance(0.1)
    assert agent.heard
    assert caller.heard[-1].payload == b"\xd5" * 160


def test_digits_go_to_the_other_party():
    bench = Bench()
    _, caller, agent = talk(bench)
    caller.press("5")
    bench.advance(0.3)
    events = [packet for packet in agent.heard if packet.payload_type == 101]
    assert {packet.payload[0] for packet in events} == {5}
    assert len(events) == 7


# ------------------------------------------------------------------ lost audio, lost owner


def test_no_audio_ends_a_leg_unless_it_holds():
    bench = Bench(rtp_timeout_s=5.0)
    leg, caller, agent = talk(bench)
    agent.hold(Direction.INACTIVE)
    for _ in range(12):
        caller.say(1)
        bench.advance(0.5)
    assert len(bench.node.legs()) == 2
    bench.advance(5.0)
    assert LegEnded(Cause.NO_MEDIA, By.NODE, 0, "no RTP for 5 s") in bench.of(leg)
    assert [live.leg for live in bench.node.legs()] == [f"{leg}.1"]


def test_the_fallback_and_an_owner_in_time():
    bench = Bench(owner=False)
    first, second = bench.phone("1"), bench.phone("2")
    first.dial()
    leg = bench.events[0][0]
    bench.advance(19.9)
    assert bench.of(leg) == [LegArrived(NUMBER, secret("1"))]
    bench.advance(0.2)
    assert first.audio is not None
    bench.advance(0.3)
    assert bench.of(leg)[1:] == [LegEnded(Cause.FALLBACK, By.NODE)]
    assert {packet.payload[0] for packet in first.heard} >= {0x40}

    second.dial()
    bench.advance(19.0)
    bench.node.owner_present(0, True, bench.now)
    bench.advance(60.0)
    assert len(bench.node.legs()) == 1
    bench.node.owner_present(0, False, bench.now)
    bench.advance(20.5)
    assert bench.node.legs() == ()


def test_a_caller_between_two_steps_hears_music_while_no_owner_is_there():
    bench = Bench()
    caller = bench.phone("4917055")
    leg = bench.call(caller)
    bench.do(leg, Play(("short",)))
    bench.node.owner_present(0, False, bench.now)
    bench.advance(0.3)
    assert caller.heard[-1].payload == b"\x30" * 160


# ------------------------------------------------------------------ recordings


def test_a_recording_from_start_to_store():
    bench = Bench()
    leg, _, _ = talk(bench)
    key = bench.do(leg, RecordStart("r1", KEY))
    assert bench.outcome(key) is None
    bench.work_spool()
    assert bench.outcome(key) == "DONE"
    (name,) = bench.spool.files
    assert bench.rows[RowKind.RECORDING, name] == {"tenant": TENANT, "leg": leg, "recording": "r1"}
    bench.advance(1.1)
    assert bench.outcome(bench.do(leg, RecordStop("r1"))) == "DONE"
    assert frames_in(len(bench.spool.files[name])) == 8800
    bench.work_spool()
    assert bench.last(RecordingStored).blob == name
    assert (RowKind.RECORDING, name) not in bench.rows


def test_a_recording_is_stored_after_its_leg_is_gone():
    bench = Bench()
    leg, caller, _ = talk(bench)
    key = bench.do(leg, RecordStart("r1", KEY))
    caller.hang_up()
    assert bench.outcome(key) == "DONE"
    bench.work_spool()
    assert bench.events[-1][0] == leg
    assert bench.last(RecordingStored).recording == "r1"


def test_one_recording_a_leg_and_a_name_once():
    bench = Bench()
    leg, _, _ = talk(bench)
    assert bench.outcome(bench.do(leg, RecordStart("r1", Erased()))) == "NO_KEY"
    bench.do(leg, RecordStart("r1", KEY))
    bench.work_spool()
    assert bench.outcome(bench.do(leg, RecordStart("r1", KEY))) == "DONE"
    assert bench.outcome(bench.do(leg, RecordStart("r2", KEY))) == "ALREADY_RECORDING"
    assert bench.outcome(bench.do(leg, RecordStop("other"))) == "DONE"
    assert bench.outcome(bench.do(f"{leg}.1", RecordStart("r1", KEY))) == "ALREADY_RECORDED"
    bench.do(leg, RecordStop("r1"))
    assert bench.outcome(bench.do(leg, RecordStart("r1", KEY))) == "ALREADY_RECORDED"


def test_a_recording_that_fails_leaves_the_call():
    bench = Bench()
    leg, _, _ = talk(bench)
    key = bench.do(leg, RecordStart("r1", KEY))
    bench.node.recording_failed("recordings/t1/r1", "SPOOL_FAILED", bench.now)
    assert bench.outcome(key) == "SPOOL_FAILED"
    assert bench.last(RecordingFailed) == RecordingFailed("r1", "SPOOL_FAILED")
    assert len(bench.node.legs()) == 2
    bench.advance(1.0)
    assert bench.outcome(bench.do(leg, RecordStop("r1"))) == "DONE"


# ------------------------------------------------------------------ after the node's own death


def test_the_next_life_ends_the_calls_of_the_last():
    bench = Bench()
    leg, caller, agent = talk(bench)
    bench.do(leg, RecordStart("r1", KEY))
    rows, bench.events = bench.as_rows(), []
    bench.node = bench.new_node()
    bench.node.directory(bench.greeting("ann", "bob"), bench.now)
    bench.node.restore(rows, int(bench.now * 1000), bench.now)
    bench.settle_wire()
    lost = LegEnded(Cause.MEDIA_LOST, By.NODE)
    assert bench.events == [(leg, lost), (f"{leg}.1", lost)]
    assert caller.told(sip.CallEnded).cause is sip.EndCause.REMOTE_BYE
    assert agent.told(sip.CallEnded).cause is sip.EndCause.REMOTE_BYE
    bench.work_spool()
    assert bench.last(RecordingStored).truncated
    assert {kind for kind, _ in bench.rows} == {RowKind.REGISTRATION, RowKind.GOODBYE}
    assert bench.ring("c2.1")
    assert agent.told(sip.CallArrived).request.headers.get("X-Tandem-Offer") == "offer-1"


class Timed(Bench):
    """Notes when things are said to have happened."""

    def __init__(self) -> None:
        self.times: list[int] = []
        super().__init__()

    def emit(self, tenant: str, leg: str, body: MediaEvent, media_time_ms: int) -> None:
        self.events.append((leg, body))
        self.times.append(media_time_ms)


def test_calls_end_when_the_node_died_and_not_when_it_is_back():
    bench = Timed()
    talk(bench)
    rows, died_ms = bench.as_rows(), int(bench.now * 1000)
    bench.now += 40.0
    bench.times = []
    bench.node = bench.new_node()
    bench.node.restore(rows, died_ms, bench.now)
    assert bench.times == [died_ms, died_ms]


def test_the_next_life_refuses_who_still_hears_it_ringing():
    bench = Bench()
    caller = bench.phone("4917055")
    caller.dial()
    leg = bench.events[0][0]
    rows, bench.events = bench.as_rows(), []
    bench.node = bench.new_node()
    bench.node.restore(rows, int(bench.now * 1000), bench.now)
    bench.settle_wire()
    ended = caller.told(sip.CallEnded)
    assert (ended.cause, ended.status, ended.headers.get("Retry-After")) == (sip.EndCause.REJECTED, 503, "5")
    assert bench.events == [(leg, LegEnded(Cause.MEDIA_LOST, By.NODE))]
    again = []
    for _ in range(300):
        bench.now += 0.02
        bench.node.wake(bench.now)
        again += [target for data, target in bench.node.take_sip() if data.startswith(b"SIP/2.0 503")]
    assert again == [caller.address] * 3


def test_commands_in_doubt_after_the_nodes_death():
    bench = Bench()
    for index, verb in enumerate(
        (Originate("ann", 1000, "o", secret("1")), Play(("short",)), HangUp(), RecordStop("r"))
    ):
        bench.node.settle(Command(TENANT, f"d{index}", "c1", verb), bench.now)
    settled = [body for _, body in bench.events]
    assert settled == [
        CommandSettled("d0", Outcome.UNKNOWN, "NODE_RESTARTED"),
        CommandSettled("d1", Outcome.FAILED, "LEG_GONE"),
        CommandSettled("d2", Outcome.DONE),
        CommandSettled("d3", Outcome.DONE),
    ]


def test_a_registration_outlives_the_node_but_not_its_time():
    bench = Bench()
    ann = bench.phone("ann")
    ann.register(expires_s=60)
    rows, bench.events = bench.as_rows(), []
    del bench.phones[ann.address]
    bench.node = bench.new_node()
    bench.node.directory(bench.greeting("ann"), bench.now)
    bench.node.restore(rows, int(bench.now * 1000), bench.now)
    assert bench.events == []
    bench.advance(61)
    assert bench.events == [("", DeviceUnregistered("ann"))]


def test_a_registration_of_another_boot_is_void():
    bench = Bench()
    bench.phone("ann").register()
    rows, bench.events = bench.as_rows(), []
    bench.now = 3.0
    bench.node = bench.new_node()
    bench.node.directory(bench.greeting("ann"), bench.now)
    bench.node.restore(rows, int(bench.now * 1000), bench.now)
    assert bench.events == [("", DeviceUnregistered("ann"))]
    assert bench.outcome(bench.ring("c1.1")) == "UNREACHABLE"


# ------------------------------------------------------------------ registrations


def test_a_device_is_told_once_and_again_after_it_left():
    bench = Bench()
    ann = bench.phone("ann")
    ann.register()
    ann.register()
    assert bench.events == [("", DeviceRegistered("ann"))]
    handle = next(iter(ann.endpoint._registrations))
    ann.endpoint.unregister(handle, bench.now)
    bench.settle_wire()
    assert bench.events[-1] == ("", DeviceUnregistered("ann"))
    assert bench.rows == {}


def test_a_ringing_leg_survives_the_loss_of_its_registration():
    bench = Bench()
    bench.phone("ann").register()
    bench.ring("c1.1")
    bench.node.directory(bench.greeting("bob"), bench.now)
    assert [live.leg for live in bench.node.legs()] == ["c1.1"]
    assert bench.last(DeviceUnregistered) == DeviceUnregistered("ann")


def test_a_device_that_rings_twice_rings_once_and_no_longer():
    bench = Bench()
    ann = bench.phone("ann")
    ann.register()
    bench.ring("c1.1", limit_ms=2000)
    bench.advance(1.5)
    ann.endpoint.ring(ann.call, bench.now, status=183)
    bench.settle_wire()
    bench.advance(0.6)
    assert bench.of("c1.1") == [LegRinging(), LegEnded(Cause.NO_ANSWER, By.NODE, 2000, "ring limit")]


def test_a_call_from_an_outside_line_by_hand_with_the_answer_in_the_ack():
    bench = Bench()
    head = (
        "Via: SIP/2.0/UDP 10.0.9.9:5060;branch=z9hG4bK{branch}\r\n"
        "From: <sip:x@10.0.9.9>;tag=f\r\nTo: <sip:4930100@10.0.0.1>{tag}\r\n"
        "Call-ID: byhand\r\nCSeq: 1 {method}\r\nContact: <sip:x@10.0.9.9>\r\nMax-Forwards: 70\r\n"
    )

    def send(method: str, branch: str, tag: str = "", body: str = "") -> list[str]:
        kind = "Content-Type: application/sdp\r\n" if body else ""
        text = f"{method} sip:4930100@10.0.0.1 SIP/2.0\r\n" + head.format(branch=branch, tag=tag, method=method)
        bench.node.sip(f"{text}{kind}Content-Length: {len(body)}\r\n\r\n{body}".encode(), ("10.0.9.9", 5060), bench.now)
        return [data.decode() for data, _ in bench.node.take_sip()]

    send("INVITE", "1")
    leg = bench.events[0][0]
    bench.node.perform(Command(TENANT, "k", leg, Answer()), bench.now)
    (ok,) = [data.decode() for data, _ in bench.node.take_sip()]
    assert "m=audio" in ok
    tag = ok.partition("\r\nTo: ")[2].partition("\r\n")[0].partition(";tag=")[2]
    sdp = "v=0\r\no=- 1 1 IN IP4 10.0.9.9\r\ns=-\r\nc=IN IP4 10.0.9.9\r\nt=0 0\r\nm=audio 4000 RTP/AVP 8\r\n"
    send("ACK", "2", f";tag={tag}", sdp)
    bench.do(leg, Play(("music",), loop=True))
    bench.advance(0.1)
    assert bench.sent[-1].target == ("10.0.9.9", 4000)
    assert bench.sent[-1].data[1] == 8


def test_options_steers_new_calls():
    bench = Bench(capacity=1)
    assert bench.options() == "200"
    caller = bench.phone("4917055")
    bench.call(caller)
    assert bench.options() == "503"
    caller.hang_up()
    assert bench.options() == "200"
    bench.node = bench.new_node()
    assert bench.options() == "503", "it knows no directory"


def test_a_fault_in_one_legs_audio_ends_that_leg_alone(caplog):
    bench = Bench()
    first, second = bench.call(bench.phone("1")), bench.call(bench.phone("2"))
    bench.do(second, Play(("music",), loop=True))
    bench.node._board.legs[first].playlist = object()
    bench.advance(0.1)
    assert bench.of(first)[-1] == LegEnded(Cause.FAILED, By.NODE, 0, "audio fault")
    assert [live.leg for live in bench.node.legs()] == [second]
    assert first in caplog.text
