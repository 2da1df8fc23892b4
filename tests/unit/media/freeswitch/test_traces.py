"""What real FreeSWITCH sent, as an owner is told it: in order, with causes and who hung up."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tandem.core.ports.media import Answer, Bridge, Collect, HangUp, Play, Verb
from tests.unit.media.freeswitch.replay import Replay, Step, originate


def step(on: str, leg: str, verb: Verb | Callable[[Replay], Verb], key: str, application: str = "") -> Step:
    letter, _, what = on.partition(" ")
    made = verb if callable(verb) else lambda replay: verb
    return Step((letter, what), leg, made, key, application)


def bridge(other: str) -> Callable[[Replay], Verb]:
    return lambda replay: Bridge(replay.leg(other))


ANSWER = step("A LegArrived", "A", Answer(), "answer")
RING = step("A LegAnswered", "B", originate("agent1"), "ring")
JOIN = step("B LegAnswered", "A", bridge("B"), "join")
CALL = step("- DeviceRegistered", "A", originate("agent1"), "call")
MENU = Collect("s1", ("menu",), 8, 6000, terminators="#")
TALK = (ANSWER, RING, JOIN)
REGISTERED = ["- DeviceRegistered agent1", "- DeviceRegistered agent2"]
UP = ["A LegArrived tandem-0", "A LegAnswered", "A answer DONE"]
BRIDGED = [*UP, "B LegRinging", "B LegAnswered", "B ring DONE", "A LegBridged B", "A join DONE"]

SCRIPTS: dict[str, tuple[tuple[Step, ...], list[str]]] = {
    "01_inbound_answer_caller_hangup": (
        (ANSWER, step("A answer DONE", "A", Play(("tone",)), "play", "playback")),
        [*UP, "A play DONE", "A LegEnded NORMAL FAR"],
    ),
    "01j_inbound_answer_caller_hangup_json": (
        (ANSWER, step("A answer DONE", "A", Play(("tone",)), "play", "playback")),
        [*UP, "A play DONE", "A LegEnded NORMAL FAR"],
    ),
    "02_caller_abandons_parked": ((), ["A LegArrived tandem-0", "A LegEnded CANCELED FAR"]),
    "03_dtmf_rfc2833": ((ANSWER,), [*UP, "A LegEnded NORMAL FAR"]),
    "04_originate_uas_answered": (
        (CALL, step("A call DONE", "A", HangUp(), "end")),
        ["A LegRinging", "A LegAnswered", "A call DONE", "A LegEnded NORMAL TANDEM", "A end DONE"],
    ),
    "05_originate_no_answer": (
        (CALL,),
        ["A LegRinging", "A LegEnded NO_ANSWER NODE", "A call FAILED(NO_ANSWER)"],
    ),
    "05b_originate_kill_while_ringing": (
        (CALL, step("A LegRinging", "A", HangUp(), "end")),
        ["A LegRinging", "A LegEnded CANCELED TANDEM", "A call FAILED(CANCELED)", "A end DONE"],
    ),
    "06_originate_busy": ((CALL,), ["A LegRinging", "A LegEnded BUSY FAR", "A call FAILED(BUSY)"]),
    "06b_originate_decline": ((CALL,), ["A LegRinging", "A LegEnded DECLINED FAR", "A call FAILED(DECLINED)"]),
    "06c_originate_unregistered": ((CALL,), ["A LegEnded UNREACHABLE NODE", "A call FAILED(UNREACHABLE)"]),
    "06d_originate_dead_port": ((CALL,), ["A LegEnded UNREACHABLE NODE", "A call FAILED(UNREACHABLE)"]),
    # Nothing told the agent's leg to park; with the caller's end it fell first.
    "07c_bridge_caller_hangup": (
        TALK,
        [*BRIDGED, "B LegEnded NORMAL NODE", "A LegUnbridged B", "A LegEnded NORMAL FAR"],
    ),
    "07_bridge_agent_hangup": (
        TALK,
        [*BRIDGED, "B LegEnded NORMAL FAR", "A LegUnbridged B", "A LegEnded NORMAL NODE"],
    ),
    "07b_bridge_agent_hangup_caller_reparks": (
        (*TALK, step("A LegUnbridged", "A", HangUp(), "end")),
        [*BRIDGED, "B LegEnded NORMAL FAR", "A LegUnbridged B", "A LegEnded NORMAL TANDEM", "A end DONE"],
    ),
    "08b_phone_hold_unhold": (
        (*TALK, step("B LegResumed", "A", HangUp(), "end")),
        [
            *BRIDGED, "B LegHeld", "B LegResumed",
            "B LegEnded NORMAL NODE", "A LegUnbridged B", "A LegEnded NORMAL TANDEM", "A end DONE",
        ],
    ),
    "09b_attended_transfer_esl": (
        (
            *TALK,
            step("A join DONE", "C", originate("agent2"), "consult"),
            step("C LegAnswered", "B", bridge("C"), "ask"),
            step("B ask DONE", "A", bridge("C"), "transfer"),
            step("A transfer DONE", "B", HangUp(), "release"),
            step("B LegEnded", "A", HangUp(), "end"),
            step("A LegEnded", "C", HangUp(), "bye"),
        ),
        [
            *BRIDGED, "C LegAnswered", "C consult DONE",
            "A LegUnbridged B", "B LegBridged C", "B ask DONE",
            "B LegUnbridged C", "A LegBridged C", "A transfer DONE",
            "B LegEnded NORMAL TANDEM", "B release DONE",
            "C LegUnbridged A", "A LegEnded NORMAL TANDEM", "A end DONE",
            "C LegEnded NORMAL TANDEM", "C bye DONE",
        ],
    ),
    # The switch moves the caller for a phone's REFER: the bridge falls with the agent's leg.
    "09c_blind_transfer_phone_refer": (
        TALK,
        # The phone's leg ends before the other party is parked: the owner hears first what it was.
        [*BRIDGED, "A LegUnbridged B", "A LegReferred B", "B LegEnded NORMAL NODE", "A LegEnded NORMAL NODE"],
    ),
    "11_park_timeout_hangup": ((), ["A LegArrived tandem-pt-3", "A LegEnded FALLBACK NODE"]),
    "11b_park_sched_transfer": ((), ["A LegArrived tandem-0", "A LegEnded FALLBACK NODE"]),
    "12_broadcast_break_execute": (
        (
            ANSWER,
            step("A answer DONE", "A", Play(("music",)), "play", "playback"),
            step("A answer DONE", "A", MENU, "menu", "play_and_get_digits"),
            step("A menu DONE", "A", HangUp(), "end"),
        ),
        [
            *UP, "A play DONE", "A DigitsCollected s1 123 COMPLETE", "A menu DONE",
            "A LegEnded NORMAL TANDEM", "A end DONE",
        ],
    ),
    "16_register_originate_registered": (
        (CALL, step("A call DONE", "A", HangUp(), "end")),
        [
            "- DeviceRegistered agent1", "A LegRinging", "A LegAnswered", "A call DONE",
            "A LegEnded NORMAL TANDEM", "A end DONE", "- DeviceUnregistered agent1",
        ],
    ),
    "18_switch_shutdown": ((ANSWER,), [*UP, "A LegEnded MEDIA_LOST NODE"]),
}  # fmt: skip


def replay(name: str) -> Replay:
    return Replay(name, SCRIPTS[name][0], registered=() if name.startswith("16") else ("agent1", "agent2"))


@pytest.mark.parametrize("name", SCRIPTS)
def test_a_trace_is_told_as_the_port_has_it(name: str) -> None:
    told = replay(name).run()
    first = [] if name.startswith("16") else REGISTERED
    assert told == [*first, *SCRIPTS[name][1]]


@pytest.mark.parametrize("name", SCRIPTS)
@pytest.mark.parametrize("size", [7, 4096])
def test_pieces_of_the_stream_change_nothing(name: str, size: int) -> None:
    assert replay(name).run(size=size) == replay(name).run()
