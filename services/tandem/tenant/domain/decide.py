"""What a tenant's administrator may change, and what is refused."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from tandem.core.decider import Context, EffectEnded, dispatch
from tandem.core.errors import BAD_FLOW, IN_USE, Rejected
from tandem.core.flow import MAX_SKILLS, FlowStep, QueueStep, SkillNeed, faults
from tandem.core.seal import Private, Secret
from tandem.tenant.domain.quota import refuse_over
from tandem.tenant.domain.rules import (
    MAX_SHORT_ID,
    Problems,
    check_etag,
    id_problem,
    known,
    number_problem,
    refuse_full,
    refuse_if,
    refuse_taken,
    text_problem,
)
from tandem.tenant.domain.words import (
    AgentBody,
    AgentCreated,
    AgentDeleted,
    AgentErased,
    AgentUpdated,
    Configuration,
    CreateAgent,
    CreateFlow,
    CreateNumber,
    CreateQueue,
    DeleteAgent,
    DeleteFlow,
    DeleteNumber,
    DeleteQueue,
    FlowCreated,
    FlowDeleted,
    FlowDraft,
    FlowPublished,
    FlowUpdated,
    Number,
    NumberCreated,
    NumberDeleted,
    NumberUpdated,
    PublishFlow,
    Queue,
    QueueCreated,
    QueueDeleted,
    QueueUpdated,
    ResetSecret,
    SecretSet,
    UpdateAgent,
    UpdateFlow,
    UpdateNumber,
    UpdateQueue,
)

MAX_QUEUES = 1000
MAX_AGENTS = 10_000
MAX_NUMBERS = 10_000
MAX_FLOWS = 500
MAX_QUEUES_OF_AGENT = 100
"""Queues of one agent; the desk looks through them when the agent is free."""
MIN_RING_MS, MAX_RING_MS = 1000, 120_000
MAX_WRAP_UP_MS = 3_600_000
MAX_FAULTS = 50
"""Faults of a flow that one answer names."""

Events = Sequence[Any]


# ------------------------------------------------------------------- queues


def _create_queue(state: Configuration, command: CreateQueue, context: Context) -> Events:
    refuse_if({"queue_id": id_problem(command.queue)})
    refuse_taken(state.queues, command.queue, "queue")
    refuse_full(state.queues, MAX_QUEUES, "queues")
    refuse_over(context.shared, state.queues, "queues")
    now = context.now_ms
    queue = Queue(
        command.queue, command.display_name, command.ring_timeout_ms, command.wrap_up_ms, state.version + 1, now, now
    )
    refuse_if(_queue_problems(queue))
    return (QueueCreated(queue),)


def _update_queue(state: Configuration, command: UpdateQueue, context: Context) -> Events:
    old = known(state.queues, command.queue)
    check_etag(command.etag, old.version)
    queue = replace(old, **_changes(command), version=state.version + 1, updated_ms=context.now_ms)
    refuse_if(_queue_problems(queue))
    return (QueueUpdated(queue),)


def _queue_problems(queue: Queue) -> Problems:
    ring, wrap_up = queue.ring_timeout_ms, queue.wrap_up_ms
    return {
        "display_name": text_problem(queue.display_name),
        "ring_timeout": "" if MIN_RING_MS <= ring <= MAX_RING_MS else "a device rings 1 to 120 seconds",
        "wrap_up": "" if 0 <= wrap_up <= MAX_WRAP_UP_MS else "time after a contact is 0 to 3600 seconds",
    }


def _delete_queue(state: Configuration, command: DeleteQueue, context: Context) -> Events:
    old = known(state.queues, command.queue)
    check_etag(command.etag, old.version)
    _refuse_used(context.tenant, _users_of_queue(state, command.queue))
    return (QueueDeleted(command.queue, state.version + 1),)


def _users_of_queue(state: Configuration, queue: str) -> Iterator[tuple[str, str]]:
    """(resource, path in it) of each place that names the queue."""
    for agent in state.agents.values():
        for index, name in enumerate(agent.body.queues):
            if name == queue:
                yield f"agents/{agent.body.agent}", f"queues[{index}]"
    for flow in state.flows.values():
        for where, steps in (("steps", flow.steps), ("published_steps", flow.published_steps)):
            for index, step in enumerate(steps):
                if isinstance(step.body, QueueStep) and step.body.queue == queue:
                    yield f"flows/{flow.flow}", f"{where}[{index}].queue.queue"


def _refuse_used(tenant: str, users: Iterator[tuple[str, str]]) -> None:
    for resource, path in users:
        user = f"tenants/{tenant}/{resource}"
        raise Rejected(IN_USE, f"it is in use: {user} names it at {path}", user=user, path=path)


# ------------------------------------------------------------------- agents


def _create_agent(state: Configuration, command: CreateAgent, context: Context) -> Events:
    refuse_if({"agent_id": id_problem(command.agent, MAX_SHORT_ID)})
    refuse_taken(state.agents, command.agent, "agent")
    refuse_full(state.agents, MAX_AGENTS, "agents")
    refuse_over(context.shared, state.agents, "agents")
    version, now = state.version + 1, context.now_ms
    body = AgentBody(command.agent, command.queues, command.skills, command.device, version, now, now)
    refuse_if(_agent_problems(state, body, command.display_name))
    return (
        AgentCreated(body, command.display_name, context.key_id),
        SecretSet(command.agent, command.realm, command.ha1_md5, command.ha1_sha256, version + 1, now, command.attempt),
    )


def _update_agent(state: Configuration, command: UpdateAgent, context: Context) -> Events:
    old = known(state.agents, command.agent)
    check_etag(command.etag, old.body.version)
    changes = _changes(command)
    display_name = changes.pop("display_name", old.display_name)
    body = replace(old.body, **changes, version=state.version + 1, updated_ms=context.now_ms)
    refuse_if(_agent_problems(state, body, display_name))
    return (AgentUpdated(body, display_name),)


def _agent_problems(state: Configuration, body: AgentBody, display_name: Private) -> Problems:
    problems: Problems = {}
    if isinstance(display_name, Secret):
        problems["display_name"] = text_problem(display_name.value.decode())
    if len(body.queues) > MAX_QUEUES_OF_AGENT:
        problems["queues"] = f"{len(body.queues)} queues are over the limit of {MAX_QUEUES_OF_AGENT}"
    for index, queue in enumerate(body.queues[:MAX_QUEUES_OF_AGENT]):
        if queue not in state.queues:
            problems[f"queues[{index}]"] = f"there is no queue {queue!r}"
        elif queue in body.queues[:index]:
            problems[f"queues[{index}]"] = f"{queue!r} stands twice"
    return problems | _skill_problems(body.skills)


def _skill_problems(skills: tuple[SkillNeed, ...]) -> Problems:
    problems: Problems = {}
    if len(skills) > MAX_SKILLS:
        problems["skills"] = f"{len(skills)} skills are over the limit of {MAX_SKILLS}"
    names = [skill.skill for skill in skills[:MAX_SKILLS]]
    for index, skill in enumerate(skills[:MAX_SKILLS]):
        problems[f"skills[{index}].skill"] = id_problem(skill.skill) or (
            f"{skill.skill!r} stands twice" if skill.skill in names[:index] else ""
        )
        problems[f"skills[{index}].level"] = "" if 1 <= skill.level <= 100 else "a level is 1 to 100"
    return problems


def _reset_secret(state: Configuration, command: ResetSecret, context: Context) -> Events:
    known(state.agents, command.agent)
    return (
        SecretSet(
            command.agent,
            command.realm,
            command.ha1_md5,
            command.ha1_sha256,
            state.version + 1,
            context.now_ms,
            command.attempt,
        ),
    )


def _delete_agent(state: Configuration, command: DeleteAgent, context: Context) -> Events:
    old = known(state.agents, command.agent)
    check_etag(command.etag, old.body.version)
    return (AgentDeleted(command.agent, old.body.device, state.version + 1, old.key_id),)


def _erased(state: Configuration, command: EffectEnded, context: Context) -> Events:
    """The only effects of a configuration are the erasures of agents."""
    return (AgentErased(command.name.split("/")[1], context.now_ms),)


# ------------------------------------------------------------------- numbers


def _create_number(state: Configuration, command: CreateNumber, context: Context) -> Events:
    refuse_if({"number_id": number_problem(command.number)})
    refuse_taken(state.numbers, command.number, "number")
    refuse_full(state.numbers, MAX_NUMBERS, "numbers")
    refuse_over(context.shared, state.numbers, "numbers")
    now = context.now_ms
    number = Number(command.number, command.display_name, command.flow, state.version + 1, now, now)
    refuse_if(number_problems(state, number.display_name, number.flow))
    return (NumberCreated(number),)


def _update_number(state: Configuration, command: UpdateNumber, context: Context) -> Events:
    old = known(state.numbers, command.number)
    check_etag(command.etag, old.version)
    number = replace(old, **_changes(command), version=state.version + 1, updated_ms=context.now_ms)
    refuse_if(number_problems(state, number.display_name, number.flow))
    return (NumberUpdated(number),)


def number_problems(state: Configuration, display_name: str, flow: str) -> Problems:
    """What is wrong with a number's fields."""
    there = state.flows.get(flow)
    if there is None:
        problem = f"there is no flow {flow!r}"
    else:
        problem = "" if there.published else f"the flow {flow!r} has no published version; publish it first"
    return {"display_name": text_problem(display_name), "flow": problem}


def _delete_number(state: Configuration, command: DeleteNumber, context: Context) -> Events:
    old = known(state.numbers, command.number)
    check_etag(command.etag, old.version)
    return (NumberDeleted(command.number, state.version + 1),)


# ------------------------------------------------------------------- flows


def _create_flow(state: Configuration, command: CreateFlow, context: Context) -> Events:
    refuse_if({"flow_id": id_problem(command.flow), "display_name": text_problem(command.display_name)})
    refuse_taken(state.flows, command.flow, "flow")
    refuse_full(state.flows, MAX_FLOWS, "flows")
    refuse_over(context.shared, state.flows, "flows")
    _refuse_faults(state, command.steps, command.prompts)
    now = context.now_ms
    flow = FlowDraft(command.flow, command.display_name, command.steps, 0, (), state.version + 1, now, now)
    return (FlowCreated(flow),)


def _update_flow(state: Configuration, command: UpdateFlow, context: Context) -> Events:
    old = known(state.flows, command.flow)
    check_etag(command.etag, old.version)
    flow = replace(old, **_changes(command), version=state.version + 1, updated_ms=context.now_ms)
    refuse_if({"display_name": text_problem(flow.display_name)})
    _refuse_faults(state, flow.steps, command.prompts)
    return (FlowUpdated(flow),)


def _publish_flow(state: Configuration, command: PublishFlow, context: Context) -> Events:
    old = known(state.flows, command.flow)
    check_etag(command.etag, old.version)
    _refuse_faults(state, old.steps, command.prompts)
    return (FlowPublished(command.flow, old.published + 1, state.version + 1, context.now_ms),)


def _delete_flow(state: Configuration, command: DeleteFlow, context: Context) -> Events:
    old = known(state.flows, command.flow)
    check_etag(command.etag, old.version)
    users = ((f"numbers/{n.number}", "flow") for n in state.numbers.values() if n.flow == command.flow)
    _refuse_used(context.tenant, users)
    return (FlowDeleted(command.flow, state.version + 1),)


def _refuse_faults(state: Configuration, steps: tuple[FlowStep, ...], prompts: tuple[str, ...]) -> None:
    found = faults(steps, state.queues, prompts)[:MAX_FAULTS]
    if found:
        paths = {fault.path.removesuffix("_ms"): fault.message for fault in found}
        path, message = next(iter(paths.items()))
        raise Rejected(BAD_FLOW, f"{path}: {message}", **paths)


def _changes(command: Any) -> dict[str, Any]:
    """The fields that an update changes, with their new values."""
    return {name: getattr(command, name) for name in command.fields}


_HANDLERS: dict[tuple[type, type], Any] = {
    (Configuration, CreateQueue): _create_queue,
    (Configuration, UpdateQueue): _update_queue,
    (Configuration, DeleteQueue): _delete_queue,
    (Configuration, CreateAgent): _create_agent,
    (Configuration, UpdateAgent): _update_agent,
    (Configuration, ResetSecret): _reset_secret,
    (Configuration, DeleteAgent): _delete_agent,
    (Configuration, EffectEnded): _erased,
    (Configuration, CreateNumber): _create_number,
    (Configuration, UpdateNumber): _update_number,
    (Configuration, DeleteNumber): _delete_number,
    (Configuration, CreateFlow): _create_flow,
    (Configuration, UpdateFlow): _update_flow,
    (Configuration, PublishFlow): _publish_flow,
    (Configuration, DeleteFlow): _delete_flow,
}


def decide(state: Configuration, command: Any, context: Context) -> Events:
    """Events of a command. Raises `Rejected`."""
    return dispatch(_HANDLERS, state, command, context)
