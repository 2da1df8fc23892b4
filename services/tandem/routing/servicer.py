"""The public API of the waiting lines and of the agents' live states, answered by the owner."""

from __future__ import annotations

from tandem.api.routing.v1 import agent_state_pb2 as pb
from tandem.api.routing.v1 import routing_service_pb2 as api
from tandem.core.access import Role
from tandem.core.errors import BAD_FIELD, UNKNOWN_NAME, Rejected
from tandem.routing.domain import words as w
from tandem.routing.domain.desk import Agent, Desk, Entry
from tandem.runtime.host import Host
from tandem.runtime.interceptors import Call
from tandem.runtime.ledger import Ledger
from tandem.runtime.pages import page_of
from tandem.runtime.times import time_of

API = api.DESCRIPTOR.services_by_name["RoutingService"]
_PRESENCES = {pb.Presence.Value(f"PRESENCE_{word.upper()}"): word for word in w.PRESENCES}
_NUMBERS = {word: number for number, word in _PRESENCES.items()}


class RoutingServicer:
    """Servicer of tandem.api.routing.v1.RoutingService."""

    def __init__(self, host: Host) -> None:
        self._host = host

    async def list_waiting(self, request: api.ListWaitingRequest, call: Call) -> api.ListWaitingResponse:
        """Who waits in a queue, in order, those with an offer among them."""
        queue = _id(request.parent)
        answer = await self._host.query(call.tenant, "desk", lambda ledger: _line(ledger, call.tenant, queue))
        found: list[tuple[int, Entry, str]] | None = call.answered(answer)
        if found is None:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        page = page_of(request, call.tenant, shape=(int, int, str))
        # Places move while somebody turns the pages; the order in line does not.
        shown, token = page.cut(
            [row for row in found if page.after is None or row[1].order > page.after], lambda row: row[1].order
        )
        parent = f"tenants/{call.tenant}"
        waiting = [
            pb.WaitingContact(
                contact=f"{parent}/contacts/{entry.contact}",
                place=place,
                enqueue_time=time_of(entry.enqueued_ms),
                priority=entry.priority,
                offered_agent=f"{parent}/agents/{agent}" if agent else "",
            )
            for place, entry, agent in shown
        ]
        return api.ListWaitingResponse(waiting=waiting, next_page_token=token, total_size=len(found))

    async def get_agent_state(self, request: api.GetAgentStateRequest, call: Call) -> pb.AgentState:
        """An agent's presence and routing status."""
        return await self._state(_id(request.name), call)

    async def _state(self, agent: str, call: Call) -> pb.AgentState:
        _own(agent, call)
        answer = await self._host.query(call.tenant, "desk", lambda ledger: _agent(ledger, call.tenant, agent))
        row: pb.AgentState | None = call.answered(answer)
        if row is None:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        return row

    async def list_agent_states(self, request: api.ListAgentStatesRequest, call: Call) -> api.ListAgentStatesResponse:
        """All agents' presences and routing statuses, by id."""
        answer = await self._host.query(call.tenant, "desk", lambda ledger: _agents(ledger, call.tenant))
        states, token = page_of(request, call.tenant).of(call.answered(answer))
        return api.ListAgentStatesResponse(agent_states=states, next_page_token=token)

    async def set_presence(self, request: api.SetPresenceRequest, call: Call) -> pb.AgentState:
        """What the agent says of themselves."""
        agent = _id(request.name)
        _own(agent, call)
        presence = _PRESENCES.get(request.presence)
        if presence is None:
            problem = "say which presence: " + ", ".join(pb.Presence.Name(number) for number in _PRESENCES)
            raise Rejected(BAD_FIELD, f"presence: {problem}", presence=problem)
        answer = await self._host.ask(call.tenant, "desk", w.SetPresence(agent, presence), **call.once)
        call.answered(answer)
        return await self._state(agent, call)

    async def end_wrap_up(self, request: api.EndWrapUpRequest, call: Call) -> pb.AgentState:
        """Ready before the time for after-call work is over."""
        agent = _id(request.name)
        _own(agent, call)
        call.answered(await self._host.ask(call.tenant, "desk", w.FinishWrapUp(agent), **call.once))
        return await self._state(agent, call)


def _id(name: str) -> str:
    return name.rpartition("/")[2]


def _own(agent: str, call: Call) -> None:
    """An agent's credential speaks for that agent alone."""
    if call.principal.role is Role.AGENT and agent != call.principal.agent:
        raise Rejected(UNKNOWN_NAME, "there is no such resource")


def _desk(ledger: Ledger, tenant: str) -> Desk | None:
    aggregate = ledger.aggregate(tenant, "desk")
    return None if aggregate is None else aggregate.state


def _line(ledger: Ledger, tenant: str, queue: str) -> list[tuple[int, Entry, str]] | None:
    """(place from 1, entry, offered agent), copied: the desk goes on changing."""
    desk = _desk(ledger, tenant)
    if desk is None or queue not in desk.queues:
        return None
    return [
        (place, entry, desk.reservations[entry.offer].agent if entry.offer else "")
        for place, entry in enumerate(desk.line(queue), 1)
    ]


def _agent(ledger: Ledger, tenant: str, agent: str) -> pb.AgentState | None:
    desk = _desk(ledger, tenant)
    row = None if desk is None else desk.agents.get(agent)
    return None if row is None or not row.version else _shown(row, tenant)


def _agents(ledger: Ledger, tenant: str) -> dict[str, pb.AgentState]:
    desk = _desk(ledger, tenant)
    return {} if desk is None else {id_: _shown(row, tenant) for id_, row in desk.agents.items() if row.version}


def _shown(agent: Agent, tenant: str) -> pb.AgentState:
    parent = f"tenants/{tenant}"
    return pb.AgentState(
        name=f"{parent}/agentStates/{agent.agent}",
        agent=f"{parent}/agents/{agent.agent}",
        presence=_NUMBERS[agent.presence],
        status=pb.AgentState.Status.Value(f"STATUS_{agent.status.value}"),
        contact=f"{parent}/contacts/{agent.contact}" if agent.contact else "",
        reachable=bool(agent.reachable),
        presence_time=time_of(agent.presence_ms),
        status_time=time_of(agent.since_ms),
        queues=[f"{parent}/queues/{queue}" for queue in agent.queues],
    )
