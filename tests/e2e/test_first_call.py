"""The first call, end to end, with phones that we did not write."""

from __future__ import annotations

import asyncio
import struct
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import grpc
import pytest

from tandem.api.session.v1 import contact_pb2, session_service_pb2, session_service_pb2_grpc
from tests.e2e import sounds
from tests.e2e.cell import Cell, Centre
from tests.e2e.foreign import Baresip, baresip, needs_baresip, needs_sipp, register, sipp
from tests.e2e.programs import free_udp_port
from tests.e2e.rest import Json, Watch

CALLER_HZ, AGENT_HZ = 425, 1250
CALLER = "4917055501"
TALK_S = 2.0
FIRST_CALL = [
    "contact.started",
    "contact.answered",
    "contact.step_entered",
    "contact.menu_chosen",
    "contact.queued",
    "contact.agent_offered",
    "contact.agent_answered",
    "contact.connected",
    "contact.disconnected",
    "contact.completed",
]
"""What happens in every first call, in this order; other events stand between."""

pytestmark = [needs_sipp, needs_baresip]


@asynccontextmanager
async def softphone(platform: Cell, centre: Centre, home: Path, *, answers: bool = True) -> AsyncIterator[Baresip]:
    """baresip as the device of agent ann, who is available."""
    account = centre.agents["ann"]
    async with baresip(
        home / "ann", platform.sip, account.sip_user, account.password, tone_hz=AGENT_HZ, answers=answers
    ) as phone:
        await phone.registered()
        await centre.available("ann")
        yield phone


async def history(platform: Cell, centre: Centre, contact: str) -> Json:
    """The contact as REST tells it, once gRPC was seen to tell the same; its events likewise."""
    over_rest = await centre.rest.get(contact)
    events = (await centre.rest.get(f"{contact}/events", pageSize=100))["events"]
    metadata = (("authorization", f"Bearer {centre.key}"),)
    async with grpc.aio.insecure_channel(platform.grpc_target) as channel:
        stub = session_service_pb2_grpc.SessionServiceStub(channel)
        same = await stub.GetContact(session_service_pb2.GetContactRequest(name=contact), metadata=metadata)
        request = session_service_pb2.ListContactEventsRequest(parent=contact, page_size=100)
        lists = await stub.ListContactEvents(request, metadata=metadata)
    assert contact_pb2.Contact.Outcome.Name(same.outcome) == over_rest["outcome"]
    assert contact_pb2.Contact.EndedBy.Name(same.ended_by) == over_rest["endedBy"]
    assert (same.caller.value, same.queue, same.agent) == (
        over_rest["caller"]["value"], over_rest["queue"], over_rest["agent"],
    )  # fmt: skip
    assert [(e.event_id, e.type, e.version) for e in lists.events] == [
        (e["eventId"], e["type"], e["version"]) for e in events
    ]
    over_rest["types"] = [event["type"] for event in events]
    return over_rest


def in_order(wanted: list[str], found: list[str]) -> bool:
    """Whether all of `wanted` are in `found`, in that order."""
    rest = iter(found)
    return all(type_ in rest for type_ in wanted)


async def check_history(platform: Cell, centre: Centre, watch: Watch, ended_by: str) -> Json:
    """One contact, handled, the same on the live stream, REST and gRPC."""
    contact = (await watch.event("contact.completed"))["contact"]
    told = await history(platform, centre, contact)
    assert told["outcome"] == "OUTCOME_HANDLED"
    assert told["endedBy"] == ended_by
    assert (told["agent"], told["queue"]) == (centre.agents["ann"].name, centre.queue)
    assert in_order(FIRST_CALL, told["types"]), told["types"]
    assert told["types"] == watch.types(contact)
    assert await centre.the_contact() == await centre.rest.get(contact)
    return told


async def check_recording(centre: Centre, watch: Watch, contact: Json) -> None:
    """The caller's voice on the left, the agent's on the right, and neither on the other."""
    await watch.event("contact.recording_ended")
    (name,) = (await centre.rest.get(contact["name"]))["recordings"]
    left, right = sounds.channels_of(await centre.rest.download(name))
    assert sounds.seconds_of(left, CALLER_HZ) >= 1
    assert sounds.seconds_of(right, AGENT_HZ) >= 1
    assert sounds.seconds_of(left, AGENT_HZ) == sounds.seconds_of(right, CALLER_HZ) == 0
    part = await centre.rest.raw("GET", f"{name}:download", headers={"range": "bytes=0-43"})
    assert (part.status_code, len(part.content)) == (206, 44)
    assert struct.unpack_from("<4sI4s", part.content)[0] == b"RIFF"


# ------------------------------------------------------------------- SIPp calls, baresip answers


async def test_the_agent_hangs_up(platform: Cell, tmp_path: Path) -> None:
    """SIPp presses a digit (RFC 4733), waits, talks with baresip; both hear each other."""
    async with (
        platform.centre("ann") as centre,
        centre.rest.watch(centre.tenant) as watch,
        softphone(platform, centre, tmp_path) as agent,
        sipp(
            tmp_path / "caller", "call_until_bye", platform.sip, "-s", centre.number, tone_hz=CALLER_HZ, caller=CALLER
        ) as caller,
    ):
        await watch.event("contact.connected")
        await caller.ear.hears(AGENT_HZ, 2)
        agent.command("hangup")
        await caller.succeeds()
        contact = await check_history(platform, centre, watch, "ENDED_BY_AGENT")
        assert contact["caller"] == {"value": CALLER, "visibility": "VISIBILITY_SHOWN"}
        assert sounds.seconds_of(await agent.heard(), CALLER_HZ) >= 1
        await check_recording(centre, watch, contact)


async def test_the_caller_hangs_up(platform: Cell, tmp_path: Path) -> None:
    """The other way round; the agent lets it ring for a moment, so that the caller hears music first."""
    async with (
        platform.centre("ann") as centre,
        centre.rest.watch(centre.tenant) as watch,
        softphone(platform, centre, tmp_path, answers=False) as agent,
        sipp(
            tmp_path / "caller", "call_and_hang_up", platform.sip, "-s", centre.number, "-d", 5000,
            tone_hz=CALLER_HZ, caller=CALLER,
        ) as caller,
    ):  # fmt: skip
        await agent.until("CALL_INCOMING")
        await watch.event("contact.agent_ringing")
        agent.command("accept")
        await caller.succeeds()
        await agent.until("CALL_CLOSED")
        contact = await check_history(platform, centre, watch, "ENDED_BY_CALLER")
        assert sounds.seconds_of(caller.ear.heard, AGENT_HZ) >= 1
        assert sounds.seconds_of(await agent.heard(), CALLER_HZ) >= 1
        await check_recording(centre, watch, contact)


# ------------------------------------------------------------------- baresip calls, baresip or SIPp answers


@asynccontextmanager
async def calling(platform: Cell, centre: Centre, watch: Watch, home: Path) -> AsyncIterator[Baresip]:
    """baresip has called the centre and pressed 1 in the menu."""
    async with baresip(home / "caller", platform.sip, CALLER, tone_hz=CALLER_HZ) as phone:
        phone.command("dial", f"sip:{centre.number}@{platform.sip}")
        await phone.until("CALL_ESTABLISHED")
        await watch.step("menu")
        phone.command("sndcode", "1")
        yield phone


async def test_two_softphones(platform: Cell, tmp_path: Path) -> None:
    """Both ears are baresip's own."""
    async with (
        platform.centre("ann") as centre,
        centre.rest.watch(centre.tenant) as watch,
        softphone(platform, centre, tmp_path) as agent,
        calling(platform, centre, watch, tmp_path) as caller,
    ):
        await watch.event("contact.connected")
        await asyncio.sleep(TALK_S)
        caller.command("hangup")
        await agent.until("CALL_CLOSED")
        contact = await check_history(platform, centre, watch, "ENDED_BY_CALLER")
        assert sounds.seconds_of(await caller.heard(), AGENT_HZ) >= 1
        assert sounds.seconds_of(await agent.heard(), CALLER_HZ) >= 1
        await check_recording(centre, watch, contact)


async def desk_phone(platform: Cell, centre: Centre, home: Path) -> int:
    """SIPp registers as the device of agent ann, who is available; the port at which it is to be."""
    port, account = free_udp_port(), centre.agents["ann"]
    await register(home / "desk", platform.sip, account.sip_user, account.password, port)
    await centre.available("ann")
    return port


async def test_the_agent_holds_the_caller(platform: Cell, tmp_path: Path) -> None:
    """re-INVITE: on hold the caller hears music and no agent, then the agent again, who hangs up."""
    async with platform.centre("ann") as centre, centre.rest.watch(centre.tenant) as watch:
        port = await desk_phone(platform, centre, tmp_path)
        async with (
            sipp(tmp_path / "desk", "answer_and_hold", platform.sip, "-d", 1500, tone_hz=AGENT_HZ, port=port) as desk,
            calling(platform, centre, watch, tmp_path) as caller,
        ):
            await watch.event("contact.held")
            await watch.event("contact.resumed")
            await desk.succeeds()
            await caller.until("CALL_CLOSED")
            await check_history(platform, centre, watch, "ENDED_BY_AGENT")
            heard = await caller.heard()
            assert sounds.seconds_of(heard, AGENT_HZ) >= 2
            assert pauses_of(heard, AGENT_HZ) == 1, "the agent was not heard, then not, then again"
            assert sounds.seconds_of(desk.ear.heard, CALLER_HZ) >= 2


def pauses_of(samples: object, hz: float) -> int:
    """How often the tone stopped for half a second or more and came again."""
    assert hasattr(samples, "__getitem__") and hasattr(samples, "__len__")
    windows = [
        sounds.has_tone(samples[at : at + sounds.WINDOW], hz)
        for at in range(0, len(samples) - sounds.WINDOW + 1, sounds.WINDOW)
    ]
    pauses = gap = 0
    began = False
    for there in windows:
        pauses += there and began and gap >= 5
        gap = 0 if there else gap + 1
        began = began or there
    return pauses


async def test_the_caller_gives_up_while_it_rings(platform: Cell, tmp_path: Path) -> None:
    """The agent's phone gets a CANCEL, and takes it by the book."""
    async with platform.centre("ann") as centre, centre.rest.watch(centre.tenant) as watch:
        port = await desk_phone(platform, centre, tmp_path)
        async with (
            sipp(tmp_path / "desk", "ring_until_cancel", platform.sip, port=port) as desk,
            calling(platform, centre, watch, tmp_path) as caller,
        ):
            await watch.event("contact.agent_ringing")
            caller.command("hangup")
            await desk.succeeds()
            contact = (await watch.event("contact.completed"))["contact"]
            assert (await history(platform, centre, contact))["outcome"] == "OUTCOME_ABANDONED"
            assert (await state_of(centre))["status"] == "STATUS_IDLE"


async def state_of(centre: Centre) -> Json:
    """What routing does with ann."""
    return await centre.rest.get(f"{centre.tenant}/agentStates/ann")


@pytest.mark.parametrize("answer", ["decline", "busy"])
async def test_the_agent_does_not_want_to(platform: Cell, tmp_path: Path, answer: str) -> None:
    """603 and 486: the caller keeps the place and gets the agent when the agent comes back."""
    async with platform.centre("ann") as centre, centre.rest.watch(centre.tenant) as watch:
        port = await desk_phone(platform, centre, tmp_path)
        async with calling(platform, centre, watch, tmp_path) as caller:
            async with sipp(tmp_path / "desk", answer, platform.sip, port=port) as desk:
                ended = await watch.event("contact.offer_ended")
                assert ended["data"]["outcome"] == "OFFER_OUTCOME_REJECTED", ended
                await desk.succeeds()
            waiting = await centre.the_contact()
            assert (waiting["state"], waiting["outcome"]) == ("STATE_WAITING", "OUTCOME_UNSPECIFIED")
            async with sipp(tmp_path / "desk", "answer_until_bye", platform.sip, tone_hz=AGENT_HZ, port=port) as desk:
                await watch.event("contact.connected")
                await desk.ear.hears(CALLER_HZ)
                caller.command("hangup")
                await desk.succeeds()
            contact = await check_history(platform, centre, watch, "ENDED_BY_CALLER")
            assert contact["enqueueTime"] == waiting["enqueueTime"]


async def test_the_agent_vanishes_while_it_rings(platform: Cell, tmp_path: Path) -> None:
    """The phone rings and is gone: the ring limit passes, the agent counts as not responding, the
    caller keeps the place and gets the other agent."""
    async with (
        platform.centre("ann", "bob", ring_timeout_s=2) as centre,
        centre.rest.watch(centre.tenant) as watch,
    ):
        port = await desk_phone(platform, centre, tmp_path)
        async with calling(platform, centre, watch, tmp_path) as caller:
            async with sipp(tmp_path / "desk", "ring_and_vanish", platform.sip, port=port) as desk:
                await desk.succeeds()
            ended = await watch.event("contact.offer_ended")
            assert ended["data"]["outcome"] == "OFFER_OUTCOME_TIMEOUT", ended
            assert (await state_of(centre))["status"] == "STATUS_NOT_RESPONDING"
            waiting = await centre.the_contact()
            assert waiting["state"] == "STATE_WAITING"
            bob = centre.agents["bob"]
            async with baresip(tmp_path / "bob", platform.sip, bob.sip_user, bob.password, tone_hz=AGENT_HZ) as other:
                await other.registered()
                await centre.available("bob")
                await watch.event("contact.connected")
                await other.until("CALL_RTPESTAB")
                caller.command("hangup")
                await other.until("CALL_CLOSED")
            contact = (await watch.event("contact.completed"))["contact"]
            told = await history(platform, centre, contact)
            assert (told["outcome"], told["agent"]) == ("OUTCOME_HANDLED", bob.name)
            assert told["enqueueTime"] == waiting["enqueueTime"]


# ------------------------------------------------------------------- refused


async def test_an_unknown_number(platform: Cell, tmp_path: Path) -> None:
    """404, to a phone that takes nothing else for an answer."""
    async with (
        platform.centre("ann") as centre,
        sipp(tmp_path / "caller", "call_unknown", platform.sip, "-s", "490000000", caller=CALLER) as caller,
    ):
        await caller.succeeds()
        assert (await centre.rest.get(f"{centre.tenant}/contacts"))["contacts"] == []


async def test_a_wrong_password(platform: Cell, tmp_path: Path) -> None:
    """403, and the device is not reachable; the right one registers."""
    async with platform.centre("ann") as centre:
        user = centre.agents["ann"].sip_user
        async with baresip(tmp_path / "wrong", platform.sip, user, "not-hers-at-all", tone_hz=AGENT_HZ) as phone:
            await phone.refused()
        assert (await state_of(centre))["reachable"] is False
        async with sipp(
            tmp_path / "desk", "register", platform.sip, "-s", user, "-au", user, "-ap", "wrong-too"
        ) as desk:
            await desk.fails()
        assert (await state_of(centre))["reachable"] is False
        async with asyncio.timeout(20):
            await register(tmp_path / "desk", platform.sip, user, centre.agents["ann"].password, free_udp_port())
