"""Numbers, devices and flows as the tenant publishes them, and which phones can be rung."""

from __future__ import annotations

from typing import Any

import pytest

from tandem.core.decider import Resumed, Tell
from tandem.core.flow import AnswerStep, FlowStep, HangUpStep
from tandem.core.seal import Withheld
from tandem.session.domain import reception as r
from tests.support.given import AT, Given

STEPS = (FlowStep("hello", AnswerStep("bye")), FlowStep("bye", HangUpStep(())))


def given(*past: Any) -> Given:
    return Given(r.KIND, "reception", past)


def publish(version: int, agent: str = "ana", *, deleted: bool = False) -> r.PublishDevice:
    return r.PublishDevice("phone", version, agent, "realm", Withheld(), Withheld(), deleted)


def configured(version: int, agent: str = "ana", *, deleted: bool = False) -> r.DeviceConfigured:
    return r.DeviceConfigured("phone", version, agent, "realm", Withheld(), Withheld(), deleted)


def reachable(node: str, *, on: bool, agent: str = "ana") -> r.DeviceReachable:
    return r.DeviceReachable("phone", agent, node, on, AT)


def changed(node: str, *, on: bool, agent: str = "ana") -> Tell:
    return Tell("desk", r.DeviceChanged(agent, "phone", node, on, AT))


KNOWN = configured(1)
UP = (KNOWN, reachable("m1", on=True))


# ------------------------------------------------------------------- registrations


def test_a_registration_is_told_to_the_desk_once() -> None:
    given(KNOWN).when(r.NoteDevice("phone", "m1", True, AT)).then([reachable("m1", on=True)], [changed("m1", on=True)])
    given(*UP).when(r.NoteDevice("phone", "m1", True, AT)).nothing()


def test_its_end_too() -> None:
    given(*UP).when(r.NoteDevice("phone", "m1", False, AT)).then([reachable("m1", on=False)], [changed("m1", on=False)])
    given(KNOWN).when(r.NoteDevice("phone", "m1", False, AT)).nothing()


def test_a_phone_that_moved_to_another_node_is_not_taken_off_by_the_first() -> None:
    moved = given(*UP).when(r.NoteDevice("phone", "m2", True, AT)).then([reachable("m2", on=True)])
    given(*UP, *moved.events).when(r.NoteDevice("phone", "m1", False, AT)).nothing()


def test_an_unknown_phone_is_passed_over() -> None:
    given().when(r.NoteDevice("phone", "m1", True, AT)).nothing()


# ------------------------------------------------------------------- devices


def test_a_new_version_of_a_registered_device_stays_registered() -> None:
    when = given(*UP).when(publish(2)).then([configured(2)], [])
    assert when.state.devices["phone"].node == "m1"
    assert when.state.changes == 2


def test_a_deleted_device_cannot_be_rung() -> None:
    when = given(*UP).when(publish(2, deleted=True))
    when.then([reachable("m1", on=False), configured(2, deleted=True)], [changed("m1", on=False)])
    assert when.state.devices == {}


def test_a_registered_device_that_is_given_to_another_agent_rings_for_that_one() -> None:
    when = given(*UP).when(publish(2, "ben"))
    when.then(
        [reachable("m1", on=False), configured(2, "ben"), reachable("m1", on=True, agent="ben")],
        [changed("m1", on=False), changed("m1", on=True, agent="ben")],
    )
    assert (when.state.devices["phone"].agent, when.state.devices["phone"].node) == ("ben", "m1")


@pytest.mark.parametrize("version", [1, 0])
def test_an_older_version_that_comes_late_is_passed_over(version: int) -> None:
    given(KNOWN).when(publish(version, "ben", deleted=True)).nothing()
    given(r.NumberConfigured("100", 1, "main", False)).when(r.PublishNumber("100", version, "x", True)).nothing()
    given(r.FlowConfigured("main", version, STEPS)).when(r.PublishFlow("main", version, ())).nothing()


# ------------------------------------------------------------------- numbers and flows


def test_a_number_leads_to_the_newest_version_of_its_flow() -> None:
    state = given(
        r.NumberConfigured("100", 1, "main", False), r.FlowConfigured("main", 2, STEPS), r.FlowConfigured("main", 1, ())
    ).state
    assert state.flow_of("100").version == 2
    assert state.flow("main", 1).steps == ()
    assert (state.flow_of("200"), state.flow("main", 3)) == (None, None)


def test_a_number_withdrawn_or_without_a_flow_leads_nowhere() -> None:
    number = r.NumberConfigured("100", 1, "main", False)
    assert given(number).state.flow_of("100") is None
    gone = given(number, r.FlowConfigured("main", 1, STEPS)).when(r.PublishNumber("100", 2, "", True))
    assert gone.state.flow_of("100") is None


def test_old_versions_of_a_flow_are_kept_up_to_a_limit() -> None:
    state = given(*(r.FlowConfigured("main", version, STEPS) for version in range(1, r.MAX_VERSIONS + 3))).state
    assert len(state.flows["main"]) == r.MAX_VERSIONS
    assert state.flow("main", 2) is None and state.flow("main", 3) is not None


def test_a_snapshot_is_the_same_reception() -> None:
    state = given(*UP, r.NumberConfigured("100", 1, "main", False), r.FlowConfigured("main", 1, STEPS)).state
    again = r.ROWS.load(r.ROWS.dump(state))
    assert r.ROWS.dump(again) == r.ROWS.dump(state)
    assert again.flow_of("100") == state.flow_of("100")


# ------------------------------------------------------------------- what the desk has missed


def known(node: str, agent: str = "ana", device: str = "phone") -> r.KnownDevice:
    return r.KnownDevice(agent, device, node)


def told(node: str, *, on: bool, agent: str = "ana", device: str = "phone") -> r.DeviceTold:
    return r.DeviceTold(device, agent, node, on)


def again(node: str, *, on: bool, agent: str = "ana", device: str = "phone") -> Tell:
    return Tell("desk", r.DeviceChanged(agent, device, node, on, AT, again=True))


def test_the_desk_is_told_what_it_takes_for_otherwise_than_it_is() -> None:
    missed = given(*UP).when(r.AskDevices(()))
    missed.then([r.DevicesTold((told("m1", on=True),), AT)], [again("m1", on=True)])
    assert missed.state.devices["phone"].node == "m1"
    given(*UP).when(r.AskDevices((known("m2"),))).then([r.DevicesTold((told("m1", on=True),), AT)])
    given(KNOWN).when(r.AskDevices((known("m1"),))).then([r.DevicesTold((told("m1", on=False),), AT)])
    given().when(r.AskDevices((known("m1"),))).then([r.DevicesTold((told("m1", on=False),), AT)])


def test_a_device_that_has_another_agent_now_is_taken_from_the_first() -> None:
    rows = (told("m1", on=False, agent="ben"), told("m1", on=True))
    given(*UP).when(r.AskDevices((known("m1", "ben"),))).then([r.DevicesTold(rows, AT)])


def test_a_desk_that_has_missed_nothing_is_told_nothing() -> None:
    given(*UP).when(r.AskDevices((known("m1"),))).nothing()
    given(KNOWN).when(r.AskDevices(())).nothing()


def test_what_the_desk_asked_a_reception_out_of_service_it_asks_again() -> None:
    back = given(*UP).when(r.SayAgain(Resumed()))
    back.then([r.ReceptionReturned(AT)], [Tell("desk", r.ReviewDevices())])
    given(*UP).when(r.SayAgain()).nothing()
    given(*UP).when(r.SayAgain(back.events[0])).then(back.events)


def test_a_registration_that_the_desk_was_never_told_of_is_told() -> None:
    row = r.DevicesTold((told("m1", on=False),), AT)
    given(KNOWN).when(r.SayAgain(reachable("m1", on=False))).then([row], [again("m1", on=False)])
    given(KNOWN).when(r.SayAgain(row)).then([row])
