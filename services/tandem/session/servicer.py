"""The public API of contacts: live ones from their owner, ended ones from the view (rule 13)."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence

from google.protobuf import json_format

from tandem.api.session.v1 import contact_pb2 as pb
from tandem.api.session.v1 import session_service_pb2 as api
from tandem.core.access import Role
from tandem.core.commit import Commit, Envelope
from tandem.core.errors import (
    BAD_FIELD,
    CONTACT_NOT_OVER,
    ERASURE_UNDER_WAY,
    UNKNOWN_NAME,
    VIEW_BEHIND,
    Rejected,
)
from tandem.core.ports.store import Store
from tandem.core.seal import AUDIO, Sealed
from tandem.runtime import positions
from tandem.runtime.host import Host
from tandem.runtime.interceptors import Call
from tandem.runtime.ledger import Ledger
from tandem.runtime.opening import Opened, open_all, private_text, text_of
from tandem.runtime.pages import page_of
from tandem.runtime.times import time_of
from tandem.session import views
from tandem.session.domain import words as w
from tandem.session.domain.erasure import EraseContact, ErasureScope, stream_of
from tandem.session.events import ERASED, TIMELINE_EVENTS
from tandem.session.views import ContactRow, Phase

API = api.DESCRIPTOR.services_by_name["SessionService"]
VIEW_WAIT_S = 2.0
"""How long a reader waits for the view to reach what its owner knows (rule 13)."""
HIDDEN_FIELDS = ("data_key",)
"""Private fields of events that are keys, not values; never shown."""
ERASE_WAIT_S = 10.0
"""How long an erasure's asker waits for its end, which a backup that reads keys.db may put off."""
OF_OTHERS = (Role.SUPERVISOR, Role.ADMIN, Role.ANALYST)


class SessionServicer:
    """Servicer of tandem.api.session.v1.SessionService."""

    def __init__(self, host: Host, store: Store, group: str) -> None:
        self._host, self._store, self._group = host, store, group

    # ---------------------------------------------------------------- Get, List

    async def get_contact(self, request: api.GetContactRequest, call: Call) -> pb.Contact:
        """A live contact from its owner, an ended one from history."""
        row = await self._find(_id(request.name), call)
        if row is None or not _may_see(row, call):
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        return (await self._shown([row], call))[0]

    async def _find(self, contact: str, call: Call) -> ContactRow | None:
        live = await self._host.query(call.tenant, "contact", lambda ledger: _live(ledger, call.tenant, contact))
        row: ContactRow | None = call.answered(live)
        if row is not None and row.phase is not Phase.ENDED:
            return row
        try:
            await self._caught_up(call)
        except Rejected:
            if row is None:
                raise
            return row  # history is late; the owner still knows how it ended
        body = await self._store.get(views.CONTACTS, (call.tenant, contact))
        return None if body is None else views.ROWS.decode(body)

    async def _caught_up(self, call: Call) -> None:
        """Until the view has what the owner knew, and what the caller has seen."""
        wanted = [call.position] if call.position else []
        if call.min_position:
            wanted.append(call.min_position)
        for token in wanted:
            position = positions.decode(token)
            partition = f"{position.group}/{position.shard}"
            if position.group == self._group and not await self._store.wait(
                views.VIEW, partition, position.n, VIEW_WAIT_S
            ):
                raise Rejected(VIEW_BEHIND, "history has not caught up yet; repeat in a moment")

    async def list_contacts(self, request: api.ListContactsRequest, call: Call) -> api.ListContactsResponse:
        """Newest first. LIVE asks the owner; everything else is read from history."""
        page = page_of(request, call.tenant, shape=(int, str))
        before = (int(page.after[0]), str(page.after[1])) if page.after else None
        if request.life == api.ListContactsRequest.LIFE_LIVE:
            rows = await self._live_rows(request, call, before)
        else:
            await self._owner_position(call)
            await self._caught_up(call)
            rows = await self._history(request, call, before, page.size + 1)
        shown, token = page.cut(rows, lambda row: (row.started_ms, row.contact))
        return api.ListContactsResponse(contacts=await self._shown(shown, call), next_page_token=token)

    async def _owner_position(self, call: Call) -> None:
        """A List shows what was true when it was asked; without an owner it shows what it has."""
        try:
            call.answered(await self._host.query(call.tenant, "contact", lambda ledger: None))
        except Rejected as error:
            if error.reason is UNKNOWN_NAME:
                raise

    async def _live_rows(
        self, request: api.ListContactsRequest, call: Call, before: tuple[int, str] | None
    ) -> list[ContactRow]:
        answer = await self._host.query(call.tenant, "contact", lambda ledger: _all_live(ledger, call.tenant))
        live, aside = call.answered(answer)
        rows = [*live, *await self._aside(call.tenant, aside)]
        found = [row for row in rows if _wanted(row, request)]
        found.sort(key=lambda row: (row.started_ms, row.contact), reverse=True)
        return [row for row in found if before is None or (row.started_ms, row.contact) < before]

    async def _aside(self, tenant: str, contacts: Sequence[str]) -> list[ContactRow]:
        """Rows of contacts in quarantine: the owner knows no more of them than that they are."""
        found = [await self._store.get(views.CONTACTS, (tenant, contact)) for contact in contacts]
        return [views.ROWS.decode(body) for body in found if body is not None]

    async def _history(
        self, request: api.ListContactsRequest, call: Call, before: tuple[int, str] | None, most: int
    ) -> list[ContactRow]:
        after: tuple[str | int, ...] | None = None if before is None else (call.tenant, *before)
        if after is None and request.HasField("end_time"):
            after = (call.tenant, request.end_time.ToMilliseconds())
        earliest = request.start_time.ToMilliseconds() if request.HasField("start_time") else 0
        rows: list[ContactRow] = []
        while len(rows) < most:
            found = await self._store.scan(views.BY_TIME, (call.tenant,), after=after, limit=200, descending=True)
            for entry in found:
                if int(entry.key[1]) < earliest:
                    return rows[:most]
                body = await self._store.get(views.CONTACTS, (call.tenant, str(entry.key[2])))
                row = None if body is None else views.ROWS.decode(body)
                if row is not None and _wanted(row, request):
                    rows.append(row)
            if len(found) < 200:
                break
            after = found[-1].key
        return rows[:most]

    async def list_contact_events(
        self, request: api.ListContactEventsRequest, call: Call
    ) -> api.ListContactEventsResponse:
        """A contact's life, event by event."""
        contact = _id(request.parent)
        if await self._find(contact, call) is None:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        await self._caught_up(call)
        page = page_of(request, call.tenant, shape=(int,))
        after = None if page.after is None else (call.tenant, contact, int(page.after[0]))
        found = await self._store.scan(
            views.TIMELINE, (call.tenant, contact), after=after, limit=min(1000, page.size + 1)
        )
        envelopes, token = page.cut(
            [views.decode_envelope(row.value) for row in found], lambda envelope: (envelope.version,)
        )
        events = [await self._event(envelope, call) for envelope in envelopes]
        return api.ListContactEventsResponse(events=events, next_page_token=token)

    # ---------------------------------------------------------------- custom methods

    async def hang_up_contact(self, request: api.HangUpContactRequest, call: Call) -> pb.Contact:
        """End a live contact."""
        contact = _id(request.name)
        if await self._find(contact, call) is None:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        answer = await self._host.ask(call.tenant, f"contact/{contact}", w.HangUpContact(), **call.once)
        call.answered(answer)
        row = await self._find(contact, call)
        if row is None:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        return (await self._shown([row], call))[0]

    async def erase_contact(self, request: api.EraseContactRequest, call: Call) -> pb.Contact:
        """Erase a contact that is over. Answered when no byte is left."""
        contact = _id(request.name)
        row = await self._find(contact, call)
        if row is None:
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        if await self._has(call, f"contact/{contact}"):
            raise Rejected(CONTACT_NOT_OVER, "the contact is not over")
        # A row of an earlier release names its key with the caller alone.
        key = row.key or (row.caller.key if isinstance(row.caller, Sealed) else "")
        if not row.erased_ms or await self._host.keys((key, key + AUDIO)):
            stream = stream_of(contact, ErasureScope.CONTACT)
            call.answered(await self._host.ask(call.tenant, stream, EraseContact(contact, key), **call.once))
            await self._erased(call, stream)
            row = await self._find(contact, call) or row
        return (await self._shown([row], call))[0]

    async def _has(self, call: Call, stream: str) -> bool:
        """Whether such an aggregate is live."""
        tenant = call.tenant
        answer = await self._host.query(tenant, "contact", lambda ledger: ledger.aggregate(tenant, stream) is not None)
        there: bool = call.answered(answer)
        return there

    async def _erased(self, call: Call, stream: str) -> None:
        """Until the erasure's end is durable."""
        try:
            async with asyncio.timeout(ERASE_WAIT_S):
                while await self._has(call, stream):
                    await self._told_erased(positions.decode(call.position), call.tenant, stream)
        except TimeoutError:
            raise Rejected(ERASURE_UNDER_WAY, "the bytes are not gone yet") from None

    async def _told_erased(self, since: positions.Position, tenant: str, stream: str) -> None:
        async for _, commit in self._host.tail(since.group, since.shard, since.n):
            if any((one.tenant, one.stream, one.type) == (tenant, stream, ERASED) for one in commit.events):
                return

    # ---------------------------------------------------------------- live stream

    async def watch_contacts(
        self, request: api.WatchContactsRequest, call: Call
    ) -> AsyncIterator[api.WatchContactsResponse]:
        """What is live now, then everything that happens. With a position: everything that has
        happened since, the contacts joined to their events once these are news."""
        answer = await self._host.query(call.tenant, "contact", lambda ledger: _all_live(ledger, call.tenant))
        now, start = positions.decode(answer.position), None
        if request.position:
            start = positions.decode(request.position)
            if (start.group, start.shard) != (now.group, now.shard) or start.n > now.n:
                problem = "it is not of this stream; begin anew without one"
                raise Rejected(BAD_FIELD, f"position: {problem}", position=problem)
        only = _id(request.contact) if request.contact else ""
        live, aside = answer.value
        listed = [*live, *await self._aside(call.tenant, aside)]
        rows = {row.contact: row for row in listed if not only or row.contact == only}
        return self._watch(call, rows, now, start, only)

    async def _watch(
        self,
        call: Call,
        rows: dict[str, ContactRow],
        now: positions.Position,
        start: positions.Position | None,
        only: str,
    ) -> AsyncIterator[api.WatchContactsResponse]:
        """`rows` are what is live at `now`."""
        if start is None:
            for shown in await self._shown(list(rows.values()), call):
                yield api.WatchContactsResponse(contact=shown)
            yield api.WatchContactsResponse(position=positions.encode(now), synced=True)
        async for token, commit in self._host.tail(now.group, now.shard, (start or now).n):
            async for told in self._told(commit, token, rows, call, only, known=commit.n > now.n):
                yield told

    async def _told(
        self, commit: Commit, token: str, rows: dict[str, ContactRow], call: Call, only: str, known: bool
    ) -> AsyncIterator[api.WatchContactsResponse]:
        """A commit's events for this caller. The last one alone carries the position: who is
        cut off in the middle resumes before the commit, and is told all of it again."""
        about = filter(None, map(views.told_of, commit.events))
        mine = [envelope for envelope in about if _is_of(envelope, call.tenant, only)]
        for index, envelope in enumerate(mine, 1):
            told = api.WatchContactsResponse(event=await self._event(envelope, call))
            if index == len(mine):
                told.position = token
            if known:
                contact = _id(envelope.stream)
                row = views.fold(rows.get(contact), views.read(envelope), contact)
                if row is not None:
                    rows[contact] = row
                    told.contact.CopyFrom((await self._shown([row], call))[0])
                over = row is not None and row.phase is Phase.ENDED and envelope.type.startswith("shard.")
                if over or envelope.type == "contact.completed":
                    rows.pop(contact, None)
            yield told

    # ---------------------------------------------------------------- showing

    async def _shown(self, rows: Sequence[ContactRow], call: Call) -> list[pb.Contact]:
        opened: Sequence[Opened | None] = (
            await open_all(self._host, [row.caller for row in rows]) if _sees_private(call) else [None] * len(rows)
        )
        return [_contact(row, caller, call.tenant) for row, caller in zip(rows, opened, strict=True)]

    async def _event(self, envelope: Envelope, call: Call) -> pb.ContactEvent:
        if envelope.type not in TIMELINE_EVENTS.names:
            return _told_of(envelope)  # of a newer release: that it happened is known
        message = TIMELINE_EVENTS.message(envelope.part)
        numbers = {field.number: field.name for field in message.DESCRIPTOR.fields}
        data = json_format.MessageToDict(message, preserving_proto_field_name=True)
        values = [(numbers[number], value) for number, value in envelope.part.private]
        shown = [(name, value) for name, value in values if _sees_private(call) and name not in HIDDEN_FIELDS]
        for (name, _), opened in zip(shown, await open_all(self._host, [value for _, value in shown]), strict=True):
            data[name] = text_of(opened)
        told = _told_of(envelope)
        told.data.update(data)
        return told


def _told_of(envelope: Envelope) -> pb.ContactEvent:
    return pb.ContactEvent(
        event_id=envelope.event_id,
        contact=f"tenants/{envelope.tenant}/contacts/{_id(envelope.stream)}",
        version=envelope.version,
        type=envelope.type,
        event_time=time_of(envelope.time_ms),
        actor=envelope.actor,
    )


def _id(name: str) -> str:
    return name.rpartition("/")[2]


def _may_see(row: ContactRow, call: Call) -> bool:
    """An agent sees the contact that rings them and those that they answered."""
    who = call.principal
    return who.role in OF_OTHERS or (row.agent != "" and row.agent == who.agent)


def _sees_private(call: Call) -> bool:
    """Analysts read figures, not who called and what was pressed."""
    return call.principal.role is not Role.ANALYST


def _is_of(envelope: Envelope, tenant: str, only: str) -> bool:
    kind, _, contact = envelope.stream.partition("/")
    return kind == "contact" and envelope.tenant == tenant and (not only or contact == only)


def _live(ledger: Ledger, tenant: str, contact: str) -> ContactRow | None:
    aggregate = ledger.aggregate(tenant, f"contact/{contact}")
    return None if aggregate is None or aggregate.quarantine is not None else views.row_of(aggregate.state)


def _all_live(ledger: Ledger, tenant: str) -> tuple[list[ContactRow], list[str]]:
    """Rows of live contacts, and the ids of those in quarantine."""
    rows: list[ContactRow] = []
    aside: list[str] = []
    for (of, stream), aggregate in ledger.aggregates.items():
        if of != tenant or not stream.startswith("contact/"):
            continue
        row = views.row_of(aggregate.state)
        if aggregate.quarantine is not None:
            aside.append(_id(stream))
        elif row is not None and row.phase is not Phase.ENDED:
            rows.append(row)
    return rows, aside


def _wanted(row: ContactRow, request: api.ListContactsRequest) -> bool:
    ended = row.phase is Phase.ENDED
    if request.life == api.ListContactsRequest.LIFE_ENDED and not ended:
        return False
    if request.queue and _id(request.queue) != row.queue:
        return False
    if request.HasField("start_time") and row.started_ms < request.start_time.ToMilliseconds():
        return False
    return not (request.HasField("end_time") and row.started_ms >= request.end_time.ToMilliseconds())


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
        legs=[
            pb.Leg(
                leg=leg.leg,
                party=pb.Leg.Party.Value(f"PARTY_{leg.party.value}"),
                agent=f"{parent}/agents/{leg.agent}" if leg.agent else "",
                node=row.node,
                state=_leg_state(leg),
                cause=leg.cause,
                create_time=time_of(leg.created_ms),
                answer_time=time_of(leg.answered_ms),
                end_time=time_of(leg.ended_ms),
            )
            for leg in row.legs
        ],
    )


def _leg_state(leg: views.LegRow) -> pb.Leg.State.ValueType:
    if leg.ended_ms:
        return pb.Leg.STATE_ENDED
    return pb.Leg.STATE_UP if leg.answered_ms else pb.Leg.STATE_RINGING
