"""What a desk sets right: agents who would wait for something that was lost, places of whom has gone,
phones whose registration it has missed.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any

from tandem.core.decider import Context, Resumed
from tandem.routing.domain import words as w
from tandem.routing.domain.agents import wrapped
from tandem.routing.domain.desk import Agent, Desk
from tandem.routing.domain.reserving import free, reserve
from tandem.routing.domain.words import RoutingStatus

Events = Sequence[Any]


def _look_again(desk: Desk, command: w.LookAgain, context: Context) -> Events:
    """One thing at a time: it is asked again until there is nothing more."""
    if command.lost is not None:
        return _lost(desk, command.lost, context)
    for name in sorted(desk.agents):
        agent = desk.agents[name]
        if _astray(desk, agent, context.now_ms):
            return _set_right(desk, agent, context)
    pair = desk.unmatched()
    return () if pair is None else (reserve(desk, *pair, context),)


def _astray(desk: Desk, agent: Agent, now_ms: int) -> bool:
    """Whether what should have ended the agent's status was lost."""
    if agent.status in (RoutingStatus.OFF_QUEUE, RoutingStatus.IDLE):
        return agent.version > 0 and agent.ready != (agent.status is RoutingStatus.IDLE)
    if agent.status in (RoutingStatus.ALERTING, RoutingStatus.INTERACTING):
        return agent.offer not in desk.reservations
    return agent.status in (RoutingStatus.WRAP_UP, RoutingStatus.BACKING_OFF) and agent.until_ms < now_ms


def _set_right(desk: Desk, agent: Agent, context: Context) -> Events:
    if agent.status is RoutingStatus.WRAP_UP:
        return wrapped(desk, agent, context)
    return free(desk, agent, context, agent.idle_since_ms)


def _lost(desk: Desk, lost: Any, context: Context) -> Events:
    """A request or a timer of this event was never made, or this command was refused: nobody must
    wait for it."""
    match lost:
        case Resumed():
            # What became of them meanwhile was told to nobody.
            asked = [w.ReservationRescinded(offer, "RESUMED", context.now_ms) for offer in desk.reservations]
            return *_ask_line(desk, desk.entries, context), *asked, w.DevicesAsked(context.now_ms)
        case w.LineAsked(contacts):
            return _ask_line(desk, contacts, context)
        case w.RemoveContact(contact):
            return _ask_line(desk, (contact,), context)
        case w.DevicesAsked() | w.ReviewDevices() | w.NoteDevice(again=False):
            # One that was asked for and refused again is not asked for for ever.
            return (w.DevicesAsked(context.now_ms),)
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


def _ask_line(desk: Desk, contacts: Iterable[str], context: Context) -> Events:
    """Ask those who stand in line, also who is offered: the end of an offer gives the place back."""
    asked = tuple(contact for contact in contacts if contact in desk.entries)
    return (w.LineAsked(asked, context.now_ms),) if asked else ()


def _review_devices(desk: Desk, command: w.ReviewDevices, context: Context) -> Events:
    return (w.DevicesAsked(context.now_ms),)


HANDLERS: dict[tuple[type, type], Any] = {
    (Desk, w.ReviewDevices): _review_devices,
    (Desk, w.LookAgain): _look_again,
}
