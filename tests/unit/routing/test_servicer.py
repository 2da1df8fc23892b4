"""The API of waiting lines and agents' states, in front of an owner."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable
from typing import Any

import pytest

from tandem.api.routing.v1 import agent_state_pb2 as pb
from tandem.api.routing.v1 import routing_service_pb2 as api
from tandem.core.access import Role
from tandem.core.errors import BAD_FIELD, NO_OWNER, NOT_IN_USE, UNKNOWN_NAME, Reason, Rejected
from tandem.core.ports import media
from tandem.routing.servicer import RoutingServicer
from tandem.runtime import positions
from tandem.runtime.interceptors import Call
from tests.support.live_host import LiveHost, live_host

ANN = "tenants/red/agents/ann"
SALES = "tenants/red/queues/sales"
State = pb.AgentState


@pytest.fixture
async def live() -> AsyncIterator[LiveHost]:
    async with live_host() as host:
        yield host


@pytest.fixture
def servicer(live: LiveHost) -> RoutingServicer:
    return RoutingServicer(live.host)


async def reason_of(asked: Awaitable[Any]) -> Reason:
    """Why a call was rejected."""
    with pytest.raises(Rejected) as rejected:
        await asked
    return rejected.value.reason


async def state(servicer: RoutingServicer, call: Call, agent: str = "ann") -> State:
    name = f"tenants/{call.tenant}/agentStates/{agent}"
    return await servicer.get_agent_state(api.GetAgentStateRequest(name=name), call)


async def presence(servicer: RoutingServicer, call: Call, presence_: Any, agent: str = "ann") -> State:
    request = api.SetPresenceRequest(name=f"tenants/{call.tenant}/agents/{agent}", presence=presence_)
    return await servicer.set_presence(request, call)


# ------------------------------------------------------------------- agents' states


async def test_an_agent_is_shown_from_idle_to_wrap_up(live: LiveHost, servicer: RoutingServicer) -> None:
    call = live.call()
    idle = await state(servicer, call)
    assert (idle.name, idle.agent) == ("tenants/red/agentStates/ann", ANN)
    assert (idle.presence, idle.status, idle.reachable) == (pb.PRESENCE_AVAILABLE, State.STATUS_IDLE, True)
    assert (list(idle.queues), idle.contact) == ([SALES], "")
    assert positions.decode(call.position).group == "live"
    leg = await live.talk("red", "c1")
    talking = await state(servicer, call)
    assert talking.contact == "tenants/red/contacts/c1"
    assert talking.status not in (State.STATUS_IDLE, State.STATUS_UNSPECIFIED)
    await live.hang_up("red", leg)
    wrapping = await state(servicer, call)
    assert wrapping.status == State.STATUS_WRAP_UP
    request = api.EndWrapUpRequest(name=ANN)
    done = await servicer.end_wrap_up(request, live.call(Role.AGENT, agent="ann"))
    assert done.status == State.STATUS_IDLE
    assert await reason_of(servicer.end_wrap_up(request, live.call())) is NOT_IN_USE


async def test_agents_speak_for_themselves_alone(live: LiveHost, servicer: RoutingServicer) -> None:
    await live.configure("red", "bob")
    ann, nobody = live.call(Role.AGENT, agent="ann"), live.call(Role.AGENT)
    assert (await state(servicer, ann)).agent == ANN
    for call in (ann, nobody):
        assert await reason_of(state(servicer, call, "bob")) is UNKNOWN_NAME
        assert await reason_of(presence(servicer, call, pb.PRESENCE_OFFLINE, "bob")) is UNKNOWN_NAME
        wrap_up = servicer.end_wrap_up(api.EndWrapUpRequest(name="tenants/red/agents/bob"), call)
        assert await reason_of(wrap_up) is UNKNOWN_NAME
    assert (await state(servicer, live.call(), "bob")).presence == pb.PRESENCE_AVAILABLE


async def test_agents_of_nobody_and_of_others_are_alike(live: LiveHost, servicer: RoutingServicer) -> None:
    await live.configure("green", "gus")
    for agent in ("gus", "nobody", ""):
        assert await reason_of(state(servicer, live.call(), agent)) is UNKNOWN_NAME
        assert await reason_of(presence(servicer, live.call(), pb.PRESENCE_OFFLINE, agent)) is UNKNOWN_NAME
    assert (await state(servicer, live.call(tenant="green"), "gus")).presence == pb.PRESENCE_AVAILABLE
    assert await reason_of(state(servicer, live.call(tenant="nobody"))) is UNKNOWN_NAME


async def test_a_presence_is_said_and_a_wrong_one_named(live: LiveHost, servicer: RoutingServicer) -> None:
    ann = live.call(Role.AGENT, agent="ann")
    said = await presence(servicer, ann, pb.PRESENCE_OFFLINE)
    assert (said.presence, said.status) == (pb.PRESENCE_OFFLINE, State.STATUS_OFF_QUEUE)
    for wrong in (pb.PRESENCE_UNSPECIFIED, 99):
        with pytest.raises(Rejected) as rejected:
            await presence(servicer, ann, wrong)
        assert rejected.value.reason is BAD_FIELD
        assert "PRESENCE_AVAILABLE" in rejected.value.metadata["presence"]
    assert (await state(servicer, ann)).presence == pb.PRESENCE_OFFLINE


async def test_a_presence_said_twice_with_one_id_is_said_once(live: LiveHost, servicer: RoutingServicer) -> None:
    once = {"request_id": "r1", "digest": "d1"}
    await presence(servicer, live.call(**once), pb.PRESENCE_OFFLINE)
    await presence(servicer, live.call(), pb.PRESENCE_AVAILABLE)
    again = await presence(servicer, live.call(**once), pb.PRESENCE_OFFLINE)
    assert again.presence == pb.PRESENCE_AVAILABLE


async def test_the_states_of_all_agents_are_listed_by_id(live: LiveHost, servicer: RoutingServicer) -> None:
    await live.configure("red", "eve", "bob", "dan")
    await live.configure("green", "gus")
    found, token = [], ""
    while True:
        request = api.ListAgentStatesRequest(parent="tenants/red", page_size=3, page_token=token)
        page = await servicer.list_agent_states(request, live.call())
        found += [row.agent.rpartition("/")[2] for row in page.agent_states]
        token = page.next_page_token
        if not token:
            break
    assert found == ["ann", "bob", "dan", "eve"]
    request = api.ListAgentStatesRequest(parent="tenants/nobody")
    assert await reason_of(servicer.list_agent_states(request, live.call(tenant="nobody"))) is UNKNOWN_NAME


# ------------------------------------------------------------------- waiting lines


async def line(servicer: RoutingServicer, call: Call, token: str = "", queue: str = SALES) -> api.ListWaitingResponse:
    request = api.ListWaitingRequest(parent=queue, page_size=2, page_token=token)
    return await servicer.list_waiting(request, call)


def row_of(waiting: pb.WaitingContact) -> tuple[int, str, str]:
    return waiting.place, waiting.contact.rpartition("/")[2], waiting.offered_agent


async def test_a_line_is_told_in_its_order_with_those_who_are_offered(
    live: LiveHost, servicer: RoutingServicer
) -> None:
    enqueued = {}
    for contact in ("c", "b", "a"):
        await live.wait("red", contact)
        enqueued[contact] = live.now_ms
    await live.wait("green", "g")
    call = live.call()
    first = await line(servicer, call)
    assert [row_of(row) for row in first.waiting] == [(1, "c", ANN), (2, "b", "")]
    assert [row.enqueue_time.ToMilliseconds() for row in first.waiting] == [enqueued["c"], enqueued["b"]]
    assert first.total_size == 3
    last = await line(servicer, call, first.next_page_token)
    assert [row_of(row) for row in last.waiting] == [(3, "a", "")]
    assert last.next_page_token == ""
    assert positions.decode(call.position).group == "live"


async def test_who_turns_a_page_misses_nobody_when_the_line_moves(live: LiveHost, servicer: RoutingServicer) -> None:
    for contact in ("c1", "c2", "c3", "c4"):
        await live.wait("red", contact)
    first = await line(servicer, live.call())
    await live.leg("red", "c2", media.LegEnded(media.Cause.NORMAL, media.By.FAR))
    second = await line(servicer, live.call(), first.next_page_token)
    assert [row_of(row) for row in second.waiting] == [(2, "c3", ""), (3, "c4", "")]
    assert second.total_size == 3


async def test_an_empty_line_is_no_unknown_one(live: LiveHost, servicer: RoutingServicer) -> None:
    empty = await line(servicer, live.call())
    assert (list(empty.waiting), empty.total_size, empty.next_page_token) == ([], 0, "")
    for queue in ("tenants/red/queues/nothing", "tenants/red/queues/"):
        assert await reason_of(line(servicer, live.call(), queue=queue)) is UNKNOWN_NAME
    await live.configure("green", queue="theirs")
    assert await reason_of(line(servicer, live.call(), queue="tenants/red/queues/theirs")) is UNKNOWN_NAME


async def test_without_an_owner_nothing_is_told(live: LiveHost, servicer: RoutingServicer) -> None:
    live.partitions.full = True
    live.drivers[0].lose("a planted loss")
    assert await reason_of(state(servicer, live.call())) is NO_OWNER
    assert await reason_of(line(servicer, live.call())) is NO_OWNER
    assert await reason_of(presence(servicer, live.call(), pb.PRESENCE_OFFLINE)) is NO_OWNER
    live.partitions.full = False
