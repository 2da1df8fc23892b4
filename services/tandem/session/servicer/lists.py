"""Get and List: live contacts from their owner, ended ones from the view."""

from __future__ import annotations

from tandem.api.session.v1 import contact_pb2 as pb
from tandem.api.session.v1 import session_service_pb2 as api
from tandem.core.access import Role
from tandem.core.errors import UNKNOWN_NAME, Rejected
from tandem.runtime.interceptors import Call
from tandem.runtime.pages import page_of
from tandem.session import views
from tandem.session.servicer.base import Base, live_rows
from tandem.session.servicer.showing import id_of, shown_contacts, shown_event
from tandem.session.views import ContactRow, Phase

OF_OTHERS = (Role.SUPERVISOR, Role.ADMIN, Role.ANALYST)
"""Who sees contacts that are not their own."""


class ListCalls(Base):
    """Contacts and their lives, to be read."""

    async def get_contact(self, request: api.GetContactRequest, call: Call) -> pb.Contact:
        """A live contact from its owner, an ended one from history."""
        row = await self._find(id_of(request.name), call)
        if row is None or not _may_see(row, call):
            raise Rejected(UNKNOWN_NAME, "there is no such resource")
        return (await shown_contacts(self._host, [row], call))[0]

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
        return api.ListContactsResponse(contacts=await shown_contacts(self._host, shown, call), next_page_token=token)

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
        answer = await self._host.query(call.tenant, "contact", lambda ledger: live_rows(ledger, call.tenant))
        live, aside = call.answered(answer)
        rows = [*live, *await self._aside(call.tenant, aside)]
        found = [row for row in rows if _wanted(row, request)]
        found.sort(key=lambda row: (row.started_ms, row.contact), reverse=True)
        return [row for row in found if before is None or (row.started_ms, row.contact) < before]

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
        contact = id_of(request.parent)
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
        events = [await shown_event(self._host, envelope, call) for envelope in envelopes]
        return api.ListContactEventsResponse(events=events, next_page_token=token)


def _may_see(row: ContactRow, call: Call) -> bool:
    """An agent sees the contact that rings them and those that they answered."""
    who = call.principal
    return who.role in OF_OTHERS or (row.agent != "" and row.agent == who.agent)


def _wanted(row: ContactRow, request: api.ListContactsRequest) -> bool:
    ended = row.phase is Phase.ENDED
    if request.life == api.ListContactsRequest.LIFE_ENDED and not ended:
        return False
    if request.queue and id_of(request.queue) != row.queue:
        return False
    if request.HasField("start_time") and row.started_ms < request.start_time.ToMilliseconds():
        return False
    return not (request.HasField("end_time") and row.started_ms >= request.end_time.ToMilliseconds())
