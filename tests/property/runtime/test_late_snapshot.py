"""Desk, reception and contacts under snapshots and state hashes that are made a few rows at a time:
whatever happens between two rows, they are of the state at which they were begun."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, precondition, rule

from tandem.core.ports.media import By, Cause, LegAnswered, LegEnded, LegRinging
from tandem.routing.domain import words as rw
from tandem.runtime import log_codec
from tandem.runtime.step import Offer
from tandem.session.domain import reception as r
from tests.support.budget import examples
from tests.support.late_snapshot import LateHash, LateSnapshot, check_hashes, check_replay
from tests.support.small_cell import STEPS, TENANT, SmallCell

AGENTS = ("ann", "bob")
AGENT = st.sampled_from(AGENTS)


class SnapshotLife(RuleBasedStateMachine):
    """One tenant's live shard with a few callers and two agents."""

    def __init__(self) -> None:
        super().__init__()
        self.cell = SmallCell()
        self.calls = 0
        self.version = 10
        self.configured = 100
        self.late: list[LateSnapshot] = []
        self.hash = LateHash(self.cell.shard)

    @initialize()
    def open(self) -> None:
        self.cell.configure(*AGENTS)

    # ---------------------------------------------------------------- what happens

    @rule()
    def call(self) -> None:
        self.calls += 1
        self.cell.call(f"c{self.calls}")

    @precondition(lambda self: self.calls)
    @rule(data=st.data(), body=st.sampled_from(["ringing", "answered", "declined", "hung up"]))
    def leg(self, data: st.DataObject, body: str) -> None:
        legs = [leg for a in self.cell.shard.ledger.aggregates.values() for _, leg in a.kind.legs(a.state)]
        if legs:
            events = {
                "ringing": LegRinging(),
                "answered": LegAnswered(),
                "declined": LegEnded(Cause.DECLINED, By.FAR),
                "hung up": LegEnded(Cause.NORMAL, By.FAR),
            }
            self.cell.leg(data.draw(st.sampled_from(legs)), events[body])

    @rule(agent=AGENT, presence=st.sampled_from([rw.AVAILABLE, rw.OFFLINE]))
    def presence(self, agent: str, presence: str) -> None:
        self.cell.ask("desk", rw.SetPresence(agent, presence), f"r{self.version}", "d")
        self.version += 1

    @rule(agent=AGENT, on=st.booleans())
    def device(self, agent: str, on: bool) -> None:
        self.cell.input("reception", r.NoteDevice(f"{agent}-phone", "m1", on, self.cell.shard.now_ms))

    @rule(what=st.sampled_from(["queue", "agent", "number", "flow"]), deleted=st.booleans())
    def publish(self, what: str, deleted: bool) -> None:
        self.version, self.configured = self.version + 1, self.configured + 1
        stream, command = {
            "queue": ("desk", rw.PublishQueue("sales", self.version, 15_000, 10_000, deleted)),
            "agent": ("desk", rw.PublishAgent("bob", self.version, ("sales",), (), ("bob-phone",), deleted)),
            "number": ("reception", r.PublishNumber("200", self.version, "main", deleted)),
            "flow": ("reception", r.PublishFlow("main", self.version, STEPS)),
        }[what]
        self.cell.shard.offer(Offer(f"tenant/0/{TENANT}", self.configured, TENANT, stream, command))
        self.cell.settle()

    @rule(ms=st.sampled_from([1000, 20_000, 61_000]))
    def time_passes(self, ms: int) -> None:
        self.cell.pass_ms(ms)

    # ---------------------------------------------------------------- snapshots

    @rule()
    def begin(self) -> None:
        self.late.append(LateSnapshot(self.cell.shard.ledger))

    @rule(rows=st.integers(1, 5))
    def pack(self, rows: int) -> None:
        for late in self.late:
            late.pack(rows)

    @rule(rows=st.integers(1, 20))
    def digest(self, rows: int) -> None:
        self.hash.work(rows)

    def teardown(self) -> None:
        """Each is finished, and is what it should be."""
        for late in self.late:
            late.check()
        self.hash.work(10_000)
        self.cell.settle()
        check_hashes(self.cell.shard.group, [log_codec.decode(stored.body) for stored in self.cell.log])
        check_replay(self.cell.shard.group, self.cell.log, self.cell.keys)


SnapshotLife.TestCase.settings = examples(50, steps=40)
TestSnapshotLife = SnapshotLife.TestCase
