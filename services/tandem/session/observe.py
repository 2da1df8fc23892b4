"""What is to be seen of contacts: the stretches of their life, and what is counted of them."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from tandem.core.commit import Envelope
from tandem.core.trace import ROOT
from tandem.runtime.telemetry import names
from tandem.runtime.telemetry.meters import Meters
from tandem.runtime.telemetry.stages import Measure, Stage
from tandem.session.domain.contact import states as st
from tandem.session.events import EVENTS

_OVER = (st.Closing, st.Ended, st.Done)
_IN_LINE = (st.Waiting, st.Moving, st.Ringing, st.Connecting)


def stages(before: Any, after: Any) -> Iterator[Stage]:
    """What an event has ended."""
    if isinstance(before, st.Ringing) and _offer(after) != before.offered.offer:
        yield from _ring(before, after)
    if isinstance(before, _IN_LINE) and not isinstance(after, _IN_LINE):
        left = type(after).__name__.lower()
        place = before.place
        attributes = {"tandem.queue": place.queue, "tandem.left": left}
        yield Stage(names.WAIT_SPAN, "wait", place.enqueued_ms, attributes)
    if isinstance(before, st.Talking) and not isinstance(after, st.Talking):
        attributes = {"tandem.agent": before.offered.agent, "tandem.queue": before.place.queue}
        yield Stage(names.TALK_SPAN, "talk", before.connected_ms, attributes)
    kept = {recording.recording for recording in getattr(after, "recordings", ())}
    for recording in getattr(before, "recordings", ()):
        if recording.recording not in kept:
            attributes = {"tandem.recording": recording.recording}
            yield Stage(names.RECORDING_SPAN, "recording", recording.started_ms, attributes)
    if isinstance(after, st.Closing | st.Ended) and not isinstance(before, _OVER):
        call = after.call
        attributes = {
            "tandem.contact": call.contact,
            "tandem.outcome": after.outcome.value,
            "tandem.number": call.number,
        }
        yield Stage(names.CONTACT_SPAN, ROOT, call.started_ms, attributes)


def _offer(state: Any) -> str:
    """The offer that rings."""
    return state.offered.offer if isinstance(state, st.Ringing) else ""


def _ring(before: st.Ringing, after: Any) -> Iterator[Stage]:
    offered = before.offered
    attributes = {"tandem.agent": offered.agent, "tandem.offer": offered.offer}
    yield Stage(names.RING_SPAN, "ring", offered.offered_ms, attributes)


def _started(meters: Meters, envelope: Envelope, state: Any) -> None:
    meters.count(names.CONTACTS_STARTED, envelope.tenant)


def _turned_away(meters: Meters, envelope: Envelope, state: Any) -> None:
    meters.count(names.CONTACTS_TURNED_AWAY, envelope.tenant, EVENTS.decode(envelope.part).reason)


def _ended(meters: Meters, envelope: Envelope, state: Any) -> None:
    # Until its last leg is gone the state knows, too, and reading that is quicker.
    ended = state if isinstance(state, st.Closing | st.Ended) else EVENTS.decode(envelope.part)
    meters.count(names.CONTACTS_ENDED, envelope.tenant, ended.outcome.value)


def _accepted(meters: Meters, envelope: Envelope, state: Any) -> None:
    meters.count(names.OFFERS_ENDED, envelope.tenant, "ACCEPTED")


def _offer_ended(meters: Meters, envelope: Envelope, state: Any) -> None:
    meters.count(names.OFFERS_ENDED, envelope.tenant, EVENTS.decode(envelope.part).outcome.value)


def _moved(meters: Meters, envelope: Envelope, state: Any) -> None:
    meters.count(names.CALLERS_MOVED, envelope.tenant, "MOVED")


def _not_moved(meters: Meters, envelope: Envelope, state: Any) -> None:
    meters.count(names.CALLERS_MOVED, envelope.tenant, EVENTS.decode(envelope.part).reason)


def _connected(meters: Meters, envelope: Envelope, state: Any) -> None:
    place = getattr(state, "place", None)
    if place is not None:
        waited_s = (envelope.time_ms - place.enqueued_ms) / 1000
        meters.histogram(names.CONTACT_WAIT, envelope.tenant).observe(waited_s)


MEASURES: Mapping[str, Measure] = {
    "contact.started": _started,
    "contact.turned_away": _turned_away,
    "contact.disconnected": _ended,
    "contact.agent_answered": _accepted,
    "contact.offer_ended": _offer_ended,
    "contact.connected": _connected,
    "contact.moved": _moved,
    "contact.move_failed": _not_moved,
}
