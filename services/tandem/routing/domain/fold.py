"""How events change a desk, and what shall be done because of them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

from tandem.core.changed import changed
from tandem.core.decider import Action, Answer, Kind, Rows, Settle, Tell, Wake
from tandem.routing.domain import desk as d
from tandem.routing.domain import words as w
from tandem.routing.domain.decide import HANDLERS, decide
from tandem.routing.domain.desk import Agent, Desk, Entry, Queue, Reachable, Reservation, Stage
from tandem.routing.domain.words import RoutingStatus

DESK = "desk"
RECEPTION = "reception"
ASK_AFTER_MS = 20_000
"""Past the ring time by this much an offer that has not ended is asked about."""
ASK_TALK_MS = 600_000
"""How often a long talk's contact is asked whether it is still there."""

# ------------------------------------------------------------------- evolve


def _queue(desk: Desk, event: w.QueueConfigured) -> None:
    desk.queues[event.queue] = Queue(event.queue, event.version, event.ring_timeout_ms, event.wrap_up_ms, event.deleted)


def _agent(desk: Desk, event: w.AgentConfigured) -> None:
    agent = desk.agents.setdefault(event.agent, Agent(event.agent))
    if event.deleted:
        agent.version = 0
        if agent.status in (RoutingStatus.ALERTING, RoutingStatus.INTERACTING):
            return  # goes when the offer is closed
        desk.set_status(agent, RoutingStatus.OFF_QUEUE, agent.since_ms)
        desk.forget(event.agent)
        return
    agent.version, agent.devices = event.version, event.devices
    desk.reprofile(agent, event.queues, event.skills)


def _device(desk: Desk, event: w.DeviceNoted) -> None:
    agent = desk.agents.setdefault(event.agent, Agent(event.agent))
    rest = tuple(row for row in agent.reachable if row.device != event.device)
    agent.reachable = (*rest, Reachable(event.device, event.node)) if event.registered else rest
    if not agent.version and not agent.reachable and agent.status is RoutingStatus.OFF_QUEUE:
        desk.forget(event.agent)  # never published, or deleted


def _presence(desk: Desk, event: w.PresenceSet) -> None:
    agent = desk.agents[event.agent]
    agent.presence, agent.presence_ms = event.presence, event.at_ms


def _ready(desk: Desk, event: w.AgentReady) -> None:
    agent = desk.agents[event.agent]
    agent.idle_since_ms, agent.until_ms, agent.offer, agent.contact = event.idle_since_ms, 0, "", ""
    desk.set_status(agent, RoutingStatus.IDLE, event.at_ms)


def _unready(desk: Desk, event: w.AgentUnready) -> None:
    agent = desk.agents[event.agent]
    agent.until_ms, agent.offer, agent.contact = 0, "", ""
    desk.set_status(agent, RoutingStatus.OFF_QUEUE, event.at_ms)
    if not agent.version:
        desk.forget(event.agent)


def _reserved(desk: Desk, event: w.AgentReserved) -> None:
    agent = desk.agents[event.agent]
    agent.offer, agent.contact = event.offer, event.contact
    desk.set_status(agent, RoutingStatus.ALERTING, event.at_ms)
    desk.take(event.contact, event.offer)
    desk.reservations[event.offer] = Reservation(
        event.offer, event.agent, event.contact, event.queue, event.device, Stage.PENDING, event.ring_timeout_ms
    )


def _restage(desk: Desk, offer: str, stage: Stage) -> None:
    desk.reservations[offer] = changed(desk.reservations[offer], stage=stage)


def _rescinded(desk: Desk, event: w.ReservationRescinded) -> None:
    if desk.reservations[event.offer].stage is Stage.PENDING:
        _restage(desk, event.offer, Stage.RESCINDING)


def _engaged(desk: Desk, event: w.AgentEngaged) -> None:
    _restage(desk, event.offer, Stage.ACCEPTED)
    desk.set_status(desk.agents[event.agent], RoutingStatus.INTERACTING, event.at_ms)


def _closed(desk: Desk, event: w.ReservationClosed) -> None:
    del desk.reservations[event.offer]
    if event.contact in desk.entries and desk.entries[event.contact].offer == event.offer:
        desk.give_back(event.contact)


def _released(desk: Desk, event: w.AgentReleased) -> None:
    del desk.reservations[event.offer]


def _not_responding(desk: Desk, event: w.AgentNotResponding) -> None:
    agent = desk.agents[event.agent]
    agent.offer, agent.contact = "", ""
    desk.set_status(agent, RoutingStatus.NOT_RESPONDING, event.at_ms)


def _backed_off(desk: Desk, event: w.AgentBackedOff) -> None:
    agent = desk.agents[event.agent]
    agent.offer, agent.contact = "", ""
    agent.until_ms, agent.idle_since_ms = event.until_ms, event.idle_since_ms
    desk.set_status(agent, RoutingStatus.BACKING_OFF, event.at_ms)


def _wrap_up(desk: Desk, event: w.WrapUpStarted) -> None:
    agent = desk.agents[event.agent]
    agent.until_ms = event.until_ms
    desk.set_status(agent, RoutingStatus.WRAP_UP, event.at_ms)


def _entered(desk: Desk, event: w.ContactEnteredLine) -> None:
    desk.enter(Entry(event.contact, event.queue, event.skills, event.priority, event.enqueued_ms))


def _left(desk: Desk, event: w.ContactLeftLine) -> None:
    desk.leave(event.contact)


def _nothing(desk: Desk, event: Any) -> None:
    return


_EVOLVE: dict[type, Callable[[Desk, Any], None]] = {
    w.QueueConfigured: _queue,
    w.AgentConfigured: _agent,
    w.DeviceNoted: _device,
    w.PresenceSet: _presence,
    w.AgentReady: _ready,
    w.AgentUnready: _unready,
    w.AgentReserved: _reserved,
    w.ReservationRescinded: _rescinded,
    w.AgentEngaged: _engaged,
    w.ReservationClosed: _closed,
    w.AgentReleased: _released,
    w.AgentNotResponding: _not_responding,
    w.AgentBackedOff: _backed_off,
    w.WrapUpStarted: _wrap_up,
    w.WrapUpFinished: _nothing,
    w.ContactEnteredLine: _entered,
    w.ContactLeftLine: _left,
    w.LineAsked: _nothing,
    w.DevicesAsked: _nothing,
    w.QueueRefused: _nothing,
}


def evolve(desk: Desk, event: Any) -> Desk:
    """Change the desk in place. Raises KeyError for an event that is not a desk's."""
    _EVOLVE[type(event)](desk, event)
    return desk


# ------------------------------------------------------------------- react


def react(desk: Desk, event: Any) -> Sequence[Action]:
    """Messages to contacts, and the desk's own timers."""
    match event:
        case w.AgentReserved(offer, agent, device, contact, queue, ring_timeout_ms):
            request = w.OfferContact(offer, agent, device, queue, ring_timeout_ms)
            deadline = event.at_ms + ring_timeout_ms + ASK_AFTER_MS
            return (
                Tell(f"contact/{contact}", request, gone=w.CloseGone(offer)),
                Wake(f"offer/{offer}", deadline, w.AskOffer(offer)),
            )
        case w.ReservationRescinded(offer, why, at_ms):
            row = desk.reservations[offer]
            again = at_ms + (ASK_TALK_MS if row.stage is Stage.ACCEPTED else ASK_AFTER_MS)
            return (
                Tell(f"contact/{row.contact}", w.RescindOffer(offer, why), gone=w.CloseGone(offer)),
                Wake(f"offer/{offer}", again, w.AskOffer(offer)),
            )
        case w.AgentEngaged(offer, _, _, at_ms):
            return (Wake(f"offer/{offer}", at_ms + ASK_TALK_MS, w.AskOffer(offer)),)
        case w.ReservationClosed(offer) | w.AgentReleased(offer):
            return (Settle(f"offer/{offer}"),)
        case w.WrapUpStarted(agent, offer, _, until_ms):
            return (Wake(f"wrapup/{agent}", until_ms, w.WrapUpOver(agent, offer)),)
        case w.WrapUpFinished(agent, offer, contact, at_ms):
            told = Tell(f"contact/{contact}", w.EndWrapUp(offer, at_ms))
            return Settle(f"wrapup/{agent}"), told, Answer(w.AgentChanged(agent))
        case w.AgentBackedOff(agent, until_ms):
            return (Wake(f"backoff/{agent}", until_ms, w.BackOffOver(agent, until_ms)),)
        case w.AgentReady(agent) | w.AgentUnready(agent):
            return (Settle(f"backoff/{agent}"),)
        case w.PresenceSet(agent):
            return (Answer(w.AgentChanged(agent)),)
        case w.LineAsked() | w.DevicesAsked():
            return _ask(desk, event)
        case w.QueueRefused(contact, queue, why):
            return (Tell(f"contact/{contact}", w.RefuseQueue(queue, why)),)
        case _:
            return ()


def _ask(desk: Desk, event: w.LineAsked | w.DevicesAsked) -> Sequence[Action]:
    """Of what may have been missed, those who know it."""
    if isinstance(event, w.LineAsked):
        return [
            Tell(f"contact/{contact}", w.AskPlace(desk.entries[contact].queue), w.RemoveContact(contact, "GONE"))
            for contact in event.contacts
        ]
    agents = [desk.agents[name] for name in sorted(desk.agents)]
    known = tuple(w.KnownDevice(agent.agent, row.device, row.node) for agent in agents for row in agent.reachable)
    return (Tell(RECEPTION, w.AskDevices(known)),)


EVENTS = tuple(_EVOLVE)
COMMANDS = tuple(command for _, command in HANDLERS)

_TABLES = {"queue": "queues", "agent": "agents", "contact": "entries", "offer": "reservations"}
"""Field of an event -> the table whose row it names."""
_TOUCHED = {cls: tuple(row for row in _TABLES.items() if row[0] in cls.__annotations__) for cls in EVENTS}


def touched(event: Any) -> Sequence[tuple[str, str]]:
    """(table, name) of the rows that an event may change: an event changes none that it does not name."""
    return [(table, getattr(event, field)) for field, table in _TOUCHED[type(event)]]


ROWS = Rows(tuple(_TABLES.values()), touched, d.build, frozen=d.frozen)
"""A desk row by row."""

KIND = Kind(
    name=DESK,
    start=Desk,
    starts=COMMANDS,
    decide=decide,
    evolve=evolve,
    react=react,
    states=d.STATES,
    rows=ROWS,
    resume=w.LookAgain,
)
