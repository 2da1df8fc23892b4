"""What a desk decides of agents: configuration, devices, presence, wrap-up, back-off."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tandem.core.decider import Context
from tandem.core.errors import BAD_FIELD, NOT_IN_USE, UNKNOWN_NAME, Rejected
from tandem.core.published import is_news
from tandem.routing.domain import words as w
from tandem.routing.domain.desk import Agent, Desk, Stage
from tandem.routing.domain.reserving import becomes_ready, free, reserve
from tandem.routing.domain.words import RoutingStatus

Events = Sequence[Any]


def _agent(desk: Desk, command: w.PublishAgent, context: Context) -> Events:
    known = desk.agents.get(command.agent)
    if not is_news(known, command):
        return ()
    skills = tuple(sorted(command.skills, key=lambda need: need.skill))
    queues = tuple(sorted(command.queues))
    configured = w.AgentConfigured(command.agent, command.version, queues, skills, command.devices, command.deleted)
    if command.deleted and known is not None and known.status is RoutingStatus.ALERTING:
        return configured, w.ReservationRescinded(known.offer, "AGENT_DELETED", context.now_ms)
    if command.deleted and known is not None and known.status is RoutingStatus.WRAP_UP:
        return w.WrapUpFinished(known.agent, known.offer, known.contact, context.now_ms), configured
    if known is None or known.status is not RoutingStatus.IDLE or command.deleted:
        return (configured,)
    # An idle agent with other skills may now suit somebody who waits.
    entry = desk.best_contact((queues, skills))
    if entry is None:
        return (configured,)
    return configured, replace(reserve(desk, entry, known, context), agent_version=command.version)


def _device(desk: Desk, command: w.NoteDevice, context: Context) -> Events:
    agent = desk.agents.get(command.agent)
    noted = w.DeviceNoted(command.agent, command.device, command.node, command.registered, command.at_ms)
    if agent is None:
        # The device's message was faster than the agent's; of one who was deleted nothing is kept.
        return (noted,) if command.registered else ()
    others = [row for row in agent.reachable if row.device != command.device]
    if command.registered:
        if agent.presence == w.AVAILABLE and agent.status is RoutingStatus.OFF_QUEUE and agent.version:
            return noted, *becomes_ready(desk, agent, context, context.now_ms, command.device)
        return (noted,)
    if agent.status is RoutingStatus.IDLE and not others:
        return noted, w.AgentUnready(agent.agent, context.now_ms)
    open_ = desk.reservations.get(agent.offer)  # none, if its end was lost with what the agent waited for
    if agent.status is RoutingStatus.ALERTING and open_ is not None and open_.rings(command.device):
        # The phone that rings lost its registration: place kept, nobody blamed.
        return noted, w.ReservationRescinded(agent.offer, "DEVICE_GONE", context.now_ms)
    return (noted,)


def _known(desk: Desk, name: str) -> Agent:
    agent = desk.agents.get(name)
    if agent is None or not agent.version:
        raise Rejected(UNKNOWN_NAME, "there is no such agent")
    return agent


def _presence(desk: Desk, command: w.SetPresence, context: Context) -> Events:
    agent, now = _known(desk, command.agent), context.now_ms
    if command.presence not in w.PRESENCES:
        raise Rejected(
            BAD_FIELD,
            f"presence: {command.presence[:40]!r} is none of {', '.join(w.PRESENCES)}",
            field="presence",
        )
    said = w.PresenceSet(agent.agent, command.presence, now)
    available = command.presence == w.AVAILABLE
    match agent.status:
        case RoutingStatus.OFF_QUEUE | RoutingStatus.NOT_RESPONDING if available and agent.reachable:
            return said, *becomes_ready(desk, agent, context, now)
        case RoutingStatus.IDLE | RoutingStatus.NOT_RESPONDING if not available:
            return said, w.AgentUnready(agent.agent, now)
        case RoutingStatus.NOT_RESPONDING if available:
            return said, w.AgentUnready(agent.agent, now)  # no device yet; its registration makes them ready
        case RoutingStatus.ALERTING if not available and _pending(desk, agent):
            return said, w.ReservationRescinded(agent.offer, "AGENT_AWAY", now)
        case _:
            return (said,)  # takes effect when what they do is over


def _pending(desk: Desk, agent: Agent) -> bool:
    return desk.reservations[agent.offer].stage is Stage.PENDING


def _finish_wrap_up(desk: Desk, command: w.FinishWrapUp, context: Context) -> Events:
    agent = _known(desk, command.agent)
    if agent.status is not RoutingStatus.WRAP_UP:
        raise Rejected(NOT_IN_USE, f"the agent is {agent.status.value}, not in wrap-up", status=agent.status.value)
    return wrapped(desk, agent, context)


def _wrap_up_over(desk: Desk, command: w.WrapUpOver, context: Context) -> Events:
    agent = desk.agents.get(command.agent)
    if agent is None or agent.status is not RoutingStatus.WRAP_UP or agent.offer != command.offer:
        return ()  # finished by hand before
    return wrapped(desk, agent, context)


def wrapped(desk: Desk, agent: Agent, context: Context) -> Events:
    """The work after a talk is over."""
    finished = w.WrapUpFinished(agent.agent, agent.offer, agent.contact, context.now_ms)
    return finished, *free(desk, agent, context, context.now_ms)


def _back_off_over(desk: Desk, command: w.BackOffOver, context: Context) -> Events:
    agent = desk.agents.get(command.agent)
    if agent is None or agent.status is not RoutingStatus.BACKING_OFF or agent.until_ms != command.until_ms:
        return ()
    return free(desk, agent, context, agent.idle_since_ms)


HANDLERS: dict[tuple[type, type], Any] = {
    (Desk, w.PublishAgent): _agent,
    (Desk, w.NoteDevice): _device,
    (Desk, w.SetPresence): _presence,
    (Desk, w.FinishWrapUp): _finish_wrap_up,
    (Desk, w.WrapUpOver): _wrap_up_over,
    (Desk, w.BackOffOver): _back_off_over,
}
