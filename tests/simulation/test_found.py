"""What seeds have found, each as a case of its own that says what was wrong."""

from __future__ import annotations

import pytest

from tandem.core.commit import ENGINE, Commit, Envelope, Part
from tandem.core.flow import AnswerStep, FlowStep, PlayStep
from tandem.core.ports import media
from tandem.core.ports.log import Partition
from tandem.core.seal import Secret, Withheld
from tandem.media.backend import MergedDirectory
from tandem.media.journal.changes import Acked, encode_change
from tandem.media.link.nodetime import NodeTime
from tandem.routing.domain import words as rw
from tandem.runtime.outputs import LoadKeys
from tandem.runtime.shard import Shard
from tandem.runtime.shardtime import Instant, ShardTime
from tandem.runtime.step import Offer
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st
from tandem.session.domain.reception import PublishFlow
from tandem.session.domain.stray import StrayFound
from tandem.simulation.invariants import Violation
from tandem.simulation.oracle import Outcomes, Strays
from tandem.simulation.phones import Caller, Device
from tandem.simulation.world import Cell, grouped
from tests.support.desk_world import DeskWorld
from tests.support.small_cell import NODE, STEPS, TENANT, SmallCell, live_group


def test_a_takeover_waits_for_the_keys_of_what_it_takes_over() -> None:
    """Kept events were decided without keys: private values were lost, and the bridge was refused."""
    cell = SmallCell()
    cell.configure("anna")
    cell.call("c1")
    ring = cell.orders(media.Originate)[0].payload.leg
    cell.leg(ring, media.LegAnswered())
    shard = Shard(live_group(), 0, "owner-2", (NODE,), report=cell._report)
    shard.read_back(cell.log, cell.now)
    shard.claim(cell.now)
    cell.shard = shard
    cell._do(shard.turn(cell.now)[0])
    wanted = [output for output in shard.turn(cell.now) if isinstance(output, LoadKeys)]
    shard.node_up(NODE, "i1")
    bridged = w.NoteLeg(NODE, "c1", shard.now_ms, media.LegBridged(ring))
    shard.offer(Offer(f"media/{NODE}/i1/{TENANT}", cell.numbers + 1, TENANT, "contact/c1", bridged))
    assert shard.turn(cell.now) == []
    assert isinstance(cell.state("contact/c1"), st.Connecting)
    cell._do(wanted[0])
    cell.settle()
    assert isinstance(cell.state("contact/c1"), st.Talking)


def test_a_leg_that_came_after_the_question_is_not_missing_from_the_answer() -> None:
    """The node listed its legs before it rang the phone; the caller hung up meanwhile; the ringing
    leg was taken for lost and nobody hung it up."""
    cell = SmallCell()
    cell.configure("anna")
    cell.shard.node_up(NODE, "i1")
    cell.shard.node_kept(NODE)
    cell.settle()  # asked
    cell.call("c1")
    (ring,) = cell.orders(media.Originate)
    cell.leg("c1", media.LegEnded(media.Cause.NORMAL, media.By.FAR))
    cell.shard.node_legs(NODE, [])
    cell.settle()
    assert cell.state("contact/c1").open == (ring.payload.leg,)
    assert [order.payload.leg for order in cell.orders(media.HangUp)] == [ring.payload.leg]


def test_an_answered_call_still_hears_its_first_prompt() -> None:
    """The outcome of the answer was taken for the end of the prompt that had just begun."""
    cell = SmallCell()
    cell.configure()
    steps = (FlowStep("hello", AnswerStep("intro")), FlowStep("intro", PlayStep(("welcome-menu",), "menu")), *STEPS[1:])
    flow = PublishFlow("main", 2, steps)
    cell.shard.offer(Offer(f"tenant/0/{TENANT}", 1_000, TENANT, "reception", flow))
    cell.input("contact/c1", w.TakeCall(NODE, cell.shard.now_ms, "100", Secret(b"+4420111")))
    cell.leg("c1", media.LegAnswered())
    assert cell.state("contact/c1").step == "intro"
    cell.outcome(cell.orders(media.Answer)[0].key)
    assert cell.state("contact/c1").step == "intro"
    cell.outcome(cell.orders(media.Play)[0].key)
    assert cell.state("contact/c1").step == "menu"


def test_a_recording_that_never_began_is_not_waited_for() -> None:
    """The caller hung up as the talk began; the contact waited an hour for its recording."""
    cell = SmallCell()
    cell.configure("anna", wrap_up_ms=0)
    cell.call("c1")
    (ring,) = cell.orders(media.Originate)
    cell.leg(ring.payload.leg, media.LegAnswered())
    cell.leg("c1", media.LegBridged(ring.payload.leg))
    (record,) = cell.orders(media.RecordStart)
    cell.leg("c1", media.LegEnded(media.Cause.NORMAL, media.By.FAR))
    cell.leg(ring.payload.leg, media.LegEnded(media.Cause.NORMAL, media.By.TANDEM))
    assert isinstance(cell.state("contact/c1"), st.Ended)
    cell.outcome(record.key, media.Outcome.FAILED, "LEG_GONE")
    assert cell.state("contact/c1") is None


def test_events_of_another_boot_are_not_told_as_older_than_what_was_taken() -> None:
    """With a clock behind its predecessor's, an owner put callers who came in the gap before
    those who stood in line already."""
    now = Instant(boottime_ms=60_000, wall_ms=5_000, boot_id="other")
    time, _ = ShardTime.going_on(100_000, "boot", 1_000, now)
    assert time.of(now.boottime_ms - 20_000) == 100_000


def test_a_pong_that_comes_before_the_welcome_is_measured_with() -> None:
    """Without it the first events after each connection were off by the difference of two uptimes."""
    time = NodeTime("ours")
    time.begin()
    time.sample(1_000, 501_000, 1_000)
    time.boot("another host's")
    assert time.ours(501_500) == 1_500


def test_a_late_end_of_an_offer_does_not_take_a_contact_from_its_next_one() -> None:
    """Seed 25 of 30 minutes, split: recovered, a contact had forgotten its offer and was back at its
    place with another one; when the first was overdue and closed, it was offered a third time."""
    world = DeskWorld()
    world.queue()
    for agent in ("ana", "ben", "cho"):
        world.ready(agent)
    world.caller("c1")
    first = world.offer_of("ana")
    world.do(rw.RemoveContact("c1", "RECOVERED"))
    world.do(rw.EnqueueContact("c1", "sales", (), 0, world.now_ms))
    second = world.offer_of("ben")
    world.close(first, rw.Outcome.RESCINDED)
    assert world.desk.entries["c1"].offer == second and list(world.offers) == [second]
    assert world.status("ana") is rw.RoutingStatus.IDLE


def test_whom_an_older_offer_finds_gone_is_not_offered_out_of_a_line_that_it_has_left() -> None:
    """The property test of the desk, once contacts come again: the freed agent was given to the very
    contact that left with the same decision, and the desk was quarantined."""
    world = DeskWorld()
    world.queue()
    world.ready("ana")
    world.caller("c1")
    first = world.offer_of("ana")
    world.do(rw.RemoveContact("c1", "RECOVERED"))
    world.do(rw.EnqueueContact("c1", "sales", (), 0, world.now_ms))
    world.do(rw.CloseGone(first))
    world.do(rw.CloseGone(world.offer_of("ana")))
    assert world.desk.entries == {} and world.offers == {}
    assert world.status("ana") is rw.RoutingStatus.IDLE


def test_what_a_call_does_without_its_agent_is_lost_until_the_next_agent_has_written_it() -> None:
    """Seed 13 of 30 minutes, split: a caller hung up while the agent was down, the node died before the
    next agent had written it, and that the contact ended as lost was taken for wrong. A fault of the
    oracle alone."""
    cell = Cell(1, grouped())
    node = cell.node
    node.start()
    cell.scheduler.run(100)
    node.crash(alone=True)
    cell.scheduler.run(200)
    node.start()
    assert node.unwritten_ms == 100
    cell.scheduler.run(300)
    assert node.unwritten_ms == 300


def test_an_end_that_its_next_agent_told_late_is_lost_with_the_journal() -> None:
    """Seed 10003 of 30 minutes, split: a caller hung up while the agent was down; the next one wrote it as
    it came back, and died with its journal before an owner had taken it. That the contact ended as lost
    was taken for wrong, for the caller had hung up before the oldest event that was lost. A fault of the
    oracle alone."""
    cell = Cell(1, grouped())
    node, phones = cell.node, cell.phones
    node.start()
    assert node.media is not None
    node.media.directory(MergedDirectory({"100": media.DirectoryNumber("100", "t1", 0)}, {}))
    for contact in ("c1", "c2"):
        phones.call(Caller(contact, "t1", "100", "+49555", 0, patience_ms=60_000, digits=(), talk_ms=0))
    cell.scheduler.run(100)
    node.crash(alone=True)
    cell.scheduler.run(200)
    phones.hang_up("c1")
    cell.scheduler.run(300)
    node.start()
    cell.scheduler.run(400)
    node.state.apply(taken := Acked("t1", 2), encode_change(taken))  # that both of them came
    assert not phones.dialogs["c1"].dead
    node.lose_journal(b"", alone=True)
    assert phones.dialogs["c1"].dead and phones.dialogs["c2"].open


def _ended_as(cell: Cell, outcome: w.ContactOutcome, *before: tuple[str, object]) -> None:
    """The oracle hears that the contact `c1` ended so, after these events of it."""
    ended = w.ContactDisconnected(outcome, w.EndedBy.CALLER, media.Cause.NORMAL, (), 0)
    happened = [
        (Envelope(f"e{at}", "t1", "contact/c1", at, 0, "", "", "", Part(name, b"")), event)
        for at, (name, event) in enumerate((*before, ("contact.disconnected", ended)))
    ]
    commit = Commit(1, 1, 0, "boot", 0, ENGINE)
    Outcomes(cell.phones.dialogs, cell.phones.callers).commit(Partition("live", 0), commit, happened)


def test_a_caller_is_a_stray_only_if_their_arrival_went_with_the_journal() -> None:
    """A benchmark saw it and no seed did: the oracle took every contact that failed for one that had to."""
    cell = Cell(1, grouped())
    node, phones = cell.node, cell.phones
    node.start()
    assert node.media is not None
    node.media.directory(MergedDirectory({"100": media.DirectoryNumber("100", "t1", 0)}, {}))
    phones.call(Caller("c1", "t1", "100", "+49555", 0, patience_ms=60_000, digits=(), talk_ms=0))
    cell.scheduler.run(100)
    with pytest.raises(Violation, match="no caller is taken for a stray"):
        _found_stray(cell, "c1")
    _found_stray(cell, "c1.o1")
    node.lose_journal(b"", alone=True)
    _found_stray(cell, "c1")


def _found_stray(cell: Cell, leg: str) -> None:
    """The oracle hears that the node listed a leg that nobody holds."""
    event = StrayFound("m1", leg, 0)
    envelope = Envelope("e1", "t1", f"stray/1.{leg}", 0, 0, "", "", "", Part("stray.found", b""))
    commit = Commit(1, 1, 0, "boot", 0, ENGINE)
    Strays(cell.phones.dialogs, cell.phones.callers).commit(Partition("live", 0), commit, [(envelope, event)])


def test_that_two_talk_is_known_to_nobody_once_the_journal_that_was_to_tell_it_is_lost() -> None:
    """Seed 10420 of 30 minutes, grouped: a journal was lost in the millisecond in which two were joined; they
    hung up before there was another agent, and that the contact ended as abandoned was taken for wrong. A
    fault of the oracle alone."""
    cell = Cell(1, grouped())
    node, phones, ring = cell.node, cell.phones, "c1.o1"
    phones.calm = True
    node.start()
    calls = node.media
    assert calls is not None
    devices = {"phone": media.DirectoryDevice("phone", "t1", 0, "t1", "", "")}
    calls.directory(MergedDirectory({"100": media.DirectoryNumber("100", "t1", 0)}, devices))
    phones.add_device(Device("phone", "t1", "ana"))
    calls.register("phone")
    phones.call(Caller("c1", "t1", "100", "+49555", 0, patience_ms=60_000, digits=(), talk_ms=30_000))
    for key, leg, verb in (
        ("k1", "c1", media.Answer()),
        ("k2", ring, media.Originate("phone", 15_000, "o1", Secret(b""))),
    ):
        calls.perform(media.Command("t1", key, leg, verb))
    cell.scheduler.run(10_000)
    calls.perform(media.Command("t1", "k3", "c1", bridge := media.Bridge(ring)))
    assert not phones.dialogs["c1"].unheard
    node.lose_journal(b"", alone=True)
    phones.hang_up("c1")
    assert phones.dialogs["c1"].talked_to_end
    _ended_as(cell, w.ContactOutcome.ABANDONED)
    connected = ("contact.connected", w.ContactConnected("o1", "ana", "c1-o1", Withheld(), 0))
    with pytest.raises(Violation, match="the caller was talking"):
        _ended_as(cell, w.ContactOutcome.ABANDONED, connected)  # an owner had taken it
    phones.joined("c1", bridge.other)
    phones.ended("c1", media.Cause.NORMAL, media.By.FAR)
    assert not phones.dialogs["c1"].unheard  # the next agent was told of it


def test_who_goes_away_and_comes_back_is_not_rung_before_the_pause_is_over() -> None:
    """Seed 2017 of 30 minutes, split: nobody knew what had become of a ring, so the phone was left alone
    for as long as it might go on; the agent went away and came back, and it was rung on top of it."""
    world = DeskWorld()
    world.queue()
    world.ready("ana")
    world.caller("c1")
    world.close(world.offer_of("ana"), rw.Outcome.UNKNOWN)
    for presence in ("Away", rw.AVAILABLE):
        world.do(rw.SetPresence("ana", presence))
    assert world.offers == {}
    world.pass_ms(15_000)
    assert [offer.agent for offer in world.offers.values()] == ["ana"]
