"""The words of a desk: commands, events, messages. Times are shard time in ms."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from tandem.core.flow import SkillNeed
from tandem.core.values import dataclass


class RoutingStatus(StrEnum):
    """What routing does with an agent (field guide C2); the presence is the agent's own word."""

    OFF_QUEUE = "OFF_QUEUE"  # presence is not Available, or no device is registered
    IDLE = "IDLE"  # can be offered a contact
    ALERTING = "ALERTING"  # a device is asked to ring
    INTERACTING = "INTERACTING"  # answered
    WRAP_UP = "WRAP_UP"  # after-call work
    NOT_RESPONDING = "NOT_RESPONDING"  # a ring ran out (RONA); the agent clears it
    BACKING_OFF = "BACKING_OFF"  # declined, busy or unreachable a moment ago


AVAILABLE = "Available"
OFFLINE = "Offline"
PRESENCES = (AVAILABLE, "Busy", "Break", "Meal", "Meeting", "Training", "Away", OFFLINE)
"""What an agent may say of themselves; all but Available are not ready."""


class Outcome(StrEnum):
    """How an offer ended that was not accepted; the same words as the session's."""

    REJECTED = "REJECTED"
    TIMEOUT = "TIMEOUT"
    CANCELED = "CANCELED"
    RESCINDED = "RESCINDED"
    UNREACHABLE = "UNREACHABLE"
    UNKNOWN = "UNKNOWN"
    ACCEPTED = "ACCEPTED"


# ------------------------------------------------------------------- commands


@dataclass(frozen=True, slots=True)
class PublishQueue:
    """From the tenant service."""

    queue: str
    version: int
    ring_timeout_ms: int
    wrap_up_ms: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class PublishAgent:
    """From the tenant service."""

    agent: str
    version: int
    queues: tuple[str, ...]
    skills: tuple[SkillNeed, ...]
    devices: tuple[str, ...]
    deleted: bool


@dataclass(frozen=True, slots=True)
class NoteDevice:
    """From the session's reception: a device can be rung, or no longer. `again`: the desk has asked for it."""

    agent: str
    device: str
    node: str
    registered: bool
    at_ms: int
    again: bool = False


@dataclass(frozen=True, slots=True)
class ReviewDevices:
    """From the session's reception: what the desk asked of devices may have found nobody."""


@dataclass(frozen=True, slots=True)
class EnqueueContact:
    """From session: a contact waits, at the place that `enqueued_ms` gives it."""

    contact: str
    queue: str
    skills: tuple[SkillNeed, ...]
    priority: int
    enqueued_ms: int


@dataclass(frozen=True, slots=True)
class RemoveContact:
    """From session: the contact does not wait any more."""

    contact: str
    why: str


@dataclass(frozen=True, slots=True)
class AcceptOffer:
    """From session: the agent answered; when, in the contact's time."""

    offer: str
    contact: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class CloseOffer:
    """From session: the closing answer to an offer that was not accepted."""

    offer: str
    contact: str
    outcome: Outcome
    rang_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class EndTalk:
    """From session: the agent's leg of an accepted offer is gone."""

    offer: str
    contact: str
    audio: bool
    lost: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class CloseGone:
    """From the runtime: the contact of an offer is not there (any more)."""

    offer: str


@dataclass(frozen=True, slots=True)
class SetPresence:
    """From a client."""

    agent: str
    presence: str


@dataclass(frozen=True, slots=True)
class FinishWrapUp:
    """From a client: ready before the time is over."""

    agent: str


@dataclass(frozen=True, slots=True)
class WrapUpOver:
    """Wake: the time for after-call work has passed."""

    agent: str
    offer: str


@dataclass(frozen=True, slots=True)
class BackOffOver:
    """Wake: the agent may be offered contacts again."""

    agent: str
    until_ms: int


@dataclass(frozen=True, slots=True)
class AskOffer:
    """Wake: an offer has been open for long; ask what has become of it."""

    offer: str


@dataclass(frozen=True, slots=True)
class LookAgain:
    """From the runtime: what had to be done because of `lost`, an event or a command, was not; or,
    without it, the desk is back in service, and gets this until nothing more comes of it."""

    lost: Any = None


# ------------------------------------------------------------------- messages


@dataclass(frozen=True, slots=True)
class OfferContact:
    """To a contact: ring this agent."""

    offer: str
    agent: str
    device: str
    queue: str
    ring_timeout_ms: int


@dataclass(frozen=True, slots=True)
class RescindOffer:
    """To a contact: take the offer back."""

    offer: str
    why: str


@dataclass(frozen=True, slots=True)
class AskPlace:
    """To a contact: does it still wait?"""

    queue: str


@dataclass(frozen=True, slots=True)
class KnownDevice:
    """A device that the desk takes for registered."""

    agent: str
    device: str
    node: str


@dataclass(frozen=True, slots=True)
class AskDevices:
    """To the reception: which devices are registered? It answers where what is `known` is not so."""

    known: tuple[KnownDevice, ...]


@dataclass(frozen=True, slots=True)
class RefuseQueue:
    """To a contact: there is no such queue."""

    queue: str
    why: str


@dataclass(frozen=True, slots=True)
class EndWrapUp:
    """To a contact: the agent's after-call work on its offer is over."""

    offer: str
    at_ms: int


# ------------------------------------------------------------------- replies


@dataclass(frozen=True, slots=True)
class AgentChanged:
    """Reply to `SetPresence` and `FinishWrapUp`."""

    agent: str


# ------------------------------------------------------------------- events


@dataclass(frozen=True, slots=True)
class QueueConfigured:
    """A queue works so from now on."""

    queue: str
    version: int
    ring_timeout_ms: int
    wrap_up_ms: int
    deleted: bool


@dataclass(frozen=True, slots=True)
class AgentConfigured:
    """An agent serves these queues with these skills from now on."""

    agent: str
    version: int
    queues: tuple[str, ...]
    skills: tuple[SkillNeed, ...]
    devices: tuple[str, ...]
    deleted: bool


@dataclass(frozen=True, slots=True)
class DeviceNoted:
    """An agent's device can be rung, or no longer."""

    agent: str
    device: str
    node: str
    registered: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class PresenceSet:
    """An agent said how they are."""

    agent: str
    presence: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class AgentReady:
    """The agent can be offered contacts; `idle_since_ms` is the place among the idle."""

    agent: str
    idle_since_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class AgentUnready:
    """The agent cannot be offered contacts."""

    agent: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class AgentReserved:
    """An offer: this agent for this contact, with what it was decided on."""

    offer: str
    agent: str
    device: str
    contact: str
    queue: str
    ring_timeout_ms: int
    enqueued_ms: int
    idle_since_ms: int
    queue_version: int
    agent_version: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class ReservationRescinded:
    """Routing takes an offer back; its closing answer will come."""

    offer: str
    why: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class AgentEngaged:
    """The agent answered."""

    offer: str
    agent: str
    contact: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class ReservationClosed:
    """An offer that was not accepted is over. A contact that still waits is back at its place."""

    offer: str
    agent: str
    contact: str
    outcome: Outcome
    rang_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class AgentReleased:
    """The agent's talk is over."""

    offer: str
    agent: str
    contact: str
    audio: bool
    at_ms: int


@dataclass(frozen=True, slots=True)
class AgentNotResponding:
    """A ring ran out (RONA): nothing more is offered until the agent says so."""

    agent: str
    offer: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class AgentBackedOff:
    """Nothing is offered until then; `idle_since_ms` is the place that the agent will have among the idle."""

    agent: str
    until_ms: int
    idle_since_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class WrapUpStarted:
    """After-call work begins."""

    agent: str
    offer: str
    contact: str
    until_ms: int
    at_ms: int


@dataclass(frozen=True, slots=True)
class WrapUpFinished:
    """After-call work is over."""

    agent: str
    offer: str
    contact: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class ContactEnteredLine:
    """A contact waits."""

    contact: str
    queue: str
    skills: tuple[SkillNeed, ...]
    priority: int
    enqueued_ms: int


@dataclass(frozen=True, slots=True)
class ContactLeftLine:
    """A contact waits no more."""

    contact: str
    queue: str
    why: str
    at_ms: int


@dataclass(frozen=True, slots=True)
class LineAsked:
    """That they left may have been lost: these contacts are asked whether they still wait."""

    contacts: tuple[str, ...]
    at_ms: int


@dataclass(frozen=True, slots=True)
class DevicesAsked:
    """That a device registered, or ceased to be, may have been lost: the reception is asked which are."""

    at_ms: int


@dataclass(frozen=True, slots=True)
class QueueRefused:
    """A contact was sent to a queue that there is not."""

    contact: str
    queue: str
    why: str
