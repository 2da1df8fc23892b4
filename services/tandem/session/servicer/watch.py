"""The live stream of contacts."""

from __future__ import annotations

from collections.abc import AsyncIterator

from tandem.api.session.v1 import session_service_pb2 as api
from tandem.core.commit import Commit, Envelope
from tandem.core.errors import BAD_FIELD, Rejected
from tandem.runtime import positions
from tandem.runtime.interceptors import Call
from tandem.session import views
from tandem.session.servicer.base import Base, live_rows
from tandem.session.servicer.showing import id_of, shown_contacts, shown_event
from tandem.session.views import ContactRow, Phase


class WatchCalls(Base):
    """What is live, and what happens."""

    async def watch_contacts(
        self, request: api.WatchContactsRequest, call: Call
    ) -> AsyncIterator[api.WatchContactsResponse]:
        """What is live now, then everything that happens. With a position: everything that has
        happened since, the contacts joined to their events once these are news."""
        answer = await self._host.query(call.tenant, "contact", lambda ledger: live_rows(ledger, call.tenant))
        now, start = positions.decode(answer.position), None
        if request.position:
            start = positions.decode(request.position)
            if (start.group, start.shard) != (now.group, now.shard) or start.n > now.n:
                problem = "it is not of this stream; begin anew without one"
                raise Rejected(BAD_FIELD, f"position: {problem}", position=problem)
        only = id_of(request.contact) if request.contact else ""
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
            for shown in await shown_contacts(self._host, list(rows.values()), call):
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
            told = api.WatchContactsResponse(event=await shown_event(self._host, envelope, call))
            if index == len(mine):
                told.position = token
            if known:
                contact = id_of(envelope.stream)
                row = views.fold(rows.get(contact), views.read(envelope), contact)
                if row is not None:
                    rows[contact] = row
                    told.contact.CopyFrom((await shown_contacts(self._host, [row], call))[0])
                over = row is not None and row.phase is Phase.ENDED and envelope.type.startswith("shard.")
                if over or envelope.type == "contact.completed":
                    rows.pop(contact, None)
            yield told


def _is_of(envelope: Envelope, tenant: str, only: str) -> bool:
    kind, _, contact = envelope.stream.partition("/")
    return kind == "contact" and envelope.tenant == tenant and (not only or contact == only)
