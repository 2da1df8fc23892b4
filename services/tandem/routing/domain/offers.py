"""What a desk decides of offers that it made: accepted, closed, talked to their end."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from tandem.core.decider import Context
from tandem.routing.domain import words as w
from tandem.routing.domain.desk import Agent, Desk, Entry, Reservation, Stage, suits
from tandem.routing.domain.reserving import free, reserve
from tandem.routing.domain.words import Outcome

Events = Sequence[Any]

REJECT_PAUSE_MS = 5_000
"""An agent who declined or was busy is not offered the next contact in the same breath."""
UNREACHABLE_PAUSE_MS = 10_000
"""A device that did not answer to signalling is given time to come back."""


def _accept(desk: Desk, command: w.AcceptOffer, context: Context) -> Events:
    row = desk.reservations.get(command.offer)
    if row is None or row.stage is Stage.ACCEPTED:
        return ()
    # An answer that crosses a rescission stands: the contact decided the order. When that was is told in the
    # contact's time, which may be hours from the desk's after a step of a clock.
    return _accepted(desk, row, context.now_ms)


def _accepted(desk: Desk, row: Reservation, at_ms: int) -> Events:
    left = w.ContactLeftLine(row.contact, row.queue, "CONNECTED", at_ms)
    engaged = w.AgentEngaged(row.offer, row.agent, row.contact, at_ms)
    return (left, engaged) if row.contact in desk.entries else (engaged,)


def _close(desk: Desk, command: w.CloseOffer, context: Context) -> Events:
    row = desk.reservations.get(command.offer)
    if row is None:
        return ()  # closed before
    if row.stage is Stage.ACCEPTED:
        # The end of the talk was missed; what is over for the contact is over.
        return _released(desk, row, False, False, context)
    return _closed(desk, row, command.outcome, command.rang_ms, context)


def _gone(desk: Desk, command: w.CloseGone, context: Context) -> Events:
    """The contact is not there any more: whatever the offer was, the agent is free."""
    row = desk.reservations.get(command.offer)
    if row is None:
        return ()
    if row.stage is Stage.ACCEPTED:
        return _released(desk, row, False, False, context)
    left: Events = ()
    entry = desk.entries.get(row.contact)
    if entry is not None and entry.offer == row.offer:
        left = (w.ContactLeftLine(entry.contact, entry.queue, "GONE", context.now_ms),)
    # Else it came again after this offer: the answer to its next one takes it out of the line.
    return *left, *_closed(desk, row, Outcome.RESCINDED, 0, context, gone=True)


def _closed(
    desk: Desk, row: Reservation, outcome: Outcome, rang_ms: int, context: Context, gone: bool = False
) -> Events:
    now, agent = context.now_ms, desk.agents[row.agent]
    closed = w.ReservationClosed(row.offer, row.agent, row.contact, outcome, rang_ms, now)
    entry = None if gone else desk.entries.get(row.contact)
    if entry is not None and entry.offer != row.offer:
        entry = None  # it left the line and came again: it has another offer, or waits for whoever is free
    if not agent.version or not (agent.ready or outcome in (Outcome.TIMEOUT, Outcome.UNKNOWN)):
        return closed, w.AgentUnready(agent.agent, now), *_next_agent(desk, entry, None, context)
    match outcome:
        case Outcome.TIMEOUT:
            status: Any = w.AgentNotResponding(agent.agent, row.offer, now)
        case Outcome.REJECTED:
            until = now + REJECT_PAUSE_MS
            status = w.AgentBackedOff(agent.agent, until, until, now)
        case Outcome.UNREACHABLE:
            status = w.AgentBackedOff(agent.agent, now + UNREACHABLE_PAUSE_MS, agent.idle_since_ms, now)
        case Outcome.UNKNOWN:
            # The phone may ring yet: leave it alone for as long as it would.
            status = w.AgentBackedOff(agent.agent, now + row.ring_timeout_ms, agent.idle_since_ms, now)
        case _:
            return closed, *_both_free(desk, agent, entry, context)
    return closed, status, *_next_agent(desk, entry, None, context)


def _both_free(desk: Desk, agent: Agent, entry: Entry | None, context: Context) -> Events:
    """Rescinded or cancelled: the agent is idle as before, the contact may still be in line."""
    ready = w.AgentReady(agent.agent, agent.idle_since_ms, context.now_ms)
    chosen = _next_agent(desk, entry, agent, context)
    if chosen and chosen[0].agent == agent.agent:
        return ready, *chosen
    other = desk.best_contact(agent.profile)
    if other is None:
        return ready, *chosen
    return ready, *chosen, reserve(desk, other, agent, context, index=1)


def _next_agent(desk: Desk, entry: Entry | None, freed: Agent | None, context: Context) -> Sequence[w.AgentReserved]:
    """The next agent for a contact that is back at its place. It is ahead of all who came
    later, so what is idle and suits is its."""
    if entry is None:
        return ()
    best = desk.best_agent(entry.need)
    if freed is not None and suits(freed.profile, entry.need):
        ahead = best is None or (freed.idle_since_ms, freed.agent) < (best.idle_since_ms, best.agent)
        other = desk.best_contact(freed.profile)
        if ahead and (other is None or entry.order < other.order):
            best = freed
    return () if best is None else (reserve(desk, entry, best, context),)


def _end_talk(desk: Desk, command: w.EndTalk, context: Context) -> Events:
    row = desk.reservations.get(command.offer)
    if row is None:
        return ()
    missed: Events = ()
    if row.stage is not Stage.ACCEPTED:
        # The answer was missed: that there was a talk says as much.
        missed = _accepted(desk, row, context.now_ms)
    return *missed, *_released(desk, row, command.audio, command.lost, context)


def _released(desk: Desk, row: Reservation, audio: bool, lost: bool, context: Context) -> Events:
    now, agent = context.now_ms, desk.agents[row.agent]
    released = w.AgentReleased(row.offer, row.agent, row.contact, audio, now)
    queue = desk.queues.get(row.queue)
    wrap_up_ms = queue.wrap_up_ms if queue is not None and audio and agent.version else 0
    if wrap_up_ms:
        return released, w.WrapUpStarted(agent.agent, row.offer, row.contact, now + wrap_up_ms, now)
    ended: Events = (w.WrapUpFinished(agent.agent, row.offer, row.contact, now),) if audio else ()
    if not agent.version:
        return released, *ended, w.AgentUnready(agent.agent, now)
    if lost and not audio and agent.ready:
        # Answered, but no bridge: do not ring the same phone again in the same breath.
        pause = w.AgentBackedOff(agent.agent, now + UNREACHABLE_PAUSE_MS, agent.idle_since_ms, now)
        return released, *ended, pause
    idle_since_ms = now if audio else agent.idle_since_ms
    return released, *ended, *free(desk, agent, context, idle_since_ms)


def _ask(desk: Desk, command: w.AskOffer, context: Context) -> Events:
    row = desk.reservations.get(command.offer)
    return () if row is None else (w.ReservationRescinded(row.offer, "OVERDUE", context.now_ms),)


HANDLERS: dict[tuple[type, type], Any] = {
    (Desk, w.AcceptOffer): _accept,
    (Desk, w.CloseOffer): _close,
    (Desk, w.CloseGone): _gone,
    (Desk, w.EndTalk): _end_talk,
    (Desk, w.AskOffer): _ask,
}
