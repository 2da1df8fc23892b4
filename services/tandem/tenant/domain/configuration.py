"""A tenant's configuration as one aggregate (stream `configuration`), and what others hear of it.

The maps are never changed in place; a changed one is a copy, which is cheap enough for
what people change by hand.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tandem.core.decider import Act, Action, Answer, Kind, Rows, Tell
from tandem.core.destroy import ASK_AGAIN_MS, ERASE, DestroyKeys
from tandem.core.flow import STEP_CLASSES
from tandem.core.seal import AUDIO, Withheld
from tandem.tenant.domain.cell import Deleted
from tandem.tenant.domain.decide import decide
from tandem.tenant.domain.quota import QUOTA
from tandem.tenant.domain.rules import with_one, without
from tandem.tenant.domain.words import (
    Agent,
    AgentBody,
    AgentCreated,
    AgentDeleted,
    AgentErased,
    AgentSaved,
    AgentUpdated,
    Configuration,
    CreateAgent,
    CreateFlow,
    CreateNumber,
    CreateQueue,
    FlowCreated,
    FlowDeleted,
    FlowDraft,
    FlowPublished,
    FlowSaved,
    FlowUpdated,
    Number,
    NumberCreated,
    NumberDeleted,
    NumberUpdated,
    Queue,
    QueueCreated,
    QueueDeleted,
    QueueUpdated,
    ResetSecret,
    SecretSet,
    TellAgent,
    TellDevice,
    TellFlow,
    TellNumber,
    TellQueue,
    UpdateAgent,
)

CONFIGURATION = "configuration"
RECEPTION = "reception"
"""Session's aggregate of a tenant that lives of numbers, devices and flows."""
DESK = "desk"
"""Routing's aggregate of a tenant that lives of queues and agents."""


def evolve(state: Configuration, event: Any) -> Configuration:
    """The configuration after an event."""
    match event:
        case QueueCreated(queue) | QueueUpdated(queue):
            return replace(state, version=queue.version, queues=with_one(state.queues, queue.queue, queue))
        case QueueDeleted(id_, version):
            return replace(state, version=version, queues=without(state.queues, id_))
        case AgentCreated() | AgentUpdated():
            return _agent_saved(state, event)
        case SecretSet():
            return _secret_set(state, event)
        case AgentDeleted(id_, _, version):
            return replace(state, version=version, agents=without(state.agents, id_))
        case AgentErased():
            return state
        case NumberCreated(number) | NumberUpdated(number):
            return replace(state, version=number.version, numbers=with_one(state.numbers, number.number, number))
        case NumberDeleted(id_, version):
            return replace(state, version=version, numbers=without(state.numbers, id_))
        case FlowCreated(flow) | FlowUpdated(flow):
            return replace(state, version=flow.version, flows=with_one(state.flows, flow.flow, flow))
        case FlowPublished():
            return _published(state, event)
        case FlowDeleted(id_, version):
            return replace(state, version=version, flows=without(state.flows, id_))
        case _:
            raise TypeError(f"{type(event).__name__} is no event of a configuration")


def _agent_saved(state: Configuration, event: AgentCreated | AgentUpdated) -> Configuration:
    body, display_name = event.agent, event.display_name
    if isinstance(event, AgentCreated):
        agent = Agent(body, display_name, key_id=event.key_id)
    else:
        agent = replace(state.agents[body.agent], body=body, display_name=display_name)
    return replace(state, version=body.version, agents=with_one(state.agents, body.agent, agent))


def _secret_set(state: Configuration, event: SecretSet) -> Configuration:
    old = state.agents[event.agent]
    body = replace(old.body, version=event.version, updated_ms=event.updated_ms)
    agent = Agent(body, old.display_name, event.realm, event.ha1_md5, event.ha1_sha256, old.key_id)
    return replace(state, version=event.version, agents=with_one(state.agents, event.agent, agent))


def _published(state: Configuration, event: FlowPublished) -> Configuration:
    old = state.flows[event.flow]
    flow = replace(
        old,
        published=event.published,
        published_steps=old.steps,
        version=event.version,
        updated_ms=event.updated_ms,
    )
    return replace(state, version=event.version, flows=with_one(state.flows, event.flow, flow))


def react(state: Configuration, event: Any) -> Sequence[Action]:
    """What session and routing hear, and the answer."""
    match event:
        case QueueCreated(queue) | QueueUpdated(queue):
            line = TellQueue(queue.queue, queue.version, queue.ring_timeout_ms, queue.wrap_up_ms, False)
            return (Tell(DESK, line), Answer(queue))
        case QueueDeleted(id_, version):
            return (Tell(DESK, TellQueue(id_, version, 0, 0, True)), Answer(Deleted()))
        case AgentCreated(body, _):
            return (Tell(DESK, _tell_agent(body)),)  # the answer comes with the secret
        case AgentUpdated(body, display_name):
            return (Tell(DESK, _tell_agent(body)), Answer(AgentSaved(body, display_name, "")))
        case SecretSet():
            return _react_secret(state.agents[event.agent], event)
        case AgentDeleted(agent, device, version, key_id):
            gone = Withheld()
            told = (
                Tell(DESK, TellAgent(agent, version, (), (), (), True)),
                Tell(RECEPTION, TellDevice(device, version, agent, "", gone, gone, True)),
                Answer(Deleted()),
            )
            keys = DestroyKeys((key_id, key_id + AUDIO))
            return (*told, Act(f"{erasure_of(agent)}{version}", ERASE, keys, ASK_AGAIN_MS)) if key_id else told
        case NumberCreated(number) | NumberUpdated(number):
            way = TellNumber(number.number, number.version, number.flow, False)
            return (Tell(RECEPTION, way), Answer(number))
        case NumberDeleted(id_, version):
            return (Tell(RECEPTION, TellNumber(id_, version, "", True)), Answer(Deleted()))
        case FlowCreated(draft) | FlowUpdated(draft):
            return (Answer(FlowSaved(draft.flow)),)
        case FlowPublished(id_, published):
            flow = TellFlow(id_, published, state.flows[id_].published_steps)
            return (Tell(RECEPTION, flow), Answer(FlowSaved(id_)))
        case FlowDeleted() | AgentErased():  # of an erasure the eraser hears that its end was taken
            return (Answer(Deleted()),)
        case _:
            return ()


def erasure_of(agent: str) -> str:
    """How the effects that erase an agent begin: one who is made anew may be deleted once more."""
    return f"erase/{agent}/"


def person(state: Configuration, command: Any) -> str | None:
    """Whose name and digests a command carries: each agent has a key, but those of older releases."""
    match command:
        case CreateAgent(agent):
            return None if agent in state.agents else ""
        case UpdateAgent(agent) | ResetSecret(agent):
            known = state.agents.get(agent)
            return known.key_id or None if known is not None else None
        case _:
            return None


def _persons(state: Configuration) -> tuple[str, ...]:
    return tuple(agent.key_id for agent in state.agents.values() if agent.key_id)


def _tell_agent(body: AgentBody) -> TellAgent:
    return TellAgent(body.agent, body.version, body.queues, body.skills, (body.device,), False)


def _react_secret(agent: Agent, event: SecretSet) -> Sequence[Action]:
    device = TellDevice(
        agent.body.device,
        event.version,
        event.agent,
        event.realm,
        event.ha1_md5,
        event.ha1_sha256,
        False,
    )
    return (Tell(RECEPTION, device), Answer(AgentSaved(agent.body, agent.display_name, event.attempt)))


def _build(
    version: int,
    queues: Sequence[Queue],
    agents: Sequence[Agent],
    numbers: Sequence[Number],
    flows: Sequence[FlowDraft],
) -> Configuration:
    return Configuration(
        version,
        {queue.queue: queue for queue in queues},
        {agent.body.agent: agent for agent in agents},
        {number.number: number for number in numbers},
        {flow.flow: flow for flow in flows},
    )


def _touched(event: Any) -> Sequence[tuple[str, str]]:
    match event:
        case QueueCreated(queue) | QueueUpdated(queue):
            return (("queues", queue.queue),)
        case QueueDeleted(id_):
            return (("queues", id_),)
        case AgentCreated(body) | AgentUpdated(body):
            return (("agents", body.agent),)
        case SecretSet(agent) | AgentDeleted(agent) | AgentErased(agent):
            return (("agents", agent),)
        case NumberCreated(number) | NumberUpdated(number):
            return (("numbers", number.number),)
        case NumberDeleted(id_):
            return (("numbers", id_),)
        case FlowCreated(flow) | FlowUpdated(flow):
            return (("flows", flow.flow),)
        case _:
            return (("flows", event.flow),)


ROWS = Rows(("queues", "agents", "numbers", "flows"), _touched, _build, lambda state: state.version)
"""A configuration row by row."""

KIND = Kind(
    name=CONFIGURATION,
    start=Configuration,
    starts=(CreateQueue, CreateAgent, CreateNumber, CreateFlow),
    decide=decide,
    evolve=evolve,
    react=react,
    reads=QUOTA,
    sealed=True,  # names of agents, and digests of their devices' passwords, of older releases
    person=person,
    persons=_persons,
    states=(
        Queue,
        Agent,
        AgentBody,
        Number,
        FlowDraft,
        *STEP_CLASSES,
    ),
    rows=ROWS,
)
