"""Rows and events of contacts as the API shows them, to those who may see them."""

from __future__ import annotations

from collections.abc import Sequence

from google.protobuf import json_format

from tandem.api.session.v1 import contact_pb2 as pb
from tandem.core.access import Role
from tandem.core.commit import Envelope
from tandem.runtime.host import Host
from tandem.runtime.interceptors import Call
from tandem.runtime.opening import Opened, open_all, private_text, text_of
from tandem.runtime.times import time_of
from tandem.session.events import TIMELINE_EVENTS
from tandem.session.views import ContactRow, LegRow

HIDDEN_FIELDS = ("data_key", "dialog")
"""Private fields of events that are keys, or notes between media nodes, and not values; never shown."""


def id_of(name: str) -> str:
    """The id at the end of a resource's or a stream's name."""
    return name.rpartition("/")[2]


async def shown_contacts(host: Host, rows: Sequence[ContactRow], call: Call) -> list[pb.Contact]:
    """Contacts for this caller; private values are opened for those who may see them."""
    opened: Sequence[Opened | None] = (
        await open_all(host, [row.caller for row in rows]) if _sees_private(call) else [None] * len(rows)
    )
    return [_contact(row, caller, call.tenant) for row, caller in zip(rows, opened, strict=True)]


async def shown_event(host: Host, envelope: Envelope, call: Call) -> pb.ContactEvent:
    """An event of a contact for this caller."""
    if envelope.type not in TIMELINE_EVENTS.names:
        return _told_of(envelope)  # of a newer release: that it happened is known
    message = TIMELINE_EVENTS.message(envelope.part)
    numbers = {field.number: field.name for field in message.DESCRIPTOR.fields}
    data = json_format.MessageToDict(message, preserving_proto_field_name=True)
    values = [(numbers[number], value) for number, value in envelope.part.private]
    shown = [(name, value) for name, value in values if _sees_private(call) and name not in HIDDEN_FIELDS]
    for (name, _), opened in zip(shown, await open_all(host, [value for _, value in shown]), strict=True):
        data[name] = text_of(opened)
    told = _told_of(envelope)
    told.data.update(data)
    return told


def _sees_private(call: Call) -> bool:
    """Analysts read figures, not who called and what was pressed."""
    return call.principal.role is not Role.ANALYST


def _told_of(envelope: Envelope) -> pb.ContactEvent:
    return pb.ContactEvent(
        event_id=envelope.event_id,
        contact=f"tenants/{envelope.tenant}/contacts/{id_of(envelope.stream)}",
        version=envelope.version,
        type=envelope.type,
        event_time=time_of(envelope.time_ms),
        actor=envelope.actor,
    )


def _contact(row: ContactRow, caller: Opened | None, tenant: str) -> pb.Contact:
    parent = f"tenants/{tenant}"
    return pb.Contact(
        name=f"{parent}/contacts/{row.contact}",
        state=pb.Contact.State.Value(f"STATE_{row.phase.value}"),
        number=f"{parent}/numbers/{row.number}",
        caller=private_text(caller),
        flow=f"{parent}/flows/{row.flow}" if row.flow else "",
        flow_version=row.flow_version,
        queue=f"{parent}/queues/{row.queue}" if row.queue else "",
        agent=f"{parent}/agents/{row.agent}" if row.agent else "",
        outcome=pb.Contact.Outcome.Value(f"OUTCOME_{row.outcome or 'UNSPECIFIED'}"),
        ended_by=pb.Contact.EndedBy.Value(f"ENDED_BY_{row.ended_by or 'UNSPECIFIED'}"),
        recordings=[f"{parent}/recordings/{recording}" for recording in row.recordings],
        create_time=time_of(row.started_ms),
        enqueue_time=time_of(row.enqueued_ms),
        connect_time=time_of(row.connected_ms),
        end_time=time_of(row.ended_ms),
        erase_time=time_of(row.erased_ms),
        recording_paused=row.recording_paused,
        legs=[
            pb.Leg(
                leg=leg.leg,
                party=pb.Leg.Party.Value(f"PARTY_{leg.party.value}"),
                agent=f"{parent}/agents/{leg.agent}" if leg.agent else "",
                node=leg.node or row.node,
                state=_leg_state(leg),
                cause=leg.cause,
                create_time=time_of(leg.created_ms),
                answer_time=time_of(leg.answered_ms),
                end_time=time_of(leg.ended_ms),
            )
            for leg in row.legs
        ],
    )


def _leg_state(leg: LegRow) -> pb.Leg.State.ValueType:
    if leg.ended_ms:
        return pb.Leg.STATE_ENDED
    return pb.Leg.STATE_UP if leg.answered_ms else pb.Leg.STATE_RINGING
