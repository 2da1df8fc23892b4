"""Projections: a contact's events -> its row, and the tables that history is read from.

Rows keep private values sealed. The fold here is apart from the decider's: a view is made
of what the log says, and can be dropped and rebuilt.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Sequence
from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Any

from google.protobuf.message import DecodeError

from tandem.core.commit import Commit, Envelope, Part
from tandem.core.ports.store import Delete, Put, Store
from tandem.core.seal import Erased, Private, Sealed, Withheld
from tandem.runtime.canonical import Canonical
from tandem.runtime.codec import UnknownType
from tandem.runtime.service import Quarantined, QuarantinedLegEnded
from tandem.session.domain import states as st
from tandem.session.domain import words as w
from tandem.session.domain.erasure import ContactErased, ErasureScope
from tandem.session.events import ERASED, TIMELINE_EVENTS

VIEW = "contacts"
CONTACTS = "contacts"  # (tenant, contact) -> row
BY_TIME = "contacts_by_time"  # (tenant, started_ms, contact) -> nothing
TIMELINE = "contact_events"  # (tenant, contact, version) -> envelope
TABLES = (CONTACTS, BY_TIME, TIMELINE)
TOGETHER = 64
"""Commits in one transaction of the store, at most. A transaction costs two changes of thread however little
is in it: one for each commit is too slow for a view that is to keep up on a busy machine."""


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


ROWS = Canonical(ContactRow, LegRow, Phase, Party, Sealed, Withheld, Erased)


# ------------------------------------------------------------------- a row out of events


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
    return replace(row, phase=Phase.WAITING, agent="")


def _disconnected(row: ContactRow, event: w.ContactDisconnected) -> ContactRow:
    return replace(
        row,
        phase=Phase.CLOSING if event.open else Phase.ENDED,
        agent="" if row.phase is Phase.RINGING else row.agent,  # whose phone only rang did not talk
        ended_ms=event.at_ms,
        outcome=event.outcome.value,
        ended_by=event.by.value,
    )


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
    w.ContactRequeued: _requeued,
    w.ContactDisconnected: _disconnected,
    w.LegClosed: _leg_closed,
    w.RecordingEnded: lambda row, e: replace(row, recordings=(*row.recordings, e.recording)) if e.blob else row,
    w.ContactCompleted: lambda row, e: replace(row, phase=Phase.ENDED),
    ContactErased: lambda row, e: replace(row, erased_ms=e.at_ms) if e.scope is ErasureScope.CONTACT else row,
    Quarantined: _quarantined,
    QuarantinedLegEnded: _followed,
}


def told_of(envelope: Envelope) -> Envelope | None:
    """An event as one of the contact that it is about, None if it is about none. An erasure
    has no place among the contact's versions: 0."""
    if envelope.type == ERASED:
        erased: ContactErased = TIMELINE_EVENTS.decode(envelope.part)
        return replace(envelope, stream=f"contact/{erased.contact}", version=0, actor=erased.actor)
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


# ------------------------------------------------------------------- a row out of the owner's state

_PHASES: dict[type, Phase] = {
    st.InFlow: Phase.IN_FLOW,
    st.Waiting: Phase.WAITING,
    st.Ringing: Phase.RINGING,
    st.Connecting: Phase.CONNECTING,
    st.Talking: Phase.TALKING,
    st.Closing: Phase.CLOSING,
    st.Ended: Phase.ENDED,
}


def row_of(state: Any) -> ContactRow | None:
    """A live contact as its owner knows it; None for one that has not begun or is over."""
    phase = _PHASES.get(type(state))
    if phase is None:
        return None
    call, place, offered = state.call, getattr(state, "place", None), getattr(state, "offered", None)
    accepted = not isinstance(state, st.Ringing) and getattr(state, "accepted", True)
    return ContactRow(
        call.contact,
        phase,
        call.number,
        call.caller,
        call.node,
        call.flow,
        call.flow_version,
        call.started_ms,
        queue=place.queue if place else "",
        agent=offered.agent if offered and (accepted or phase is Phase.RINGING) else "",
        enqueued_ms=place.enqueued_ms if place else 0,
        connected_ms=call.connected_ms,
        ended_ms=getattr(state, "ended_ms", 0),
        outcome=state.outcome.value if isinstance(state, st.Closing | st.Ended) else "",
        legs=_live_legs(state, call, offered, accepted),
    )


def _live_legs(state: Any, call: st.Call, offered: st.Offered | None, accepted: bool) -> tuple[LegRow, ...]:
    up = {leg for _, leg in st.legs(state)}
    rows = [LegRow(call.contact, Party.CALLER, "", call.started_ms, call.answered_ms)]
    if offered is not None:
        # That the agent answered is in the state; when they did is in the history alone.
        since = getattr(state, "connected_ms", 0) or max(call.connected_ms, offered.offered_ms)
        answered = since if accepted else 0
        rows.append(LegRow(offered.leg, Party.AGENT, offered.agent, offered.offered_ms, answered))
    return tuple(row for row in rows if row.leg in up)


# ------------------------------------------------------------------- the tables


class ContactView:
    """Projects one partition's contacts into the store. Rows of live contacts are at hand in
    memory; a restart reads them back."""

    def __init__(self, store: Store, partition: str) -> None:
        self._store, self._partition = store, partition
        self._rows: dict[tuple[str, str], ContactRow] = {}

    async def start(self) -> int:
        """Number of the last commit that is projected."""
        return await self._store.position(VIEW, self._partition)

    async def follow(self, batches: AsyncIterator[Sequence[Commit]]) -> None:
        """Project commits that begin after `start()`, until they end."""
        async for commits in batches:
            for first in range(0, len(commits), TOGETHER):
                await self.apply(*commits[first : first + TOGETHER])

    async def apply(self, *commits: Commit) -> None:
        """Project counted commits, in order, in one transaction; those that are projected already
        change nothing."""
        done = await self._store.position(VIEW, self._partition)
        fresh = [commit for commit in commits if commit.n > done]
        if len(fresh) < len(commits):
            self._rows.clear()  # the store's rows have more than was known here
        if not fresh:
            return
        writes: list[Put | Delete] = []
        changed: dict[tuple[str, str], None] = {}
        versions: dict[tuple[str, str], int] = {}  # the last of each contact in these commits
        for commit in fresh:
            await self._fold(commit, writes, changed, versions)
        for place in changed:
            writes.append(Put(CONTACTS, place, ROWS.encode(self._rows[place])))
        projected = await self._store.project(VIEW, self._partition, fresh[-1].n, writes)
        for place in changed:
            if not projected or self._rows[place].phase is Phase.ENDED:
                self._rows.pop(place, None)

    async def _fold(
        self,
        commit: Commit,
        writes: list[Put | Delete],
        changed: dict[tuple[str, str], None],
        versions: dict[tuple[str, str], int],
    ) -> None:
        keys = {(taken.tenant, taken.stream): taken.key for taken in commit.inputs if taken.key}
        for told in filter(None, map(told_of, commit.events)):
            contact = told.stream.partition("/")[2]
            place = (told.tenant, contact)
            before = await self._row(place) if told.version != 1 else None  # nothing is there to be read
            row = fold(before, read(told), contact)
            envelope = told
            if not told.version:  # an erasure follows the contact's last event
                envelope = replace(told, version=1 + (versions.get(place) or await self._last_version(place)))
            versions[place] = envelope.version
            writes.append(Put(TIMELINE, (*place, envelope.version), encode_envelope(envelope)))
            if row is not None:
                if envelope.version == 1:
                    row = replace(row, key=keys.get((envelope.tenant, envelope.stream), ""))
                    writes.append(Put(BY_TIME, (envelope.tenant, row.started_ms, contact), b"\0"))
                self._rows[place] = row
                changed[place] = None

    async def _last_version(self, place: tuple[str, str]) -> int:
        rows = await self._store.scan(TIMELINE, place, limit=1, descending=True)
        return int(rows[0].key[2]) if rows else 0

    async def _row(self, place: tuple[str, str]) -> ContactRow | None:
        row = self._rows.get(place)
        if row is None:
            body = await self._store.get(CONTACTS, place)
            row = None if body is None else ROWS.decode(body)
        return row


_ENVELOPES = Canonical(Envelope, Part, Sealed, Withheld, Erased)


def encode_envelope(envelope: Envelope) -> bytes:
    """An envelope as a row."""
    return _ENVELOPES.encode(envelope)


def decode_envelope(body: bytes) -> Envelope:
    """The reverse of `encode_envelope`."""
    envelope: Envelope = _ENVELOPES.decode(body)
    return envelope
