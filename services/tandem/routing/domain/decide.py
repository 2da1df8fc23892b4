"""What a desk decides. Each command frees at most one agent and one contact, so each makes
at most two reservations; which ones is decided on the desk as it stands, without changing it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from tandem.core.decider import Context, Resumed, dispatch
from tandem.core.errors import BAD_FIELD, NOT_IN_USE, UNKNOWN_NAME, Rejected
from tandem.core.ids import derived_id
from tandem.routing.domain import words as w
from tandem.routing.domain.desk import Agent, Desk, Entry, Need, Reservation, Stage, suits
from tandem.routing.domain.words import Outcome, RoutingStatus

Events = Sequence[Any]

REJECT_PAUSE_MS = 5_000
"""An agent who declined or was busy is not offered the next contact in the same breath."""
UNREACHABLE_PAUSE_MS = 10_000
"""A device that did not answer to signalling is given time to come back."""


def _reserve(desk: Desk, entry: Entry, agent: Agent, context: Context, index: int = 0) -> w.AgentReserved:
    queue = desk.queues[entry.queue]
    return w.AgentReserved(
        derived_id(context.unique, str(index), size=12),
        agent.agent,
        agent.reachable[-1].device,
        entry.contact,
        entry.queue,
        queue.ring_timeout_ms,
        entry.enqueued_ms,
        agent.idle_since_ms,
        queue.version,
        agent.version,
        context.now_ms,
    )


# ------------------------------------------------------------------- configuration


def _queue(desk: Desk, command: w.PublishQueue, context: Context) -> Events:
    known = desk.queues.get(command.queue)
    if known is not None and known.version >= command.version:
        return ()
    return (
        w.QueueConfigured(command.queue, command.version, command.ring_timeout_ms, command.wrap_up_ms, command.deleted),
    )


def _agent(desk: Desk, command: w.PublishAgent, context: Context) -> Events:
    known = desk.agents.get(command.agent)
    if known is not None and known.version >= command.version:
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
    return configured, replace(_reserve(desk, entry, known, context), agent_version=command.version)


# ------------------------------------------------------------------- agents


def _device(desk: Desk, command: w.NoteDevice, context: Context) -> Events:
    agent = desk.agents.get(command.agent)
    noted = w.DeviceNoted(command.agent, command.device, command.node, command.registered, command.at_ms)
    if agent is None:
        # The device's message was faster than the agent's; of one who was deleted nothing is kept.
        return (noted,) if command.registered else ()
    others = [row for row in agent.reachable if row.device != command.device]
    if command.registered:
        if agent.presence == w.AVAILABLE and agent.status is RoutingStatus.OFF_QUEUE and agent.version:
            return noted, *_becomes_ready(desk, agent, context, context.now_ms, command.device)
        return (noted,)
    if agent.status is RoutingStatus.IDLE and not others:
        return noted, w.AgentUnready(agent.agent, context.now_ms)
    if agent.status is RoutingStatus.ALERTING and desk.reservations[agent.offer].rings(command.device):
        # The phone that rings lost its registration: place kept, nobody blamed.
        return noted, w.ReservationRescinded(agent.offer, "DEVICE_GONE", context.now_ms)
    return (noted,)


def _becomes_ready(desk: Desk, agent: Agent, context: Context, idle_since_ms: int, device: str = "") -> Events:
    """The agent is idle; somebody who waits may have them at once."""
    ready = w.AgentReady(agent.agent, idle_since_ms, context.now_ms)
    entry = desk.best_contact(agent.profile)
    if entry is None:
        return (ready,)
    queue = desk.queues[entry.queue]
    reserved = w.AgentReserved(
        derived_id(context.unique, "0", size=12),
        agent.agent,
        device or agent.reachable[-1].device,
        entry.contact,
        entry.queue,
        queue.ring_timeout_ms,
        entry.enqueued_ms,
        idle_since_ms,
        queue.version,
        agent.version,
        context.now_ms,
    )
    return ready, reserved


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
            return said, *_becomes_ready(desk, agent, context, now)
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
    return _wrapped(desk, agent, context)


def _wrap_up_over(desk: Desk, command: w.WrapUpOver, context: Context) -> Events:
    agent = desk.agents.get(command.agent)
    if agent is None or agent.status is not RoutingStatus.WRAP_UP or agent.offer != command.offer:
        return ()  # finished by hand before
    return _wrapped(desk, agent, context)


def _wrapped(desk: Desk, agent: Agent, context: Context) -> Events:
    finished = w.WrapUpFinished(agent.agent, agent.offer, agent.contact, context.now_ms)
    return finished, *_free(desk, agent, context, context.now_ms)


def _free(desk: Desk, agent: Agent, context: Context, idle_since_ms: int) -> Events:
    """What they did is over: ready or not, as presence and devices say."""
    if agent.ready:
        return _becomes_ready(desk, agent, context, idle_since_ms)
    return (w.AgentUnready(agent.agent, context.now_ms),)


def _back_off_over(desk: Desk, command: w.BackOffOver, context: Context) -> Events:
    agent = desk.agents.get(command.agent)
    if agent is None or agent.status is not RoutingStatus.BACKING_OFF or agent.until_ms != command.until_ms:
        return ()
    return _free(desk, agent, context, agent.idle_since_ms)


# ------------------------------------------------------------------- contacts


def _need(command: w.EnqueueContact) -> Need:
    return command.queue, tuple(sorted(command.skills, key=lambda need: need.skill))


def _enqueue(desk: Desk, command: w.EnqueueContact, context: Context) -> Events:
    known = desk.queues.get(command.queue)
    if known is None or known.deleted:
        return (w.QueueRefused(command.contact, command.queue, "UNKNOWN_QUEUE"),)
    queue, skills = _need(command)
    entry = Entry(command.contact, queue, skills, command.priority, command.enqueued_ms)
    missed: Events = ()
    stands = desk.entries.get(command.contact)
    if stands is not None:
        if stands.offer or (stands.need, stands.order) == (entry.need, entry.order):
            return ()  # it stands in line already
        # That it left its earlier place was missed.
        missed = (w.ContactLeftLine(stands.contact, stands.queue, "ELSEWHERE", context.now_ms),)
    entered = w.ContactEnteredLine(command.contact, queue, skills, command.priority, command.enqueued_ms)
    agent = desk.best_agent((queue, skills))
    if agent is None:
        return *missed, entered
    return *missed, entered, _reserve(desk, entry, agent, context)


def _look_again(desk: Desk, command: w.LookAgain, context: Context) -> Events:
    """One thing at a time: it is asked again until there is nothing more."""
    if command.lost is not None:
        return _lost(desk, command.lost, context)
    for name in sorted(desk.agents):
        agent = desk.agents[name]
        if _astray(desk, agent, context.now_ms):
            return _set_right(desk, agent, context)
    pair = desk.unmatched()
    return () if pair is None else (_reserve(desk, *pair, context),)


def _astray(desk: Desk, agent: Agent, now_ms: int) -> bool:
    """Whether what should have ended the agent's status was lost."""
    if agent.status in (RoutingStatus.OFF_QUEUE, RoutingStatus.IDLE):
        return agent.version > 0 and agent.ready != (agent.status is RoutingStatus.IDLE)
    if agent.status in (RoutingStatus.ALERTING, RoutingStatus.INTERACTING):
        return agent.offer not in desk.reservations
    return agent.status in (RoutingStatus.WRAP_UP, RoutingStatus.BACKING_OFF) and agent.until_ms < now_ms


def _set_right(desk: Desk, agent: Agent, context: Context) -> Events:
    if agent.status is RoutingStatus.WRAP_UP:
        return _wrapped(desk, agent, context)
    return _free(desk, agent, context, agent.idle_since_ms)


def _lost(desk: Desk, lost: Any, context: Context) -> Events:
    """A request or a timer of this event was never made: the agent must not wait for it."""
    match lost:
        case Resumed():
            # What became of them meanwhile was told to nobody.
            return [w.ReservationRescinded(offer, "RESUMED", context.now_ms) for offer in desk.reservations]
        case w.AgentReserved(offer) | w.ReservationRescinded(offer) | w.AgentEngaged(offer):
            known = offer in desk.reservations
            return (w.ReservationRescinded(offer, "LOST", context.now_ms),) if known else ()
        case w.WrapUpStarted(name) | w.AgentBackedOff(name):
            agent = desk.agents.get(name)
            waits = agent is not None and agent.status in (RoutingStatus.WRAP_UP, RoutingStatus.BACKING_OFF)
            return _set_right(desk, agent, context) if agent is not None and waits else ()
        case w.WrapUpFinished() | w.QueueRefused():
            return (lost,)  # said again
        case _:
            return ()


def _remove(desk: Desk, command: w.RemoveContact, context: Context) -> Events:
    entry = desk.entries.get(command.contact)
    if entry is None:
        return ()
    return (w.ContactLeftLine(entry.contact, entry.queue, command.why, context.now_ms),)


# ------------------------------------------------------------------- offers


def _accept(desk: Desk, command: w.AcceptOffer, context: Context) -> Events:
    row = desk.reservations.get(command.offer)
    if row is None or row.stage is Stage.ACCEPTED:
        return ()
    # An answer that crosses a rescission stands: the contact decided the order.
    return _accepted(desk, row, command.at_ms)


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
    if not agent.version or (not agent.ready and outcome is not Outcome.TIMEOUT):
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
    return ready, *chosen, _reserve(desk, other, agent, context, 1)


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
    return () if best is None else (_reserve(desk, entry, best, context),)


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
    return released, *ended, *_free(desk, agent, context, idle_since_ms)


def _ask(desk: Desk, command: w.AskOffer, context: Context) -> Events:
    row = desk.reservations.get(command.offer)
    return () if row is None else (w.ReservationRescinded(row.offer, "OVERDUE", context.now_ms),)


HANDLERS: dict[tuple[type, type], Any] = {
    (Desk, w.PublishQueue): _queue,
    (Desk, w.PublishAgent): _agent,
    (Desk, w.NoteDevice): _device,
    (Desk, w.SetPresence): _presence,
    (Desk, w.FinishWrapUp): _finish_wrap_up,
    (Desk, w.WrapUpOver): _wrap_up_over,
    (Desk, w.BackOffOver): _back_off_over,
    (Desk, w.EnqueueContact): _enqueue,
    (Desk, w.RemoveContact): _remove,
    (Desk, w.AcceptOffer): _accept,
    (Desk, w.CloseOffer): _close,
    (Desk, w.CloseGone): _gone,
    (Desk, w.EndTalk): _end_talk,
    (Desk, w.AskOffer): _ask,
    (Desk, w.LookAgain): _look_again,
}


def decide(desk: Desk, command: Any, context: Context) -> Events:
    """The events that a command leads to."""
    return dispatch(HANDLERS, desk, command, context)
