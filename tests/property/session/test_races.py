"""Every race of a call (pitfalls, "Races of a call") in every order, grouped and split, with a
takeover at any step: callers, agents, phones, clients, owners and the node do what they like."""

from __future__ import annotations

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, rule

from tandem.core.ports.media import By, Cause
from tandem.routing.domain import words as rw
from tandem.session.domain import words as sw
from tests.support.budget import examples
from tests.support.live_checks import at_any_time, at_rest, everybody_goes_home
from tests.support.live_world import LiveWorld

AGENTS = st.sampled_from(["ana", "ben"])


class Races(RuleBasedStateMachine):
    """Each rule lets one thing happen; most leave the others waiting."""

    split = False

    @initialize(wrap_up_ms=st.sampled_from([0, 10_000]), waiting=st.integers(0, 3))
    def begin(self, wrap_up_ms: int, waiting: int) -> None:
        self.world = LiveWorld("ana", "ben", split=self.split, wrap_up_ms=wrap_up_ms)
        self.rang_out: set[str] = set()
        self.calls = 0
        for _ in range(waiting):
            self.calls += 1
            self.world.waiting(f"c{self.calls}")

    def _leg(self, data: st.DataObject, agent: bool, **wanted: bool) -> str | None:
        """A leg of the node: an agent's or a caller's, in that condition."""
        found = [
            name
            for name, leg in sorted(self.world.node.legs.items())
            if ("." in name) is agent and all(bool(getattr(leg, key)) is value for key, value in wanted.items())
        ]
        return data.draw(st.sampled_from(found)) if found else None

    # ---------------------------------------------------------------- callers

    @rule()
    def somebody_dials(self) -> None:
        if len(self.world.node.legs) < 8:
            self.calls += 1
            self.world.call(f"c{self.calls}")

    @rule(data=st.data())
    def somebody_comes_to_the_queue(self, data: st.DataObject) -> None:
        if len(self.world.node.legs) < 8:
            self.calls += 1
            self.world.call(f"c{self.calls}")
            self.world.settle()
            leg = self.world.node.legs.get(f"c{self.calls}")
            if leg is not None and leg.up:
                self.world.press(f"c{self.calls}")

    @rule(data=st.data(), digit=st.sampled_from(["1", "1", "7", ""]))
    def a_digit_or_time_out(self, data: st.DataObject, digit: str) -> None:
        asked = sorted(self.world.node.collecting)
        if asked:
            self.world.node.digit(data.draw(st.sampled_from(asked)), digit)

    @rule(data=st.data())
    def a_prompt_is_over(self, data: st.DataObject) -> None:
        leg = self._leg(data, False, playing=True)
        if leg and leg not in self.world.node.collecting:
            self.world.node.played(leg)

    @rule(data=st.data())
    def the_caller_hangs_up(self, data: st.DataObject) -> None:
        leg = self._leg(data, False)
        if leg:
            up = self.world.node.legs[leg].up
            self.world.node.end(leg, Cause.NORMAL if up else Cause.CANCELED, By.FAR)

    # ---------------------------------------------------------------- agents' phones

    @rule(data=st.data())
    def a_phone_rings(self, data: st.DataObject) -> None:
        leg = self._leg(data, True, ringing=False, up=False)
        if leg:
            self.world.node.ring(leg)

    @rule(data=st.data())
    def the_agent_answers(self, data: st.DataObject) -> None:
        leg = self._leg(data, True, up=False)
        if leg:
            self.world.node.answer(leg)

    @rule(data=st.data(), cause=st.sampled_from([Cause.DECLINED, Cause.BUSY, Cause.UNREACHABLE, Cause.NO_MEDIA]))
    def the_phone_refuses(self, data: st.DataObject, cause: Cause) -> None:
        leg = self._leg(data, True, up=False)
        if leg:
            self.world.node.end(leg, cause, By.FAR)

    @rule(data=st.data())
    def it_rings_for_its_whole_time(self, data: st.DataObject) -> None:
        leg = self._leg(data, True, up=False, ringing=True)
        if leg:
            self.rang_out.add(leg)
            limit = self.world.node.legs[leg].limit_ms
            self.world.node.end(leg, Cause.NO_ANSWER, By.NODE, limit)

    @rule(data=st.data())
    def the_agent_hangs_up(self, data: st.DataObject) -> None:
        leg = self._leg(data, True, up=True)
        if leg:
            self.world.node.end(leg, Cause.NORMAL, By.FAR)

    @rule(data=st.data())
    def the_agents_network_is_gone(self, data: st.DataObject) -> None:
        leg = self._leg(data, True, up=True)
        if leg:
            self.world.node.end(leg, Cause.NO_MEDIA, By.NODE)

    @rule(agent=AGENTS, on=st.booleans())
    def a_phone_registers_or_is_gone(self, agent: str, on: bool) -> None:
        self.world.device(agent, on=on)

    # ---------------------------------------------------------------- clients

    @rule(agent=AGENTS, presence=st.sampled_from([rw.AVAILABLE, "Break"]))
    def the_agent_says(self, agent: str, presence: str) -> None:
        self.world.presence(agent, presence)

    @rule(agent=AGENTS)
    def the_agent_is_through(self, agent: str) -> None:
        self.world.ask(self.world.desk_lane, "desk", rw.FinishWrapUp(agent))

    @rule(data=st.data())
    def the_api_hangs_up(self, data: st.DataObject) -> None:
        contacts = sorted(self.world.contacts())
        if contacts:
            contact = data.draw(st.sampled_from(contacts))
            self.world.ask(self.world.talk, f"contact/{contact}", sw.HangUpContact())

    @rule(data=st.data(), paused=st.booleans())
    def the_api_turns_a_recording(self, data: st.DataObject, paused: bool) -> None:
        contacts = sorted(self.world.contacts())
        if contacts:
            contact = data.draw(st.sampled_from(contacts))
            self.world.ask(self.world.talk, f"contact/{contact}", sw.PauseRecording(paused, ""))

    # ---------------------------------------------------------------- what is under way

    @rule(lane=st.integers(0, 1), what=st.sampled_from(["turn", "store", "deliver"]))
    def an_owner_goes_on(self, lane: int, what: str) -> None:
        getattr(self.world, what)(self.world.lanes[lane % len(self.world.lanes)])

    @rule()
    def the_node_does_an_order(self) -> None:
        self.world.work()

    @rule()
    def the_owner_hears_the_node(self) -> None:
        self.world.hear()
        self.world.turn(self.world.talk)

    @rule()
    def all_comes_through(self) -> None:
        self.world.settle()

    @rule(ms=st.sampled_from([1000, 6000, 20_000, 150_000]))
    def time_passes(self, ms: int) -> None:
        self.world.pass_ms(ms)

    @rule(lane=st.integers(0, 1), landed=st.booleans(), arrived=st.booleans())
    def an_owner_dies(self, lane: int, landed: bool, arrived: bool) -> None:
        self.world.takeover(self.world.lanes[lane % len(self.world.lanes)], landed=landed, arrived=arrived)

    @rule(arrived=st.booleans())
    def the_link_flaps(self, arrived: bool) -> None:
        self.world.flap(arrived=arrived)

    # ---------------------------------------------------------------- what must hold

    @invariant()
    def nobody_has_two_calls(self) -> None:
        if hasattr(self, "world"):
            at_any_time(self.world)

    def teardown(self) -> None:
        if hasattr(self, "world"):
            everybody_goes_home(self.world)
            at_rest(self.world, self.rang_out)


class SplitRaces(Races):
    """The same, with session and routing on partitions of their own."""

    split = True


Races.TestCase.settings = SplitRaces.TestCase.settings = examples(40, steps=40)
TestRaces = Races.TestCase
TestSplitRaces = SplitRaces.TestCase
