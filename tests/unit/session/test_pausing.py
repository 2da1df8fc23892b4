"""A talk's recording pauses and goes on by order: the rules, and the API in front of an owner."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from tandem.api.session.v1 import contact_pb2 as pb
from tandem.api.session.v1 import session_service_pb2 as api
from tandem.core.access import Role
from tandem.core.decider import Answer, EffectEnded
from tandem.core.errors import (
    CONTACT_ENDED,
    NOT_RECORDING,
    NOT_YOUR_CONTACT,
    RECORDING_ORDER_FAILED,
    RECORDING_ORDER_UNDER_WAY,
    UNKNOWN_NAME,
    Reason,
    Rejected,
)
from tandem.core.ports import media
from tandem.core.ports.media import By, Cause, CommandSettled, LegEnded, Outcome, RecordingFailed
from tandem.runtime.interceptors import Call
from tandem.session.domain import words as w
from tandem.session.domain.contact import states as st
from tandem.session.servicer import SessionServicer
from tandem.session.servicer import orders as module
from tests.support.given import AT
from tests.support.live_host import LiveHost, live_host
from tests.unit.session.test_contact import LOST, PAST, TALKING, given, leg, order

RECORDING = "c1-o1"
PAUSE = f"pause/{RECORDING}"
BEGUN = w.RecordingPauseBegun(RECORDING, True, AT)
PAUSED = w.RecordingPaused(RECORDING, AT)
SILENT = (*TALKING, BEGUN, PAUSED)


def ended(outcome: Outcome = Outcome.DONE, reason: str = "") -> EffectEnded:
    return EffectEnded(PAUSE, outcome, reason)


def ordered_now(paused: bool) -> list[Any]:
    verb = media.RecordPause(RECORDING) if paused else media.RecordResume(RECORDING)
    return [order(PAUSE, verb), Answer(w.RecordingOrdered("c1"))]


def recording(state: Any) -> tuple[bool, bool | None]:
    (kept,) = state.recordings
    return kept.paused, kept.ordered


# ------------------------------------------------------------------- the rules


def test_a_pause_is_ordered_and_is_in_force_when_the_node_says_so() -> None:
    contact = given(*TALKING)
    begun = contact.when(w.PauseRecording(True, "ana")).then([BEGUN], ordered_now(True))
    assert recording(begun.state) == (False, True)
    assert recording(contact.when(ended()).then([PAUSED], []).state) == (True, None)


def test_it_goes_on_in_the_same_way() -> None:
    contact = given(*SILENT)
    begun = w.RecordingPauseBegun(RECORDING, False, AT)
    contact.when(w.PauseRecording(False, "")).then([begun], ordered_now(False))
    resumed = contact.when(ended()).then([w.RecordingResumed(RECORDING, AT)], [])
    assert recording(resumed.state) == (False, None)


@pytest.mark.parametrize("past", [SILENT, (*TALKING, BEGUN)], ids=["in force", "under way"])
def test_the_node_is_asked_each_time(past: tuple[Any, ...]) -> None:
    """An order may be lost with whoever gave it."""
    given(*past).when(w.PauseRecording(True, "ana")).then([BEGUN], ordered_now(True))


@pytest.mark.parametrize(
    ("how", "reason"),
    [(ended(Outcome.FAILED, "NOT_RECORDING"), "NOT_RECORDING"), (ended(Outcome.UNKNOWN), "UNKNOWN")],
)
def test_what_the_node_has_not_done_is_told(how: EffectEnded, reason: str) -> None:
    failed = given(*TALKING, BEGUN).when(how).then([w.RecordingPauseFailed(RECORDING, True, reason, AT)], [])
    assert recording(failed.state) == (False, None)


def test_the_end_of_an_order_that_nobody_gave_says_nothing() -> None:
    given(*TALKING).when(ended()).nothing()


def test_another_agent_may_not() -> None:
    given(*TALKING).when(w.PauseRecording(True, "bob")).refused("NOT_YOUR_CONTACT")


@pytest.mark.parametrize("state", [state for state in PAST if state is not st.Talking])
def test_who_does_not_talk_is_not_recorded(state: type) -> None:
    given(*PAST[state]).when(w.PauseRecording(True, "")).refused("NOT_RECORDING")


def test_a_recording_that_could_not_be_kept_is_not_paused() -> None:
    contact = given(*SILENT)
    contact.when(leg(RecordingFailed(RECORDING, "NO_ROOM")))
    contact.when(w.PauseRecording(False, "")).refused("NOT_RECORDING")


def test_a_contact_that_is_over_is_over() -> None:
    contact = given(*TALKING)
    contact.when(leg(LegEnded(Cause.NORMAL, By.FAR)))
    contact.when(w.PauseRecording(True, "")).refused("CONTACT_ENDED")


def test_the_next_talk_is_recorded_again() -> None:
    """Back in line with a silent recording: the next agent's is another one."""
    offered = w.AgentOffered("o2", "bob", "bob-phone", "c1.o2", "sales", 15_000, AT)
    connected = w.ContactConnected("o2", "bob", "c1-o2", TALKING[-1].data_key, AT)
    contact = given(*SILENT, LOST, offered, w.AgentAnswered("o2", "bob", AT), connected)
    assert [kept.paused for kept in contact.state.recordings] == [True, False]
    (begun,) = contact.when(w.PauseRecording(True, "bob")).events
    assert begun.recording == "c1-o2"


# ------------------------------------------------------------------- the API


@pytest.fixture
async def live() -> AsyncIterator[LiveHost]:
    async with live_host() as host:
        yield host


@pytest.fixture
def servicer(live: LiveHost) -> SessionServicer:
    return SessionServicer(live.host, live.store, "live")


async def reason_of(asked: Awaitable[Any]) -> Reason:
    """Why a call was rejected."""
    with pytest.raises(Rejected) as rejected:
        await asked
    return rejected.value.reason


async def pause(servicer: SessionServicer, call: Call, contact: str = "c1") -> pb.Contact:
    return await servicer.pause_recording(
        api.PauseRecordingRequest(name=f"tenants/{call.tenant}/contacts/{contact}"), call
    )


async def resume(servicer: SessionServicer, call: Call) -> pb.Contact:
    return await servicer.resume_recording(api.ResumeRecordingRequest(name=f"tenants/{call.tenant}/contacts/c1"), call)


async def ordered(live: LiveHost, agent_leg: str) -> str:
    """The name of the order to the talk's recording, once it is given."""
    name = f"pause/c1-{agent_leg.partition('.')[2]}"
    driver = live.drivers[0]

    def given_() -> bool:
        shard = driver._shard
        return shard is not None and name in shard.ledger.names.get(("red", "contact/c1"), {})

    await live.until(given_)
    return name


async def told(live: LiveHost, agent_leg: str, outcome: Outcome = Outcome.DONE, reason: str = "") -> None:
    """The node carries the order out, or not."""
    name = await ordered(live, agent_leg)
    await live.settled("red", "c1", name, CommandSettled("", outcome, reason))


async def test_the_answer_comes_when_nothing_more_is_recorded(live: LiveHost, servicer: SessionServicer) -> None:
    agent_leg = await live.talk("red", "c1")
    asked = asyncio.ensure_future(pause(servicer, live.call()))
    await ordered(live, agent_leg)
    assert not asked.done()
    await told(live, agent_leg)
    assert (await asked).recording_paused
    asked = asyncio.ensure_future(resume(servicer, live.call()))
    await told(live, agent_leg)
    assert not (await asked).recording_paused


async def test_an_agent_pauses_their_own_talk_alone(live: LiveHost, servicer: SessionServicer) -> None:
    agent_leg = await live.talk("red", "c1")
    row = await live.state("red", lambda ledger: ledger.aggregates["red", "contact/c1"].state.offered.agent)
    assert await reason_of(pause(servicer, live.call(Role.AGENT, agent="somebody"))) is NOT_YOUR_CONTACT
    asked = asyncio.ensure_future(pause(servicer, live.call(Role.AGENT, agent=row)))
    await told(live, agent_leg)
    assert (await asked).recording_paused


async def test_a_node_that_does_not_do_it_is_no_pause(
    live: LiveHost, servicer: SessionServicer, monkeypatch: pytest.MonkeyPatch
) -> None:
    agent_leg = await live.talk("red", "c1")
    asked = asyncio.ensure_future(pause(servicer, live.call()))
    await told(live, agent_leg, Outcome.FAILED, "NOT_RECORDING")
    assert await reason_of(asked) is RECORDING_ORDER_FAILED
    monkeypatch.setattr(module, "RECORDING_WAIT_S", 0.05)
    once = {"request_id": "r", "digest": "d"}
    assert await reason_of(pause(servicer, live.call(**once))) is RECORDING_ORDER_UNDER_WAY
    await told(live, agent_leg)
    assert (await pause(servicer, live.call(**once))).recording_paused  # the repeat learns its end


async def test_a_talk_that_ends_meanwhile(live: LiveHost, servicer: SessionServicer) -> None:
    agent_leg = await live.talk("red", "c1")
    asked = asyncio.ensure_future(pause(servicer, live.call()))
    await ordered(live, agent_leg)
    await live.hang_up("red", "c1")
    assert await reason_of(asked) is NOT_RECORDING
    assert await reason_of(pause(servicer, live.call())) is CONTACT_ENDED


async def test_one_that_history_alone_knows_has_ended(live: LiveHost, servicer: SessionServicer) -> None:
    await live.over("red", "c1", await live.talk("red", "c1"))
    await live.project()
    assert await reason_of(pause(servicer, live.call())) is CONTACT_ENDED
    hang_up = api.HangUpContactRequest(name="tenants/red/contacts/c1")
    assert await reason_of(servicer.hang_up_contact(hang_up, live.call())) is CONTACT_ENDED


async def test_others_contacts_and_none(live: LiveHost, servicer: SessionServicer) -> None:
    await live.talk("red", "c1")
    await live.project()
    assert await reason_of(pause(servicer, live.call(tenant="green"))) is UNKNOWN_NAME
    assert await reason_of(pause(servicer, live.call(), "c9")) is UNKNOWN_NAME


async def test_what_is_paused_is_told_by_owner_and_history(live: LiveHost, servicer: SessionServicer) -> None:
    agent_leg = await live.talk("red", "c1")
    asked = asyncio.ensure_future(pause(servicer, live.call()))
    await told(live, agent_leg)
    await asked
    request = api.GetContactRequest(name="tenants/red/contacts/c1")
    assert (await servicer.get_contact(request, live.call())).recording_paused
    await live.over("red", "c1", agent_leg)
    await live.project()
    over = await servicer.get_contact(request, live.call())
    assert (over.state, over.recording_paused) == (pb.Contact.STATE_ENDED, False)
