"""While the journal cannot be written: nobody could be told of a new call or of an answer; talks go on."""

from __future__ import annotations

from tandem.core.ports.media import Bridge, By, Cause, LegEnded, RecordingStored, RecordStart
from tandem.core.seal import Secret
from tandem.wire.sip import events as sip
from tests.unit.media.builtin.bench import Bench, Handset

LET_GO = LegEnded(Cause.REFUSED, By.NODE, 0, "the journal cannot be written")
KEY = Secret(bytes(32))


def talk(bench: Bench) -> tuple[str, Handset, Handset]:
    """A caller and an agent who are bridged."""
    caller = bench.phone("4917055")
    leg = bench.call(caller)
    agent = bench.agent(f"{leg}.1")
    bench.do(leg, Bridge(f"{leg}.1"))
    return leg, caller, agent


def refusal(phone: Handset) -> tuple[int, str | None]:
    """What its call came to."""
    ended = phone.told(sip.CallEnded)
    return ended.status, ended.headers.get("Retry-After")


def test_a_caller_who_hears_it_ringing_is_refused_and_so_is_every_new_one() -> None:
    bench = Bench()
    first, second = bench.phone("4917001"), bench.phone("4917002")
    first.dial()
    leg = bench.events[0][0]
    bench.node.journal_away(True, bench.now)
    bench.settle_wire()
    assert refusal(first) == (503, "5")
    assert bench.events[-1] == (leg, LET_GO)
    told = len(bench.events)
    second.dial()
    assert refusal(second) == (503, "5")
    assert len(bench.events) == told, "what cannot be written need not be told"
    bench.node.journal_away(False, bench.now)
    bench.call(second)


def test_a_phone_that_rings_is_let_go() -> None:
    bench = Bench()
    ann = bench.phone("ann")
    ann.register()
    key = bench.ring("c1.1")
    bench.node.journal_away(True, bench.now)
    bench.settle_wire()
    assert ann.told(sip.CallEnded).cause is sip.EndCause.CANCELLED
    assert LET_GO in bench.of("c1.1")
    assert bench.outcome(key) == "REFUSED"


def test_a_talk_goes_on() -> None:
    bench = Bench()
    _, caller, agent = talk(bench)
    bench.node.journal_away(True, bench.now)
    bench.settle_wire()
    caller.heard.clear()
    for _ in range(20):
        agent.say(0x33)
        bench.advance(0.02)
    assert any(packet.payload == bytes([0x33]) * 160 for packet in caller.heard)
    assert caller.told(sip.CallEnded) is None


def test_a_recording_that_the_disk_takes_no_more_of_is_stored_and_says_so() -> None:
    bench = Bench()
    leg, caller, _ = talk(bench)
    bench.do(leg, RecordStart("r1", KEY))
    bench.work_spool()
    bench.advance(1.0)
    (name,) = bench.node.recordings()
    bench.node.recording_cut(name)
    held = len(bench.spool.files[name])
    bench.advance(1.0)
    assert len(bench.spool.files[name]) == held, "it is not recorded any more"
    bench.work_spool()
    assert bench.last(RecordingStored).truncated
    assert caller.told(sip.CallEnded) is None
    bench.node.recording_cut(name)  # the news of another chunk that failed
    assert bench.spool.finished == []
