"""A contact's row, out of its events. Private values stay sealed.

The fold here is apart from the decider's: a view is made of what the log says, and can be
dropped and rebuilt.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from google.protobuf.message import DecodeError

from tandem.core.commit import Envelope
from tandem.core.seal import Erased, Private, Sealed, Withheld
from tandem.runtime.canonical import Canonical
from tandem.runtime.codec import UnknownType
from tandem.runtime.service import Quarantined, QuarantinedLegEnded
from tandem.session.domain import words as w
from tandem.session.domain.erasure import ContactErased, ErasureScope
from tandem.session.domain.late import LateStored
from tandem.session.events import ERASED, LATE_STORED, TIMELINE_EVENTS


class Phase(StrEnum):
    """Where a contact is, as the API shows it."""

    IN_FLOW = "IN_FLOW"
    WAITING = "WAITING"
    RINGING = "RINGING"
    CONNECTING = "CONNECTING"
    TALKING = "TALKING"
    CLOSING = "CLOSING"
    ENDED = "ENDED"
    QUARANTINED = "QUARANTINED"


class Party(StrEnum):
    """Whose leg it is."""

    CALLER = "CALLER"
    AGENT = "AGENT"


@dataclass(frozen=True, slots=True)
class LegRow:
    """A leg; times in ms, 0 for not yet."""

    leg: str
    party: Party
    agent: str
    created_ms: int
    answered_ms: int = 0
    ended_ms: int = 0
    cause: str = ""
    node: str = ""  # empty for the contact's own, which never changed


@dataclass(frozen=True, slots=True)
class ContactRow:
    """A contact as history shows it; times in ms, 0 for not yet."""

    contact: str
    phase: Phase
    number: str
    caller: Private
    node: str
    flow: str
    flow_version: int
    started_ms: int
    queue: str = ""
    agent: str = ""
    enqueued_ms: int = 0
    connected_ms: int = 0
    ended_ms: int = 0
    outcome: str = ""
    ended_by: str = ""
    legs: tuple[LegRow, ...] = ()
    recordings: tuple[str, ...] = ()
    key: str = ""  # of its private values
    erased_ms: int = 0
    followed: tuple[str, ...] = ()  # legs of a quarantined contact that are still up
    recording_paused: bool = False


ROWS = Canonical(ContactRow, LegRow, Phase, Party, Sealed, Withheld, Erased)


def _leg(row: ContactRow, leg: str, **change: Any) -> ContactRow:
    return replace(row, legs=tuple(replace(one, **change) if one.leg == leg else one for one in row.legs))


def _started(event: w.ContactStarted) -> ContactRow:
    leg = LegRow(event.contact, Party.CALLER, "", event.at_ms)
    return ContactRow(
        event.contact,
        Phase.IN_FLOW,
        event.number,
        event.caller,
        event.node,
        event.flow,
        event.flow_version,
        event.at_ms,
        legs=(leg,),
    )


def _offered(row: ContactRow, event: w.AgentOffered) -> ContactRow:
    leg = LegRow(event.leg, Party.AGENT, event.agent, event.at_ms)
    return replace(row, phase=Phase.RINGING, agent=event.agent, legs=(*row.legs, leg))


def _offer_ended(row: ContactRow, event: w.OfferEnded) -> ContactRow:
    row = _leg(row, f"{row.contact}.{event.offer}", ended_ms=event.at_ms, cause=event.cause.value)
    return replace(row, phase=Phase.WAITING, agent="") if row.phase is Phase.RINGING else row


def _answered(row: ContactRow, event: w.AgentAnswered) -> ContactRow:
    row = _leg(row, f"{row.contact}.{event.offer}", answered_ms=event.at_ms)
    return replace(row, phase=Phase.CONNECTING, agent=event.agent)


def _connected(row: ContactRow, event: w.ContactConnected) -> ContactRow:
    return replace(row, phase=Phase.TALKING, connected_ms=row.connected_ms or event.at_ms)


def _requeued(row: ContactRow, event: w.ContactRequeued) -> ContactRow:
    # The agent's leg is gone or going down; in line nothing more is told of it.
    row = _leg(row, f"{row.contact}.{event.offer}", ended_ms=event.at_ms)
    return replace(row, phase=Phase.WAITING, agent="", recording_paused=False)


def _disconnected(row: ContactRow, event: w.ContactDisconnected) -> ContactRow:
    return replace(
        row,
        phase=Phase.CLOSING if event.open else Phase.ENDED,
        agent="" if row.phase is Phase.RINGING else row.agent,  # whose phone only rang did not talk
        ended_ms=event.at_ms,
        outcome=event.outcome.value,
        ended_by=event.by.value,
        recording_paused=False,
    )


def _moved(row: ContactRow, event: w.CallerMoved) -> ContactRow:
    """What there was is on the node where the call came in, or where it was moved before."""
    left = tuple(one if one.node else replace(one, node=row.node) for one in row.legs)
    leg = LegRow(event.leg, Party.CALLER, "", event.at_ms, event.at_ms)
    return replace(row, node=event.node, legs=(*left, leg))


def _leg_closed(row: ContactRow, event: w.LegClosed) -> ContactRow:
    row = _leg(row, event.leg, ended_ms=event.at_ms, cause=event.cause.value)
    if row.phase is Phase.CLOSING and all(leg.ended_ms for leg in row.legs):
        return replace(row, phase=Phase.ENDED)
    return row


def _quarantined(row: ContactRow, event: Quarantined) -> ContactRow:
    return replace(
        row,
        phase=Phase.QUARANTINED if event.legs else Phase.ENDED,
        ended_ms=row.ended_ms or event.at_ms,
        outcome=row.outcome or w.ContactOutcome.FAILED.value,
        ended_by=row.ended_by or w.EndedBy.NODE.value,
        followed=tuple(leg.leg for leg in event.legs),
    )


def _followed(row: ContactRow, event: QuarantinedLegEnded) -> ContactRow:
    rest = tuple(leg for leg in row.followed if leg != event.leg)
    phase = Phase.QUARANTINED if rest else Phase.ENDED
    return replace(_leg(row, event.leg, ended_ms=event.at_ms), followed=rest, phase=phase)


_FOLD: dict[type, Callable[[ContactRow, Any], ContactRow]] = {
    w.ContactAnswered: lambda row, e: _leg(row, row.contact, answered_ms=e.at_ms),
    w.ContactQueued: lambda row, e: replace(row, phase=Phase.WAITING, queue=e.queue, enqueued_ms=e.enqueued_ms),
    w.ContactDequeued: lambda row, e: replace(row, phase=Phase.IN_FLOW),
    w.AgentOffered: _offered,
    w.OfferEnded: _offer_ended,
    w.AgentAnswered: _answered,
    w.ContactConnected: _connected,
    w.RecordingPaused: lambda row, e: replace(row, recording_paused=True),
    w.RecordingResumed: lambda row, e: replace(row, recording_paused=False),
    w.ContactRequeued: _requeued,
    w.ContactDisconnected: _disconnected,
    w.CallerMoved: _moved,
    w.LegClosed: _leg_closed,
    w.RecordingEnded: lambda row, e: replace(row, recordings=(*row.recordings, e.recording)) if e.blob else row,
    w.ContactCompleted: lambda row, e: replace(row, phase=Phase.ENDED),
    LateStored: lambda row, e: replace(row, recordings=(*row.recordings, e.recording)),
    ContactErased: lambda row, e: replace(row, erased_ms=e.at_ms) if e.scope is ErasureScope.CONTACT else row,
    Quarantined: _quarantined,
    QuarantinedLegEnded: _followed,
}


def told_of(envelope: Envelope) -> Envelope | None:
    """An event as one of the contact that it is about, None if it is about none. An erasure
    and a late recording have no place among the contact's versions: 0."""
    if envelope.type == ERASED:
        erased: ContactErased = TIMELINE_EVENTS.decode(envelope.part)
        return replace(envelope, stream=f"contact/{erased.contact}", version=0, actor=erased.actor)
    if envelope.type == LATE_STORED:
        stored: LateStored = TIMELINE_EVENTS.decode(envelope.part)
        return replace(envelope, stream=f"contact/{stored.contact}", version=0)
    return envelope if envelope.stream.startswith("contact/") else None


def fold(row: ContactRow | None, event: Any, contact: str) -> ContactRow | None:
    """A contact's row after an event; None before it has begun."""
    if isinstance(event, w.ContactStarted):
        return _started(event)
    if isinstance(event, w.ContactTurnedAway):
        return ContactRow(
            contact,
            Phase.ENDED,
            event.number,
            Withheld(),
            "",
            "",
            0,
            event.at_ms,
            ended_ms=event.at_ms,
            outcome=w.ContactOutcome.REFUSED.value,
            ended_by=w.EndedBy.NODE.value,
        )
    change = _FOLD.get(type(event))
    return row if row is None or change is None else change(row, event)


def read(envelope: Envelope) -> Any:
    """A contact's event, None for one that this release cannot read: it changes no row."""
    try:
        return TIMELINE_EVENTS.decode(envelope.part)
    except (UnknownType, DecodeError):
        return None
