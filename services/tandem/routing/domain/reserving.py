"""Who is offered whom: the best pair as the desk stands, without changing it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Context
from tandem.core.ids import derived_id
from tandem.routing.domain import words as w
from tandem.routing.domain.desk import Agent, Desk, Entry

Events = Sequence[Any]


def reserve(
    desk: Desk,
    entry: Entry,
    agent: Agent,
    context: Context,
    *,
    index: int = 0,
    device: str = "",
    idle_since_ms: int | None = None,
) -> w.AgentReserved:
    """The agent's newest device, or `device`, is asked to ring for the contact. `index` is different
    for each reservation of one decision."""
    queue = desk.queues[entry.queue]
    return w.AgentReserved(
        derived_id(context.unique, str(index), size=12),
        agent.agent,
        device or agent.reachable[-1].device,
        entry.contact,
        entry.queue,
        queue.ring_timeout_ms,
        entry.enqueued_ms,
        agent.idle_since_ms if idle_since_ms is None else idle_since_ms,
        queue.version,
        agent.version,
        context.now_ms,
    )


def becomes_ready(desk: Desk, agent: Agent, context: Context, idle_since_ms: int, device: str = "") -> Events:
    """The agent is idle; somebody who waits may have them at once."""
    ready = w.AgentReady(agent.agent, idle_since_ms, context.now_ms)
    entry = desk.best_contact(agent.profile)
    if entry is None:
        return (ready,)
    return ready, reserve(desk, entry, agent, context, device=device, idle_since_ms=idle_since_ms)


def free(desk: Desk, agent: Agent, context: Context, idle_since_ms: int) -> Events:
    """What they did is over: ready or not, as presence and devices say."""
    if agent.ready:
        return becomes_ready(desk, agent, context, idle_since_ms)
    return (w.AgentUnready(agent.agent, context.now_ms),)
