"""Presence, devices and configuration in each routing status (field guide C2)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from tandem.core.errors import Rejected
from tandem.routing.domain import words as w
from tandem.routing.domain.words import Outcome
from tandem.routing.domain.words import RoutingStatus as Status
from tests.support.desk_world import DeskWorld


def _off_queue(world: DeskWorld) -> None:
    world.agent("ana")
    world.device("ana")


def _idle(world: DeskWorld) -> None:
    world.ready("ana")


def _alerting(world: DeskWorld) -> None:
    _idle(world)
    world.caller("c1")


def _interacting(world: DeskWorld) -> None:
    _alerting(world)
    world.accept(world.offer_of("ana"))


def _wrap_up(world: DeskWorld) -> None:
    _interacting(world)
    world.end(world.offer_of("ana"))


def _not_responding(world: DeskWorld) -> None:
    _alerting(world)
    world.close(world.offer_of("ana"), Outcome.TIMEOUT)
    world.do(w.RemoveContact("c1", "ABANDONED"))


def _backing_off(world: DeskWorld) -> None:
    _alerting(world)
    world.close(world.offer_of("ana"), Outcome.REJECTED)
    world.do(w.RemoveContact("c1", "ABANDONED"))


ENTER: dict[Status, Callable[[DeskWorld], None]] = {
    Status.OFF_QUEUE: _off_queue,
    Status.IDLE: _idle,
    Status.ALERTING: _alerting,
    Status.INTERACTING: _interacting,
    Status.WRAP_UP: _wrap_up,
    Status.NOT_RESPONDING: _not_responding,
    Status.BACKING_OFF: _backing_off,
}
"""A way into each status; the agent has one registered device."""


def _in(status: Status) -> DeskWorld:
    world = DeskWorld()
    world.queue()
    ENTER[status](world)
    assert world.status("ana") is status
    return world


def _home(world: DeskWorld) -> None:
    """Whatever goes on comes to its end."""
    for offer, row in list(world.desk.reservations.items()):
        world.end(offer) if row.stage.value == "ACCEPTED" else world.close(offer, Outcome.RESCINDED)
    world.pass_ms(60_000)


def test_every_status_has_a_way_in() -> None:
    assert set(ENTER) == set(Status)


# presence Break, presence Available, device gone, device gone and back, both after everything has ended
TABLE = {
    #                       Break now              and then            Available now          device gone now
    Status.OFF_QUEUE: (Status.OFF_QUEUE, Status.OFF_QUEUE, Status.IDLE, Status.OFF_QUEUE),
    Status.IDLE: (Status.OFF_QUEUE, Status.OFF_QUEUE, Status.IDLE, Status.OFF_QUEUE),
    Status.ALERTING: (Status.ALERTING, Status.OFF_QUEUE, Status.ALERTING, Status.ALERTING),
    Status.INTERACTING: (Status.INTERACTING, Status.OFF_QUEUE, Status.INTERACTING, Status.INTERACTING),
    Status.WRAP_UP: (Status.WRAP_UP, Status.OFF_QUEUE, Status.WRAP_UP, Status.WRAP_UP),
    Status.NOT_RESPONDING: (Status.OFF_QUEUE, Status.OFF_QUEUE, Status.IDLE, Status.NOT_RESPONDING),
    Status.BACKING_OFF: (Status.BACKING_OFF, Status.OFF_QUEUE, Status.BACKING_OFF, Status.BACKING_OFF),
}


@pytest.mark.parametrize("status", Status)
def test_not_available(status: Status) -> None:
    world = _in(status)
    now, later, _, _ = TABLE[status]
    world.do(w.SetPresence("ana", "Break"))
    assert world.status("ana") is now
    _home(world)
    assert world.status("ana") is later
    assert world.desk.agents["ana"].presence == "Break"


@pytest.mark.parametrize("status", Status)
def test_available(status: Status) -> None:
    world = _in(status)
    world.do(w.SetPresence("ana", w.AVAILABLE))
    assert world.status("ana") is TABLE[status][2]
    world.do(w.RemoveContact("c1", "ABANDONED"))
    _home(world)
    assert world.status("ana") is Status.IDLE


@pytest.mark.parametrize("status", Status)
def test_the_last_device_is_gone(status: Status) -> None:
    world = _in(status)
    world.device("ana", on=False)
    assert world.status("ana") is TABLE[status][3]
    world.do(w.RemoveContact("c1", "ABANDONED"))
    _home(world)
    away = Status.NOT_RESPONDING if status is Status.NOT_RESPONDING else Status.OFF_QUEUE
    assert world.status("ana") is away


@pytest.mark.parametrize("status", Status)
def test_one_of_two_devices_is_gone(status: Status) -> None:
    world = _in(status)
    world.device("ana", "other")
    world.device("ana", "other", on=False)
    assert world.status("ana") is status


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.OFF_QUEUE])
def test_the_device_comes_back(status: Status) -> None:
    world = _in(status)
    world.do(w.RemoveContact("c1", "ABANDONED"))
    world.device("ana", on=False)
    _home(world)
    world.device("ana")
    assert world.status("ana") is (Status.NOT_RESPONDING if status is Status.NOT_RESPONDING else Status.IDLE)


def test_available_without_a_device_waits_for_one() -> None:
    world = _in(Status.NOT_RESPONDING)
    world.device("ana", on=False)
    world.do(w.SetPresence("ana", w.AVAILABLE))
    assert world.status("ana") is Status.OFF_QUEUE
    world.device("ana")
    assert world.status("ana") is Status.IDLE


@pytest.mark.parametrize("status", Status)
def test_an_agent_deleted_in_any_status_is_forgotten_in_the_end(status: Status) -> None:
    world = _in(status)
    offer = world.desk.agents["ana"].offer
    world.do(w.PublishAgent("ana", 2, (), (), (), True))
    with pytest.raises(Rejected):
        world.do(w.SetPresence("ana", w.AVAILABLE))
    _home(world)
    assert "ana" not in world.desk.agents
    assert world.offers == {} and world.wakes.keys() <= {"backoff/ana"}
    if status in (Status.INTERACTING, Status.WRAP_UP):
        # The contact completes only when its agent is through.
        assert ("contact/c1", w.EndWrapUp) in [(to, type(message)) for to, message in world.told]
        assert offer
    if status is Status.ALERTING:
        assert world.desk.entries["c1"].offer == ""  # place kept
    world.device("ana", on=False)
    assert "ana" not in world.desk.agents


@pytest.mark.parametrize("status", Status)
def test_an_agent_deleted_and_made_anew_while_at_work(status: Status) -> None:
    world = _in(status)
    world.do(w.PublishAgent("ana", 2, (), (), (), True))
    world.agent("ana", version=3)
    _home(world)
    world.do(w.RemoveContact("c1", "ABANDONED"))
    world.device("ana")
    world.do(w.SetPresence("ana", w.AVAILABLE))
    _home(world)
    assert world.status("ana") is Status.IDLE


def test_an_older_version_that_comes_late_is_passed_over() -> None:
    world = _in(Status.IDLE)
    world.agent("ana", "sales", version=5)
    assert world.do(w.PublishAgent("ana", 5, (), (), (), True)) == []
    world.queue(version=5)
    assert world.do(w.PublishQueue("sales", 4, 1, 1, True)) == []


def test_a_queue_deleted_while_people_wait_takes_nobody_new_and_loses_nobody() -> None:
    world = DeskWorld()
    world.queue()
    world.caller("c1")
    world.queue(version=2, deleted=True)
    world.caller("c2")
    assert world.told == [("contact/c2", w.RefuseQueue("sales", "UNKNOWN_QUEUE"))]
    world.ready("ana")
    assert world.contact_of[world.offer_of("ana")] == "c1"


def test_a_contact_stands_in_line_once() -> None:
    world = _in(Status.ALERTING)
    assert world.do(w.EnqueueContact("c1", "sales", (), 9, 0)) == []


@pytest.mark.parametrize("command", [w.SetPresence("nobody", w.AVAILABLE), w.FinishWrapUp("nobody")])
def test_an_unknown_agent(command: object) -> None:
    with pytest.raises(Rejected) as rejected:
        DeskWorld().do(command)
    assert rejected.value.reason.name == "UNKNOWN_NAME"


def test_a_device_whose_agent_is_not_published_yet_makes_no_agent_of_the_api() -> None:
    world = DeskWorld()
    world.device("ana")
    with pytest.raises(Rejected):
        world.do(w.SetPresence("ana", w.AVAILABLE))
    world.queue()
    world.agent("ana")
    world.do(w.SetPresence("ana", w.AVAILABLE))
    assert world.status("ana") is Status.IDLE


def test_an_unknown_presence_is_refused_with_those_that_there_are() -> None:
    with pytest.raises(Rejected) as rejected:
        _in(Status.IDLE).do(w.SetPresence("ana", "Sleeping" * 100))
    assert rejected.value.reason.name == "BAD_FIELD"
    assert "Available" in rejected.value.message and len(rejected.value.message) < 300


@pytest.mark.parametrize("status", [status for status in Status if status is not Status.WRAP_UP])
def test_wrap_up_that_there_is_not_cannot_be_finished(status: Status) -> None:
    with pytest.raises(Rejected) as rejected:
        _in(status).do(w.FinishWrapUp("ana"))
    assert rejected.value.reason.name == "NOT_IN_USE"
    assert status.value in rejected.value.message
