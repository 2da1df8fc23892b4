"""The agent's own rules: homes, limits, what waits, what is answered and what is forgotten."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

import pytest

from tandem.core.points import KillAt, Point, Points
from tandem.core.ports.log import Partition
from tandem.core.ports.media import (
    Ack,
    Answer,
    CallRefused,
    Cause,
    Command,
    CommandSettled,
    DeviceRegistered,
    DeviceUnregistered,
    Directory,
    DirectoryDevice,
    DirectoryNumber,
    Event,
    FromNode,
    HangUp,
    Hello,
    KeptEnd,
    LegAnswered,
    LegArrived,
    LegEnded,
    LegHeld,
    LegResumed,
    Legs,
    LegTakenOver,
    ListLegs,
    MediaEvent,
    Outcome,
    Play,
    StaleEpoch,
    ToNode,
    Welcome,
)
from tandem.core.ports.media import By as EndedBy
from tandem.core.seal import secret
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import BEAT_MS, BEHIND, TOO_MANY_KEYS, AgentSettings, Notice
from tandem.media.backend import LiveLeg, MergedDirectory, Row, RowKind
from tandem.media.journal.file import MemoryStore, load, open_journal
from tandem.media.turn import BACKEND_FAULT, Turns
from tests.support.full_store import FullStore

ARRIVED = LegArrived("+4930100", secret("+49301234567"))
ENDED = LegEnded(Cause.NORMAL, EndedBy.FAR)


class Backend:
    """Remembers what it was asked; a test says what happens."""

    def __init__(self) -> None:
        self.asked: list[Any] = []
        self.live: tuple[LiveLeg, ...] = ()
        self.fails = False
        self.died_ms = -1

    def directory(self, directory: MergedDirectory) -> None:
        self.asked.append(directory)

    def restore(self, rows: Iterable[Row], died_ms: int) -> None:
        self.asked.append(tuple(rows))
        self.died_ms = died_ms

    def perform(self, command: Command) -> None:
        if self.fails:
            raise RuntimeError("planted")
        self.asked.append(command)

    def settle(self, command: Command) -> None:
        self.asked.append(("settle", command))

    def owner_present(self, shard: int, present: bool) -> None:
        self.asked.append((shard, present))

    def journal_away(self, away: bool) -> None:
        self.asked.append(("journal away", away))

    def drain(self, on: bool) -> None:
        self.asked.append(("drain", on))

    def strangers(self) -> int:
        return 0

    def let_go(self, legs: Iterable[LiveLeg]) -> None:
        self.asked.append(("let go", tuple(leg.leg for leg in legs)))

    def legs(self) -> tuple[LiveLeg, ...]:
        return self.live


class Node:
    """An agent, a journal in memory and the backend above."""

    def __init__(
        self,
        store: MemoryStore | None = None,
        points: Points | None = None,
        now_ms: int = 1_000,
        boot_id: str = "boot",
        **limits: int,
    ) -> None:
        self.store = store or MemoryStore()
        journal, self.state, _ = open_journal(self.store, bytes(32), bytes, "i1")
        self.backend = Backend()
        self.agent = MediaAgent(AgentSettings("m1", boot_id, **limits), self.state)
        self.turns = Turns(self.agent, self.state, journal, self.backend, points or Points())
        self.sent: dict[str, list[FromNode]] = {}
        self.closed: dict[str, str] = {}
        self.notices: list[Notice] = []
        self.now_ms = now_ms
        self.agent.start(self.now_ms)
        self.run()

    def run(self) -> None:
        self.agent.beat(self.now_ms)
        out = self.turns.run(self.now_ms)
        for link, frame in out.sends:
            self.sent.setdefault(link, []).append(frame)
        self.closed |= dict(out.closes)
        self.notices += out.notices

    def put(self, link: str, *frames: ToNode) -> None:
        for frame in frames:
            self.agent.receive(link, frame, self.now_ms)
        self.run()

    def emit(self, leg: str, *bodies: MediaEvent, tenant: str = "t1") -> None:
        for body in bodies:
            self.agent.emit(tenant, leg, body, self.now_ms)
        self.run()

    def events(self, link: str) -> list[tuple[int, str, MediaEvent]]:
        return [(f.number, f.leg, f.body) for f in self.sent.get(link, []) if isinstance(f, Event)]


def hello(epoch: int = 1, shard: int = 0, marks: Mapping[str, int] | None = None, group: str = "live") -> Hello:
    return Hello(group, shard, epoch, "i1", tuple((marks or {}).items()))


def directory(version: int, tenant: str, shard: int = 0, number: str = "+4930100") -> Directory:
    return Directory(version, (DirectoryNumber(number, tenant, shard),), ())


def connected(**limits: int) -> Node:
    node = Node(**limits)
    node.put("a", hello(), directory(1, "t1"))
    return node


def test_hello_is_answered_with_who_we_are_and_what_was_kept() -> None:
    node = Node()
    node.put("a", hello())
    assert node.sent["a"] == [Welcome("m1", "i1", "boot", 1_000), KeptEnd()]
    assert node.backend.asked == [(), (0, True)]


def test_a_node_says_whether_it_takes_callers_over() -> None:
    node = Node(takes_over=True)
    node.put("a", hello())
    assert node.sent["a"][0] == Welcome("m1", "i1", "boot", 1_000, draining=False, takes_over=True)


def test_the_first_frame_must_be_hello_and_there_is_one() -> None:
    node = Node()
    node.put("a", ListLegs())
    node.put("b", hello())
    node.put("b", hello())
    assert set(node.closed) == {"a", "b"}
    assert node.backend.asked[-1] == (0, False)


def test_presence_is_told_when_it_changes() -> None:
    node = Node()
    node.put("a", hello())
    node.put("b", hello())
    node.agent.link_closed("a")
    node.run()
    node.agent.link_closed("b")
    node.agent.link_closed("b")
    node.run()
    assert node.backend.asked[1:] == [(0, True), (0, False)]


def test_the_same_owner_on_a_new_link_replaces_the_old_one_without_a_stale_epoch() -> None:
    node = Node()
    node.put("a", hello(3))
    node.put("b", hello(3))
    assert "a" in node.closed
    assert not any(isinstance(frame, StaleEpoch) for frame in node.sent["a"])


def test_events_go_to_the_tenants_home() -> None:
    node = connected()
    node.put("b", hello(shard=1), directory(1, "t2", 1, "+4930200"))
    node.emit("c1", ARRIVED)
    node.emit("c2", ARRIVED, tenant="t2")
    assert [leg for _, leg, _ in node.events("a")] == ["c1"]
    assert [leg for _, leg, _ in node.events("b")] == ["c2"]


def test_a_tenant_that_moves_takes_its_kept_events_along() -> None:
    node = connected()
    node.emit("c1", ARRIVED)
    node.put("b", hello(shard=1))
    assert node.events("b") == []
    node.put("b", directory(1, "t1", 1))
    node.emit("c1", ENDED)
    assert [number for number, _, _ in node.events("b")] == [1, 2]
    assert [number for number, _, _ in node.events("a")] == [1]


def test_directories_of_shards_are_merged_and_the_home_counts() -> None:
    node = connected()
    node.put("b", hello(shard=1), directory(1, "t2", 1, "+4930200"))
    merged = node.backend.asked[-1]
    assert set(merged.numbers) == {"+4930100", "+4930200"}
    node.put("b", directory(2, "t1", 1))
    assert node.backend.asked[-1].numbers["+4930100"].shard == 1


def test_the_same_directory_again_is_not_written_again() -> None:
    node = connected()
    size = len(node.store.data)
    node.put("a", directory(1, "t1"))
    assert len(node.store.data) == size


def test_a_restarted_agent_gives_the_backend_what_it_knew() -> None:
    node = connected()
    node.agent.remember(RowKind.LEG, "c1", {"dialog": ["x"]})
    node.agent.remember(RowKind.LEG, "c2", {})
    node.agent.remember(RowKind.LEG, "c2", None)
    node.put("a", Command("t1", "k1", "c1", Play(("p",))), Command("t1", "k2", "c1", Answer()))
    node.emit("c1", CommandSettled("k2", Outcome.DONE))
    again = Node(node.store)
    assert isinstance(again.backend.asked[0], MergedDirectory)
    assert again.backend.asked[1:] == [
        (Row(RowKind.LEG, "c1", {"dialog": ["x"]}),),
        ("settle", Command("t1", "k1", "c1", Play(("p",)))),
    ]


def test_marks_in_hello_acknowledge() -> None:
    node = connected()
    node.emit("c1", ARRIVED, LegAnswered())
    node.put("b", hello(2, marks={"t1": 1}))
    assert [number for number, _, _ in node.events("b")] == [2]
    assert node.state.kept_count("t1") == 1


def test_a_mark_ahead_of_us_moves_our_numbers_up() -> None:
    node = connected()
    node.put("b", hello(2, marks={"t1": 7}))
    node.emit("c1", ARRIVED)
    assert [number for number, _, _ in node.events("b")] == [8]
    assert [notice.reason for notice in node.notices if notice.reason == "MARK_AHEAD"] == ["MARK_AHEAD"]


def test_an_acknowledgement_of_what_was_never_sent_ends_the_link() -> None:
    node = connected()
    node.put("a", Ack("t1", 1))
    assert "never sent" in node.closed["a"]


def test_a_key_is_dropped_once_outcome_and_end_are_acknowledged() -> None:
    node = connected()
    node.emit("c1", ARRIVED)
    node.put("a", Command("t1", "k1", "c1", Answer()))
    node.emit("c1", CommandSettled("k1", Outcome.DONE))
    node.put("a", Ack("t1", 2))
    assert ("t1", "k1") in node.state.keys, "the leg lives"
    node.put("a", Command("t1", "k2", "c1", HangUp()))
    node.emit("c1", ENDED, CommandSettled("k2", Outcome.DONE))
    node.put("a", Ack("t1", 3))
    assert list(node.state.keys) == [("t1", "k2")], "its outcome is not acknowledged"
    node.put("a", Ack("t1", 4))
    assert node.state.keys == {}


def test_a_key_of_a_leg_that_never_was_is_dropped_with_its_outcome() -> None:
    node = connected()
    node.put("a", Command("t1", "k1", "nobody", HangUp()))
    node.emit("nobody", CommandSettled("k1", Outcome.DONE))
    node.put("a", Ack("t1", 1))
    assert node.state.keys == {}


def test_a_settlement_under_way_is_not_told_twice() -> None:
    node = connected()
    command = Command("t1", "k1", "c1", Answer())
    node.put("a", command, command)
    node.emit("c1", CommandSettled("k1", Outcome.DONE))
    node.put("a", command)
    assert len(node.events("a")) == 1
    assert node.backend.asked.count(command) == 1


def test_the_backend_settles_once() -> None:
    node = connected()
    node.put("a", Command("t1", "k1", "c1", Answer()))
    node.emit("c1", CommandSettled("k1", Outcome.DONE), CommandSettled("k1", Outcome.FAILED, "X"))
    assert len(node.events("a")) == 1
    assert node.notices[-1].reason == "SETTLED_TWICE"


def test_too_many_keys_fail_but_a_hang_up_passes() -> None:
    node = connected(keys_max=1)
    node.put("a", Command("t1", "k1", "c1", Answer()), Command("t1", "k2", "c1", Answer()))
    assert node.events("a") == [(1, "c1", CommandSettled("k2", Outcome.FAILED, TOO_MANY_KEYS))]
    node.put("a", Command("t1", "k3", "c1", HangUp()), Command("t1", "k4", "c1", HangUp()))
    assert [c.key for c in node.backend.asked if isinstance(c, Command)] == ["k1", "k3"]


def test_a_refused_key_can_be_tried_again_when_there_is_room() -> None:
    node = connected(keys_max=1)
    node.put("a", Command("t1", "k1", "c1", Answer()), Command("t1", "k2", "c1", Answer()))
    node.emit("c1", CommandSettled("k1", Outcome.DONE))
    node.put("a", Ack("t1", 2), Command("t1", "k2", "c1", Answer()))
    assert ("t1", "k2") in node.state.keys
    assert Node(node.store).state.keys["t1", "k2"].settled is None, "also after a restart"


def test_with_too_many_kept_events_calls_are_refused_and_owners_hear_nothing_of_them() -> None:
    node = connected(kept_max=2)
    node.emit("c1", ARRIVED, LegAnswered())
    node.emit("c2", ARRIVED)
    refusal = node.backend.asked[-1]
    assert (refusal.leg, refusal.verb) == ("c2", HangUp(Cause.REFUSED))
    node.emit("c2", ENDED, CommandSettled(refusal.key, Outcome.DONE))
    node.emit("", CallRefused("+4930100", "CAPACITY"))
    assert [leg for _, leg, _ in node.events("a")] == ["c1", "c1"]
    node.emit("c1", ENDED)
    assert node.events("a")[-1] == (3, "c1", ENDED), "calls that exist go on being told"
    node.put("a", Ack("t1", 3))
    node.emit("c2", ARRIVED)
    assert node.events("a")[-1] == (4, "c2", ARRIVED), "the name is free again"


def test_a_refused_call_is_not_listed() -> None:
    node = connected(kept_max=1)
    node.emit("c1", ARRIVED)
    node.emit("c2", ARRIVED)
    node.backend.live = tuple(LiveLeg("t1", 0, leg) for leg in ("c1", "c2"))
    node.put("a", ListLegs())
    assert node.sent["a"][-1] == Legs((("t1", "c1"),))


def test_legs_are_listed_as_of_what_their_owner_was_told() -> None:
    """An owner hangs up a listed leg whose arrival it was not told, and ends the contact of one that is not
    listed: after a takeover under load some events wait here while it asks."""
    node = connected(under_way_max=2)
    node.put("a", directory(2, "t2"))
    node.emit("c1", ARRIVED)
    node.emit("c2", ARRIVED)
    node.emit("c1", ENDED)
    node.emit("c3", ARRIVED)
    node.emit("c4", ARRIVED)
    node.emit("c4", ENDED)
    node.emit("c6", LegTakenOver())
    node.emit("c5", ARRIVED, tenant="t2")
    node.backend.live = tuple(
        LiveLeg(*leg) for leg in (("t1", 0, "c2"), ("t1", 0, "c3"), ("t1", 0, "c6"), ("t2", 0, "c5"))
    )
    node.put("a", ListLegs())
    assert sorted(listed(node)) == [("t1", "c1"), ("t1", "c2"), ("t2", "c5")]
    node.put("a", Ack("t1", 4), ListLegs())
    assert sorted(listed(node)) == [("t1", "c2"), ("t1", "c3"), ("t2", "c5")]
    node.put("a", Ack("t1", 6), ListLegs())
    assert sorted(listed(node)) == [("t1", "c2"), ("t1", "c3"), ("t1", "c6"), ("t2", "c5")]


def listed(node: Node) -> tuple[tuple[str, str], ...]:
    """The last list of legs that was sent over the link "a"."""
    return [frame.legs for frame in node.sent["a"] if isinstance(frame, Legs)][-1]


def test_changes_of_state_wait_for_room_the_latest_of_each() -> None:
    node = connected(kept_max=1)
    node.emit("c1", ARRIVED)
    node.emit("c1", LegHeld(), LegResumed(), LegHeld())
    node.emit("", DeviceRegistered("anna"), DeviceUnregistered("anna"), DeviceRegistered("ben"))
    assert len(node.events("a")) == 1
    again = Node(node.store, kept_max=3)
    again.put("b", hello(2, marks={"t1": 1}))
    told = [body for _, _, body in again.events("b")]
    assert told == [LegHeld(), DeviceUnregistered("anna"), DeviceRegistered("ben")]


def test_a_hold_that_waits_dies_with_its_leg() -> None:
    node = connected(kept_max=1)
    node.emit("c1", ARRIVED)
    node.emit("c1", LegHeld())
    node.emit("c1", ENDED)
    node.put("a", Ack("t1", 2))
    assert [body for _, _, body in node.events("a")] == [ARRIVED, ENDED]


def test_of_a_tenants_events_so_many_are_under_way_and_the_others_pass_no_neighbour() -> None:
    node = connected(under_way_max=2)
    node.put("a", directory(2, "t2"))
    node.emit("c1", ARRIVED, LegAnswered(), LegHeld(), ENDED)
    node.emit("c2", ARRIVED, tenant="t2")
    assert [leg for _, leg, _ in node.events("a")] == ["c1", "c1", "c2"]
    node.put("a", Ack("t1", 1))
    assert node.events("a")[3:] == [(3, "c1", LegHeld())]
    node.put("a", Ack("t1", 3))
    assert node.events("a")[4:] == [(4, "c1", ENDED)]


def test_a_new_owner_is_told_all_that_was_kept_whatever_may_be_under_way() -> None:
    node = connected(under_way_max=2)
    node.emit("c1", ARRIVED, LegAnswered(), LegHeld())
    node.put("b", hello(2))
    assert [number for number, _, _ in node.events("b")] == [1, 2, 3]
    assert node.sent["b"][-1] == KeptEnd()
    node.emit("c1", ENDED)
    assert len(node.events("b")) == 3
    node.put("b", Ack("t1", 2))
    assert node.events("b")[3:] == [(4, "c1", ENDED)]


def test_calls_of_a_tenant_that_is_behind_are_refused_and_counted() -> None:
    node = connected(under_way_max=1, behind_ms=500)
    node.put("a", directory(2, "t2"))
    node.emit("c1", ARRIVED)
    node.emit("c2", ARRIVED)
    node.now_ms += 501
    node.emit("c3", ARRIVED)
    refusal = node.backend.asked[-1]
    assert (refusal.leg, refusal.verb) == ("c3", HangUp(Cause.REFUSED))
    node.emit("c3", ENDED, CommandSettled(refusal.key, Outcome.DONE))
    node.emit("c4", ARRIVED, tenant="t2")
    assert [leg for _, leg, _ in node.events("a")] == ["c1", "c4"], "its neighbour's are let in"
    for number in (1, 2, 3):
        node.put("a", Ack("t1", number))
    assert [event for event in node.events("a") if event[1] != "c4"][1:] == [
        (2, "c2", ARRIVED),
        (3, "", CallRefused("+4930100", BEHIND)),
    ]
    node.emit("c5", ARRIVED)
    assert node.events("a")[-1] == (4, "c5", ARRIVED), "it has caught up"


def test_who_waited_for_an_owner_is_no_storm() -> None:
    node = connected(under_way_max=1, behind_ms=500)
    node.agent.link_closed("a")
    node.emit("c1", ARRIVED)
    node.emit("c2", ARRIVED)
    node.now_ms += 5_000
    node.emit("c3", ARRIVED)
    node.put("b", hello(2))
    node.emit("c4", ARRIVED)
    node.now_ms += 5_000
    node.emit("c5", ARRIVED)
    assert not any(isinstance(asked, Command) for asked in node.backend.asked)
    assert node.state.kept_count("t1") == 5


def test_a_backend_that_raises_settles_its_command_unknown() -> None:
    node = connected()
    node.backend.fails = True
    node.agent.receive("a", Command("t1", "k1", "c1", Answer()), node.now_ms)
    out = node.turns.run(node.now_ms)
    assert [str(fault) for fault in out.faults] == ["planted"]
    events = [frame for _, frame in out.sends if isinstance(frame, Event)]
    assert [event.body for event in events] == [CommandSettled("k1", Outcome.UNKNOWN, BACKEND_FAULT)]


def test_a_command_is_written_before_the_point_and_the_point_is_before_it_begins() -> None:
    class Struck(BaseException):
        pass

    def strike(_at: KillAt) -> None:
        raise Struck

    node = Node(points=Points(KillAt(Point.JOURNALLED, 1), strike))
    node.put("a", hello())
    node.agent.receive("a", Command("t1", "k1", "c1", Answer()), 0)
    try:
        node.turns.run(0)
    except Struck:
        assert not any(isinstance(asked, Command) for asked in node.backend.asked)
        assert Node(node.store).backend.asked[-1][0] == "settle"
        return
    raise AssertionError("the point was not reached")


@pytest.mark.parametrize("boot_id", ["boot", "another boot"])
def test_a_life_that_begins_on_a_full_disk_has_what_stands_there_and_tells_when_there_is_room(boot_id: str) -> None:
    store = FullStore(full=False)
    earlier = Node(store)
    earlier.put("a", hello(), directory(1, "t1"))
    earlier.agent.remember(RowKind.REGISTRATION, "ann", {"at": 1})
    earlier.run()
    store.full = True
    node = Node(store, boot_id=boot_id)
    assert node.backend.asked[1:] == [(Row(RowKind.REGISTRATION, "ann", {"at": 1}),), ("journal away", True)]
    assert node.turns.run(1_001).journal_error is not None
    store.full = False
    node.run()
    assert node.backend.asked[-1] == ("journal away", False)
    node.put("a", hello(2), directory(1, "t1"))
    node.agent.emit("t1", "c1", ARRIVED, 1_002)
    node.run()
    again = load(store.data, bytes(32))
    assert (again.boot_id, again.kept_count("t1")) == (boot_id, 1)


def test_nothing_leaves_while_the_journal_cannot_be_written() -> None:
    store = FullStore(full=False)
    node = Node(store)
    node.put("a", hello(), directory(1, "t1"))
    store.full = True
    node.agent.emit("t1", "c1", ARRIVED, 1)
    node.agent.receive("a", Command("t1", "k1", "c1", Answer()), 1)
    out = node.turns.run(1)
    assert out.journal_error is not None
    assert out.sends == []
    node.agent.emit("t1", "c1", LegAnswered(), 2)
    assert node.turns.run(1).journal_error is not None
    assert node.backend.asked[-1] == ("journal away", True)
    store.full = False
    node.run()
    told = [asked for asked in node.backend.asked if isinstance(asked, tuple) and "journal away" in asked]
    assert told == [("journal away", True), ("journal away", False)]
    assert [number for number, _, _ in node.events("a")] == [1, 2]
    assert Node(store).state.kept_count("t1") == 2


def test_homes_survive_a_restart() -> None:
    node = connected()
    assert Node(node.store).state.homes == {"t1": Partition("live", 0)}


def test_devices_are_merged_too() -> None:
    node = Node()
    device = DirectoryDevice("anna", "t1", 0, "t1.test", "0" * 32, "0" * 64)
    node.put("a", hello(), Directory(1, (), (device,)))
    assert node.backend.asked[-1].devices == {"anna": device}


# ------------------------------------------------------------------ the time of a death


def test_a_death_is_told_at_the_last_time_that_was_written() -> None:
    node = connected()
    node.agent.remember(RowKind.LEG, "c1", {})
    node.emit("c1", ARRIVED)
    node.now_ms = 5_000
    node.run()
    assert Node(node.store, now_ms=60_000).backend.died_ms == 5_000


def test_time_is_written_only_while_a_leg_lives() -> None:
    node = connected()
    assert node.agent.beat_ms is None
    node.agent.remember(RowKind.REGISTRATION, "anna", {})
    node.agent.remember(RowKind.LEG, "c1", {})
    node.agent.remember(RowKind.LEG, "c1", {"again": True})
    assert node.agent.beat_ms == 1_000 + BEAT_MS
    size = len(node.store.data)
    node.now_ms += BEAT_MS
    node.run()
    assert len(node.store.data) > size
    node.agent.remember(RowKind.LEG, "c1", None)
    assert node.agent.beat_ms is None


def test_an_event_is_a_sign_of_time_too_and_outlives_a_rewriting() -> None:
    node = connected()
    node.agent.remember(RowKind.LEG, "c1", {})
    node.now_ms = 1_400
    node.emit("c1", ARRIVED)
    node.put("a", Ack("t1", 1))
    assert node.agent.beat_ms == 1_400 + BEAT_MS
    once = Node(node.store, now_ms=2_000)  # an opened journal is written anew
    assert once.backend.died_ms == 1_400
    assert Node(once.store, now_ms=3_000).backend.died_ms == 1_400


def test_the_time_of_another_boot_says_nothing() -> None:
    node = connected()
    node.agent.remember(RowKind.LEG, "c1", {})
    node.now_ms = 900_000
    node.run()
    again = Node(node.store, now_ms=4_000, boot_id="boot2")
    assert again.backend.died_ms == 4_000
    assert Node(again.store, now_ms=9_000, boot_id="boot2").backend.died_ms == 4_000
