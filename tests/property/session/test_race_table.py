"""The table "Races of a call" of the design, row by row: both sides of a race in every order, all
or nothing let through between, an owner that dies at any step, grouped and split; and the right end."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from tandem.core.flow import AnswerStep, FlowStep, HangUpStep
from tandem.core.ports.media import By, Cause
from tandem.routing.domain import words as rw
from tandem.runtime.step import Offer
from tandem.session.domain import words as sw
from tandem.session.domain.contact.states import Ringing
from tandem.session.domain.reception import PublishFlow
from tests.support.budget import examples
from tests.support.live_checks import at_rest, everybody_goes_home
from tests.support.live_world import LiveWorld

Move = Callable[[LiveWorld], None]


def _agent_leg(world: LiveWorld) -> str | None:
    """The agent's leg of c1 at the node, if it is there."""
    return next((leg for leg in world.node.legs if leg.startswith("c1.")), None)


def _answer(world: LiveWorld) -> None:
    leg = _agent_leg(world)
    if leg is not None and not world.node.legs[leg].up:
        world.node.answer(leg)


def _end(cause: Cause, by: By, *, caller: bool = False, up: bool | None = None) -> Move:
    def move(world: LiveWorld) -> None:
        leg = "c1" if caller else _agent_leg(world)
        if leg in world.node.legs and up in (None, world.node.legs[leg].up):
            rang_ms = world.node.legs[leg].limit_ms if cause is Cause.NO_ANSWER else 0
            world.node.end(leg, cause, by, rang_ms)

    return move


CALLER_HANGS_UP = _end(Cause.NORMAL, By.FAR, caller=True)
RING_TIME_OUT = _end(Cause.NO_ANSWER, By.NODE, up=False)
AGENT_HANGS_UP = _end(Cause.NORMAL, By.FAR, up=True)
NETWORK_GONE = _end(Cause.NO_MEDIA, By.NODE, up=True)


def _ring(world: LiveWorld) -> None:
    leg = _agent_leg(world)
    if leg is not None and not world.node.legs[leg].up:
        world.node.ring(leg)


def _phone_gone(world: LiveWorld) -> None:
    world.device("ana", on=False)


def _says(presence: str) -> Move:
    return lambda world: world.presence("ana", presence)


def _api_hangs_up(world: LiveWorld) -> None:
    world.ask(world.talk, "contact/c1", sw.HangUpContact())


def _enters(world: LiveWorld) -> None:
    if "c1" in world.node.collecting:
        world.node.digit("c1", "1")


# ------------------------------------------------------------------- scenes


def _in_menu(split: bool) -> LiveWorld:
    world = LiveWorld("ana", split=split)
    world.call("c1")
    world.settle()
    world.node.played("c1")
    world.settle()
    return world


def _ringing(split: bool) -> LiveWorld:
    world = LiveWorld("ana", split=split)
    world.waiting("c1")
    world.settle()
    _ring(world)
    world.settle()
    return world


def _talking(split: bool) -> LiveWorld:
    world = _ringing(split)
    _answer(world)
    world.settle()
    return world


# ------------------------------------------------------------------- what may come of it


def _events(world: LiveWorld, type_: type) -> list[Any]:
    return [event for _, event in world.events(type_)]


def _outcomes(world: LiveWorld) -> set[str]:
    return {event.outcome.value for event in _events(world, rw.ReservationClosed)}


def _nobody_is_blamed(world: LiveWorld) -> None:
    assert _events(world, rw.AgentNotResponding) == []


def _rescinded_or_answered(world: LiveWorld) -> None:
    """Hang-up before the offer reaches the phone, log-out, lost registration: the leg is cancelled."""
    _nobody_is_blamed(world)
    assert _outcomes(world) <= {"RESCINDED", "CANCELED", "UNREACHABLE"}
    idle = {event.idle_since_ms for event in _events(world, rw.AgentReady)}
    reserved = {event.idle_since_ms for event in _events(world, rw.AgentReserved)}
    if not _events(world, rw.AgentEngaged):
        assert reserved <= idle


def _one_order_of_answer_and_time_out(world: LiveWorld) -> None:
    """The node keeps the limit: whichever it saw first stands."""
    blamed, engaged = _events(world, rw.AgentNotResponding), _events(world, rw.AgentEngaged)
    assert len(blamed) + len(engaged) == 1
    assert len(_events(world, sw.ContactConnected)) == len(engaged)


def _wrap_up_only_with_audio(world: LiveWorld) -> None:
    assert len(_events(world, rw.WrapUpStarted)) == len(_events(world, sw.ContactConnected))


def _handled_once(world: LiveWorld) -> None:
    (ended,) = _events(world, sw.ContactDisconnected)
    assert ended.outcome in (sw.ContactOutcome.HANDLED, sw.ContactOutcome.ABANDONED, sw.ContactOutcome.HUNG_UP)


@dataclass(frozen=True)
class Race:
    """Two sides, each in its own order, and what must be true of whatever came of them."""

    scene: Callable[[bool], LiveWorld]
    one: tuple[Move, ...]
    other: tuple[Move, ...]
    right: Callable[[LiveWorld], None]


RACES = {
    "hang-up before the offer reaches the phone": Race(
        _in_menu, (_enters,), (CALLER_HANGS_UP,), _rescinded_or_answered
    ),
    "hang-up while it rings": Race(_ringing, (_answer,), (CALLER_HANGS_UP,), _rescinded_or_answered),
    "the api hangs up while the offer is on its way": Race(
        _in_menu, (_enters, _ring), (_api_hangs_up,), _rescinded_or_answered
    ),
    "answer crosses ring time-out": Race(_ringing, (_answer,), (RING_TIME_OUT,), _one_order_of_answer_and_time_out),
    "hang-up between the agent's answer and the bridge": Race(
        _ringing, (_answer,), (CALLER_HANGS_UP,), _wrap_up_only_with_audio
    ),
    "the agent logs out while ringing": Race(_ringing, (_answer,), (_says("Break"),), _nobody_is_blamed),
    "the agent logs out and in again while ringing": Race(
        _ringing, (_answer,), (_says("Break"), _says(rw.AVAILABLE)), _nobody_is_blamed
    ),
    "the phone loses its registration while ringing": Race(_ringing, (_answer,), (_phone_gone,), _nobody_is_blamed),
    "log-out crosses ring time-out": Race(_ringing, (RING_TIME_OUT,), (_says("Break"),), lambda world: None),
    "both hang up": Race(_talking, (CALLER_HANGS_UP,), (AGENT_HANGS_UP,), _handled_once),
    "the agent's network is gone and the caller hangs up": Race(
        _talking, (NETWORK_GONE,), (CALLER_HANGS_UP,), _handled_once
    ),
    "the agent's network is gone and the phone is back": Race(
        _talking, (NETWORK_GONE, _ring, _answer), (_phone_gone,), _handled_once
    ),
    "the api and the agent hang up": Race(_talking, (_api_hangs_up,), (AGENT_HANGS_UP,), _handled_once),
}


@pytest.mark.parametrize("split", [False, True], ids=["grouped", "split"])
@pytest.mark.parametrize("name", RACES)
def test_every_order_has_the_right_end(name: str, split: bool) -> None:
    race = RACES[name]
    moves = len(race.one) + len(race.other)

    @given(st.permutations([0] * len(race.one) + [1] * len(race.other)), st.data())
    @examples(10)
    def every_order(sides: list[int], data: st.DataObject) -> None:
        world = race.scene(split)
        waiting = (list(race.one), list(race.other))
        dies_at = data.draw(st.integers(-1, moves))
        rang_out: set[str] = set()
        for index, side in enumerate([*sides, -1]):
            if index == dies_at:
                _interrupt(world, data)
            if side >= 0:
                move = waiting[side].pop(0)
                leg = _agent_leg(world)
                move(world)
                if move is RING_TIME_OUT and leg is not None and leg not in world.node.legs:
                    rang_out.add(leg)
            _let_through(world, data.draw(st.sampled_from(["all", "nothing", "a bit"])))
        world.settle()
        everybody_goes_home(world)
        at_rest(world, rang_out)
        race.right(world)

    every_order()


def _interrupt(world: LiveWorld, data: st.DataObject) -> None:
    """The link to the node is lost, an owner dies, or one after the other."""
    what = data.draw(st.sampled_from(["the owner dies", "the link flaps", "both"]))
    if what != "the owner dies":
        world.flap(arrived=data.draw(st.booleans()))
    if what != "the link flaps":
        lane = data.draw(st.sampled_from(world.lanes))
        world.takeover(lane, landed=data.draw(st.booleans()), arrived=data.draw(st.booleans()))


def _let_through(world: LiveWorld, how_much: str) -> None:
    match how_much:
        case "all":
            world.settle()
        case "a bit":
            world.hear()
            for lane in world.lanes:
                world.turn(lane)
                world.store(lane)
            world.work()
        case _:
            pass


def test_a_flow_published_while_callers_wait_leaves_them_their_version() -> None:
    """Presence, skills and hours apply at once; a flow does not. A takeover between changes nothing."""
    world = _in_menu(False)
    other = (FlowStep("hello", AnswerStep("bye")), FlowStep("bye", HangUpStep(())))
    world.talk.shard.offer(Offer("tenant/0/t1", 99, "t1", "reception", PublishFlow("main", 2, other)))
    world.settle()
    world.takeover(world.talk)
    world.call("c2")
    world.node.digit("c1", "1")
    world.settle()
    assert world.contacts()["c1"].call.flow_version == 1
    assert isinstance(world.contacts()["c1"], Ringing)
    started = {event.contact: event.flow_version for event in _events(world, sw.ContactStarted)}
    assert started == {"c1": 1, "c2": 2}
    everybody_goes_home(world)
    at_rest(world, set())
