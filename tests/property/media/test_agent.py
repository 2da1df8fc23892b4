"""Agent, journal and the owners' end in any order of calls, commands, deaths and takeovers."""

from __future__ import annotations

from itertools import count

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, rule

from tandem.core.points import Points
from tandem.core.ports.log import Partition
from tandem.core.ports.media import (
    Ack,
    Answer,
    Collect,
    Command,
    CommandSettled,
    Directory,
    DirectoryDevice,
    DirectoryNumber,
    HangUp,
    LegArrived,
    LegEnded,
    ListLegs,
    Originate,
    Play,
    RecordStart,
    Verb,
)
from tandem.core.seal import Secret, secret
from tandem.media.agent import MediaAgent
from tandem.media.agent_io import AgentSettings
from tandem.media.journal.file import MemoryStore, load, open_journal
from tandem.media.link.agent_end import AgentStream
from tandem.media.link.owner_end import Heard, LegsHeard, OwnerLink, OwnerStream
from tandem.media.turn import Turns
from tandem.runtime.media_codec import Close
from tandem.simulation.scripted_media import Does, Phone, ScriptedMedia

KEY = bytes(range(32))
UNDER_WAY = 1
"""So few that an event often waits for the acknowledgement of another."""
PARTITION = Partition("live", 0)
TENANTS = ("t1", "t2")
LEGS = st.sampled_from(["c1", "c2", "c3", "c1.a", "c2.a"])
DIRECTORY = Directory(
    1,
    (DirectoryNumber("+491", "t1", 0), DirectoryNumber("+492", "t2", 0)),
    (DirectoryDevice("anna", "t1", 0, "r", "0" * 32, "0" * 64),),
)
VERBS: st.SearchStrategy[Verb] = st.sampled_from(
    [
        Answer(),
        Play(("p",)),
        Play(("p",), loop=True),
        Collect("menu", ("p",), 1, 3_000),
        Originate("anna", 5_000, "o1", secret("1")),
        RecordStart("r1", Secret(bytes(32))),
        HangUp(),
    ]
)


class Life(RuleBasedStateMachine):
    """One node through many lives, with owners that come and go."""

    def __init__(self) -> None:
        super().__init__()
        self.store = MemoryStore()
        self.salts = count(1)
        self.keys = count(1)
        self.epoch = 0
        self.now_ms = 1_000
        self.durable: dict[str, int] = {}
        self.heard: dict[str, list[Heard]] = {tenant: [] for tenant in TENANTS}
        self.sent_commands: list[Command] = []
        self.rung: list[str] = []
        self.media: ScriptedMedia | None = None
        self.stream: AgentStream | None = None
        self.start()
        self.take_over()

    # ------------------------------------------------------------------ the node

    def start(self) -> None:
        journal, state, _ = open_journal(
            self.store, KEY, lambda size: next(self.salts).to_bytes(size, "big"), f"i{next(self.salts)}"
        )
        self.state = state
        self.agent = MediaAgent(AgentSettings("m1", "boot", kept_max=6, under_way_max=UNDER_WAY), state)
        if self.media is None:
            self.media = ScriptedMedia(self.agent, self.now_ms)
            self.media.phones["anna"] = Phone(Does.RING_ON)
        else:
            self.media.reattach(self.agent)
        self.turns = Turns(self.agent, state, journal, self.media, Points())
        self.agent.start(self.now_ms)
        self.stream = None
        self.run_node()

    def run_node(self) -> None:
        out = self.turns.run(self.now_ms)
        assert not out.faults
        assert self.media is not None
        self.rung += [c.key for c in self.media.performed if isinstance(c.verb, Originate)]
        self.media.performed.clear()
        if self.stream is None:
            return
        for link, frame in out.sends:
            self.stream.send(link, frame)
        for link, reason in out.closes:
            self.stream.close(link, reason)
        for data in self.stream.take():
            for _, heard in self.owner_stream.receive(data, self.now_ms):
                if isinstance(heard, Heard):
                    self.heard[heard.tenant].append(heard)
                elif isinstance(heard, LegsHeard):
                    self.are_those_it_was_told_of(heard)

    # ------------------------------------------------------------------ the owner

    def marks(self, _incarnation: str) -> tuple[str, tuple[tuple[str, int], ...]]:
        return self.state.incarnation, tuple(self.durable.items())

    def dial(self) -> None:
        if self.stream is not None:
            for link in self.stream.links:
                self.agent.link_closed(link)
        self.owner_stream.lost("dialled anew")
        self.stream = AgentStream(f"s{next(self.salts)}")
        self.owner_stream.connected(self.now_ms)
        self.exchange()

    def exchange(self) -> None:
        for data in self.owner_stream.take():
            if self.stream is None:
                return
            for link, frame in self.stream.receive(data, self.now_ms):
                if isinstance(frame, Close):
                    self.agent.link_closed(link)
                else:
                    self.agent.receive(link, frame, self.now_ms)
        self.run_node()

    @rule()
    def take_over(self) -> None:
        """The owner dies; a successor knows only what was durable."""
        self.epoch += 1
        for tenant, heard in self.heard.items():
            self.heard[tenant] = [one for one in heard if one.number <= self.durable.get(tenant, 0)]
        self.owner_stream = OwnerStream("m1", "boot")
        self.owner = OwnerLink("m1", PARTITION, self.epoch, self.marks, lambda boottime_ms: boottime_ms)
        self.owner_stream.attach(self.owner)
        self.dial()
        self.owner_stream.send(self.owner, DIRECTORY)
        self.exchange()

    @rule()
    def break_the_stream(self) -> None:
        """The owner keeps what it has taken in memory, and asks from what is durable."""
        for tenant, heard in self.heard.items():
            self.heard[tenant] = [one for one in heard if one.number <= self.durable.get(tenant, 0)]
        self.dial()

    @rule(tenant=st.sampled_from(TENANTS), part=st.integers(0, 100))
    def acknowledge(self, tenant: str, part: int) -> None:
        """What was heard becomes durable, all of it or some."""
        numbers = [heard.number for heard in self.heard[tenant]]
        if not numbers:
            return
        number = numbers[0] + (numbers[-1] - numbers[0]) * part // 100
        self.durable[tenant] = max(number, self.durable.get(tenant, 0))
        self.owner_stream.send(self.owner, Ack(tenant, number))
        self.exchange()

    @rule()
    def list_legs(self) -> None:
        self.owner_stream.send(self.owner, ListLegs())
        self.exchange()

    def are_those_it_was_told_of(self, listed: LegsHeard) -> None:
        """Whose arrival was told and whose end was not. A leg that was ordered tells no arrival."""
        told: set[tuple[str, str]] = set()
        for one in [one for heard in self.heard.values() for one in heard]:
            if isinstance(one.body, LegArrived):
                told.add((one.tenant, one.leg))
            elif isinstance(one.body, LegEnded):
                told.discard((one.tenant, one.leg))
        ordered = {(sent.tenant, sent.leg) for sent in self.sent_commands if isinstance(sent.verb, Originate)}
        assert set(listed.legs) - ordered == told - ordered

    @rule(tenant=st.sampled_from(TENANTS), leg=LEGS, verb=VERBS)
    def command(self, tenant: str, leg: str, verb: Verb) -> None:
        command = Command(tenant, f"k{next(self.keys)}", leg, verb)
        self.sent_commands.append(command)
        self.owner_stream.send(self.owner, command)
        self.exchange()

    @rule(data=st.data())
    def repeat_a_command(self, data: st.DataObject) -> None:
        """As a takeover does with everything that is pending."""
        settled = {
            (tenant, heard.body.key)
            for tenant, all_heard in self.heard.items()
            for heard in all_heard
            if isinstance(heard.body, CommandSettled) and heard.number <= self.durable.get(tenant, 0)
        }
        pending = [c for c in self.sent_commands if (c.tenant, c.key) not in settled]
        if pending:
            self.owner_stream.send(self.owner, data.draw(st.sampled_from(pending)))
            self.exchange()

    # ------------------------------------------------------------------ the world

    @rule(number=st.sampled_from(["+491", "+492", "+493"]), leg=st.sampled_from(["c1", "c2", "c3"]))
    def call(self, number: str, leg: str) -> None:
        assert self.media is not None
        if leg not in [live.leg for live in self.media.legs()]:
            self.media.call(number, leg)
        self.run_node()

    @rule(leg=LEGS, what=st.sampled_from(["hang up", "press", "hold"]))
    def phone(self, leg: str, what: str) -> None:
        assert self.media is not None
        if what == "hang up":
            self.media.hang_up(leg)
        elif what == "press":
            self.media.press(leg, "1")
        else:
            self.media.hold(leg, held=True)
        self.run_node()

    @rule(registered=st.booleans())
    def register(self, registered: bool) -> None:
        assert self.media is not None
        self.media.register("anna", registered=registered)
        self.run_node()

    @rule(ms=st.integers(1, 6_000))
    def time_passes(self, ms: int) -> None:
        assert self.media is not None
        self.now_ms += ms
        self.media.advance(self.now_ms)
        self.run_node()

    @rule(calls_live=st.booleans(), torn=st.integers(0, 7))
    def the_agent_dies(self, calls_live: bool, torn: int) -> None:
        """With the beginning of a record written, as it may be."""
        assert self.media is not None
        self.store.data += bytes(torn)
        if calls_live:
            self.media.detach()
        else:
            self.media = None
        self.owner_stream.lost("the agent died")
        self.start()
        self.break_the_stream()

    # ------------------------------------------------------------------ what must hold

    @invariant()
    def events_come_in_order_without_gap_and_once(self) -> None:
        for heard in self.heard.values():
            numbers = [one.number for one in heard]
            assert numbers == list(range(1, len(numbers) + 1))

    @invariant()
    def what_may_be_under_way_is(self) -> None:
        """What waits for an acknowledgement goes on with it; nothing is left behind."""
        for tenant in TENANTS:
            first = self.state.first_kept(tenant)
            if first is not None and self.owner.up:
                heard = max((one.number for one in self.heard[tenant]), default=0)
                assert heard >= min(self.state.last[tenant], first - 1 + UNDER_WAY)

    @invariant()
    def no_phone_is_rung_twice_for_a_key(self) -> None:
        assert len(self.rung) == len(set(self.rung))

    @invariant()
    def a_command_has_one_outcome(self) -> None:
        for tenant, heard in self.heard.items():
            outcomes: dict[str, set[CommandSettled]] = {}
            for one in heard:
                if isinstance(one.body, CommandSettled):
                    outcomes.setdefault(one.body.key, set()).add(one.body)
            assert all(len(bodies) == 1 for bodies in outcomes.values()), tenant

    @invariant()
    def the_journal_holds_what_the_agent_knows(self) -> None:
        written = load(self.store.data, KEY)
        assert sorted(written.rows()) == sorted(self.state.rows())
        rewritten = MemoryStore(self.store.data)
        _, _, anew = open_journal(rewritten, KEY, bytes, "never")
        folded = load(rewritten.data, KEY)
        assert anew == ""
        assert sorted(folded.rows()) == sorted(self.state.rows())
        assert folded.open_commands() == self.state.open_commands(), "their order counts"
        assert folded.backend_rows() == self.state.backend_rows()
        assert [folded.kept(tenant) for tenant in TENANTS] == [self.state.kept(tenant) for tenant in TENANTS]


Life.TestCase.settings = settings(
    max_examples=40, stateful_step_count=40, deadline=None, suppress_health_check=list(HealthCheck)
)
TestLife = Life.TestCase
